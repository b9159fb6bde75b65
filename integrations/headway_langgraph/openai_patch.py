"""The one place where a host is patched: the request path of the openai SDK's base clients.

Four methods of `openai._base_client` are wrapped, each with one purpose:
`request` (a call begins and ends), `_prepare_options` (before each attempt:
ask and apply), `_build_request` (the headers: no credential follows to another host) and
`_sleep_for_retry` (an attempt failed and its slot is free while the SDK waits).
Idempotent, reversible, checked before anything is changed, and inert outside a
run of a scheduled graph. The SDK's clients above (raw, LangChain's) stay as they are.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import msgspec

from headway.calling.apply import Outgoing, Rewrite, public_url, rewrite, rewrite_for_litellm
from headway.calling.calls import (
    HOLD_LIMIT_S,
    ON_LOOP_HOLD_LIMIT_S,
    Call,
    Calls,
    decided,
)
from headway.calling.guard import complaints, warn_once
from headway.calling.kinds import error_kind
from headway.calling.orca import waiting_told
from headway.calling.responses import holds_sealed_reasoning
from headway.client import Route, get_client
from headway.context import live_scope
from headway.context import scope as current_scope
from headway.core.facts import CallReady
from headway.core.types import EndpointId
from headway_langgraph.openai_requests import (
    FOREIGN_URL,
    SEALED,
    body_of,
    callers_headers,
    home_of,
    is_call,
    path_of,
    read_timeout,
    untouchable,
)
from headway_langgraph.sending import Forwarding, Sending, build, current, sending_of
from headway_langgraph.streams import follow, note
from headway_langgraph.tracker import llm_run

MODULE = "openai._base_client"
EXPECTED = {
    "_prepare_options": ("self", "options"),
    "request": ("self", "cast_to", "options", "stream", "stream_cls"),
    "_build_request": ("self", "options", "retries_taken"),
    "_sleep_for_retry": ("self", "retries_taken", "max_retries", "options", "response"),
    "_process_response": (
        *("self", "cast_to", "options", "response", "stream", "stream_cls", "retries_taken"),
    ),
}
"""The parameters that each patched method must have; anything else is another SDK."""

OF_CLIENTS = ("_prepare_options", "request", "_sleep_for_retry", "_process_response")


class OpenAIPatch:
    """Installs and removes the wraps. One per process."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._originals: list[tuple[type, str, Any]] = []
        self.problem = ""

    @property
    def installed(self) -> bool:
        """Whether the SDK is patched now."""
        return bool(self._originals)

    def install(self, module: ModuleType) -> bool:
        """Patch `module` (`openai._base_client`) once; False, with a warning, if it is unknown."""
        if self._originals:
            return True
        self.problem = unknown_in(module)
        if self.problem:
            warn_once(
                "openai patch",
                "headway: this openai SDK is not known (%s); its calls pass untouched",
                self.problem,
            )
            return False
        sync: Any = module.SyncAPIClient
        asynchronous: Any = module.AsyncAPIClient
        self._wrap(sync, "request", self._request)
        self._wrap(asynchronous, "request", self._arequest)
        self._wrap(sync, "_prepare_options", self._prepare)
        self._wrap(asynchronous, "_prepare_options", self._aprepare)
        self._wrap(sync, "_sleep_for_retry", _retry)
        self._wrap(asynchronous, "_sleep_for_retry", _retry)
        self._wrap(sync, "_process_response", _headers_heard)
        self._wrap(asynchronous, "_process_response", _headers_heard)
        self._wrap(module.BaseClient, "_build_request", build)
        return True

    def uninstall(self) -> None:
        """Put the SDK's own methods back."""
        while self._originals:
            owner, name, original = self._originals.pop()
            setattr(owner, name, original)

    def _wrap(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        original = owner.__dict__[name]
        self._originals.append((owner, name, original))
        wrapped = make(original)
        wrapped.__name__ = name
        wrapped.__qualname__ = original.__qualname__
        wrapped.__doc__ = original.__doc__
        wrapped.__wrapped__ = original
        setattr(owner, name, wrapped)

    # A call begins and ends

    def _request(self, original: Any) -> Any:
        def request(sdk: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
            now = self._begin(sdk, options)
            outer = current.get()
            if now is None and outer is None:
                return original(sdk, cast_to, options, *args, **kwargs)
            current.set(now)
            try:
                response = original(sdk, cast_to, options, *args, **kwargs)
            except BaseException as error:
                _failed(now, error)
                raise
            finally:
                current.set(outer)
            if isinstance(now, Sending):
                note("openai response", follow, now.call, response)
            return response

        return request

    def _arequest(self, original: Any) -> Any:
        async def request(sdk: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
            now = self._begin(sdk, options)
            outer = current.get()
            if now is None and outer is None:
                return await original(sdk, cast_to, options, *args, **kwargs)
            current.set(now)
            try:
                response = await original(sdk, cast_to, options, *args, **kwargs)
            except BaseException as error:
                _failed(now, error)
                raise
            finally:
                current.set(outer)
            if isinstance(now, Sending):
                note("openai response", follow, now.call, response)
            return response

        return request

    def _begin(self, sdk: Any, options: Any) -> Sending | Forwarding | None:
        try:
            return self._begin_request(sdk, options)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("openai request", error)
            return None

    def _begin_request(self, sdk: Any, options: Any) -> Sending | Forwarding | None:
        if current_scope.get() is None or decided.get() is not None or not is_call(options):
            return None
        scope = live_scope()
        client = get_client()
        if scope is None or client.is_off():
            return None
        base_url = str(sdk.base_url)
        forwards = client.gateway_for(base_url) == "headway"
        if scope.off and not forwards:
            return None
        home = None if forwards else home_of(self._calls, client, options)
        why = "" if forwards else untouchable(client, sdk, options, home=home)
        if why:
            self._calls.coverage.passed(client, why, public_url(base_url))
            return None
        timeout_s = read_timeout(sdk, options)
        call = self._calls.begin(
            client=client,
            sdk=sdk,
            scope=scope,
            body=body_of(options),
            way=self._way(),
            timeout_s=timeout_s,
        )
        if forwards:
            self._calls.coverage.covered(client, "gateway")
            return Forwarding(
                sdk=sdk, client=client, scope=scope, ask=call.asked, timeout_s=timeout_s
            )
        sealed = not call.asked.loop_model and holds_sealed_reasoning(body_of(options))
        if sealed and home is None:
            self._calls.coverage.passed(client, SEALED, public_url(base_url))
            return None
        return Sending(sdk=sdk, call=call, home=home)

    def _way(self) -> str:
        llm = llm_run.get()
        model_run = None if llm is None else self._calls.llms.get(llm)
        return "chat_openai" if model_run is not None and model_run.own else "openai"

    # Before each attempt

    def _prepare(self, original: Any) -> Any:
        def prepare_options(sdk: Any, options: Any) -> Any:
            options = original(sdk, options)
            sending = sending_of(sdk)
            if sending is not None:
                try:
                    sending.begin_attempt()
                    route = sending.call.client.decide(_question(sending, _hold_limit()))
                    self._settle(sending, options, route)
                except Exception as error:  # noqa: BLE001 - the host's boundary
                    complaints.add("openai _prepare_options", error)
            return options

        return prepare_options

    def _aprepare(self, original: Any) -> Any:
        async def prepare_options(sdk: Any, options: Any) -> Any:
            options = await original(sdk, options)
            sending = sending_of(sdk)
            if sending is not None:
                try:
                    sending.begin_attempt()
                    route = await sending.call.client.adecide(_question(sending, HOLD_LIMIT_S))
                    self._settle(sending, options, route)
                except Exception as error:  # noqa: BLE001 - the host's boundary
                    complaints.add("openai _prepare_options", error)
            return options

        return prepare_options

    def _settle(self, sending: Sending, options: Any, route: Route) -> None:
        """Apply `route` to this attempt's options, all of it or nothing."""
        call = sending.call
        client, base_url = call.client, str(sending.sdk.base_url)
        through_litellm = client.gateway_for(base_url) == "litellm"
        known = through_litellm or client.endpoint_for(base_url) is not None
        if route.endpoint is not None and not known:
            # The pool was not known when the call began, and now it is: not one of its URLs.
            call.close("cancelled")
            self._calls.coverage.passed(client, FOREIGN_URL, public_url(base_url))
            return
        if not through_litellm:
            route = _homeward(sending, route)
        change = _change(sending, options, route, through_litellm)
        if change is not None:
            sending.change(options, change)
            self._calls.coverage.covered(client, call.way)
        elif through_litellm:
            # It chooses by itself, and nobody here learns what.
            route = Route(endpoint=None, why=route.why)
        call.sent(route, unchanged=None if through_litellm else client.endpoint_for(base_url))


def _change(sending: Sending, options: Any, route: Route, through_litellm: bool) -> Rewrite | None:
    call, base_url = sending.call, str(sending.sdk.base_url)
    if not route.applies:
        return None
    request = Outgoing(
        url=options.url,
        json_data=options.json_data,
        extra_json=options.extra_json,
        headers=callers_headers(sending.sdk, options),
    )
    carried = call.client.watchers.headers(call.asked)
    # The Responses API always tells the usage of a stream.
    want_usage = (
        call.way == "chat_openai"
        and bool(options.json_data.get("stream"))
        and path_of(options) != "responses"
    )
    if through_litellm:
        return rewrite_for_litellm(
            route, call.asked, request, carried=carried, want_usage=want_usage
        )
    return rewrite(
        route, call.asked, request, base_url=base_url, carried=carried, want_usage=want_usage
    )


def _homeward(sending: Sending, route: Route) -> Route:
    """`route`, unless it leads away from the endpoint that keeps what the request continues:
    without a decision, and in shadow mode too, that is where it must go.
    """
    home, call = sending.home, sending.call
    if home is None or not home.url or route.source == "off":
        return route
    if route.applies and route.endpoint is not None and route.endpoint.id == home.id:
        return route
    there = call.client.endpoint_for(str(sending.sdk.base_url))
    if route.source == "shadow" and there is not None and there.url == home.url:
        return route
    call.sent_by_host(home)
    why = f"{home.id} keeps the answer that it continues"
    return msgspec.structs.replace(route, endpoint=home, source="fallback", why=why)


def _question(sending: Sending, hold_limit_s: float) -> CallReady:
    """What the next attempt asks. A gateway reaches what has no URL of its own, too."""
    call, home = sending.call, sending.home
    pool = call.client.pool
    endpoints: tuple[EndpointId, ...] = ()
    if home is not None:
        endpoints = (home.id,)
    elif pool is not None and call.client.gateway_for(str(call.sdk.base_url)):
        endpoints = tuple(spec.id for spec in pool.endpoints)
    return call.next_attempt(hold_limit_s=hold_limit_s, endpoints=endpoints)


def _hold_limit() -> float:
    """How long a synchronous call may be held: on an event loop not for long."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return HOLD_LIMIT_S
    return ON_LOOP_HOLD_LIMIT_S


def unknown_in(module: ModuleType) -> str:
    """What about `module` is not as the patches expect; empty if all is well."""
    for name in ("SyncAPIClient", "AsyncAPIClient", "BaseClient"):
        if not inspect.isclass(getattr(module, name, None)):
            return f"no class {name}"
    for owner, names in (
        (module.SyncAPIClient, OF_CLIENTS),
        (module.AsyncAPIClient, OF_CLIENTS),
        (module.BaseClient, ("_build_request",)),
    ):
        for name in names:
            method = owner.__dict__.get(name)
            if not inspect.isfunction(method):
                return f"no method {owner.__name__}.{name}"
            found = tuple(inspect.signature(method).parameters)
            if found != EXPECTED[name]:
                return f"{owner.__name__}.{name} takes {', '.join(found)}"
            awaited = name != "_build_request" and owner is module.AsyncAPIClient
            if inspect.iscoroutinefunction(method) != awaited:
                return f"{owner.__name__}.{name} is not what it was"
    return ""


def _retry(original: Any) -> Any:
    # The asynchronous original returns its coroutine through here: the attempt is
    # closed before the wait either way.
    def sleep_for_retry(sdk: Any, **kwargs: Any) -> Any:
        sending = sending_of(sdk)
        if sending is not None:
            note("openai _sleep_for_retry", _attempt_failed, sending.call, kwargs.get("response"))
        return original(sdk, **kwargs)

    return sleep_for_retry


def _headers_heard(original: Any) -> Any:
    # The asynchronous original returns its coroutine through here.
    def process_response(sdk: Any, **kwargs: Any) -> Any:
        sending = sending_of(sdk)
        if sending is not None:
            note("openai _process_response", _hear, sending.call, kwargs.get("response"))
        return original(sdk, **kwargs)

    return process_response


def _hear(call: Call, response: Any) -> None:
    call.answer.waiting = waiting_told(response.headers)


def _attempt_failed(call: Call, response: Any) -> None:
    status = getattr(response, "status_code", None)
    error = sys.exc_info()[1]
    if status is not None:
        call.close("error", error=str(status))
    else:
        call.close("error", error="connect" if error is None else _transport_kind(error))


def _transport_kind(error: BaseException) -> str:
    kind = error_kind(error)
    return kind if kind in ("timeout", "connect") else "connect"


def _failed(now: Sending | Forwarding | None, error: BaseException) -> None:
    if isinstance(now, Sending):
        note("openai request end", now.call.failed, error)

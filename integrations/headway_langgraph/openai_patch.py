"""The one place where a host is patched: the request path of the openai SDK's base clients.

Four methods of `openai._base_client` are wrapped, each with one purpose:
`request` (a call begins and ends), `_prepare_options` (before each attempt:
ask and apply), `_build_request` (no credential follows to another host) and
`_sleep_for_retry` (an attempt failed and its slot is free while the SDK waits).
Idempotent, reversible, checked before anything is changed, and inert outside a
run of a scheduled graph. The SDK's clients above (raw, LangChain's) stay as they are.
"""

import asyncio
import inspect
import sys
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from headway.calling.apply import Rewrite, is_secret, public_url, rewrite
from headway.calling.calls import ON_LOOP_HOLD_LIMIT_S, Call, Calls, error_kind
from headway.calling.guard import complaints, warn_once
from headway.client import Route, Scheduling, get_client
from headway.context import live_scope
from headway.context import scope as current_scope
from headway.core.facts import CallReady
from headway_langgraph.streams import follow, note
from headway_langgraph.tracker import llm_run

MODULE = "openai._base_client"
PATHS = ("chat/completions", "completions")
EXPECTED = {
    "_prepare_options": ("self", "options"),
    "request": ("self", "cast_to", "options", "stream", "stream_cls"),
    "_build_request": ("self", "options", "retries_taken"),
    "_sleep_for_retry": ("self", "retries_taken", "max_retries", "options", "response"),
}
"""The parameters that each patched method must have; anything else is another SDK."""

_current: ContextVar[Call | None] = ContextVar("headway_call", default=None)


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
        self._wrap(module.BaseClient, "_build_request", _build)
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
            call = self._begin(sdk, options)
            if call is None and _current.get() is None:
                return original(sdk, cast_to, options, *args, **kwargs)
            outer = _current.get()
            _current.set(call)
            try:
                response = original(sdk, cast_to, options, *args, **kwargs)
            except BaseException as error:
                _failed(call, error)
                raise
            finally:
                _current.set(outer)
            if call is not None:
                note("openai response", follow, call, response)
            return response

        return request

    def _arequest(self, original: Any) -> Any:
        async def request(sdk: Any, cast_to: Any, options: Any, *args: Any, **kwargs: Any) -> Any:
            call = self._begin(sdk, options)
            if call is None and _current.get() is None:
                return await original(sdk, cast_to, options, *args, **kwargs)
            outer = _current.get()
            _current.set(call)
            try:
                response = await original(sdk, cast_to, options, *args, **kwargs)
            except BaseException as error:
                _failed(call, error)
                raise
            finally:
                _current.set(outer)
            if call is not None:
                note("openai response", follow, call, response)
            return response

        return request

    def _begin(self, sdk: Any, options: Any) -> Call | None:
        try:
            return self._begin_call(sdk, options)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("openai request", error)
            return None

    def _begin_call(self, sdk: Any, options: Any) -> Call | None:
        if current_scope.get() is None or options.method.lower() != "post":
            return None
        path = options.url.strip("/")
        if path not in PATHS and path != "responses":
            return None
        scope = live_scope()
        if scope is None or scope.off:
            return None
        client = get_client()
        if client.is_off():
            return None
        base_url = str(sdk.base_url)
        why = _untouchable(client, sdk, options, path, base_url)
        if why:
            self._calls.coverage.passed(client, why, public_url(base_url))
            return None
        llm = llm_run.get()
        model_run = None if llm is None else self._calls.llms.get(llm)
        return self._calls.begin(
            client=client,
            sdk=sdk,
            scope=scope,
            body=_body(options),
            way="chat_openai" if model_run is not None and model_run.own else "openai",
            timeout_s=_read_timeout(sdk, options),
        )

    # Before each attempt

    def _prepare(self, original: Any) -> Any:
        def prepare_options(sdk: Any, options: Any) -> Any:
            options = original(sdk, options)
            call = _current.get()
            if call is not None and call.sdk is sdk:
                try:
                    self._settle(call, options, call.client.decide(_question(call)))
                except Exception as error:  # noqa: BLE001 - the host's boundary
                    complaints.add("openai _prepare_options", error)
            return options

        return prepare_options

    def _aprepare(self, original: Any) -> Any:
        async def prepare_options(sdk: Any, options: Any) -> Any:
            options = await original(sdk, options)
            call = _current.get()
            if call is not None and call.sdk is sdk:
                try:
                    route = await call.client.adecide(call.next_attempt())
                    self._settle(call, options, route)
                except Exception as error:  # noqa: BLE001 - the host's boundary
                    complaints.add("openai _prepare_options", error)
            return options

        return prepare_options

    def _settle(self, call: Call, options: Any, route: Route) -> None:
        """Apply `route` to this attempt's options, all of it or nothing."""
        client, base_url = call.client, str(call.sdk.base_url)
        if route.endpoint is not None and client.endpoint_for(base_url) is None:
            # The pool was not known when the call began, and now it is: not one of its URLs.
            call.close("cancelled")
            self._calls.coverage.passed(client, _FOREIGN_URL, public_url(base_url))
            return
        headers = _given(options.headers)
        change = rewrite(
            route,
            base_url=base_url,
            path=options.url.strip("/"),
            json_data=options.json_data,
            extra_json=options.extra_json,
            headers=headers,
            want_usage=call.way == "chat_openai" and bool(options.json_data.get("stream")),
        )
        if change is not None:
            _change(call, options, headers, change)
            self._calls.coverage.covered(client, call.way)
        call.sent(route)


def _question(call: Call) -> CallReady:
    """What a synchronous call asks: on an event loop it must not be held for long."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call.next_attempt()
    return call.next_attempt(hold_limit_s=ON_LOOP_HOLD_LIMIT_S)


_FOREIGN_URL = "base URL is no endpoint of the pool"


def unknown_in(module: ModuleType) -> str:
    """What about `module` is not as the patches expect; empty if all is well."""
    for name in ("SyncAPIClient", "AsyncAPIClient", "BaseClient"):
        if not inspect.isclass(getattr(module, name, None)):
            return f"no class {name}"
    for owner, names in (
        (module.SyncAPIClient, ("_prepare_options", "request", "_sleep_for_retry")),
        (module.AsyncAPIClient, ("_prepare_options", "request", "_sleep_for_retry")),
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


def _untouchable(client: Scheduling, sdk: Any, options: Any, path: str, base_url: str) -> str:
    """Why this request must go out as it is; empty if it may be scheduled."""
    if any("Azure" in cls.__name__ for cls in type(sdk).__mro__):
        return "azure clients are not covered"
    if path == "responses":
        return "responses api: not covered yet"
    if "@" in urlsplit(base_url).netloc:
        return "the base URL holds a user name or password"
    if client.pool is not None and client.endpoint_for(base_url) is None:
        return _FOREIGN_URL
    if not isinstance(options.json_data, dict):
        return "the request has no JSON body"
    if getattr(sdk, "_provider_runtime", None) or getattr(sdk, "workload_identity", None):
        return "the client signs its requests itself"
    if getattr(getattr(sdk, "_client", None), "auth", None) is not None:
        return "the client's HTTP client signs its requests itself"
    if sdk.default_query or _given(options.params):
        return "the request has URL parameters, which may hold a key"
    return ""


def _change(call: Call, options: Any, headers: dict[str, Any], change: Rewrite) -> None:
    call.untouched = (options.url, options.json_data, options.extra_json, options.headers)
    if change.foreign:
        headers = {name: value for name, value in headers.items() if name not in change.drop}
        # The SDK insists on a credential, or on being told that there is to be none.
        headers["Authorization"] = change.authorization or _omit()
        call.foreign, call.own_authorization = True, change.authorization
        options.headers = headers
    options.url = change.url
    options.json_data = change.json_data
    options.extra_json = change.extra_json


def _build(original: Any) -> Any:
    def build_request(sdk: Any, options: Any, **kwargs: Any) -> Any:
        request = original(sdk, options, **kwargs)
        call = _current.get()
        if call is None or call.sdk is not sdk or not call.foreign:
            return request
        try:
            _strip(request.headers, call.own_authorization)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            # A key must not go to another host, so the request goes where it was meant to.
            complaints.add("openai _build_request", error)
            options.url, options.json_data, options.extra_json, options.headers = call.untouched
            return original(sdk, options, **kwargs)
        return request

    return build_request


def _strip(headers: Any, own_authorization: str | None) -> None:
    """Take every credential off the finished request: the HTTP client below adds its own too."""
    for name in [name for name in headers if is_secret(name)]:
        del headers[name]
    if own_authorization is not None:
        headers["Authorization"] = own_authorization


def _retry(original: Any) -> Any:
    # The asynchronous original returns its coroutine through here: the attempt is
    # closed before the wait either way.
    def sleep_for_retry(sdk: Any, **kwargs: Any) -> Any:
        call = _current.get()
        if call is not None and call.sdk is sdk:
            note("openai _sleep_for_retry", _attempt_failed, call, kwargs.get("response"))
        return original(sdk, **kwargs)

    return sleep_for_retry


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


def _failed(call: Call | None, error: BaseException) -> None:
    if call is not None:
        note("openai request end", call.failed, error)


def _body(options: Any) -> dict[str, Any]:
    extra = options.extra_json
    return {**options.json_data, **extra} if extra else options.json_data


def _given(value: Any) -> dict[str, Any]:
    """A mapping of the SDK's options as a new dict; its "not given" marks count as empty."""
    return dict(value) if hasattr(value, "keys") else {}


def _omit() -> Any:
    from openai._types import Omit

    return Omit()


def _read_timeout(sdk: Any, options: Any) -> float | None:
    """Seconds that the caller gives the request; None: no limit."""
    timeout = options.timeout
    said = timeout is None or isinstance(timeout, (int, float)) or hasattr(timeout, "read")
    if not said:
        timeout = sdk.timeout
    timeout = getattr(timeout, "read", timeout)
    return float(timeout) if isinstance(timeout, (int, float)) else None

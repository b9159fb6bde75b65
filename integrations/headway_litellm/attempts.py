"""The course of a call through LiteLLM: it begins, each attempt is asked for and sent, it ends.

A call is a *group* where LiteLLM itself makes the attempts inside of it (a Router, or
``fallbacks``); else it is its own first attempt. Nothing here patches anything.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from headway.calling.apply import public_url
from headway.calling.calls import HOLD_LIMIT_S, ON_LOOP_HOLD_LIMIT_S, Call, Calls, decided
from headway.calling.guard import complaints
from headway.client import Route, Scheduling, get_client
from headway.context import Scope, live_scope
from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec
from headway_litellm.deployments import endpoint_of, offered
from headway_litellm.flights import Flight, flying, timed
from headway_litellm.proxy import went_as_decided
from headway_litellm.request import (
    OURS,
    SDK_PROVIDERS,
    Kwargs,
    Target,
    as_deployment,
    body_of,
    is_routers,
    readdressed,
    sdk_is_covered,
    target_of,
    timeout_of,
    unseen_headers,
    with_headers,
    with_urgency,
)
from headway_litellm.streams import note

FOREIGN_URL = "base URL is no endpoint of the pool; if it is a proxy, list it under `gateways:`"
NO_ENDPOINT = "no deployment of the model group is an endpoint of the pool"
UNDECIDED = Route(endpoint=None, source="none", why="headway failed before it asked")


class Attempts:
    """Decides what the hooks and patches do. One per process; the methods never raise."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.litellm: Any = None

    # A call begins

    def group(self, router: Any, kwargs: Kwargs, *, is_async: bool) -> Flight | None:
        """A call through a Router begins, or is entered again; None: it is not ours."""
        try:
            return timed(self._group(router, kwargs), is_async=is_async)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm Router", error)
            return None

    def _group(self, router: Any, kwargs: Kwargs) -> Flight | None:
        around = flying.get()
        if around is not None and around.is_entered_again(router, kwargs):
            return around
        begun = beginning()
        if self.litellm is None or begun is None or kwargs.get("mock_response"):
            return None
        scope, client = begun
        # A proxy says so by itself; its cost is not ours.
        way = "litellm_proxy" if "proxy_server_request" in kwargs else "litellm_router"
        timeout_s = timeout_of(kwargs.get("timeout"), getattr(router, "timeout", None))
        call = self._begin(client, scope, kwargs, str(kwargs.get("model") or ""), way, timeout_s)
        return Flight(call=call, kwargs=kwargs, group=True, router=router)

    def single(self, kwargs: Kwargs, *, is_async: bool) -> Flight | None:
        """A call of litellm's function: an attempt of the call around it, or one of its own."""
        try:
            return timed(self._single(kwargs), is_async=is_async)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm call", error)
            return None

    def _single(self, kwargs: Kwargs) -> Flight | None:
        around = flying.get()
        if self.litellm is None:
            return None
        if around is not None:
            if around.group and decided.get() is not around.call:
                if around.router is not None and is_routers(kwargs):
                    return around
                if around.router is None and around.has_messages_of(kwargs):
                    return self._of_fallbacks(around, kwargs)
            elif around.has_messages_of(kwargs):
                return None
        begun = beginning()
        if begun is None or is_routers(kwargs):
            return None
        if kwargs.get("mock_response"):
            return None
        scope, client = begun
        target = target_of(self.litellm, kwargs)
        if isinstance(target, Target) and self._others(client, target):
            return None
        pool_name = target.model if isinstance(target, Target) else str(kwargs.get("model") or "")
        timeout_s = timeout_of(kwargs.get("timeout"), kwargs.get("request_timeout"))
        call = self._begin(client, scope, kwargs, pool_name, "litellm", timeout_s)
        flight = Flight(call=call, kwargs=kwargs, group=bool(kwargs.get("fallbacks")))
        if not flight.group:
            self._aim(flight, target)
        return flight

    def _of_fallbacks(self, around: Flight, kwargs: Kwargs) -> Flight | None:
        target = target_of(self.litellm, kwargs)
        if isinstance(target, Target) and self._others(around.call.client, target):
            return None
        flight = Flight(call=around.call, kwargs=kwargs)
        self._aim(flight, target)
        return flight

    def _others(self, client: Scheduling, target: Target) -> bool:
        """Whether another integration sees to this call, nearer to the wire."""
        if target.provider not in SDK_PROVIDERS:
            return False
        return bool(client.gateway_for(target.base_url)) or sdk_is_covered()

    def _aim(self, flight: Flight, target: Target | str) -> None:
        client = flight.call.client
        if isinstance(target, Target):
            target = unseen_headers(self.litellm, target) or target
        if isinstance(target, str):
            flight.passes = True
            base = flight.kwargs.get("base_url") or flight.kwargs.get("api_base") or ""
            self.passed(client, target, str(base))
        elif client.pool is not None and client.endpoint_for(target.base_url) is None:
            flight.passes = True
            self.passed(client, FOREIGN_URL, target.base_url)
        else:
            flight.target = target

    def _begin(
        self,
        client: Scheduling,
        scope: Scope,
        kwargs: Kwargs,
        pool_name: str,
        way: str,
        timeout_s: float | None,
    ) -> Call:
        return self._calls.begin(
            client=client,
            scope=scope,
            body=body_of(kwargs, pool_name),
            way=way,
            timeout_s=timeout_s,
        )

    def passed(self, client: Scheduling, why: str, url: str) -> None:
        """Count a call that goes out as it is."""
        self._calls.coverage.passed(client, why, public_url(url) if url else "litellm")

    # A Router has its final list of deployments

    async def achoose(self, model: str, found: Any, request: Mapping[str, Any] | None) -> Any:
        """`found`, or of it only the deployment that was chosen."""
        flight = flying.get()
        try:
            question = self._offer(flight, model, found, request, HOLD_LIMIT_S)
            if flight is None or question is None:
                return found
            return self._pick(flight, found, await flight.call.client.adecide(question))
        except Exception as error:  # noqa: BLE001 - the host's boundary
            return self._undecided(flight, found, error)

    def choose(self, model: str, found: Any, request: Mapping[str, Any] | None) -> Any:
        """The same for a synchronous Router."""
        flight = flying.get()
        try:
            # Some of the Router's strategies are synchronous even in asynchronous calls.
            on_loop = flight is not None and flight.is_async
            limit_s = ON_LOOP_HOLD_LIMIT_S if on_loop else HOLD_LIMIT_S
            question = self._offer(flight, model, found, request, limit_s)
            if flight is None or question is None:
                return found
            return self._pick(flight, found, flight.call.client.decide(question))
        except Exception as error:  # noqa: BLE001 - the host's boundary
            return self._undecided(flight, found, error)

    def _undecided(self, flight: Flight | None, found: Any, error: Exception) -> Any:
        complaints.add("litellm choice of a deployment", error)
        if flight is not None:
            flight.route = UNDECIDED
        return found

    def _offer(
        self,
        flight: Flight | None,
        model: str,
        found: Any,
        request: Mapping[str, Any] | None,
        limit_s: float,
    ) -> CallReady | None:
        """The question that the list `found` poses, if it is one for us."""
        if flight is None or not flight.group or flight.router is None:
            return None
        flight.route = None
        if not isinstance(found, list) or not found:
            return None  # one deployment by its id: asked for when it is sent
        if flight.node_is_over:
            flight.route = UNDECIDED
            return None
        own = (request or {}).get("api_base") or (request or {}).get("base_url")
        if own:
            flight.route = UNDECIDED
            return None
        pool = flight.call.client.pool
        # Without a pool the client says, once, how to come by one.
        pairs = [] if pool is None else offered(pool, found)
        if pool is not None and not pairs:
            flight.route = UNDECIDED
            params = found[0].get("litellm_params") or {}
            self.passed(flight.call.client, NO_ENDPOINT, str(params.get("api_base") or ""))
            return None
        return flight.call.next_attempt(
            hold_limit_s=min(limit_s, flight.hold_limit_s),
            pool_name=model,
            endpoints=tuple(dict.fromkeys(spec.id for _, spec in pairs)),
        )

    def _pick(self, flight: Flight, found: Any, route: Route) -> Any:
        flight.route = route
        pool = flight.call.client.pool
        if route.endpoint is None or not route.applies or pool is None:
            return found
        for deployment, spec in offered(pool, found):
            if spec.id == route.endpoint.id:
                return [deployment]
        return found

    # An attempt goes out

    async def adecided(self, flight: Flight, kwargs: Kwargs) -> Route | None:
        """The decision for this attempt; None if there is one already, or none to make."""
        try:
            question = self._question(flight, kwargs)
            return None if question is None else await flight.call.client.adecide(question)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm question", error)
            return None

    def decided(self, flight: Flight, kwargs: Kwargs) -> Route | None:
        """The same for a synchronous call."""
        try:
            question = self._question(flight, kwargs)
            return None if question is None else flight.call.client.decide(question)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm question", error)
            return None

    def _question(self, flight: Flight, kwargs: Kwargs) -> CallReady | None:
        if flight.passes or flight.route is not None or flight.node_is_over:
            return None
        if flight.target is not None:
            return flight.call.next_attempt(
                hold_limit_s=flight.hold_limit_s, pool_name=flight.target.model
            )
        spec = self._deployed(flight, kwargs)
        if spec is None:
            return None
        return flight.call.next_attempt(
            hold_limit_s=flight.hold_limit_s, pool_name=spec.model, endpoints=(spec.id,)
        )

    def _deployed(self, flight: Flight, kwargs: Kwargs) -> EndpointSpec | None:
        pool = flight.call.client.pool
        return None if pool is None else endpoint_of(pool, as_deployment(kwargs))

    def settled(self, flight: Flight, kwargs: Kwargs, route: Route | None) -> Kwargs:
        """The arguments with which this attempt goes out: all of the decision, or nothing."""
        decision = route or flight.route or UNDECIDED
        flight.route = None
        try:
            if flight.passes:
                return kwargs
            if flight.router is not None:
                return self._to_deployment(flight, kwargs, decision)
            return self._to_endpoint(flight, kwargs, decision)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm attempt", error)
            note("litellm attempt", flight.call.close, "cancelled")
            return kwargs

    def _to_deployment(self, flight: Flight, kwargs: Kwargs, route: Route) -> Kwargs:
        """The Router has chosen, by our list or by itself."""
        call, spec = flight.call, self._deployed(flight, kwargs)
        if spec is None or not call.is_open:
            call.close("cancelled")
            return kwargs
        went_as_decided(None)
        if route.source in ("shadow", "off"):
            call.sent(route, unchanged=spec)
            return kwargs
        if route.endpoint is not None and route.endpoint.id == spec.id:
            went_as_decided(spec.id)
            call.sent(route)
        else:
            call.sent_by_host(spec)
        if not route.applies:
            return with_headers(kwargs, call)
        self._calls.coverage.covered(call.client, call.way)
        return with_urgency(kwargs, msgspec.structs.replace(route, endpoint=spec), call)

    def _to_endpoint(self, flight: Flight, kwargs: Kwargs, route: Route) -> Kwargs:
        """There is no Router: the decision says where the call goes."""
        call, target, endpoint = flight.call, flight.target, route.endpoint
        if target is None:
            return kwargs
        if endpoint is None or not route.applies:
            call.sent(route, unchanged=call.client.endpoint_for(target.base_url))
            return kwargs if route.source in ("shadow", "off") else with_headers(kwargs, call)
        if call.client.endpoint_for(target.base_url) is None:
            # The pool was not known when the call began, and now it is: not one of its URLs.
            call.close("cancelled")
            self.passed(call.client, FOREIGN_URL, target.base_url)
            return kwargs
        changed = readdressed(self.litellm, kwargs, target, endpoint)
        changed = with_urgency(changed, route, call)
        self._calls.coverage.covered(call.client, call.way)
        call.sent(route)
        return changed

    def is_retry(self, flight: Flight, kwargs: Kwargs) -> bool:
        """Whether LiteLLM's retry with these arguments is of this call, not of one inside it."""
        try:
            return self.litellm is not None and flight.has_messages_of(kwargs)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("litellm retry", error)
            return False

    def again(self, flight: Flight, kwargs: Kwargs) -> Kwargs:
        """The arguments of a retry, without what the attempt before it had been given."""
        theirs = {name: flight.kwargs[name] for name in OURS if name in flight.kwargs}
        return {**{name: value for name, value in kwargs.items() if name not in OURS}, **theirs}


def beginning() -> tuple[Scope, Scheduling] | None:
    """The node that the current code belongs to, and the client, if calls are scheduled here."""
    scope = live_scope()
    if scope is None or scope.off:
        return None
    client = get_client()
    return None if client.is_off() else (scope, client)

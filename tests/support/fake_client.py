"""A recording stand-in for the client: the same API, no daemon, decisions made by the test."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from headway.client import Route
from headway.client.once import Once
from headway.client.poolview import normal_url
from headway.client.watching import Watchers
from headway.core.facts import CallReady, CallSent
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway.wire.messages import Covered, Passed


class FakeClient:
    """Keeps every fact in order (`facts`) and every question (`asks`).

    `choose(ask)` gives the endpoint id (None: no decision); by default the
    pool's first endpoint with the pool name's model, else its first.
    """

    def __init__(
        self,
        pool: Pool | None = None,
        *,
        choose: Callable[[CallReady], str | None] | None = None,
        urgency: float = 0.0,
        source: str = "daemon",
        off: bool = False,
    ) -> None:
        self.pool = pool
        self.facts: list[msgspec.Struct] = []
        self.asks: list[CallReady] = []
        self.choose = choose or self._first
        self.urgency = urgency
        self.source = source
        self.off = off
        self.watchers = Watchers(Once())
        self._lock = threading.Lock()

    def is_off(self) -> bool:
        return self.off

    def observe(self, fact: msgspec.Struct) -> None:
        self.watchers.told(fact)
        with self._lock:
            self.facts.append(fact)

    def decide(self, ask: CallReady) -> Route:
        self.watchers.asked(ask)
        with self._lock:
            self.asks.append(ask)
            self.facts.append(ask)
        chosen = self.choose(ask) if self.pool is not None else None
        spec = None if chosen is None else self._spec(chosen)
        source: Any = self.source if spec is not None else "none"
        why = "the test said so"
        route = Route(endpoint=spec, urgency=self.urgency, source=source, why=why)
        self.watchers.routed(ask, route)
        return route

    async def adecide(self, ask: CallReady) -> Route:
        return self.decide(ask)

    def endpoint_for(self, base_url: str) -> EndpointSpec | None:
        for spec in self.pool.endpoints if self.pool else ():
            if normal_url(spec.url) == normal_url(base_url):
                return spec
        return None

    def gateway_for(self, base_url: str) -> str:
        for url, kind in (self.pool.gateways if self.pool else {}).items():
            if normal_url(url) == normal_url(base_url):
                return kind
        return ""

    def sent(self, ask: CallReady, endpoint: str) -> None:
        self.observe(CallSent(ask=ask, endpoint=EndpointId(endpoint)))

    # What tests read

    def of(self, *kinds: type) -> list[Any]:
        """The facts of these kinds, in order."""
        with self._lock:
            return [fact for fact in self.facts if isinstance(fact, kinds)]

    @property
    def passed(self) -> list[Passed]:
        return self.of(Passed)

    @property
    def covered(self) -> list[Covered]:
        return self.of(Covered)

    def clear(self) -> None:
        self.facts.clear()
        self.asks.clear()

    def _first(self, ask: CallReady) -> str | None:
        assert self.pool is not None
        for spec in self.pool.endpoints:
            if spec.model == ask.pool_name:
                return spec.id
        return self.pool.endpoints[0].id

    def _spec(self, endpoint_id: str) -> EndpointSpec:
        assert self.pool is not None
        return next(spec for spec in self.pool.endpoints if spec.id == endpoint_id)

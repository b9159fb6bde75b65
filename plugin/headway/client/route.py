"""What to do with one attempt of a call, and how to choose without a daemon.

Both choices respect what the user allowed: the pool name's models, the narrowing
by run and node, the model of an open tool loop, and declared capabilities.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from headway.core.candidates import candidates
from headway.core.errors import UnknownEndpoint
from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId, Seconds
from headway.wire.messages import Granted

Source = Literal["daemon", "fallback", "spread", "shadow", "off", "none"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as an integration applies it; `why` is one line for people.

    `endpoint` None: send the request exactly as the user made it. `source` tells who
    decided: the daemon, or the client by the pool name's fallback or by spreading over
    the allowed endpoints; ``shadow``, ``off`` and ``none`` apply nothing. `output_tokens` is
    the predicted length of the answer (0: not known), `forecasts` what is known of how good
    predictions have been (empty: nothing).
    """

    endpoint: EndpointSpec | None
    urgency: float = 0.0
    source: Source = "none"
    why: str = ""
    held_s: Seconds = 0.0
    output_tokens: float = 0.0
    forecasts: Mapping[str, float] = {}

    @property
    def applies(self) -> bool:
        """Whether the request changes."""
        return self.endpoint is not None and self.source not in ("shadow", "off", "none")


OFF = Route(endpoint=None, source="off", why="headway is off")
SHADOW = Route(endpoint=None, source="shadow", why="shadow mode: decided, not applied")


def allowed(pool: Pool, ask: CallReady) -> tuple[EndpointSpec, ...]:
    """Endpoints that may answer `ask`, in the user's order of models: as the daemon sees it,
    but for the length of the prompt, which only the daemon estimates.
    """
    able, _ = candidates(pool, ask, prompt_tokens=0)
    return able


def fallback(pool: Pool, ask: CallReady) -> EndpointSpec | None:
    """The pool name's fallback if it may answer `ask`, else the first endpoint that may.

    If none may, the fallback all the same: the user's rule for calls that nothing can serve.
    """
    usual = pool.fallback(ask.pool_name)
    able = allowed(pool, ask)
    if not able or usual in able:
        return usual
    return able[0]


def server_of(spec: EndpointSpec) -> str:
    """What shares capacity with `spec`."""
    return spec.server or spec.id


def spread(
    pool: Pool, ask: CallReady, *, open_calls: Mapping[str, int], turn: int
) -> EndpointSpec | None:
    """The allowed endpoint with the fewest of our own open calls per seat.

    `open_calls` counts them per server; `turn` moves on with each call and breaks ties
    in rotation. Unknown seats count as the fewest that any candidate is known to have.
    """
    able = allowed(pool, ask)
    if not able:
        return fallback(pool, ask)
    seats = {spec.id: spec.profile.seats for spec in able if spec.profile and spec.profile.seats}
    unknown = min((count for count in seats.values() if count), default=1)
    start = turn % len(able)

    def load(spec: EndpointSpec) -> float:
        return open_calls.get(server_of(spec), 0) / (seats.get(spec.id) or unknown)

    return min(able[start:] + able[:start], key=load)


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """What spreading needs to know of this process (see `spread`)."""

    open_calls: Mapping[str, int]
    turn: int


def route_alone(
    pool: Pool | None, ask: CallReady, spreading: Spread | None, *, why: str, held_s: Seconds
) -> Route:
    """The route of a call that no daemon decides: spread over the pool if there was one before,
    else (no `spreading`) the fallback. Who can reach only some endpoints chooses by himself.
    """
    if pool is None:
        return Route(endpoint=None, source="none", why=why, held_s=held_s)
    if pool.mode == "shadow":
        return SHADOW
    if ask.endpoints:
        return Route(endpoint=None, source="none", why=f"{why}; the host chooses", held_s=held_s)
    if spreading is None:
        why = f"{why}; the fallback of {ask.pool_name!r}"
        return _chosen_alone(fallback(pool, ask), "fallback", why, held_s)
    spec = spread(pool, ask, open_calls=spreading.open_calls, turn=spreading.turn)
    return _chosen_alone(spec, "spread", why, held_s)


def granted_spec(pool: Pool | None, ask: CallReady, endpoint: EndpointId) -> EndpointSpec | None:
    """The granted endpoint, or (granted none) the fallback, which a client with endpoints of
    its own chooses itself. Raises `UnknownEndpoint`.
    """
    if pool is None:
        raise UnknownEndpoint(endpoint, ())
    if endpoint:
        return pool.endpoint(endpoint)
    return None if ask.endpoints else fallback(pool, ask)


def granted_route(granted: Granted, spec: EndpointSpec | None) -> Route:
    """The route of a grant, whose endpoint (or the fallback in its place) is `spec`."""
    return Route(
        endpoint=spec,
        urgency=granted.urgency,
        source="none" if spec is None else "daemon" if granted.endpoint else "fallback",
        why=granted.why,
        held_s=granted.held_s,
        output_tokens=granted.output_tokens,
        forecasts=granted.forecasts,
    )


def gone_to(pool: Pool | None, ask: CallReady, endpoint: EndpointId) -> EndpointSpec | None:
    """The endpoint to which the host sent the call as it was made; None if it is not known.

    Where one URL has several models, the request's own model says which of them it is.
    """
    if pool is None or pool.mode == "off":
        return None
    named = next((spec for spec in pool.endpoints if spec.id == endpoint), None)
    if named is None or not named.url or named.model == ask.pool_name:
        return named
    there = (spec for spec in pool.serving(ask.pool_name) if spec.url == named.url)
    return next(there, named)


def _chosen_alone(
    spec: EndpointSpec | None, source: Literal["fallback", "spread"], why: str, held_s: Seconds
) -> Route:
    """The route of a call that fell open; without a `spec` it goes out unchanged."""
    if spec is None:
        return Route(endpoint=None, source="none", why=f"{why}; nothing serves it", held_s=held_s)
    return Route(endpoint=spec, source=source, why=why, held_s=held_s)

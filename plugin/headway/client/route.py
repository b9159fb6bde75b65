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

Source = Literal["daemon", "fallback", "spread", "shadow", "off", "none"]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as an integration applies it; `why` is one line for people.

    `endpoint` None: send the request exactly as the user made it. `source` tells who
    decided: the daemon, or the client by the pool name's fallback or by spreading over
    the allowed endpoints; ``shadow``, ``off`` and ``none`` apply nothing.
    """

    endpoint: EndpointSpec | None
    urgency: float = 0.0
    source: Source = "none"
    why: str = ""
    held_s: Seconds = 0.0


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


def by_fallback(pool: Pool, ask: CallReady, *, why: str, held_s: Seconds) -> Route:
    """The route of a call for which there was never a daemon."""
    why = f"{why}; the fallback of {ask.pool_name!r}"
    return _chosen_alone(fallback(pool, ask), "fallback", why, held_s)


def by_spread(
    pool: Pool,
    ask: CallReady,
    *,
    open_calls: Mapping[str, int],
    turn: int,
    why: str,
    held_s: Seconds,
) -> Route:
    """The route of a call that fell open; see `spread`."""
    spec = spread(pool, ask, open_calls=open_calls, turn=turn)
    return _chosen_alone(spec, "spread", why, held_s)


def granted_spec(pool: Pool | None, ask: CallReady, endpoint: EndpointId) -> EndpointSpec | None:
    """The granted endpoint, or (granted none) the fallback. Raises `UnknownEndpoint`."""
    if pool is None:
        raise UnknownEndpoint(endpoint, ())
    return pool.endpoint(endpoint) if endpoint else fallback(pool, ask)


def _chosen_alone(
    spec: EndpointSpec | None, source: Literal["fallback", "spread"], why: str, held_s: Seconds
) -> Route:
    """The route of a call that fell open; without a `spec` it goes out unchanged."""
    if spec is None:
        return Route(endpoint=None, source="none", why=f"{why}; nothing serves it", held_s=held_s)
    return Route(endpoint=spec, source=source, why=why, held_s=held_s)

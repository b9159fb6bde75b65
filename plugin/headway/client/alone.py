"""How this process routes its calls when no daemon does."""

from pathlib import Path

from headway.client.once import Once
from headway.client.registry import Registry
from headway.client.route import Route, Spread, route_alone
from headway.core.facts import CallReady
from headway.core.pool import Pool
from headway.core.types import Seconds


class Alone:
    """Routes without a daemon. Not thread-safe: the caller holds the client's lock.

    Processes that fall open together should not all begin with the same endpoint: `turn` is
    where this one begins.
    """

    def __init__(self, path: Path, *, registry: Registry, once: Once, turn: int) -> None:
        self._path = path
        self._registry = registry
        self._once = once
        self._turn = turn

    def route(
        self, ask: CallReady, pool: Pool | None, *, was_there: bool, why: str, held_s: Seconds
    ) -> Route:
        """The route of `ask`; `was_there` says that a daemon has been seen."""
        if pool is None:
            self._once.warn(
                "no daemon",
                f"no headway daemon answers on {self._path}: calls go out unchanged. "
                "Start one with `headway up`.",
            )
        spread = None
        if was_there:
            self._turn += 1
            spread = Spread(open_calls=self._registry.open_calls, turn=self._turn)
        return route_alone(pool, ask, spread, why=why, held_s=held_s)

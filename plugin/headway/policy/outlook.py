"""What follows if answers fail: the graph's further rounds, each by the best model by then."""

from headway.core.calls import Call
from headway.core.types import Seconds
from headway.core.view import View

UNNAMED = ""
"""Stands for any other model that has failed."""


class Outlook:
    """Expected cost of failures for one call.

    `cost` holds the cheapest price of each model, `lost_s` that of a failed run.
    A round in which `m` answers costs ``cost[m] + (1 - p(m)) * next round``.
    """

    __slots__ = ("_call", "_chances", "_cost", "_failed", "_lost_s", "_memo", "_view")

    def __init__(self, view: View, call: Call, cost: dict[str, Seconds], lost_s: Seconds) -> None:
        self._view = view
        self._call = call
        self._cost = cost
        self._lost_s = lost_s
        self._failed = view.failed(call)
        self._chances: dict[tuple[str, bool, bool], float] = {}
        self._memo: dict[tuple[tuple[str, ...], int], Seconds] = {}

    def chance(self, model: str, also: tuple[str, ...]) -> float:
        """Confidence in `model` once those in `also` have failed too."""
        # only whether it failed itself and whether any did matters: ask once for each case
        itself = model in also
        case = (model, itself, bool(also))
        known = self._chances.get(case)
        if known is None:
            more = (model,) if itself else ((UNNAMED,) if also else ())
            known = self._view.chance(self._call, model, self._failed + more)
            self._chances[case] = known
        return known

    def after(self, also: tuple[str, ...], rounds: int) -> Seconds:
        """Expected seconds once those in `also` have failed and `rounds` more answers may come."""
        if rounds <= 0:
            return self._lost_s
        state = (tuple(sorted(also)), rounds)
        known = self._memo.get(state)
        if known is None:
            known = min(
                cost + (1.0 - self.chance(model, also)) * self._next(model, also, rounds)
                for model, cost in self._cost.items()
            )
            self._memo[state] = known
        return known

    def _next(self, model: str, also: tuple[str, ...], rounds: int) -> Seconds:
        return self.after(also if model in also else (*also, model), rounds - 1)

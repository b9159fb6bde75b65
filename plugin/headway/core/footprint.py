"""How much of a KV cache the calls on a server will come to hold together.

All calls of a batch write in step, so `s` steps from now a call that goes on holds exactly its
prompt and what it has written by then; what is uncertain is who still goes on. So the footprint
is a sum over calls that end independently, and what is reserved is a quantile of that sum, at
the worst moment ahead: not each call's own worst case, which never come together. Answers'
lengths are taken as log-normal through their P50 and P90, with some that stray, the sum as normal
(checked against recorded lengths by ``headway assess``). Kairos (arXiv 2508.06948) adds up such
curves to each call's usual end, Maestro (arXiv 2606.12950) reserves a quantile of each call's own.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

OVERFLOW = 0.01
"""Chance that is accepted, at each moment, of more being held then; the engine then preempts."""
_NORMAL_P90 = 1.2816
MOMENTS = 12
"""Looked at between now and the last end that is foreseen."""
_ENDS = tuple(NormalDist().inv_cdf(chance) for chance in (0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95))
"""Where a call may end, in spreads of its length: moments are taken from there."""
MOST_LOOKED_AT = 768
"""Calls times moments: with many calls the sum is smooth, and fewer moments tell it."""
LEAST_MOMENTS = 4
STRAY, WIDER = 0.1, 3.0
"""Share of the answers that stray, and how much wider than the others': recorded lengths have
fatter tails than a log-normal through their P50 and P90."""
LEAST_SPREAD = 0.05
"""Of the logarithm of a length: a forecast without any is not believed."""


class Holding(NamedTuple):
    """One call: the prompt that only it holds, tokens written so far, P50 and P90 of its answer."""

    prompt: float
    written: float
    p50: float
    p90: float

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of its length."""
        if self.p50 <= 0.0 or self.p90 <= self.p50:
            return LEAST_SPREAD
        return max(math.log(self.p90 / self.p50) / _NORMAL_P90, LEAST_SPREAD)


class Peak(NamedTuple):
    """KV tokens to reserve, and the worst moment ahead: so many steps from now."""

    tokens: float
    steps: float


def peak(holdings: Sequence[Holding], *, overflow: float = OVERFLOW) -> Peak:
    """What is held at the worst moment ahead; more is held then with chance `overflow`.

    0 of no calls. That it is more at any moment is likelier than that it is at a given one.
    """
    calls = [_Call(holding) for holding in holdings]
    away = NormalDist().inv_cdf(1.0 - overflow)
    worst = Peak(0.0, 0.0)
    for steps in _moments(calls):
        mean = variance = most = 0.0
        for call in calls:
            chance = call.goes_on(steps)
            size = call.size + steps
            mean += chance * size
            variance += chance * (1.0 - chance) * size * size
            most += size
        tokens = min(mean + away * math.sqrt(variance), most)
        if tokens > worst.tokens:
            worst = Peak(tokens, steps)
    return worst


class _Call:
    """A holding with what is needed of its length's distribution."""

    __slots__ = ("centre", "now", "scale", "size", "spread", "written")

    def __init__(self, holding: Holding) -> None:
        self.size = holding.prompt + holding.written
        self.written = holding.written
        self.spread = holding.spread
        self.scale = 1.0 / (self.spread * math.sqrt(2.0))
        self.centre = math.log(max(holding.p50, 1.0))
        self.now = self._longer(holding.written)

    def goes_on(self, steps: float) -> float:
        """The chance that it still writes after `steps` more, given that it writes now."""
        if self.now < 1e-9:  # it has outlived all that was foreseen: as long again is even odds
            return self.written / (self.written + steps)
        return self._longer(self.written + steps) / self.now

    def end(self, away: float) -> float:
        """Steps until its end if its length is `away` spreads from the median.

        One that has written more than that strays: half as long again as until now.
        """
        left = math.exp(self.centre + self.spread * away) - self.written
        return left if left >= 1.0 else max(0.5 * self.written, 1.0)

    def _longer(self, tokens: float) -> float:
        if tokens <= 0.0:
            return 1.0
        away = (math.log(tokens) - self.centre) * self.scale
        return 0.5 * ((1.0 - STRAY) * math.erfc(away) + STRAY * math.erfc(away / WIDER))


def _moments(calls: Sequence[_Call]) -> list[float]:
    """Steps from now at which the sum may be at its highest: now, and just before ends."""
    ends = sorted(call.end(away) for call in calls for away in _ENDS)
    moments = max(min(MOMENTS, MOST_LOOKED_AT // max(len(calls), 1)), LEAST_MOMENTS)
    if len(ends) <= moments:
        return [0.0, *ends]
    last = len(ends) - 1
    return [0.0, *(ends[round(place * last / (moments - 1))] for place in range(moments))]

"""Finding the knee: the arrival rate at which mean completion is three times its idle value.

Sans-IO: `KneeSearch` says which rate to try next and is told the ratio that
was measured there; it doubles or halves until the knee lies between two rates,
then cuts the bracket at its geometric middle. `find_knee` drives it in virtual time.
"""

import math
from collections.abc import Callable
from typing import Literal

import msgspec

from headway.core.errors import ConfigError
from headway.core.types import Seconds

KNEE_RATIO = 3.0
Sureness = Literal["bracketed", "at least", "at most", "guessed"]


FAR = 16.0
"""Times the guess: there only the number of runs still limits how long they wait."""


class KneeSearch:
    """A search for the knee that starts at the rate `guess`."""

    def __init__(self, guess: float, *, step: float = 1.35) -> None:
        if guess <= 0 or step <= 1:
            raise ValueError("guess must be above 0 and step above 1")
        self._guess = guess
        self._step = step
        self._below: tuple[float, float] | None = None
        self._above: tuple[float, float] | None = None

    def next_rate(self) -> float:
        """The rate to try next."""
        if self._below is None and self._above is None:
            return self._guess
        if self._above is None:
            assert self._below is not None
            return self._below[0] * self._step
        if self._below is None:
            return self._above[0] / self._step
        return math.sqrt(self._below[0] * self._above[0])

    def tell(self, rate: float, ratio: float) -> None:
        """At `rate` the mean completion was `ratio` times the idle one."""
        if ratio < KNEE_RATIO:
            if self._below is None or rate > self._below[0]:
                self._below = (rate, ratio)
        elif self._above is None or rate < self._above[0]:
            self._above = (rate, ratio)

    @property
    def sureness(self) -> Sureness:
        """What `knee` is: between two rates that were tried, one of them, or the guess."""
        if self._below is None:
            return "guessed" if self._above is None else "at most"
        return "at least" if self._above is None else "bracketed"

    def knee(self) -> float:
        """The best guess now: interpolated in the bracket, or the end of it that is known."""
        if self._below is None:
            return self._above[0] if self._above is not None else self._guess
        if self._above is None:
            return self._below[0]
        (low, low_ratio), (high, high_ratio) = self._below, self._above
        if not low < high:
            return min(low, high)
        share = (KNEE_RATIO - low_ratio) / (high_ratio - low_ratio)
        return float(low * (high / low) ** share)

    @property
    def bracket(self) -> float:
        """How far apart the two rates around the knee are, as a share; infinite without both."""
        if self._below is None or self._above is None:
            return math.inf
        return self._above[0] / self._below[0] - 1.0


TOLERANCE = 0.03
"""Of the rate: the noise of a few hundred runs is larger."""
PLAYS = 14
STRIDE = 1.6


class NoKnee(ConfigError):
    """The knee was not crossed. Try with more runs a play; then show the text and stop."""


class FoundKnee(msgspec.Struct, frozen=True, kw_only=True):
    """A knee: `rate` in runs a second, mean completion when idle, and what was tried.

    `probes` are (rate, mean completion over the idle one; None: runs failed).
    """

    rate: float
    idle_s: Seconds
    probes: tuple[tuple[float, float | None], ...]


def find_knee(
    mean_at: Callable[[float], Seconds],
    *,
    idle_s: Seconds,
    guess: float,
    plays: int = PLAYS,
    tolerance: float = TOLERANCE,
) -> FoundKnee:
    """The rate at which `mean_at` (mean completion by rate) is three times `idle_s`.

    `probes` of the answer are (rate, ratio) of every play. Raises `NoKnee` if the knee is not
    between two of them after `plays`, or far beyond the guess nothing queues for so long: a rate
    that was made up must not stand for load 1.
    """
    if not 0.0 < idle_s < math.inf:
        raise ConfigError(f"the idle completion is {idle_s} s: there is no knee to look for")
    search = KneeSearch(guess, step=STRIDE)
    probes: list[tuple[float, float | None]] = []
    while len(probes) < plays and search.bracket > tolerance:
        rate = search.next_rate()
        ratio = mean_at(rate) / idle_s
        search.tell(rate, ratio)
        probes.append((rate, ratio if math.isfinite(ratio) else None))
        if rate > FAR * guess and search.sureness == "at least":
            break  # all runs come at once, and they are too few to fill the pool
    if search.sureness != "bracketed":
        told = ", ".join(
            f"{'infinite' if ratio is None else f'{ratio:.2f}x'} at {rate:.3g}/s"
            for rate, ratio in probes
        )
        raise NoKnee(
            f"no knee within {len(probes)} plays: mean completion was {told}; 3x was never "
            "crossed: play more runs, or raise knee_plays"
        )
    return FoundKnee(rate=search.knee(), idle_s=idle_s, probes=tuple(probes))

"""Finding the knee: the arrival rate at which mean completion is three times its idle value.

Sans-IO: `KneeSearch` says which rate to try next and is told the ratio that
was measured there; it doubles or halves until the knee lies between two rates,
then cuts the bracket at its geometric middle.
"""

import math
from typing import Literal

KNEE_RATIO = 3.0
Sureness = Literal["bracketed", "at least", "at most", "guessed"]


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

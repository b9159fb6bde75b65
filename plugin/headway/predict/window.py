"""Running quantiles over the most recent values."""

from bisect import bisect_left, insort
from collections import deque

WINDOW = 256
REFRESHED_AFTER = 16
"""Quantiles are worked out anew after one new value for so many held: they hardly move before."""


class QuantileWindow:
    """Median and P90 of the last `WINDOW` values; `size` are held, `count` were learned.

    Learning costs O(log n), asking O(1).
    """

    __slots__ = ("_new", "_recent", "_sorted", "count", "known_pair", "size")

    def __init__(self, values: list[float] | None = None, count: int = 0) -> None:
        self._recent: deque[float] = deque(values or (), maxlen=WINDOW)
        self._sorted = sorted(self._recent)
        self.size = len(self._recent)
        self.count = max(count, self.size)
        self._new = 0
        self.known_pair: tuple[float, float] | None = None
        """Median and P90 as last worked out, unless it is time to do so again."""

    def learn(self, value: float) -> None:
        """Take a value in; the oldest leaves when the window is full."""
        if self.size < WINDOW:
            self.size += 1
        else:
            del self._sorted[bisect_left(self._sorted, self._recent[0])]
        self._recent.append(value)
        insort(self._sorted, value)
        self.count += 1
        self._new += 1
        if self._new * REFRESHED_AFTER > self.size:
            self.known_pair = None

    def pair(self) -> tuple[float, float]:
        """Median and P90 (linear between neighbours) of the values now; there must be some."""
        ordered = self._sorted
        last = self.size - 1
        found = self.known_pair = (_at(ordered, 0.5 * last), _at(ordered, 0.9 * last))
        self._new = 0
        return found

    def values(self) -> list[float]:
        """The window's values, oldest first."""
        return list(self._recent)


def _at(ordered: list[float], place: float) -> float:
    low = int(place)
    if low + 1 >= len(ordered):
        return ordered[-1]
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])

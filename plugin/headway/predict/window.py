"""Running quantiles over the most recent values, exact within the window."""

from bisect import bisect_left, insort
from collections import deque

WINDOW = 256


class QuantileWindow:
    """Median and P90 of the last `WINDOW` values; `size` are held, `count` were learned.

    Learning costs O(log n), asking O(1).
    """

    __slots__ = ("_pair", "_recent", "_sorted", "count", "size")

    def __init__(self, values: list[float] | None = None, count: int = 0) -> None:
        self._recent: deque[float] = deque(values or ())
        self._sorted = sorted(self._recent)
        self.count = max(count, len(self._recent))
        self.size = len(self._recent)
        self._pair: tuple[float, float] | None = None

    def learn(self, value: float) -> None:
        """Take a value in; the oldest leaves when the window is full."""
        if self.size == WINDOW:
            oldest = self._recent.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        else:
            self.size += 1
        self._recent.append(value)
        insort(self._sorted, value)
        self.count += 1
        self._pair = None

    def pair(self) -> tuple[float, float]:
        """Median and P90, remembered until the next value. The window must not be empty."""
        if self._pair is None:
            self._pair = (self.quantile(0.5), self.quantile(0.9))
        return self._pair

    def quantile(self, share: float) -> float:
        """The value below which `share` of the window lies (linear between neighbours)."""
        ordered = self._sorted
        place = share * (len(ordered) - 1)
        low = int(place)
        if low + 1 >= len(ordered):
            return ordered[-1]
        return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])

    def values(self) -> list[float]:
        """The window's values, oldest first."""
        return list(self._recent)

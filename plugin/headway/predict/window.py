"""Running quantiles over the most recent values."""

from collections import deque

WINDOW = 256
REFRESHED_AFTER = 16
"""Quantiles are worked out anew after one new value for so many held: they hardly move before."""


class QuantileWindow:
    """Median and P90 of the last `WINDOW` values; `count` were learned.

    Learning costs O(1). Asking sorts the values, if it is time to: most windows are rarely asked.
    """

    __slots__ = ("_new", "_pair", "_recent", "count")

    def __init__(self, values: list[float] | None = None, count: int = 0) -> None:
        self._recent: deque[float] = deque(values or (), maxlen=WINDOW)
        self.count = max(count, len(self._recent))
        self._new = 0
        self._pair: tuple[float, float] | None = None

    def learn(self, value: float) -> None:
        """Take a value in; the oldest leaves when the window is full."""
        self._recent.append(value)
        self.count += 1
        self._new += 1

    def __len__(self) -> int:
        return len(self._recent)

    def pair(self) -> tuple[float, float]:
        """Median and P90 (linear between neighbours) as of late; there must be some values."""
        found = self._pair
        if found is None or self._new * REFRESHED_AFTER > len(self._recent):
            ordered = sorted(self._recent)
            last = len(ordered) - 1
            found = self._pair = (_at(ordered, 0.5 * last), _at(ordered, 0.9 * last))
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

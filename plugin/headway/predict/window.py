"""Running quantiles over the most recent values."""

from array import array
from typing import Any

WINDOW = 1024
"""Values kept, 8 bytes each: with fewer, a few runs that happen to be alike move the quantiles."""
REFRESHED_AFTER = 16
"""Quantiles are worked out anew after one new value for so many held: they hardly move before."""


class QuantileWindow:
    """Median and P90 of the last `WINDOW` values; `count` were learned.

    Quantiles are worked out as values come, never when they are asked for: who asks when decides
    nothing.
    """

    __slots__ = ("_new", "_oldest", "_pair", "_recent", "count")

    def __init__(self) -> None:
        self._recent = array("d")  # when full, a ring: the oldest is at `_oldest`
        self._oldest = 0
        self.count = 0
        self._new = 0
        self._pair: tuple[float, float] | None = None

    def learn(self, value: float) -> None:
        """Take a value in; the oldest leaves when the window is full."""
        recent = self._recent
        if len(recent) < WINDOW:
            recent.append(value)
        else:
            recent[self._oldest] = value
            self._oldest = (self._oldest + 1) % WINDOW
        self.count += 1
        self._new += 1
        if self._pair is None or self._new * REFRESHED_AFTER > len(recent):
            self._refresh()

    def __len__(self) -> int:
        return len(self._recent)

    def pair(self) -> tuple[float, float]:
        """Median and P90 (linear between neighbours) as of late; there must be some values."""
        found = self._pair
        assert found is not None
        return found

    def left(self, passed: float) -> list[float]:
        """By how much the values that were larger than `passed` exceed it, in order."""
        return sorted(value - passed for value in self._recent if value > passed)

    def _refresh(self) -> None:
        ordered = sorted(self._recent)
        last = len(ordered) - 1
        self._pair = (at_place(ordered, 0.5 * last), at_place(ordered, 0.9 * last))
        self._new = 0

    def saved(self) -> list[Any]:
        """All of it in plain types, the quantiles as of late too: one that is taken back answers as
        this one would.
        """
        pair = None if self._pair is None else list(self._pair)
        oldest_first = self._recent[self._oldest :] + self._recent[: self._oldest]
        return [self.count, oldest_first.tolist(), self._new, pair]

    @classmethod
    def loaded(
        cls,
        count: int,
        values: list[float],
        new: int = 0,
        pair: list[float] | None = None,
    ) -> "QuantileWindow":
        """The window that was `saved`; versions before told count and values only."""
        window = cls()
        window._recent.extend([float(value) for value in values[-WINDOW:]])
        window.count = max(int(count), len(window._recent))
        if pair is not None:
            window._new = int(new)
            window._pair = (float(pair[0]), float(pair[1]))
        elif window._recent:
            window._refresh()
        return window


def at_place(ordered: list[float], place: float) -> float:
    """The value at `place` (from 0) of ordered ones, linear between neighbours."""
    low = int(place)
    if low + 1 >= len(ordered):
        return ordered[-1]
    return ordered[low] + (place - low) * (ordered[low + 1] - ordered[low])

"""What is to happen in virtual time, in order; ties by order of entry."""

import heapq
from collections.abc import Callable
from typing import Any

from headway.core.types import Seconds


class Agenda:
    """Actions with their times. An action is called with its time and its arguments."""

    __slots__ = ("_count", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[Seconds, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def add(self, at: Seconds, action: Callable[..., None], *args: Any) -> None:
        """Have `action(at, *args)` called when it is `at`."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, action, args))

    @property
    def next_at(self) -> Seconds:
        """When the next action is due; infinite if there is none."""
        return self._heap[0][0] if self._heap else float("inf")

    def pop(self) -> None:
        """Carry out the next action."""
        at, _, action, args = heapq.heappop(self._heap)
        action(at, *args)

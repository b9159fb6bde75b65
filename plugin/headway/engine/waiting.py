"""`Waiting`: the requests without a seat, in the order in which they get one."""

import heapq

from headway.engine.sequence import Sequence


class Waiting:
    """A queue by (priority, arrival), lower first. `count` of them wait."""

    def __init__(self) -> None:
        self.count = 0
        self._heap: list[tuple[int, int, Sequence]] = []

    def push(self, sequence: Sequence) -> None:
        """The sequence waits from now on."""
        heapq.heappush(self._heap, (sequence.priority, sequence.number, sequence))
        self.count += 1

    def drop(self, sequence: Sequence) -> None:
        """It waits no longer and is never seated."""
        sequence.gone = True
        self.count -= 1

    def head(self) -> Sequence:
        """Whose turn it is. There must be one who waits."""
        while self._heap[0][2].gone:
            heapq.heappop(self._heap)
        return self._heap[0][2]

    def pop(self) -> None:
        """The head has its seat."""
        heapq.heappop(self._heap)
        self.count -= 1

"""`Decoding`: the sequences that each step gives one token, without visiting them in each step.

Steps are numbered. A member's context is `ahead` + the number of steps so
far, with `ahead` fixed when it joins; so sums over members, the blocks that
they will need and the next one to end follow from what was noted at joining
and leaving. Only members that join or leave are touched.
"""

import heapq

from headway.engine.sequence import Sequence


class Decoding:
    """The decoding members of a batch; `count` of them."""

    def __init__(self, *, block_tokens: int) -> None:
        self.count = 0
        self._block_tokens = block_tokens
        self._ahead = 0
        # Members by the remainder (step number / block size) at which they need a new block.
        self._turns = [0] * block_tokens
        self._ends: list[tuple[int, int, Sequence]] = []

    def join(self, sequence: Sequence, step: int) -> None:
        """The next step after `step` steps is the sequence's first here."""
        context = sequence.prompt_tokens + sequence.produced
        sequence.ahead = context - step
        sequence.decoding = True
        self.count += 1
        self._ahead += sequence.ahead
        self._turns[(1 - sequence.ahead) % self._block_tokens] += 1
        end = step + sequence.output_tokens - sequence.produced
        heapq.heappush(self._ends, (end, sequence.seat, sequence))

    def leave(self, sequence: Sequence, *, step: int, booked: int) -> None:
        """The sequence goes after `step` steps: what it has produced, and what it holds, is noted.

        `booked` is the step that the members' blocks are booked up to.
        """
        ahead = sequence.ahead
        sequence.produced = ahead + step - sequence.prompt_tokens
        sequence.blocks = -(-(ahead + booked) // self._block_tokens)
        sequence.decoding = False
        self.count -= 1
        self._ahead -= ahead
        self._turns[(1 - ahead) % self._block_tokens] -= 1

    def context_tokens(self, step: int) -> int:
        """Tokens that all members attend to in the next step after `step` steps."""
        return self._ahead + self.count * step

    def growth(self, after: int, upto: int) -> int:
        """Blocks that the members need to hold their context at step `upto`, not just at `after`.

        A member at `ahead` starts a block at step m if its context, ahead + m,
        is one more than a multiple of the block size.
        """
        steps = upto - after
        if steps <= 1:
            return self._turns[upto % self._block_tokens] if steps == 1 else 0
        cycles, rest = divmod(steps, self._block_tokens)
        blocks = cycles * self.count
        if rest:
            first = (after + 1) % self._block_tokens
            blocks += sum(self._turns[first : first + rest])
            beyond = first + rest - self._block_tokens
            if beyond > 0:
                blocks += sum(self._turns[:beyond])
        return blocks

    def reach(self, after: int, upto: int, available: int) -> int:
        """The last step, at most `upto`, that `available` blocks allow to go on to."""
        most = self.count * ((upto - after) // self._block_tokens + 1)
        if most <= available or self.growth(after, upto) <= available:
            return upto
        cycles, available = divmod(available, self.count)
        step = after + cycles * self._block_tokens
        while (more := self._turns[(step + 1) % self._block_tokens]) <= available:
            available -= more
            step += 1
        return step

    def next_end(self) -> int:
        """The step with which the first member has all its tokens. There must be a member."""
        while not _valid(self._ends[0]):
            heapq.heappop(self._ends)
        return self._ends[0][0]

    def ended(self, step: int) -> list[Sequence]:
        """Members that have all their tokens after `step` steps, in the order of their seats."""
        found = []
        ends = self._ends
        while ends and (ends[0][0] <= step or not _valid(ends[0])):
            entry = heapq.heappop(ends)
            if _valid(entry):
                found.append(entry[2])
        return found


def _valid(entry: tuple[int, int, Sequence]) -> bool:
    """Whether the sequence of an entry is still in the seat that the entry was made for."""
    return entry[2].seat == entry[1]

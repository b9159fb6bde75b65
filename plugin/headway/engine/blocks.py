"""The KV cache in blocks: who holds how many, and which full blocks can be found again.

A block is held privately, or shared under the hash of the whole prefix that
it ends (as vLLM's automatic prefix caching does), or idle: nobody holds it,
its content is still there, and it is the first to go when room is needed.
"""

from collections import OrderedDict

from headway.engine.sequence import Sequence


class Blocks:
    """Block accounting. Invariant: ``held + idle <= capacity``; all operations keep it."""

    def __init__(self, *, capacity: int, block_tokens: int, prefix_cache: bool) -> None:
        self.capacity = capacity
        self.block_tokens = block_tokens
        self.held = 0
        self._caching = prefix_cache
        self._holders: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def available(self) -> int:
        """Blocks that can be given out now, idle ones included."""
        return self.capacity - self.held

    def needed(self, tokens: int) -> int:
        """Blocks that hold `tokens`."""
        return -(-tokens // self.block_tokens)

    def matched(self, sequence: Sequence) -> int:
        """How many leading blocks of the sequence are in the cache.

        At least one token is always left to compute: the step that computes
        it produces the next one.
        """
        if not self._caching:
            return 0
        most = min(len(sequence.prefix), (sequence.context_tokens - 1) // self.block_tokens)
        count = 0
        while count < most and self._knows(sequence.prefix[count]):
            count += 1
        return count

    def _knows(self, block: int) -> bool:
        return block in self._holders or block in self._idle

    def take(self, sequence: Sequence) -> bool:
        """Give the sequence blocks for all its context, sharing what is cached; False: no room."""
        matched = self.matched(sequence)
        revived = sum(1 for block in sequence.prefix[:matched] if block in self._idle)
        private = self.needed(sequence.context_tokens) - matched
        if private + revived > self.available:
            return False
        for block in sequence.prefix[:matched]:
            if block in self._idle:
                del self._idle[block]
                self._holders[block] = 0
                self.held += 1
            self._holders[block] += 1
        sequence.shared = list(sequence.prefix[:matched])
        sequence.private_blocks = 0
        sequence.room_tokens = matched * self.block_tokens
        self._hold(sequence, private)
        sequence.left_to_prefill = sequence.context_tokens - matched * self.block_tokens
        return True

    def growth(self, sequence: Sequence, tokens: int) -> int:
        """Blocks that the sequence lacks to hold `tokens`."""
        lacking = tokens - sequence.room_tokens
        return 0 if lacking <= 0 else self.needed(lacking)

    def grow(self, sequence: Sequence, tokens: int) -> None:
        """Give the sequence room for `tokens`; the caller has made sure that it is there."""
        if tokens > sequence.room_tokens:
            self._hold(sequence, self.growth(sequence, tokens))

    def _hold(self, sequence: Sequence, count: int) -> None:
        sequence.private_blocks += count
        sequence.room_tokens += count * self.block_tokens
        self.held += count
        while self.held + len(self._idle) > self.capacity:
            self._idle.popitem(last=False)

    def publish(self, sequence: Sequence, tokens: int) -> None:
        """Let others find the sequence's full blocks within its first `tokens`."""
        if not self._caching:
            return
        full = min(len(sequence.prefix), tokens // self.block_tokens)
        for index in range(len(sequence.shared), full):
            block = sequence.prefix[index]
            if self._knows(block):
                # Computed twice at the same time: the copy stays private. Later
                # blocks stay private too, so that shared ones are a prefix.
                return
            self._holders[block] = 1
            sequence.shared.append(block)
            sequence.private_blocks -= 1

    def release(self, sequence: Sequence) -> None:
        """Take everything from the sequence. Tails go idle first, so prefixes live longest."""
        self.held -= sequence.private_blocks
        sequence.private_blocks = 0
        sequence.room_tokens = 0
        for block in reversed(sequence.shared):
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                self._idle[block] = None
                self.held -= 1
        sequence.shared = []

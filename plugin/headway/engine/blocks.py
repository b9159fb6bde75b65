"""The KV cache in blocks: how many are held, and which full ones can be found again.

A block is held privately, or shared under the hash of the whole prefix that
it ends (as vLLM's automatic prefix caching does), or idle: nobody holds it,
its content is still there, and it is the first to go when room is needed.
"""

from headway.engine.prefixes import Prefixes
from headway.engine.sequence import Sequence


class Blocks:
    """Block accounting. Invariant: ``held + idle <= capacity``; all operations keep it."""

    def __init__(self, *, capacity: int, block_tokens: int, prefix_cache: bool) -> None:
        self.capacity = capacity
        self.block_tokens = block_tokens
        self.held = 0
        self._caching = prefix_cache
        self._known = Prefixes()

    @property
    def available(self) -> int:
        """Blocks that can be given out now, idle ones included."""
        return self.capacity - self.held

    @property
    def idle(self) -> int:
        """Blocks with content that nobody holds."""
        return self._known.idle

    def needed(self, tokens: int) -> int:
        """Blocks that hold `tokens`."""
        return -(-tokens // self.block_tokens)

    def take(self, sequence: Sequence) -> bool:
        """Give the sequence blocks for all its context, sharing what is cached; False: no room.

        At least one token is always left to compute: the step that computes
        it produces the next one.
        """
        context_tokens = sequence.prompt_tokens + sequence.produced
        needed = self.needed(context_tokens)
        shared = 0
        if self._caching and sequence.prefix:
            most = min(len(sequence.prefix), (context_tokens - 1) // self.block_tokens)
            match = self._known.match(sequence.prefix, most)
            shared = match.blocks
            more = needed - shared + match.idle
            if more > self.available:
                return False
            sequence.shared_end = self._known.hold(match)
        else:
            more = needed
            if more > self.available:
                return False
        sequence.blocks = needed
        sequence.shared_blocks = shared
        sequence.left_to_prefill = context_tokens - shared * self.block_tokens
        self.hold(more)
        return True

    def hold(self, count: int) -> None:
        """`count` more blocks are held; the caller has made sure that they are there."""
        self.held += count
        excess = self.held + self._known.idle - self.capacity
        if excess > 0:
            self._known.forget(excess)

    def publish(self, sequence: Sequence, tokens: int) -> None:
        """Let others find the sequence's full blocks within its first `tokens`."""
        if sequence.shared_end is None:
            return
        shared = sequence.shared_blocks
        full = min(len(sequence.prefix), tokens // self.block_tokens)
        if full <= shared:
            return
        end = self._known.extend(sequence.shared_end, sequence.prefix[shared:full])
        if end is not None:
            sequence.shared_end = end
            sequence.shared_blocks = full

    def release(self, sequence: Sequence) -> None:
        """Take everything from the sequence. Tails go idle first, so prefixes live longest."""
        self.held -= sequence.blocks - sequence.shared_blocks
        if sequence.shared_end is not None:
            self.held -= self._known.release(sequence.shared_end)
            sequence.shared_end = None
        sequence.blocks = 0
        sequence.shared_blocks = 0

    def forget(self) -> None:
        """Lose the content of all idle blocks."""
        self._known.forget(self._known.idle)

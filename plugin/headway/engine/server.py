"""`Engine`: a continuous-batching server as a state machine over virtual time.

The rules are vLLM's (V1 scheduler): a step first gives every decoding
sequence one token, then spends what is left of its token budget on prompts
being computed, then seats waiting requests in the order (priority, arrival)
while seats, budget and KV blocks last. A waiting request never evicts a
running one. Only a running sequence that needs a block may evict: the worst
(priority, arrival) loses its blocks and is computed again later.

Requests join and leave between steps. Calls must come with times that do not
decrease; results never depend on how often `advance` or `next_at` are called.
"""

import heapq
from dataclasses import dataclass

from headway.core.types import Seconds
from headway.engine.blocks import Blocks
from headway.engine.happenings import Finished, FirstToken, Happening, Rejected
from headway.engine.profile import EngineProfile
from headway.engine.sequence import Sequence
from headway.engine.stretch import Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The engine's load now and its counters since the start. `kv_used` is a share of 0 to 1."""

    running: int
    waiting: int
    kv_used: float
    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
    preemptions: int
    succeeded: int
    rejected: int
    cancelled: int


class Engine:
    """One server. `submit`, `cancel` and `advance` are the only things that change it."""

    def __init__(self, profile: EngineProfile) -> None:
        self.profile = profile
        self._now: Seconds = 0.0
        self._blocks = Blocks(
            capacity=profile.kv_blocks,
            block_tokens=profile.block_tokens,
            prefix_cache=profile.prefix_cache,
        )
        self._all: dict[str, Sequence] = {}
        self._running: list[Sequence] = []
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._waiting_count = 0
        self._no_blocks = False
        self._numbers = 0
        self._stretch: Stretch | None = None
        self._chunks: list[tuple[Sequence, int]] = []
        self._out: list[Happening] = []
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._generated = 0
        self._preemptions = 0
        self._succeeded = 0
        self._rejected = 0
        self._cancelled = 0

    # What others ask of it

    def submit(
        self,
        request_id: str,
        *,
        prompt_tokens: int,
        output_tokens: int,
        at: Seconds,
        priority: int = 0,
        prefix: tuple[int, ...] = (),
    ) -> None:
        """A request arrives. LOWER `priority` is served first, ties by arrival.

        `prefix` holds one hash per full block of prompt and, where known, of
        the output behind it, each over the whole text up to the block's end.
        A request that cannot be taken ends in a `Rejected` happening. Raises
        ValueError for an id still in the engine or sizes below one.
        """
        if request_id in self._all:
            raise ValueError(f"request {request_id!r} is already in the engine")
        if prompt_tokens < 1 or output_tokens < 1:
            raise ValueError(f"request {request_id!r} needs at least one token each way")
        self._run_until(at)
        refused = self._refusal(request_id, prompt_tokens + output_tokens - 1)
        if refused is not None:
            self._rejected += 1
            self._out.append(refused)
            return
        self._numbers += 1
        sequence = Sequence(
            id=request_id,
            priority=priority,
            number=self._numbers,
            submitted_at=at,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            prefix=prefix,
        )
        self._all[request_id] = sequence
        self._enqueue(sequence)
        if self._stretch is None:
            self._plan(at)
        elif len(self._running) < self.profile.seats:
            self._cut(at)

    def cancel(self, request_id: str, *, at: Seconds) -> bool:
        """Drop a request and free its seat and blocks at once; False if it is not there."""
        self._run_until(at)
        sequence = self._all.pop(request_id, None)
        if sequence is None:
            return False
        self._cancelled += 1
        sequence.gone = True
        if not sequence.running:
            self._waiting_count -= 1
            # It may have been the one that the others wait behind.
            if len(self._running) < self.profile.seats:
                self._cut(at)
            return True
        self._cut(at)
        self._unseat(sequence)
        self._chunks = [chunk for chunk in self._chunks if chunk[0] is not sequence]
        if not self._running:
            self._plan(at)
        return True

    def advance(self, to: Seconds) -> tuple[Happening, ...]:
        """Let time pass until `to`: what happened since the last call, in order of time."""
        self._run_until(to)
        happened = tuple(self._out)
        self._out.clear()
        return happened

    def next_at(self) -> Seconds | None:
        """The earliest instant at which something may happen; None while the engine is idle.

        A bound, not a promise: the instant may only end a step of a long
        prompt. Advancing to one such instant after the other misses nothing.
        """
        if self._out:
            return self._out[0].at
        return None if self._stretch is None else self._stretch.end

    def produced(self, request_id: str) -> int:
        """Output tokens of a request by the time of the last call; 0 if it is not there."""
        sequence = self._all.get(request_id)
        if sequence is None:
            return 0
        return sequence.produced + (self._steps_done() if sequence.decoding else 0)

    def gauges(self) -> Gauges:
        """Load and counters by the time of the last call; O(batch)."""
        done = self._steps_done()
        decoding = [s for s in self._running if s.decoding] if done else []
        growing = sum(self._blocks.growth(s, s.context_tokens + done - 1) for s in decoding)
        return Gauges(
            running=len(self._running),
            waiting=self._waiting_count,
            kv_used=(self._blocks.held + growing) / self._blocks.capacity,
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            generation_tokens=self._generated + done * len(decoding),
            preemptions=self._preemptions,
            succeeded=self._succeeded,
            rejected=self._rejected,
            cancelled=self._cancelled,
        )

    # Time

    def _run_until(self, at: Seconds) -> None:
        if at < self._now:
            raise ValueError(f"time runs backwards: {at} after {self._now}")
        while self._stretch is not None:
            end = self._stretch.end
            if end > at:
                break
            self._apply(self._stretch.steps, end)
            self._plan(end)
        self._now = at

    def _steps_done(self) -> int:
        return 0 if self._stretch is None else self._stretch.done(self._now)

    def _cut(self, at: Seconds) -> None:
        """Shorten the stretch to the step in progress, so that the batch may change after it."""
        stretch = self._stretch
        if stretch is None or stretch.steps == 1:
            return
        done = stretch.done(at)
        if done:
            self._apply(done, at)
        self._stretch = Stretch(
            start=stretch.start + stretch.elapsed_s(done),
            first_s=stretch.first_s + done * stretch.growth_s,
            growth_s=stretch.growth_s,
            steps=1,
        )

    def _apply(self, steps: int, at: Seconds) -> None:
        """Book `steps` steps that end at `at`: tokens, blocks, and who is through."""
        finished = []
        for sequence in self._running:
            if sequence.left_to_prefill:
                continue
            self._blocks.grow(sequence, sequence.context_tokens + steps - 1)
            sequence.produced += steps
            self._generated += steps
            if sequence.produced >= sequence.output_tokens:
                finished.append(sequence)
        for sequence, tokens in self._chunks:
            sequence.left_to_prefill -= tokens
            if sequence.left_to_prefill == 0:
                self._prefilled(sequence, at)
                if sequence.produced >= sequence.output_tokens:
                    finished.append(sequence)
        self._chunks = []
        for sequence in finished:
            self._finish(sequence, at)

    def _prefilled(self, sequence: Sequence, at: Seconds) -> None:
        self._blocks.publish(sequence, sequence.context_tokens)
        sequence.produced += 1
        self._generated += 1
        if sequence.first_token_at is None:
            sequence.first_token_at = at
            self._out.append(FirstToken(id=sequence.id, at=at))

    def _finish(self, sequence: Sequence, at: Seconds) -> None:
        self._blocks.publish(sequence, sequence.context_tokens - 1)
        self._unseat(sequence)
        sequence.gone = True
        del self._all[sequence.id]
        self._succeeded += 1
        seated_at = at if sequence.seated_at is None else sequence.seated_at
        first_at = at if sequence.first_token_at is None else sequence.first_token_at
        self._out.append(
            Finished(
                id=sequence.id,
                at=at,
                submitted_at=sequence.submitted_at,
                first_token_at=first_at,
                output_tokens=sequence.produced,
                cached_tokens=sequence.cached_tokens,
                waited_s=seated_at - sequence.submitted_at,
                preemptions=sequence.preemptions,
            )
        )

    # Who is in the next step

    def _plan(self, at: Seconds) -> None:
        """Compose the next step, and as many like it as nothing can change."""
        self._stretch = None
        evicted = self._make_room()
        decoding = [s for s in self._running if s.left_to_prefill == 0]
        for sequence in decoding:
            # Before anybody is seated, who would take the block.
            self._blocks.grow(sequence, sequence.context_tokens)
        budget = max(0, self.profile.step_tokens - len(decoding))
        for sequence in self._running:
            if sequence.left_to_prefill:
                budget = self._give_chunk(sequence, budget)
        if not evicted:
            self._seat_waiting(at, budget)
        if not decoding and not self._chunks:
            return
        context = sum(s.context_tokens for s in decoding)
        self._stretch = Stretch(
            start=at,
            first_s=self.profile.step_time_s(
                sequences=len(decoding),
                context_tokens=context,
                prefill_tokens=sum(tokens for _, tokens in self._chunks),
            ),
            growth_s=len(decoding) * self.profile.context_s,
            # After an eviction nobody was seated; the next step may seat again.
            steps=1 if self._chunks or evicted else self._identical_steps(decoding),
        )

    def _make_room(self) -> bool:
        """Evict the worst until every decoding sequence can grow by one token; True if any went.

        The last one left always fits: `submit` rejects what the cache cannot hold.
        """
        evicted = False
        while True:
            decoding = [s for s in self._running if s.left_to_prefill == 0]
            if self._lacking(decoding, 1) <= self._blocks.available:
                return evicted
            worst = max(self._running, key=lambda s: s.order)
            self._unseat(worst)
            worst.preemptions += 1
            self._preemptions += 1
            self._enqueue(worst)
            evicted = True

    def _lacking(self, decoding: list[Sequence], steps: int) -> int:
        """Blocks that `steps` more steps of these sequences need."""
        return sum(self._blocks.growth(s, s.context_tokens + steps - 1) for s in decoding)

    def _identical_steps(self, decoding: list[Sequence]) -> int:
        """Steps until the first of these finishes or the blocks run out; at least one."""
        most = min(s.output_tokens - s.produced for s in decoding)
        if self._lacking(decoding, most) <= self._blocks.available:
            return most
        low, high = 1, most - 1
        while low < high:
            middle = (low + high + 1) // 2
            if self._lacking(decoding, middle) <= self._blocks.available:
                low = middle
            else:
                high = middle - 1
        return low

    def _seat_waiting(self, at: Seconds, budget: int) -> None:
        self._no_blocks = False
        while budget and len(self._running) < self.profile.seats and self._waiting:
            sequence = self._waiting[0][2]
            if sequence.gone:
                heapq.heappop(self._waiting)
                continue
            if not self._blocks.take(sequence):
                self._no_blocks = True
                return
            heapq.heappop(self._waiting)
            self._waiting_count -= 1
            self._running.append(sequence)
            sequence.running = True
            if sequence.seated_at is None:
                sequence.seated_at = at
                sequence.cached_tokens = sequence.context_tokens - sequence.left_to_prefill
                self._prompt_tokens += sequence.prompt_tokens
                self._cached_tokens += sequence.cached_tokens
            budget = self._give_chunk(sequence, budget)

    def _give_chunk(self, sequence: Sequence, budget: int) -> int:
        """Spend budget on the sequence's prompt; what is left of it."""
        tokens = min(budget, sequence.left_to_prefill)
        if tokens:
            self._chunks.append((sequence, tokens))
        return budget - tokens

    def _enqueue(self, sequence: Sequence) -> None:
        heapq.heappush(self._waiting, (sequence.priority, sequence.number, sequence))
        self._waiting_count += 1

    def _unseat(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self._blocks.release(sequence)
        sequence.running = False
        sequence.left_to_prefill = 0

    def _refusal(self, request_id: str, kv_tokens: int) -> Rejected | None:
        if self._blocks.needed(kv_tokens) > self._blocks.capacity:
            room = self._blocks.capacity * self._blocks.block_tokens
            why = f"the request needs {kv_tokens} tokens of KV cache, the engine has {room}"
            return Rejected(id=request_id, at=self._now, kind="too_long", why=why)
        limit = self.profile.queue_limit
        if (
            limit is not None
            and self._waiting_count >= limit
            and (self._no_blocks or len(self._running) + self._waiting_count >= self.profile.seats)
        ):
            why = f"the engine is busy: {self._waiting_count} requests wait, {limit} may"
            return Rejected(id=request_id, at=self._now, kind="busy", why=why)
        return None

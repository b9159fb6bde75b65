"""`Engine`: a continuous-batching server as a state machine over virtual time.

The rules are vLLM's (V1 scheduler): a step first gives every decoding
sequence one token, then spends what is left of its token budget on prompts
being computed, then seats waiting requests in the order (priority, arrival)
while seats, budget and KV blocks last. A waiting request never evicts a
running one. Only a running sequence that needs a block may evict: the worst
(priority, arrival) loses its blocks and is computed again later.

Requests join and leave between steps. Calls must come with times that do not
decrease; results never depend on how often `advance` or `next_at` are called.
The cost of a request does not grow with the batch: see `Stretch` and `Decoding`.

An engine that sleeps holds no KV cache and runs no step until it is awake
(as vLLM's sleep mode: what was cached is gone).
"""

from headway.core.types import Seconds
from headway.engine.blocks import Blocks
from headway.engine.decoding import Decoding
from headway.engine.gauges import Counters, Gauges
from headway.engine.happenings import FirstToken, Happening, Rejected
from headway.engine.profile import EngineProfile
from headway.engine.sequence import Sequence
from headway.engine.stretch import Stretch
from headway.engine.waiting import Waiting


class Engine:
    """One server. `submit`, `cancel`, `wake` and `advance` are the only things that change it."""

    def __init__(self, profile: EngineProfile, *, asleep: bool = False) -> None:
        self.profile = profile
        self._now: Seconds = 0.0
        self._blocks = Blocks(
            capacity=profile.kv_blocks,
            block_tokens=profile.block_tokens,
            prefix_cache=profile.prefix_cache,
        )
        self._all: dict[str, Sequence] = {}
        self._running: dict[int, Sequence] = {}
        self._prefilling: list[Sequence] = []
        self._decoding = Decoding(block_tokens=profile.block_tokens)
        self._waiting = Waiting()
        self._no_blocks = False
        self._numbers = 0
        self._seatings = 0
        # Steps so far, and the one up to which decoding sequences have their blocks.
        self._steps = 0
        self._booked = 0
        self._stretch: Stretch | None = None
        self._chunks: list[tuple[Sequence, int]] = []
        self._asleep = asleep
        self._idle_since: Seconds = 0.0
        self._out: list[Happening] = []
        self._counters = Counters()

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
        prefilled: bool = False,
    ) -> None:
        """A request arrives. LOWER `priority` is served first, ties by arrival.

        `prefix` holds one hash per full block of prompt and, where known, of
        the output behind it, each over the whole text up to the block's end.
        `prefilled`: the prompt's KV arrived from another engine; it needs its
        blocks, but its first step decodes (unless it is evicted and computed again).
        A request that cannot be taken ends in a `Rejected` happening; any other
        wakes an engine that sleeps. Raises ValueError for an id still in the
        engine or sizes below one.
        """
        if request_id in self._all:
            raise ValueError(f"request {request_id!r} is already in the engine")
        if prompt_tokens < 1 or output_tokens < 1:
            raise ValueError(f"request {request_id!r} needs at least one token each way")
        self._run_until(at)
        refused = self._refusal(request_id, prompt_tokens + output_tokens - 1)
        if refused is not None:
            self._counters.rejected += 1
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
            transferred=prefilled,
        )
        self._all[request_id] = sequence
        self._waiting.push(sequence)
        if self._stretch is None:
            if not self._begin_to_wake(at):
                self._plan(at)
        elif len(self._running) < self.profile.seats:
            self._cut(at)

    def cancel(self, request_id: str, *, at: Seconds) -> bool:
        """Drop a request and free its seat and blocks at once; False if it is not there."""
        self._run_until(at)
        sequence = self._all.pop(request_id, None)
        if sequence is None:
            return False
        self._counters.cancelled += 1
        if not sequence.seat:
            self._waiting.drop(sequence)
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

    def wake(self, *, at: Seconds) -> None:
        """Begin to wake up without a request, so that one to come need not wait; or stay awake."""
        self._run_until(at)
        if self._stretch is None and not self._begin_to_wake(at):
            self._idle_since = at

    def advance(self, to: Seconds) -> tuple[Happening, ...]:
        """Let time pass until `to`: what happened since the last call, in order of time."""
        self._run_until(to)
        if not self._out:
            return ()
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
        if not sequence.decoding:
            return sequence.produced
        return sequence.ahead + self._steps + self._steps_done() - sequence.prompt_tokens

    def gauges(self) -> Gauges:
        """Load and counters by the time of the last call."""
        counters, done = self._counters, self._steps_done()
        held_to = max(self._booked, self._steps + done - 1)
        growing = self._decoding.growth(self._booked, held_to)
        return Gauges(
            running=len(self._running),
            waiting=self._waiting.count,
            kv_used=(self._blocks.held + growing) / self._blocks.capacity,
            prompt_tokens=counters.prompt_tokens,
            cached_tokens=counters.cached_tokens,
            generation_tokens=counters.generated + done * self._decoding.count,
            preemptions=counters.preemptions,
            succeeded=counters.succeeded,
            rejected=counters.rejected,
            cancelled=counters.cancelled,
            asleep=self._sleeps(self._now),
        )

    # Sleep

    def _sleeps(self, at: Seconds) -> bool:
        after = self.profile.sleep_after_s
        dozed_off = after is not None and self._stretch is None and at - self._idle_since >= after
        return self._asleep or dozed_off

    def _begin_to_wake(self, at: Seconds) -> bool:
        """Whether the idle engine has to wake up; then a stretch without any work is the waking."""
        if not self._sleeps(at):
            return False
        self._blocks.forget()
        self._asleep = True
        self._stretch = Stretch(start=at, first_s=self.profile.wake_s)
        return True

    # Time

    def _run_until(self, at: Seconds) -> None:
        if at < self._now:
            raise ValueError(f"time runs backwards: {at} after {self._now}")
        stretch = self._stretch
        while stretch is not None and stretch.end <= at:
            self._apply(stretch.steps, stretch.end)
            self._plan(stretch.end)
            stretch = self._stretch
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
            self._book(self._steps)  # the step in progress has its blocks already
        self._stretch = Stretch(
            start=stretch.start + stretch.elapsed_s(done),
            first_s=stretch.first_s + done * stretch.growth_s,
            growth_s=stretch.growth_s,
        )

    def _apply(self, steps: int, at: Seconds) -> None:
        """Book `steps` steps that end at `at`: tokens, blocks, and who is through."""
        self._book(self._steps + steps - 1)
        self._steps += steps
        self._counters.generated += steps * self._decoding.count
        finished = self._decoding.ended(self._steps)
        if self._chunks:
            chunks, self._chunks = self._chunks, []
            for sequence, tokens in chunks:
                sequence.left_to_prefill -= tokens
                if sequence.left_to_prefill == 0:
                    self._prefilled(sequence, at)
                    if not sequence.decoding:
                        finished.append(sequence)
        for sequence in finished:
            self._finish(sequence, at)

    def _prefilled(self, sequence: Sequence, at: Seconds) -> None:
        """The prompt's KV is complete, and so is the first token behind it."""
        self._blocks.publish(sequence, sequence.context_tokens)
        if sequence.first_token_at is None:
            sequence.first_token_at = at
            self._out.append(FirstToken(id=sequence.id, at=at))
        if sequence.decoding:
            # Its KV was transferred: the step was one of decoding, and is counted as such.
            return
        self._prefilling.remove(sequence)
        sequence.produced += 1
        self._counters.generated += 1
        if sequence.produced < sequence.output_tokens:
            self._decoding.join(sequence, self._steps)

    def _finish(self, sequence: Sequence, at: Seconds) -> None:
        if sequence.decoding:
            self._stop_decoding(sequence)
        self._blocks.publish(sequence, sequence.context_tokens - 1)
        self._unseat(sequence)
        del self._all[sequence.id]
        self._counters.succeeded += 1
        self._out.append(sequence.finished(at))

    # Who is in the next step

    def _plan(self, at: Seconds) -> None:
        """Compose the next step, and as many like it as nothing can change."""
        self._stretch = None
        self._asleep = False
        decoding = self._decoding
        evicted = self._make_room() if decoding.count else False
        # Before anybody is seated, who would take the blocks.
        self._book(self._steps)
        budget = max(0, self.profile.step_tokens - decoding.count)
        for sequence in self._prefilling:
            budget = self._give_chunk(sequence, budget)
        if not evicted:
            self._seat_waiting(at, budget)
        count = decoding.count
        if not count and not self._chunks:
            self._idle_since = at
            return
        self._stretch = Stretch(
            start=at,
            first_s=self.profile.step_time_s(
                sequences=count,
                context_tokens=decoding.context_tokens(self._steps),
                prefill_tokens=sum([tokens for _, tokens in self._chunks]),
            ),
            growth_s=count * self.profile.context_s,
            # After an eviction nobody was seated; the next step may seat again.
            steps=1 if self._chunks or evicted else self._identical_steps(count),
        )

    def _make_room(self) -> bool:
        """Evict the worst until every decoding sequence can grow by one token; True if any went.

        The last one left always fits: `submit` rejects what the cache cannot hold.
        """
        evicted = False
        while self._decoding.growth(self._booked, self._steps) > self._blocks.available:
            worst = max(self._running.values(), key=lambda s: s.order)
            self._unseat(worst)
            worst.preemptions += 1
            self._counters.preemptions += 1
            self._waiting.push(worst)
            evicted = True
        return evicted

    def _book(self, step: int) -> None:
        """Give every decoding sequence the blocks for its context at `step`."""
        if step > self._booked:
            self._blocks.hold(self._decoding.growth(self._booked, step))
            self._booked = step

    def _identical_steps(self, decoding: int) -> int:
        """Steps until the first of the decoding ends or the blocks run out; at least one."""
        if not decoding:
            return 1
        last = self._decoding.next_end() - 1
        return self._decoding.reach(self._steps, last, self._blocks.available) + 1 - self._steps

    def _seat_waiting(self, at: Seconds, budget: int) -> None:
        self._no_blocks = False
        while budget and self._waiting.count and len(self._running) < self.profile.seats:
            sequence = self._waiting.head()
            if not self._blocks.take(sequence):
                self._no_blocks = True
                return
            self._waiting.pop()
            self._seatings += 1
            sequence.seat = self._seatings
            self._running[sequence.seat] = sequence
            if sequence.seated_at is None:
                sequence.seated_at = at
                sequence.cached_tokens = sequence.shared_blocks * self._blocks.block_tokens
                self._counters.prompt_tokens += sequence.prompt_tokens
                self._counters.cached_tokens += sequence.cached_tokens
            if sequence.transferred:
                budget -= 1
                self._begin_transferred(sequence)
            else:
                self._prefilling.append(sequence)
                budget = self._give_chunk(sequence, budget)

    def _begin_transferred(self, sequence: Sequence) -> None:
        """Its first step decodes; the KV will not be there again if it is evicted."""
        sequence.transferred = False
        sequence.left_to_prefill = 0
        self._decoding.join(sequence, self._steps)
        self._chunks.append((sequence, 0))

    def _give_chunk(self, sequence: Sequence, budget: int) -> int:
        """Spend budget on the sequence's prompt; what is left of it."""
        tokens = min(budget, sequence.left_to_prefill)
        if tokens:
            self._chunks.append((sequence, tokens))
        return budget - tokens

    def _stop_decoding(self, sequence: Sequence) -> None:
        self._decoding.leave(sequence, step=self._steps, booked=self._booked)

    def _unseat(self, sequence: Sequence) -> None:
        if sequence.decoding:
            self._stop_decoding(sequence)
        elif sequence.left_to_prefill:
            self._prefilling.remove(sequence)
        del self._running[sequence.seat]
        sequence.seat = 0
        sequence.left_to_prefill = 0
        self._blocks.release(sequence)

    def _refusal(self, request_id: str, kv_tokens: int) -> Rejected | None:
        if self._blocks.needed(kv_tokens) > self._blocks.capacity:
            room = self._blocks.capacity * self._blocks.block_tokens
            why = f"the request needs {kv_tokens} tokens of KV cache, the engine has {room}"
            return Rejected(id=request_id, at=self._now, kind="too_long", why=why)
        limit = self.profile.queue_limit
        if (
            limit is not None
            and self._waiting.count >= limit
            and (self._no_blocks or len(self._running) + self._waiting.count >= self.profile.seats)
        ):
            why = f"the engine is busy: {self._waiting.count} requests wait, {limit} may"
            return Rejected(id=request_id, at=self._now, kind="busy", why=why)
        return None

"""The rules of `headway.engine.Engine` in the plainest form: each step and block by itself.

The fast engine is judged against it, and the benchmark measured against it.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from headway.engine import EngineProfile, Finished, FirstToken, Happening, Rejected


@dataclass(eq=False)
class Request:
    """A request, its place in the order, and what it holds."""

    id: str
    order: tuple[int, int]
    prompt: int
    output: int
    prefix: tuple[int, ...]
    transferred: bool
    submitted_at: float
    produced: int = 0
    left: int = 0
    private: int = 0
    shared: list[int] = field(default_factory=list)
    cached: int = 0
    seated_at: float | None = None
    first_at: float | None = None
    preemptions: int = 0

    @property
    def context(self) -> int:
        return self.prompt + self.produced


class NaiveEngine:
    """`submit`, `cancel` and `advance` as `Engine` has them."""

    def __init__(self, profile: EngineProfile, *, asleep: bool = False) -> None:
        self.profile = profile
        self.running: list[Request] = []
        self.waiting: list[Request] = []
        self.holders: dict[int, int] = {}
        self.idle: OrderedDict[int, None] = OrderedDict()
        self.held = 0
        self.step: list[tuple[Request, int]] | None = None
        self.ends = 0.0
        self.asleep = asleep
        self.idle_since = 0.0
        self.number = 0
        self.no_blocks = False
        self.out: list[Happening] = []

    def submit(
        self,
        request_id: str,
        *,
        prompt_tokens: int,
        output_tokens: int,
        at: float,
        priority: int = 0,
        prefix: tuple[int, ...] = (),
        prefilled: bool = False,
    ) -> None:
        self._until(at)
        profile, waiting = self.profile, len(self.waiting)
        if self._blocks(prompt_tokens + output_tokens - 1) > profile.kv_blocks:
            self.out.append(Rejected(id=request_id, at=at, kind="too_long", why=""))
            return
        full = self.no_blocks or len(self.running) + waiting >= profile.seats
        if profile.queue_limit is not None and waiting >= profile.queue_limit and full:
            self.out.append(Rejected(id=request_id, at=at, kind="busy", why=""))
            return
        self.number += 1
        known = prefix if profile.prefix_cache else ()
        self.waiting.append(
            Request(
                id=request_id,
                order=(priority, self.number),
                prompt=prompt_tokens,
                output=output_tokens,
                prefix=known,
                transferred=prefilled,
                submitted_at=at,
            )
        )
        if self.step is None:
            after = profile.sleep_after_s
            if self.asleep or (after is not None and at - self.idle_since >= after):
                self.idle.clear()
                self.step, self.ends = [], at + profile.wake_s
            else:
                self._begin(at)

    def cancel(self, request_id: str, *, at: float) -> bool:
        self._until(at)
        for one in self.waiting:
            if one.id == request_id:
                self.waiting.remove(one)
                return True
        for one in self.running:
            if one.id == request_id:
                self._unseat(one)
                self.step = [part for part in self.step or [] if part[0] is not one]
                if not self.running:
                    self._begin(at)
                return True
        return False

    def advance(self, to: float) -> tuple[Happening, ...]:
        self._until(to)
        out, self.out = tuple(self.out), []
        return out

    def next_at(self) -> float | None:
        if self.out:
            return self.out[0].at
        return None if self.step is None else self.ends

    def _until(self, at: float) -> None:
        while self.step is not None and self.ends <= at:
            self._end(self.ends)
            self._begin(self.ends)

    def _end(self, at: float) -> None:
        step, self.step = self.step or [], None
        decoded = [one for one, tokens in step if not tokens]
        computed = [one for one, tokens in step if tokens]
        for one in decoded:
            one.produced += 1
        for one, tokens in step:
            one.left -= tokens
        done = [one for one in computed if not one.left]
        for one in step:
            if one[0].transferred:
                one[0].transferred = False
                self._publish(one[0], one[0].context - 1)
                self._first(one[0], at)
            elif one[0] in done:
                self._publish(one[0], one[0].context)
                one[0].produced += 1
                self._first(one[0], at)
        for one in decoded + done:
            if one.produced == one.output:
                self._publish(one, one.context - 1)
                self._unseat(one)
                self._finished(one, at)

    def _first(self, one: Request, at: float) -> None:
        if one.first_at is None:
            one.first_at = at
            self.out.append(FirstToken(id=one.id, at=at))

    def _finished(self, one: Request, at: float) -> None:
        assert one.seated_at is not None and one.first_at is not None
        self.out.append(
            Finished(
                id=one.id,
                at=at,
                submitted_at=one.submitted_at,
                first_token_at=one.first_at,
                output_tokens=one.produced,
                cached_tokens=one.cached,
                waited_s=one.seated_at - one.submitted_at,
                preemptions=one.preemptions,
            )
        )

    def _begin(self, at: float) -> None:
        profile = self.profile
        self.step, self.asleep = None, False
        evicted = False
        while True:
            decoding = [one for one in self.running if not one.left]
            lacking = sum(self._blocks(one.context) - self._has(one) for one in decoding)
            if lacking <= profile.kv_blocks - self.held:
                break
            worst = max(self.running, key=lambda one: one.order)
            self._unseat(worst)
            worst.preemptions += 1
            worst.left = 0
            self.waiting.append(worst)
            evicted = True
        for one in decoding:
            self._hold(one, self._blocks(one.context) - self._has(one))
        step = [(one, 0) for one in decoding]
        budget = max(0, profile.step_tokens - len(decoding))
        for one in self.running:
            if one.left and budget:
                step.append((one, min(budget, one.left)))
                budget -= step[-1][1]
        if not evicted:
            self._seat(at, step, budget)
        if not step:
            self.idle_since = at
            return
        decoding = [one for one, tokens in step if not tokens]
        self.step = step
        self.ends = at + profile.step_time_s(
            sequences=len(decoding),
            context_tokens=sum(one.context for one in decoding),
            prefill_tokens=sum(tokens for _, tokens in step),
        )

    def _seat(self, at: float, step: list[tuple[Request, int]], budget: int) -> None:
        self.no_blocks = False
        while budget and self.waiting and len(self.running) < self.profile.seats:
            one = min(self.waiting, key=lambda one: one.order)
            if not self._take(one):
                self.no_blocks = True
                return
            self.waiting.remove(one)
            self.running.append(one)
            if one.seated_at is None:
                one.seated_at = at
                one.cached = len(one.shared) * self.profile.block_tokens
            if one.transferred:
                one.left = 0
                step.append((one, 0))
                budget -= 1
            else:
                step.append((one, min(budget, one.left)))
                budget -= step[-1][1]

    def _blocks(self, tokens: int) -> int:
        return -(-tokens // self.profile.block_tokens)

    def _has(self, one: Request) -> int:
        return one.private + len(one.shared)

    def _hold(self, one: Request, count: int) -> None:
        one.private += count
        self.held += count
        while self.held + len(self.idle) > self.profile.kv_blocks:
            self.idle.popitem(last=False)

    def _take(self, one: Request) -> bool:
        matched = []
        for block in one.prefix[: (one.context - 1) // self.profile.block_tokens]:
            if block not in self.holders and block not in self.idle:
                break
            matched.append(block)
        revived = [block for block in matched if block in self.idle]
        private = self._blocks(one.context) - len(matched)
        if private + len(revived) > self.profile.kv_blocks - self.held:
            return False
        for block in revived:
            del self.idle[block]
            self.held += 1
        for block in matched:
            self.holders[block] = self.holders.get(block, 0) + 1
        one.shared = matched
        self._hold(one, private)
        one.left = one.context - len(matched) * self.profile.block_tokens
        return True

    def _publish(self, one: Request, tokens: int) -> None:
        for block in one.prefix[len(one.shared) : tokens // self.profile.block_tokens]:
            if block in self.holders or block in self.idle:
                return
            self.holders[block] = 1
            one.shared.append(block)
            one.private -= 1

    def _unseat(self, one: Request) -> None:
        self.running.remove(one)
        self.held -= one.private
        for block in reversed(one.shared):
            self.holders[block] -= 1
            if not self.holders[block]:
                del self.holders[block]
                self.idle[block] = None
                self.held -= 1
        one.private, one.shared = 0, []

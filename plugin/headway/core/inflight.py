"""The calls on one server as predicted: how far they are, and what is still to come.

Progress is counted in decode steps of the server, so that a call's share of the work is
known without looking at it: it is as far as the steps since it began. Sums are kept as
calls come, wear out and go, so most questions are answered without a look at every call.
Calls beyond the server's seats stand in line and do not progress. Asking changes nothing, not
even how sums are rounded: a replay has no lookers-on. Congestion follows Chimera (arXiv
2603.22206, sec. 3): predicted tokens in flight times the time of a decode step over the
sequences decoded at once.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass

from headway.core.calls import CallKey
from headway.core.footprint import Holding, peak
from headway.core.pool import Profile
from headway.core.types import Seconds

WORN_OUT_SHARE = 0.1
"""A call that outlived its prediction still has this share of it ahead."""


@dataclass(slots=True, kw_only=True)
class Load:
    """One call on an endpoint, as predicted at its release, when `speed` was believed.

    `rest_tokens` are the run's horizon (work in tokens) with this call; `had_room`: the engine was
    expected to start it at once. `begun` is the server's step count when it got a seat; None
    while it stands in line. Calls of a `run` that are here together hold what they share once.
    """

    prompt_tokens: int
    output_tokens: float
    kv_tokens: float
    released_at: Seconds
    speed: float = 1.0
    uncached_tokens: float = 0.0
    rest_tokens: float = 0.0
    had_room: bool = True
    begun: float | None = None
    worn: bool = False
    run: str = ""


class InFlight:
    """All calls on one server; endpoints of the server share it.

    `pace` must be told whenever the length of a step may have changed.
    """

    __slots__ = (
        "_at",
        "_context",
        "_fresh",
        "_fresh_begun",
        "_fresh_end",
        "_kv",
        "_least",
        "_line",
        "_line_tokens",
        "_number",
        "_peak",
        "_step_s",
        "_steps",
        "_wears",
        "_worn_left",
        "loads",
    )

    def __init__(self) -> None:
        self.loads: dict[CallKey, Load] = {}
        self._at: Seconds = 0.0
        self._number = 0
        self._step_s: Seconds = 1.0
        self._clear()

    def _clear(self) -> None:
        """An empty server: sums start anew, so that rounding does not pile up."""
        self._steps = 0.0
        self._fresh = 0
        self._fresh_begun = self._fresh_end = self._worn_left = 0.0
        self._context = self._kv = self._line_tokens = 0.0
        self._line: deque[CallKey] = deque()
        self._wears: list[tuple[float, int, CallKey]] = []
        self._least: tuple[Seconds, float] | None = None
        self._peak: float | None = None

    def __repr__(self) -> str:
        return f"InFlight({self.loads!r})"

    @property
    def seated(self) -> int:
        """Calls that progress."""
        return len(self.loads) - len(self._line)

    @property
    def kv_bound(self) -> float:
        """KV tokens that the calls hold at the very most: prompt and P90 of the output, each."""
        return self._kv

    @property
    def kv_tokens(self) -> float:
        """KV tokens that the calls come to hold together (`footprint.peak`), as foreseen
        when one came or went last.
        """
        if self._peak is None:
            self._peak = min(peak(self._holdings()).tokens, self._kv)
        return self._peak

    def _holdings(self) -> list[Holding]:
        found = []
        seen: set[str] = set()
        for load in sorted(self.loads.values(), key=_ends_last):
            written = 0.0 if load.begun is None else max(self._steps - load.begun, 0.0)
            shared = load.run and load.run in seen
            seen.add(load.run)
            found.append(
                Holding(
                    prompt=load.uncached_tokens if shared else load.prompt_tokens,
                    written=written,
                    p50=load.output_tokens,
                    p90=load.kv_tokens - load.prompt_tokens,
                )
            )
        return found

    def pace(self, at: Seconds, profile: Profile, speed: float) -> None:
        """From `at` on steps take what `profile` says of the calls now seated, times `speed`."""
        if at > self._at:
            self._advance(at)
        context = self._context + max(self._fresh * self._steps - self._fresh_begun, 0.0)
        self._step_s = profile.step_time_s(max(self.seated, 1), context) * speed

    def add(self, key: CallKey, load: Load, room: int | None) -> None:
        """A call was released to the server, which seats `room` at once (None: any number)."""
        if not self.loads:
            self._at = load.released_at
        self._advance(load.released_at)
        self.loads[key] = load
        load.begun = None
        self._kv += load.kv_tokens
        if room is not None and self.seated > room:
            self._line.append(key)
            self._line_tokens += load.output_tokens
        else:
            # told late, it began before what has been counted
            late_s = max(self._at - load.released_at, 0.0)
            self._seat(key, load, self._steps - late_s / self._step_s)

    def remove(self, key: CallKey, at: Seconds, room: int | None) -> Load | None:
        """A call is closed; None if it was not here. The first in line gets its seat."""
        load = self.loads.pop(key, None)
        if load is None:
            return None
        if not self.loads:
            self._clear()
            return load
        self._advance(at)
        self._kv -= load.kv_tokens
        if load.begun is None:
            self._line.remove(key)
            self._line_tokens -= load.output_tokens
            return load
        self._unseat(load)
        while self._line and (room is None or self.seated < room):
            first = self._line.popleft()
            waited = self.loads[first]
            self._line_tokens -= waited.output_tokens
            self._seat(first, waited, self._steps)
        return load

    def tokens_left(self, at: Seconds) -> float:
        """Predicted output tokens that are still to come, of all calls."""
        steps = self._steps_by(at)
        left = max(self._fresh_end - self._fresh * steps, 0.0)
        for load in self._wearing(steps):
            assert load.begun is not None
            done = steps - load.begun
            left += done - (1.0 - WORN_OUT_SHARE) * load.output_tokens
        return left + self._worn_left + self._line_tokens

    def context_tokens(self, at: Seconds) -> float:
        """Tokens of prompts and answers that the seated calls attend to."""
        steps = self._steps_by(at)
        done = max(self._fresh * steps - self._fresh_begun, 0.0)
        for load in self._wearing(steps):
            assert load.begun is not None
            done -= steps - load.begun - load.output_tokens
        return self._context + done

    def least_left(self, at: Seconds) -> float:
        """The fewest tokens that any seated call still has to come; 0 of none."""
        known = self._least
        if known is None or known[0] != at:
            steps = self._steps_by(at)
            least = min(
                (
                    max(
                        load.output_tokens - (steps - load.begun),
                        load.output_tokens * WORN_OUT_SHARE,
                    )
                    for load in self.loads.values()
                    if load.begun is not None
                ),
                default=0.0,
            )
            known = self._least = (at, least)
        return known[1]

    def _steps_by(self, at: Seconds) -> float:
        return self._steps + (at - self._at) / self._step_s if at > self._at else self._steps

    def _wearing(self, steps: float) -> list[Load]:
        """Calls that wear out by `steps` and are not yet counted as worn."""
        wears = self._wears
        if not wears or wears[0][0] > steps:
            return []
        found, look = [], [0]
        while look:  # those of a heap that are below a bound hang together at its top
            place = look.pop()
            if place < len(wears) and wears[place][0] <= steps:
                load = self.loads.get(wears[place][2])
                if load is not None and load.begun is not None and not load.worn:
                    found.append(load)
                look += (2 * place + 1, 2 * place + 2)
        return found

    def _seat(self, key: CallKey, load: Load, begun: float) -> None:
        load.begun, load.worn = begun, False
        self._number += 1
        output = load.output_tokens
        self._fresh += 1
        self._fresh_begun += begun
        self._fresh_end += begun + output
        self._context += load.prompt_tokens
        worn_at = begun + (1.0 - WORN_OUT_SHARE) * output
        heapq.heappush(self._wears, (worn_at, self._number, key))
        self._wear_out()

    def _unseat(self, load: Load) -> None:
        assert load.begun is not None
        self._context -= load.prompt_tokens
        if load.worn:
            self._worn_left -= load.output_tokens * WORN_OUT_SHARE
            self._context -= load.output_tokens
        else:
            self._fresh -= 1
            self._fresh_begun -= load.begun
            self._fresh_end -= load.begun + load.output_tokens

    def _advance(self, at: Seconds) -> None:
        """Count the steps until `at`. What was worked out before holds no more."""
        self._least = self._peak = None
        if at > self._at:
            self._steps += (at - self._at) / self._step_s
            self._at = at
            self._wear_out()

    def _wear_out(self) -> None:
        """Calls that have come as far as was predicted stay, with a share of it ahead."""
        wears = self._wears
        while wears and wears[0][0] <= self._steps:
            key = heapq.heappop(wears)[2]
            load = self.loads.get(key)
            if load is None or load.begun is None or load.worn:
                continue
            self._unseat(load)
            load.worn = True
            left = load.output_tokens * WORN_OUT_SHARE
            self._worn_left += left
            self._context += load.prompt_tokens + load.output_tokens


def _ends_last(load: Load) -> float:
    """For sorting: the call of a run that ends last keeps what they share."""
    begun = math.inf if load.begun is None else load.begun
    return -(begun + load.output_tokens)

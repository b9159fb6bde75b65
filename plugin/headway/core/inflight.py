"""The calls on one server as predicted: how far they are, and what is still to come.

Progress is counted in decode steps of the server, so that a call's share of the work is
known without looking at it: it is as far as the steps since it began. What it has ahead then is
told by `remaining`. Sums are kept as calls come, outlive their forecast and go, so most questions
are answered without a look at every call.
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
from headway.core.remaining import Piece, ahead, pieces
from headway.core.types import Seconds


@dataclass(slots=True, kw_only=True)
class Load:
    """One call on an endpoint, as predicted at its release, when `speed` was believed.

    `rest_tokens` are the run's horizon (work in tokens) with this call; `had_room`: the engine was
    expected to start it at once. `kv_tokens` are its prompt and its answer's P90. Calls of a `run`
    that are here together hold what they share once.

    Kept by `InFlight`: `begun` is the server's step count when the call got a seat, None while it
    stands in line; `pieces` tell what is ahead of it, `piece` which of them counts now; `number`
    says how many were seated by then.
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
    pieces: tuple[Piece, ...] = ()
    piece: int = 0
    number: int = 0
    run: str = ""

    @property
    def p90(self) -> float:
        """Of the answer's tokens."""
        return self.kv_tokens - self.prompt_tokens

    def left(self, written: float) -> float:
        """Tokens ahead once `written` have come."""
        return ahead(self.pieces, written)


class InFlight:
    """All calls on one server; endpoints of the server share it.

    `pace` must be told whenever the length of a step may have changed.
    """

    __slots__ = (
        "_ahead",
        "_at",
        "_begun",
        "_fall",
        "_kv",
        "_least",
        "_line",
        "_line_tokens",
        "_number",
        "_peak",
        "_prompts",
        "_step_s",
        "_steps",
        "_turns",
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
        # of the seated calls: what is ahead of all as a line over the steps, and what they began at
        self._ahead = self._fall = self._begun = 0.0
        self._prompts = self._kv = self._line_tokens = 0.0
        self._line: deque[CallKey] = deque()
        self._turns: list[tuple[float, int, CallKey]] = []
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
                    p90=load.p90,
                )
            )
        return found

    def pace(self, at: Seconds, profile: Profile, speed: float) -> None:
        """From `at` on steps take what `profile` says of the calls now seated, times `speed`."""
        if at > self._at:
            self._advance(at)
        context = self._context_by(self._steps)
        self._step_s = profile.step_time_s(max(self.seated, 1), context) * speed

    def add(self, key: CallKey, load: Load, room: int | None) -> None:
        """A call was released to the server, which seats `room` at once (None: any number)."""
        if not self.loads:
            self._at = load.released_at
        self._advance(load.released_at)
        self.loads[key] = load
        load.begun = None
        load.pieces = pieces(load.output_tokens, load.p90)
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
        left = self._ahead - self._fall * steps
        for load in self._turning(steps):
            assert load.begun is not None
            written = steps - load.begun
            left += load.left(written) - load.pieces[load.piece].left(written)
        return max(left, 0.0) + self._line_tokens

    def context_tokens(self, at: Seconds) -> float:
        """Tokens of prompts and answers that the seated calls attend to."""
        return self._context_by(self._steps_by(at))

    def _context_by(self, steps: float) -> float:
        return self._prompts + max(self.seated * steps - self._begun, 0.0)

    def least_left(self, at: Seconds) -> float:
        """The fewest tokens that any seated call still has to come; 0 of none."""
        known = self._least
        if known is None or known[0] != at:
            steps = self._steps_by(at)
            least = min(
                (
                    load.left(steps - load.begun)
                    for load in self.loads.values()
                    if load.begun is not None
                ),
                default=0.0,
            )
            known = self._least = (at, least)
        return known[1]

    def _steps_by(self, at: Seconds) -> float:
        return self._steps + (at - self._at) / self._step_s if at > self._at else self._steps

    def _turning(self, steps: float) -> list[Load]:
        """Calls that come to another piece by `steps` and are still counted by the one before."""
        turns = self._turns
        if not turns or turns[0][0] > steps:
            return []
        found, look = [], [0]
        while look:  # those of a heap that are below a bound hang together at its top
            place = look.pop()
            if place < len(turns) and turns[place][0] <= steps:
                turn = turns[place]
                if (load := self._of(turn)) is not None:
                    found.append(load)
                look += (2 * place + 1, 2 * place + 2)
        return found

    def _of(self, turn: tuple[float, int, CallKey]) -> Load | None:
        """The call that comes to its next piece then; None if it is gone."""
        load = self.loads.get(turn[2])
        return load if load is not None and load.number == turn[1] else None

    def _seat(self, key: CallKey, load: Load, begun: float) -> None:
        self._number += 1
        load.begun, load.piece, load.number = begun, 0, self._number
        self._begun += begun
        self._prompts += load.prompt_tokens
        self._count(load, 1.0)
        self._turn_at_next(key, load)
        self._turn()

    def _unseat(self, load: Load) -> None:
        assert load.begun is not None
        self._begun -= load.begun
        self._prompts -= load.prompt_tokens
        self._count(load, -1.0)

    def _count(self, load: Load, sign: float) -> None:
        """Add what is ahead of a seated call to the sum, or take it away."""
        assert load.begun is not None
        piece = load.pieces[load.piece]
        self._ahead += sign * (piece.ahead + piece.fall * (load.begun + piece.start))
        self._fall += sign * piece.fall

    def _turn_at_next(self, key: CallKey, load: Load) -> None:
        assert load.begun is not None
        if load.piece + 1 < len(load.pieces):
            turn = load.begun + load.pieces[load.piece + 1].start
            heapq.heappush(self._turns, (turn, load.number, key))

    def _advance(self, at: Seconds) -> None:
        """Count the steps until `at`. What was worked out before holds no more."""
        self._least = self._peak = None
        if at > self._at:
            self._steps += (at - self._at) / self._step_s
            self._at = at
            self._turn()

    def _turn(self) -> None:
        """Calls that have come to another piece of what is ahead of them are counted by it."""
        turns = self._turns
        while turns and turns[0][0] <= self._steps:
            turn = heapq.heappop(turns)
            if (load := self._of(turn)) is not None:
                self._count(load, -1.0)
                load.piece += 1
                self._count(load, 1.0)
                self._turn_at_next(turn[2], load)


def _ends_last(load: Load) -> float:
    """For sorting: the call of a run that ends last keeps what they share."""
    begun = math.inf if load.begun is None else load.begun
    return -(begun + load.output_tokens)

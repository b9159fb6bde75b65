"""`Guarded`: a predictor that is used only while its forecasts come true; `CheckedChances`.

What. Every few outcomes the forecast that would have been made is held against the truth, before
it is learned from: how often it puts two calls of different runs in the right order, and how
often the truth is below its P90. Out of its band the predictor is switched off (a plain one, of
what is usual in the graph, answers) and goes on being judged; back in a narrower band it is
switched on again. Why choose it: a graph that was changed, or a population without pattern,
should be scheduled by less, not by error. Inputs: outcomes. Parameters: the bands below.
Trade-offs: a drift is noticed after some hundred outcomes; per predictor, not per graph.
Source: ours; pair order is what a shortest-first queue lives on (learning to rank, arXiv
2408.15792), coverage what conformal prediction promises.
"""

import math
from collections import deque
from typing import Any

import msgspec

from headway.core.protocols import Confidence, Estimate, Lasting, Predictor, Query
from headway.core.types import Seconds

EVERY = 4
"""Of so many outcomes one is judged: a forecast more for each would cost too much."""
COMPARED = 16
"""Earlier outcomes of other runs with which each is put in order."""
FADING = 0.99
"""Of what earlier outcomes showed, with each new one: about the last hundred count."""
LEAST_JUDGED = 50
LEAST_ORDER, ORDER_AGAIN = 0.45, 0.5
"""Shares of pairs in order (a coin: 0.5): off below the first, on again above the second."""
RIGHT_ORDER = 0.9
"""Share of pairs in order from which on a P90 that is too wide is no reason to go by less."""
BINS = 10
COVERAGE, COVERAGE_AGAIN = (0.75, 0.995), (0.8, 0.99)
"""Shares of truths below the P90 (0.9 is right) outside which it is off, within which on again."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """How a predictor has done of late; `order` and `coverage` are None without evidence."""

    judged: int
    order: float | None
    coverage: float | None
    trusted: bool

    def told(self) -> dict[str, Any]:
        """In plain types."""
        return msgspec.structs.asdict(self)


class Trust:
    """What outcomes say of one predictor."""

    def __init__(self) -> None:
        self._judged = 0
        self._recent: deque[tuple[str, float, float]] = deque(maxlen=COMPARED)
        self._pairs = [0.0, 0.0]
        """In the right order, and all."""
        self._covered = [0.0, 0.0]
        self.trusted = True

    @property
    def record(self) -> Record:
        """As of now."""
        return Record(
            judged=self._judged,
            order=self._pairs[0] / self._pairs[1] if self._pairs[1] else None,
            coverage=self._covered[0] / self._covered[1] if self._covered[1] else None,
            trusted=self.trusted,
        )

    def judge(self, found: Estimate, truth: float, run: str) -> None:
        """One outcome, `run` the run that it is of."""
        self._judged += 1
        for other, forecast, was in self._recent:
            if (other == run and run) or was == truth:
                continue  # what a run's calls have in common is no merit, and ties show nothing
            right = 0.5
            if forecast != found.p50:
                right = float((forecast < found.p50) == (was < truth))
            _fade(self._pairs, right, FADING ** (1 / COMPARED))
        self._recent.append((run, found.p50, truth))
        _fade(self._covered, _within(truth, found.p90), FADING)
        self._decide()

    def _decide(self) -> None:
        if self._judged < LEAST_JUDGED or not self._pairs[1]:
            return
        order, coverage = self._pairs[0] / self._pairs[1], self._covered[0] / self._covered[1]
        least, (low, high) = (
            (LEAST_ORDER, COVERAGE) if self.trusted else (ORDER_AGAIN, COVERAGE_AGAIN)
        )
        wide = coverage > high and order < RIGHT_ORDER
        self.trusted = order >= least and coverage >= low and not wide

    def snapshot(self) -> dict[str, Any]:
        """All of it, in plain msgpack types."""
        return {
            "judged": self._judged,
            "recent": [list(one) for one in self._recent],
            "pairs": list(self._pairs),
            "covered": list(self._covered),
            "trusted": self.trusted,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        self._judged = int(snapshot["judged"])
        self._recent = deque(
            ((str(run), float(p50), float(truth)) for run, p50, truth in snapshot["recent"]),
            maxlen=COMPARED,
        )
        self._pairs = [float(one) for one in snapshot["pairs"]]
        self._covered = [float(one) for one in snapshot["covered"]]
        self.trusted = bool(snapshot["trusted"])


class Guarded:
    """A `Predictor`: `inner` while it is trusted, else `plain`; both learn everything."""

    def __init__(self, inner: Predictor, plain: Predictor) -> None:
        self.inner = inner
        self._plain = plain
        self._trust = Trust()
        self._since = 0

    @property
    def record(self) -> Record:
        """How `inner` has done of late, and whether it is used."""
        return self._trust.record

    def estimate(self, query: Query) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90."""
        used = self.inner if self._trust.trusted else self._plain
        return used.estimate(query)

    def learn(self, query: Query, value: float) -> None:
        """What it really was."""
        self._since += 1
        if self._since >= EVERY:
            self._since = 0
            found = self.inner.estimate(query)
            if found.samples and value >= 0.0:
                self._trust.judge(found, value, query.run)
        self.inner.learn(query, value)
        self._plain.learn(query, value)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {"inner": self.inner.snapshot(), "guard": self.guard_snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        self.inner.restore(snapshot["inner"])
        self.restore_guard(snapshot["guard"])

    def guard_snapshot(self) -> dict[str, Any]:
        """What was learned beside `inner`, whose own is saved elsewhere."""
        return {
            "plain": self._plain.snapshot(),
            "trust": self._trust.snapshot(),
            "since": self._since,
        }

    def restore_guard(self, snapshot: dict[str, Any]) -> None:
        """Take that back. Raises `KeyError` or `TypeError` if it is not one."""
        self._plain.restore(snapshot["plain"])
        self._trust.restore(snapshot["trust"])
        self._since = int(snapshot["since"])


class GuardedReturns(Guarded):
    """`Guarded` for times that can be asked for while they pass."""

    def __init__(self, inner: Lasting, plain: Lasting) -> None:
        super().__init__(inner, plain)
        self._lasting, self._plain_lasting = inner, plain

    def left(self, query: Query, passed: Seconds) -> Estimate:
        """What is still to come of a time of which `passed` seconds are over."""
        used = self._lasting if self.record.trusted else self._plain_lasting
        return used.left(query, passed)


class Calibration:
    """How far a confidence's chances are from what happened, of late.

    Expected calibration error over `BINS` bins of equal width, outcomes fading.
    """

    def __init__(self) -> None:
        self._bins = [[0.0, 0.0, 0.0] for _ in range(BINS)]
        """Weight, sum of chances, sum of outcomes."""
        self.judged = 0

    @property
    def error(self) -> float | None:
        """Between 0 and 1; None before there is evidence."""
        weight = sum(one[0] for one in self._bins)
        if self.judged < LEAST_JUDGED:
            return None
        return sum(abs(chances - right) for _, chances, right in self._bins) / weight

    def judge(self, chance: float, ok: bool) -> None:
        """One answer whose worth has shown."""
        self.judged += 1
        for one in self._bins:
            one[:] = [FADING * value for value in one]
        held = self._bins[min(int(chance * BINS), BINS - 1)]
        held[0] += 1.0
        held[1] += chance
        held[2] += ok

    def snapshot(self) -> dict[str, Any]:
        """All of it, in plain msgpack types."""
        return {"judged": self.judged, "bins": [list(one) for one in self._bins]}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        self.judged = int(snapshot["judged"])
        self._bins = [[float(value) for value in one] for one in snapshot["bins"]]


class CheckedChances:
    """A `Confidence` whose chances are held against what happened; it changes none of them."""

    def __init__(self, inner: Confidence) -> None:
        self._inner = inner
        self._calibration = Calibration()

    def told(self) -> dict[str, Any]:
        """How far its chances were off of late, in plain types."""
        return {"judged": self._calibration.judged, "error": self._calibration.error}

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """The inner one's."""
        return self._inner.chance(query, failed, explore=explore)

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged; what was thought of it before is held against that."""
        self._calibration.judge(self._inner.chance(query, failed), ok)
        self._inner.learn(query, ok, source=source, failed=failed)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types: the inner one's, and the calibration."""
        return {**self._inner.snapshot(), "calibration": self._calibration.snapshot()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back, also one of the inner kind alone.

        Raises `KeyError` or `TypeError` if it is not one.
        """
        self._inner.restore(snapshot)
        if "calibration" in snapshot:
            self._calibration.restore(snapshot["calibration"])


def _within(truth: float, p90: float) -> float:
    """Whether it is below its P90; on it, as where all are alike, it shows as much as is right."""
    if math.isclose(truth, p90, rel_tol=1e-6):
        return 0.9
    return float(truth < p90)


def _fade(sums: list[float], value: float, fading: float) -> None:
    sums[0] = fading * sums[0] + value
    sums[1] = fading * sums[1] + 1.0

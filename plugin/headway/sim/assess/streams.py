"""What calls on their way still have to write, foreseen on recorded runs, by how much has come.

Calls are drawn and put together as a server would hold them, each somewhere on its way: the longer
it is there, the likelier. Forecasts of their lengths were made before they began.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple

import msgspec
import numpy as np
from rich.console import Console

from headway.core.remaining import ahead, pieces
from headway.sim.assess.footprints import foretold
from headway.sim.assess.sets import JudgedSet, KnownSet
from headway.sim.assess.tables import terminal_table

TOGETHER = 16
"""Calls of a server."""
SERVERS = 400
STREAM_COLUMNS: dict[str, tuple[str, str]] = {
    "mae": ("MAE", ".1f"),
    "within": ("of calls within their P50", ".1f"),
    "beyond": ("beyond it", ".1f"),
    "together": (f"{TOGETHER} calls: error of the sum", ".3f"),
    "ratio": ("foreseen / true", ".3f"),
}


class StreamScores(msgspec.Struct, frozen=True, kw_only=True):
    """One way to foresee on one split.

    `mae` is the mean distance in tokens, `within` and `beyond` that of calls that have not and that
    have written more than their P50. `together` is the mean distance of the sum over a server's
    calls, as a share of the true sum; `ratio` what is foreseen of all calls over what is true.
    """

    mae: float
    within: float
    beyond: float
    together: float
    ratio: float


class AssessedStream(JudgedSet[StreamScores], frozen=True, kw_only=True):
    """Calls on their way, of one set. `beyond` is the share of moments beyond a call's P50."""

    calls: int
    beyond: float

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.calls} calls, {self.beyond:.0%} of the time beyond their P50"


class _Moment(NamedTuple):
    """A call on its way: what was foreseen of it, what has come, and what is still to come."""

    p50: float
    p90: float
    written: float
    left: float


WAYS: dict[str, Callable[[_Moment], float]] = {
    "P50": lambda one: one.p50,
    "P50 less what has come": lambda one: max(one.p50 - one.written, 0.0),
    "headway": lambda one: ahead(pieces(one.p50, one.p90), one.written),
    "clairvoyant": lambda one: one.left,
}


def assess_stream(
    known: KnownSet, splits: int, *, advance: Callable[[str], None]
) -> AssessedStream:
    """Every way on every split; `advance` is told of each."""
    scores: dict[str, list[StreamScores]] = {name: [] for name in WAYS}
    beyond = []
    for split in range(splits):
        advance(f"{known.name}, calls on their way, split {split + 1}")
        moments = _moments(known, split)
        beyond.append(sum(one.written > one.p50 for one in moments) / len(moments))
        for name, way in WAYS.items():
            scores[name].append(_scores(moments, [way(one) for one in moments]))
    return AssessedStream(
        set_name=known.name,
        source=known.source,
        calls=sum(len(run.calls) for run in known.runs),
        beyond=sum(beyond) / len(beyond),
        scores={name: tuple(done) for name, done in scores.items()},
    )


def show(console: Console, found: AssessedStream) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: what calls on their way have ahead, {found.about}"
    console.print(terminal_table(title, STREAM_COLUMNS, found.scores))


def _moments(known: KnownSet, split: int) -> list[_Moment]:
    calls = [one for one in foretold(known, split) if one[0].output_tokens > 0]
    rng = Random(f"streams/{split}")
    stays = list(accumulate(call.output_tokens for call, _, _ in calls))
    found = []
    for call, p50, p90 in rng.choices(calls, cum_weights=stays, k=TOGETHER * SERVERS):
        written = rng.random() * call.output_tokens
        found.append(_Moment(p50, p90, written, call.output_tokens - written))
    return found


def _scores(moments: Sequence[_Moment], said: Sequence[float]) -> StreamScores:
    foreseen = np.array(said)
    true = np.array([one.left for one in moments])
    beyond = np.array([one.written > one.p50 for one in moments])
    off = np.abs(foreseen - true)
    sums, truths = (one.reshape(SERVERS, TOGETHER).sum(axis=1) for one in (foreseen, true))
    return StreamScores(
        mae=float(off.mean()),
        within=float(off[~beyond].mean()) if (~beyond).any() else 0.0,
        beyond=float(off[beyond].mean()) if beyond.any() else 0.0,
        together=float((np.abs(sums - truths) / truths).mean()),
        ratio=float(foreseen.sum() / true.sum()),
    )

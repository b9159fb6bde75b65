"""Output lengths foreseen before much was seen: with nodes' names read, and unread.

What is judged is the sketch alone: its regression says nothing before some tens of calls.
"""

from collections.abc import Callable, Sequence
from math import log1p
from statistics import fmean

import msgspec
from rich.console import Console

from headway.core.protocols import Predictor
from headway.predict.quantiles import output_length
from headway.sim.assess.lengths import query_of
from headway.sim.assess.sets import JudgedSet, KnownRun, KnownSet, over_splits
from headway.sim.assess.tables import terminal_table

START_COLUMNS: dict[str, tuple[str, str]] = {
    "nothing": ("nothing was seen", ".3f"),
    "unseen": ("an unseen node", ".3f"),
    "first": ("the first three runs", ".3f"),
}
MOST_RUNS = 60
"""Of each half: a start is no matter of many."""
FIRST = 3
START_FORECASTERS: dict[str, Callable[[], Predictor]] = {
    "names unread": lambda: output_length(reads_names=False),
    "headway: names read": output_length,
}


class StartScores(msgspec.Struct, frozen=True, kw_only=True):
    """One forecaster on one split: mean distance of log(1 + tokens).

    Before `nothing` was seen, and of an `unseen` node when all others are known, each a mean over
    nodes; and over the `first` three runs as they come.
    """

    nothing: float
    unseen: float
    first: float


class AssessedStart(JudgedSet[StartScores], frozen=True, kw_only=True):
    """Starts on one set."""

    nodes: int

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.nodes} nodes"


def assess_start(known: KnownSet, splits: int, *, advance: Callable[[str], None]) -> AssessedStart:
    """Both on every split; `advance` is told of each."""

    def judged(name: str, train: list[KnownRun], test: list[KnownRun]) -> StartScores:
        return _judged(START_FORECASTERS[name], train[:MOST_RUNS], test[:MOST_RUNS])

    return AssessedStart(
        set_name=known.name,
        source=known.source,
        nodes=len(_nodes(known.runs)),
        scores=over_splits(known, splits, START_FORECASTERS, judged, advance),
    )


def show(console: Console, found: AssessedStart) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: first forecasts of output length, {found.nodes} nodes"
    console.print(terminal_table(title, START_COLUMNS, found.scores))


def _judged(
    make: Callable[[], Predictor], train: Sequence[KnownRun], test: Sequence[KnownRun]
) -> StartScores:
    nodes = sorted(_nodes(test))
    firsts = [train[start : start + FIRST] for start in range(0, len(train) - FIRST + 1, FIRST)]
    return StartScores(
        nothing=fmean(_error(make(), test, node) for node in nodes),
        unseen=fmean(_error(_taught(make(), train, without=node), test, node) for node in nodes),
        first=fmean(_online(make(), runs) for runs in firsts),
    )


def _nodes(runs: Sequence[KnownRun]) -> set[str]:
    return {call.role for run in runs for call in run.calls}


def _taught(predictor: Predictor, runs: Sequence[KnownRun], *, without: str) -> Predictor:
    for run in runs:
        for place, call in enumerate(run.calls):
            if call.role != without:
                predictor.learn(query_of(run, place), float(call.output_tokens))
    return predictor


def _error(predictor: Predictor, runs: Sequence[KnownRun], node: str) -> float:
    return fmean(
        _off(predictor, run, place)
        for run in runs
        for place, call in enumerate(run.calls)
        if call.role == node
    )


def _online(predictor: Predictor, runs: Sequence[KnownRun]) -> float:
    off = []
    for run in runs:
        for place, call in enumerate(run.calls):
            off.append(_off(predictor, run, place))
            predictor.learn(query_of(run, place), float(call.output_tokens))
    return fmean(off)


def _off(predictor: Predictor, run: KnownRun, place: int) -> float:
    foreseen = predictor.estimate(query_of(run, place)).p50
    return abs(log1p(foreseen) - log1p(run.calls[place].output_tokens))

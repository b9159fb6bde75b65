"""Times until a run that waits for a tool or a person is back, foreseen on recorded runs.

What is judged: the pause between two of a run's calls, as a scheduler meets it, which knows the
node whose call ended, and whether a person is waited for. Sets whose pauses nobody recorded are
left out.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from rich.console import Console

from headway.core.protocols import Estimate, Lasting, Query
from headway.core.returning import PERSON, after
from headway.predict.foresight import PRIORS, USUAL
from headway.predict.quantiles import ShrunkQuantiles, return_time
from headway.sim.assess.measures import pinball
from headway.sim.assess.sets import JudgedSet, KnownRun, KnownSet, over_splits
from headway.sim.assess.tables import terminal_table

RETURN_COLUMNS: dict[str, tuple[str, str]] = {
    "log_error": ("MAE of log", ".3f"),
    "pinball_50": ("pinball P50, s", ".2f"),
    "pinball_90": ("pinball P90, s", ".2f"),
    "covered": ("within P90", ".3f"),
    "late_pinball_50": ("of late ones: pinball P50, s", ".2f"),
    "late_covered": ("within P90", ".3f"),
}
LEAST_SHARE = 0.5
"""Of a set's pauses that must be longer than nothing."""


class ReturnScores(msgspec.Struct, frozen=True, kw_only=True):
    """One forecaster on one split.

    Losses are in seconds; `late` ones are asked again when half of the pauses at their place are
    over: what is still to come of those.
    """

    log_error: float
    pinball_50: float
    pinball_90: float
    covered: float
    late_pinball_50: float
    late_covered: float


class AssessedReturns(JudgedSet[ReturnScores], frozen=True, kw_only=True):
    """Return times of one set."""

    pauses: int
    median_s: float

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.pauses} pauses, median {self.median_s:.2f} s"


class _Plain(ShrunkQuantiles):
    """What is usual on one level, whatever has passed."""

    def __init__(self, level: tuple[str, ...]) -> None:
        super().__init__(levels=(level,), prior=PRIORS["return_s"])

    def left(self, query: Query, passed: float) -> Estimate:
        """The whole time once more."""
        return self.estimate(query)


RETURN_FORECASTERS: dict[str, Callable[[], Lasting]] = {
    "constant": lambda: _Plain(()),
    "per graph": lambda: _Plain(USUAL[-1]),
    "headway": return_time,
}


def assess_returns(
    known: KnownSet, splits: int, *, advance: Callable[[str], None]
) -> AssessedReturns | None:
    """Every forecaster on every split; None for a set that tells of no pauses."""
    every = [seconds for run in known.runs for _, seconds in _pauses(run)]
    if not every or sum(seconds > 0.0 for seconds in every) < LEAST_SHARE * len(every):
        return None

    def judged(name: str, train: list[KnownRun], test: list[KnownRun]) -> ReturnScores:
        return _judged(RETURN_FORECASTERS[name](), train, test)

    return AssessedReturns(
        set_name=known.name,
        source=known.source,
        pauses=len(every),
        median_s=float(np.median(every)),
        scores=over_splits(known, splits, RETURN_FORECASTERS, judged, advance),
    )


def show(console: Console, found: AssessedReturns) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: return times, {found.pauses} pauses"
    console.print(terminal_table(title, RETURN_COLUMNS, found.scores))


def _judged(
    forecaster: Lasting, train: Sequence[KnownRun], test: Sequence[KnownRun]
) -> ReturnScores:
    for run in train:
        for query, seconds in _pauses(run):
            forecaster.learn(query, seconds)
    asked = [pause for run in test for pause in _pauses(run)]
    found = [forecaster.estimate(query) for query, _ in asked]
    truth = np.array([seconds for _, seconds in asked])
    median, high = (np.array([getattr(one, key) for one in found]) for key in ("p50", "p90"))
    middle = _middles(train)
    late = [
        (query, seconds, middle[query.node])
        for query, seconds in asked
        if seconds > middle.get(query.node, np.inf)
    ]
    rest = [forecaster.left(query, passed) for query, _, passed in late]
    left = np.array([seconds - passed for _, seconds, passed in late])
    return ReturnScores(
        log_error=float(np.abs(np.log1p(median) - np.log1p(truth)).mean()),
        pinball_50=pinball(median, truth, 0.5),
        pinball_90=pinball(high, truth, 0.9),
        covered=float((truth <= high).mean()),
        late_pinball_50=pinball(np.array([one.p50 for one in rest]), left, 0.5),
        late_covered=float((left <= np.array([one.p90 for one in rest])).mean()),
    )


def _middles(runs: Sequence[KnownRun]) -> dict[str, float]:
    """The median pause at each place."""
    known: dict[str, list[float]] = {}
    for run in runs:
        for query, seconds in _pauses(run):
            known.setdefault(query.node, []).append(seconds)
    return {place: float(np.median(pauses)) for place, pauses in known.items()}


def _pauses(run: KnownRun) -> Iterator[tuple[Query, float]]:
    """Between a run's calls that follow each other: what is waited for, and for how long."""
    for before, call in zip(run.calls, run.calls[1:], strict=False):
        if call.step > before.step:
            what = PERSON if call.think_s > 0.0 else after(before.role)
            yield (
                Query(graph=run.graph, node=what, run=run.id),
                call.think_s if call.think_s > 0.0 else call.tool_s,
            )

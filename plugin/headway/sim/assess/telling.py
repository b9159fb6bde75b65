"""What ``headway assess`` found, judged over splits and told as tables, for terminals and pages."""

from collections.abc import Callable

import msgspec
from rich.console import Console

from headway import __version__
from headway.sim.assess.confidence_tables import AssessedPair, pairs_markdown
from headway.sim.assess.ends import AssessedHorizon
from headway.sim.assess.footprints import AssessedFootprint
from headway.sim.assess.lengths import FORECASTERS, judge
from headway.sim.assess.measures import LENGTH_COLUMNS, Scores
from headway.sim.assess.returns import AssessedReturns
from headway.sim.assess.sets import JudgedSet, KnownRun, KnownSet, over_splits
from headway.sim.assess.starts import AssessedStart
from headway.sim.assess.streams import AssessedStream
from headway.sim.assess.tables import terminal_table
from headway.sim.assess.texts import AssessedText
from headway.sim.assess.topologies import AssessedTopology
from headway.sim.provenance import commit


class Assessed(JudgedSet[Scores], frozen=True, kw_only=True):
    """Output length on one set."""

    runs: int
    calls: int

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.runs} runs, {self.calls} calls"


class Assessment(msgspec.Struct, kw_only=True):
    """All that was assessed, and by which code: a part of the page each, empty if not asked for."""

    headway_assessment: int = 1
    version: str = __version__
    commit: str = msgspec.field(default_factory=commit)
    splits: int
    lengths: list[Assessed] = []
    starts: list[AssessedStart] = []
    streams: list[AssessedStream] = []
    texts: list[AssessedText] = []
    horizons: list[AssessedHorizon] = []
    topologies: list[AssessedTopology] = []
    footprints: list[AssessedFootprint] = []
    returns: list[AssessedReturns] = []
    confidences: list[AssessedPair] = []


def assess_length(
    known: KnownSet, splits: int, *, clock: Callable[[], float], advance: Callable[[str], None]
) -> Assessed:
    """Every predictor of output length on every split; `advance` is told of each."""

    def judged(name: str, train: list[KnownRun], test: list[KnownRun]) -> Scores:
        return judge(FORECASTERS[name], train, test, clock=clock)

    return Assessed(
        set_name=known.name,
        source=known.source,
        runs=len(known.runs),
        calls=sum(len(run.calls) for run in known.runs),
        scores=over_splits(known, splits, FORECASTERS, judged, advance),
    )


def show(console: Console, found: Assessed) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: output length, {found.runs} runs, {found.calls} calls"
    console.print(terminal_table(title, LENGTH_COLUMNS, found.scores))


def head(found: Assessment) -> str:
    """How the tables were made."""
    return (
        f"Headway {found.version} at commit {found.commit}; mean over {found.splits} splits\n"
        "by task (half to learn from, half to be judged on) ± their standard deviation."
    )


def confidence_markdown(found: Assessment) -> str:
    """The tables about confidence, likewise."""
    return pairs_markdown(
        tuple(found.confidences), code=f"Headway {found.version} at commit {found.commit}"
    )

"""What is left of the first runs of a graph, with its topology told beforehand, and untold.

Recorded runs tell no graph. It is put together here from all runs of the set: which node may follow
which, and which may be the last, as a program's own graph says before its first run.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, pairwise
from math import log1p
from statistics import fmean

import msgspec
from rich.console import Console

from headway.core.graph import END, Topology
from headway.predict.foresight import PRIORS
from headway.predict.horizon import Horizons
from headway.sim.assess.horizons import Whole, tokens_left
from headway.sim.assess.sets import JudgedSet, KnownRun, KnownSet, over_splits
from headway.sim.assess.tables import terminal_table

TOPOLOGY_COLUMNS: dict[str, tuple[str, str]] = {
    "first": ("the first run", ".3f"),
    "three": ("the first three runs", ".3f"),
}
MOST_RUNS = 60
"""Of the train half: a start is no matter of many."""
FIRST = 3
UNTOLD, TOLD = "topology untold", "headway: topology told"


class TopologyScores(msgspec.Struct, frozen=True, kw_only=True):
    """Mean distance of log(1 + tokens left), over nodes, as runs come to an empty memory."""

    first: float
    three: float


class AssessedTopology(JudgedSet[TopologyScores], frozen=True, kw_only=True):
    """First runs of one set, and the nodes of its graphs."""

    nodes: int

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.nodes} nodes"


def assess_topology(
    known: KnownSet, splits: int, *, advance: Callable[[str], None]
) -> AssessedTopology:
    """Both on every split; `advance` is told of each."""
    topologies = topologies_of(known.runs)

    def judged(name: str, train: list[KnownRun], test: list[KnownRun]) -> TopologyScores:
        told = topologies if name == TOLD else None
        errors = [_errors(some, told) for some in _firsts(train[:MOST_RUNS])]
        return TopologyScores(
            first=fmean(fmean(each[0]) for each in errors),
            three=fmean(fmean(chain.from_iterable(each)) for each in errors),
        )

    return AssessedTopology(
        set_name=known.name,
        source=known.source,
        nodes=sum(len(one.nodes - {END}) for one in topologies.values()),
        scores=over_splits(known, splits, (UNTOLD, TOLD), judged, advance),
    )


def topologies_of(runs: Iterable[KnownRun]) -> dict[str, Topology]:
    """By graph: who followed whom in any of its runs."""
    found: dict[str, Topology] = {}
    for run in runs:
        topology = found.setdefault(run.graph, Topology())
        steps: dict[int, list[str]] = {}
        for call in run.calls:
            steps.setdefault(call.step, []).append(call.role)
        stages = [steps[step] for step in sorted(steps)] + [[END]]
        for before, after in pairwise(stages):
            for source in before:
                for target in after:
                    topology.add_edge(source, target)
    return found


def show(console: Console, found: AssessedTopology) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: tokens left of first runs, {found.nodes} nodes"
    console.print(terminal_table(title, TOPOLOGY_COLUMNS, found.scores))


def _firsts(runs: Sequence[KnownRun]) -> Iterator[Sequence[KnownRun]]:
    """Three runs of one graph each, as often as there are."""
    for graph in sorted({run.graph for run in runs}):
        of = [run for run in runs if run.graph == graph]
        for at in range(0, len(of), FIRST):
            yield of[at : at + FIRST]


def _ahead(run: KnownRun, topology: Topology) -> KnownRun:
    replace = msgspec.structs.replace
    return replace(
        run, calls=tuple(replace(call, ahead=topology.ahead(call.role)) for call in run.calls)
    )


def _errors(runs: Sequence[KnownRun], told: dict[str, Topology] | None) -> list[list[float]]:
    """Of each run's calls; each run is learned from when it is over."""
    horizons = Horizons({"left": PRIORS["rest_tokens"]})
    forecaster = Whole(horizons.of("left"), tokens_left)
    found = []
    for number, bare in enumerate(runs):
        known = topologies_of(runs[:number]) if told is None else told
        run = _ahead(bare, known.get(bare.graph, Topology()))
        foreseen = [forecaster.foresee(run, place)[0] for place in range(len(run.calls))]
        pairs = zip(foreseen, tokens_left(run), strict=True)
        found.append([abs(log1p(one) - log1p(true)) for one, true in pairs])
        forecaster.teach(run)
    return found

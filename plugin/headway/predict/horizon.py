"""`Horizons`: what is left of a run from the start of a node, from its place and its run so far.

What. Several forecasts live side by side: quantiles per (graph, node, visit) and per (graph, node,
position in the run), which start from the static topology (`rest`), and a forest of small trees for
each graph (`forest`) over the shape of the run so far (`shape`): which way it went, how often it
went round, how long its answers were, which tools they called. For
each graph, quantity and quantile the one that has lost least of late is used (pinball loss, each
forecast before the truth was known), so where the trees do not help, the plain quantiles stay,
and where nothing helps they are wide. P90 is moved, slowly, until one in ten lies beyond it
(adaptive conformal inference: Gibbs and Candes, NeurIPS 2021).

Why choose it: how much better it is than medians of roles and positions, and where it is not, is
in docs/prediction.md, made by `headway assess`. Inputs: graph, node, visit, the `Past` of the run.
Trade-offs: needs some hundred nodes of a graph before the trees are believed; memory is bounded
per graph (2,000 rows), and the graph that was met first is forgotten when there are too many.
Source: ours, over the papers named in `trees`; it stands on the shape of a run as its input.
"""

from math import exp, isfinite
from typing import Any

from headway.core.past import NO_PAST
from headway.core.protocols import Estimate, Query
from headway.predict.forest import RollingForest
from headway.predict.rest import PlainRest
from headway.predict.shape import ALL, SHAPE, Names, row_of

STAGES = START, LATER = 0, 1
"""A run begins, or has shown something. What is believed is chosen for each: at a start trees know
a name and a prompt's size."""
FORMAT = 3
"""Of the snapshot; one of another is left, and what is left of runs is learned anew."""
CANDIDATES = (
    "visits",
    "positions",
    "shape",
    "all",
    "visits and shape",
    "shape and positions",
    "shape and all",
)
"""What is believed, by its place here, the plainest first; two together are their mean."""
KINDS = ((0,), (1,), (2,), (3,), (0, 2), (1, 2), (2, 3))
"""Of each candidate: which of the first four it is made of."""
QUANTILES = (0.5, 0.9)
ROWS_PER_RUN = 12
"""Nodes of a run that the trees learn from, about: the others say the same again."""
MAX_GRAPHS = 32
MOST = 1e9
"""Quantities beyond it are somebody's mistake."""
FADING = 0.999
"""Of past losses with each new one: about the last thousand count."""
RECENT = 4.0
"""How much more late losses count than early ones, while there are few: trees get better."""
LEAST_JUDGED = 60
"""Nodes of a graph before anything but `visits` may be believed there."""
ALL_JUDGED = 600
JUDGED_LATER = 10
"""Nodes of a graph that are all judged; of those after them every tenth is."""
FIRST_TREES = 2
"""Candidates from here on look at trees."""
YOUNG = 0.1
GROWN_UP = 1_000
"""Share of their losses that trees are forgiven at first; nothing after so many judged nodes. They
get better with every run, and plain quantiles soon no more: losses tell of younger trees."""
ENOUGH = 1.02
"""Times the least loss: who loses no more is as good, and the plainest of them costs least."""
STEP = 0.003
"""By which P90 moves (in its logarithm) for each node beyond it, and a ninth of it back."""
MOST_SHIFT = 0.7


_Pending = tuple[str, str, int, int, int, bytes, tuple[float, ...]]
"""Graph, node, visit, nodes ahead, position, row (empty: not for the trees), quantities."""
MOST_PENDING = 500


class _Trust:
    """How much each candidate has lost of late on one quantity of one graph."""

    def __init__(self) -> None:
        self.judged = 0
        self.losses = [[0.0] * len(CANDIDATES) for _ in QUANTILES]
        self.chosen = [0, 0]
        self.shift = 0.0

    def judge(self, found: list[tuple[float, float]], value: float) -> None:
        """What the first four foresaw, and what it was."""
        high = _mean(found, KINDS[self.chosen[1]], 1) * exp(self.shift)
        moved = self.shift + STEP * ((value > high) - (1.0 - QUANTILES[1]))
        self.shift = min(max(moved, -MOST_SHIFT), MOST_SHIFT)
        self.judged += 1
        rate = max(min(RECENT / self.judged, 1.0), 1.0 - FADING)
        for at, quantile in enumerate(QUANTILES):
            losses = self.losses[at]
            for place, kinds in enumerate(KINDS):
                off = value - _mean(found, kinds, at)
                loss = quantile * off if off >= 0.0 else (quantile - 1.0) * off
                losses[place] += rate * (loss - losses[place])
        if self.judged >= LEAST_JUDGED:
            median, tail = self.losses
            # what loses least at P50 tells of P90 too, where losses come from a few runs
            self._choose(0, median)
            self._choose(1, [one + other for one, other in zip(median, tail, strict=True)])

    def _choose(self, at: int, losses: list[float]) -> None:
        """The plainest that loses hardly more than the best."""
        kept = 1.0 - YOUNG * max(1.0 - self.judged / GROWN_UP, 0.0)
        known = losses[:FIRST_TREES] + [kept * loss for loss in losses[FIRST_TREES:]]
        enough = ENOUGH * min(known)
        self.chosen[at] = next(place for place, loss in enumerate(known) if loss <= enough)

    def saved(self) -> list[Any]:
        """In plain types."""
        return [self.judged, self.losses, self.chosen, self.shift]

    @classmethod
    def loaded(cls, saved: list[Any]) -> "_Trust":
        """The one that was saved."""
        one = cls()
        judged, losses, chosen, shift = saved
        one.judged, one.shift = int(judged), float(shift)
        one.losses = [[float(loss) for loss in each] for each in losses]
        one.chosen = [int(place) for place in chosen]
        return one


def _mean(found: list[tuple[float, float]], kinds: tuple[int, ...], at: int) -> float:
    if len(kinds) == 1:
        return found[kinds[0]][at]
    return sum([found[kind][at] for kind in kinds]) / len(kinds)


class _Graph:
    """What is known of the runs of one graph."""

    def __init__(self, quantities: int) -> None:
        self.forest = RollingForest((SHAPE, ALL), quantities)
        self.names = Names()
        self.trusts = [[_Trust() for _ in range(quantities)] for _ in STAGES]
        self.nodes = self.runs = 0
        self.run = ""
        self.offered = [0 for _ in STAGES]

    def takes(self, query: Query, position: int) -> bool:
        """Counts a node; whether the trees learn from it: from a run's first, and some of the rest.

        Nodes of a run come one after another.
        """
        if not self.runs or query.run != self.run:
            self.runs += 1
            self.run = query.run
        self.nodes += 1
        stride = max(1, self.nodes // (self.runs * ROWS_PER_RUN))
        return not position or self.nodes % stride == 0

    def judges(self, stage: int) -> bool:
        """Whether a node that the trees learn from is judged too: in the long run, some are."""
        self.offered[stage] += 1
        return self.offered[stage] <= ALL_JUDGED or self.offered[stage] % JUDGED_LATER == 0

    def believed(self) -> set[int]:
        """Kinds of trees that medians are taken from; all of them as long as nobody can tell.

        Schedulers go by medians: trees for P90 alone may be older.
        """
        later = self.trusts[LATER]
        if later[0].judged < LEAST_JUDGED:
            return {0, 1}
        chosen = {kind for trust in later for kind in KINDS[trust.chosen[0]]}
        return {kind - 2 for kind in chosen if kind >= 2}


class Horizons:
    """What is left of runs in several quantities, each a `Predictor` of its own (`of`).

    `priors` holds for each quantity the (P50, P90) believed before anything was seen. The trees
    learn from nodes of which every quantity was told, in order, with the same `Query` object.
    """

    def __init__(self, priors: dict[str, tuple[float, float]]) -> None:
        self._places = {name: place for place, name in enumerate(priors)}
        self._quantities = [PlainRest(prior) for prior in priors.values()]
        self._graphs: dict[str, _Graph] = {}
        self._told: list[float] = []
        self._told_of: Query | None = None
        self._run = self._over = ""
        self._pending: list[_Pending] = []
        self._asked: Query | None = None
        self._row = b""
        self._answers: dict[int, list[tuple[float, float]]] = {}

    def of(self, quantity: str) -> "Left":
        """The predictor of one quantity. Raises `KeyError` for one without a prior."""
        return Left(self, self._places[quantity])

    def estimate(self, place: int, query: Query) -> Estimate:
        """P50 and P90 of the quantity at `place`; learns nothing."""
        plain = self._quantities[place].at_visit(query)
        graph = self._graphs.get(query.graph)
        if graph is None:
            return plain
        trust = graph.trusts[_stage((query.past or NO_PAST).position)][place]
        found = []
        for at in range(len(QUANTILES)):
            total = 0.0
            kinds = KINDS[trust.chosen[at]]
            for kind in kinds:
                if kind == 0:
                    total += plain.p90 if at else plain.p50
                elif kind == 1:
                    one = self._quantities[place].at_position(query)
                    total += one.p90 if at else one.p50
                else:
                    total += self._foreseen(graph, query, kind - 2)[place][at]
            found.append(total / len(kinds))
        p50, p90 = found[0], found[1] * exp(trust.shift)
        return Estimate(p50=p50, p90=max(p50, p90), samples=plain.samples)

    def _foreseen(self, graph: _Graph, query: Query, kind: int) -> list[tuple[float, float]]:
        """What trees of a kind say of all quantities: a scheduler asks for one after another."""
        if self._asked is not query:
            self._asked, self._answers = query, {}
            self._row = row_of(query, graph.names)
        found = self._answers.get(kind)
        if found is None:
            found = self._answers[kind] = graph.forest.predict(kind, self._row)
        return found

    def learn(self, place: int, query: Query, value: float) -> None:
        """What was left. What cannot be is left out."""
        if not (isfinite(value) and 0.0 <= value <= MOST):
            self._told_of = None
        elif query.past is None:
            self._quantities[place].learn(query, value, None)
        else:
            if place == 0:
                self._told_of, self._told = query, []
            if self._told_of is query and len(self._told) == place:
                self._told.append(value)
                if len(self._told) == len(self._quantities):
                    self._told_of = None
                    self._learn_whole(query, query.past.position, tuple(self._told))

    def _learn_whole(self, query: Query, position: int, values: tuple[float, ...]) -> None:
        """Nothing of a run is learned before all of it was judged: its nodes tell of each other.

        Its last node to be told is its first: but for those that began beside that one.
        """
        self._asked = None
        if self._pending and (query.run != self._run or len(self._pending) >= MOST_PENDING):
            self._take_in()
        self._run = query.run
        graph = self._graphs.get(query.graph)
        if graph is None:
            if len(self._graphs) >= MAX_GRAPHS:
                del self._graphs[next(iter(self._graphs))]
            graph = self._graphs[query.graph] = _Graph(len(values))
        row = b""
        if graph.takes(query, position):
            graph.names.add(query.node)
            row = row_of(query, graph.names)
            beside = not position and query.run and query.run == self._over
            if graph.forest.ready() and not beside and graph.judges(_stage(position)):
                self._judge(graph, query, position, row, values)
        self._pending.append(
            (query.graph, query.node, query.visit, query.ahead, position, row, values)
        )
        if not position or not query.run:
            self._take_in()
            self._over = query.run

    def _judge(
        self,
        graph: _Graph,
        query: Query,
        position: int,
        row: bytes,
        values: tuple[float, ...],
    ) -> None:
        leaves = [graph.forest.predict(kind, row) for kind in (0, 1)]
        trusts = graph.trusts[_stage(position)]
        for place, (of, value) in enumerate(zip(self._quantities, values, strict=True)):
            plain = (of.at_visit(query), of.at_position(query))
            found = [(one.p50, one.p90) for one in plain]
            found += [leaf[place] for leaf in leaves]
            trusts[place].judge(found, value)

    def _take_in(self) -> None:
        """Learn the run that was judged."""
        for name, node, visit, ahead, position, row, values in self._pending:
            query = Query(graph=name, node=node, visit=visit, ahead=ahead)
            for of, value in zip(self._quantities, values, strict=True):
                of.learn(query, value, position if row else None)
            graph = self._graphs.get(name)
            if row and graph is not None:
                graph.forest.learn(row, values, graph.runs, graph.believed())
        self._pending.clear()

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "format": FORMAT,
            "plain": [one.saved() for one in self._quantities],
            "run": [self._run, self._over],
            "pending": [[*place, list(values)] for *place, values in self._pending],
            "graphs": [
                [
                    name,
                    graph.forest.snapshot(),
                    graph.names.saved(),
                    [[trust.saved() for trust in stage] for stage in graph.trusts],
                    [graph.nodes, graph.runs, graph.run, graph.offered],
                ]
                for name, graph in self._graphs.items()
            ],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError`, `TypeError` or `ValueError` if it is not one.

        One of another version is left.
        """
        plain = snapshot["plain"]
        if snapshot.get("format") != FORMAT:
            return
        for one, saved in zip(self._quantities, plain, strict=True):
            one.load(saved)
        self._asked = self._told_of = None
        self._run, self._over = (str(run) for run in snapshot["run"])
        self._pending = [
            (str(name), str(node), int(visit), int(ahead), int(position), bytes(row), tuple(values))
            for name, node, visit, ahead, position, row, values in snapshot["pending"]
        ]
        self._graphs = {}
        for name, forest, names, trusts, (nodes, runs, run, offered) in snapshot["graphs"]:
            graph = self._graphs[name] = _Graph(len(self._quantities))
            graph.forest.restore(forest)
            for each in names:
                graph.names.add(each)
            graph.trusts = [[_Trust.loaded(saved) for saved in stage] for stage in trusts]
            graph.nodes, graph.runs, graph.run = int(nodes), int(runs), str(run)
            graph.offered = [int(count) for count in offered]


def _stage(position: int) -> int:
    return LATER if position else START


class Left:
    """A `Predictor` of one quantity of `Horizons`, which its snapshot holds whole."""

    def __init__(self, horizons: Horizons, place: int) -> None:
        self._horizons = horizons
        self._place = place

    def estimate(self, query: Query) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90."""
        return self._horizons.estimate(self._place, query)

    def learn(self, query: Query, value: float) -> None:
        """What was left. What cannot be is left out."""
        self._horizons.learn(self._place, query, value)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return self._horizons.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError`, `TypeError` or `ValueError` if it is not one."""
        self._horizons.restore(snapshot)

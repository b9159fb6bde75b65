"""`PlainRest`: what is left of runs by place alone, from the topology's word on a new node."""

from typing import Any

from headway.core.past import NO_PAST
from headway.core.protocols import Estimate, Query
from headway.predict.quantiles import ShrunkQuantiles

MAX_POSITION = 250
USUAL_AHEAD = 3.0
"""Nodes that a prior is meant for."""


class PlainRest:
    """Quantiles of one thing that is left: seconds, tokens or calls.

    A node of which nothing was seen has what is usual in its graph; where it is known how many
    nodes the graph has ahead of it, what is usual for each of so many.
    """

    def __init__(self, prior: tuple[float, float]) -> None:
        usual, place = ((), ("graph",)), ("graph", "node")
        each = (prior[0] / USUAL_AHEAD, prior[1] / USUAL_AHEAD)
        self._usual = ShrunkQuantiles(levels=usual, prior=prior)
        self._each = ShrunkQuantiles(levels=usual, prior=each)
        self._visits = ShrunkQuantiles(levels=(place, (*place, "visit")), prior=prior)
        self._positions = ShrunkQuantiles(
            levels=(place, (*place, "visit")), prior=prior, most_visits=MAX_POSITION
        )

    def at_visit(self, query: Query) -> Estimate:
        """By the node, and how often the run has been there."""
        return self._at(self._visits, query, query)

    def at_position(self, query: Query) -> Estimate:
        """By the node, and how many nodes the run has had."""
        place = (query.past or NO_PAST).position + 1
        return self._at(
            self._positions, query, Query(graph=query.graph, node=query.node, visit=place)
        )

    def _at(self, known: ShrunkQuantiles, query: Query, place: Query) -> Estimate:
        graph = Query(graph=query.graph, node="")
        if query.ahead > 0:
            usual = self._each.estimate(graph)
            prior = (usual.p50 * query.ahead, usual.p90 * query.ahead)
        else:
            usual = self._usual.estimate(graph)
            prior = (usual.p50, usual.p90)
        found = known.estimate(place, prior=prior)
        if found.samples:
            return found
        return Estimate(p50=found.p50, p90=found.p90, samples=usual.samples)

    def learn(self, query: Query, value: float, position: int | None) -> None:
        """What it really was; a `position` only of nodes that count there."""
        graph = Query(graph=query.graph, node="")
        self._usual.learn(graph, value)
        if query.ahead > 0:
            self._each.learn(graph, value / query.ahead)
        self._visits.learn(query, value)
        if position is not None:
            place = Query(graph=query.graph, node=query.node, visit=position + 1)
            self._positions.learn(place, value)

    def saved(self) -> list[Any]:
        """In plain types."""
        return [one.snapshot() for one in self._all()]

    def load(self, saved: list[Any]) -> None:
        """Take back what was saved."""
        for one, each in zip(self._all(), saved, strict=True):
            one.restore(each)

    def _all(self) -> tuple[ShrunkQuantiles, ...]:
        return self._usual, self._each, self._visits, self._positions

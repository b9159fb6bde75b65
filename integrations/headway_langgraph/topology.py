"""The static topology of a graph, read from its builder.

`get_graph()` simulates supersteps and loses everything behind a conditional
edge without a path map; the builder holds it all. What a run really does is
told by the handler: this is a prior.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headway.core.facts import GraphSeen

ANYWHERE = "*"
"""Target of a branch whose destinations the graph does not state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """One graph: what `GraphSeen` tells, which nodes are deferred, and the graphs inside it.

    `timeouts` holds the seconds that an attempt of a node may take, for nodes that say so.
    """

    seen: GraphSeen
    deferred: tuple[str, ...] = ()
    timeouts: tuple[tuple[str, float], ...] = ()
    subgraphs: tuple[tuple[str, "Topology"], ...] = ()

    def all(self) -> "tuple[Topology, ...]":
        """The graph's topology and those of the graphs inside it, each once."""
        found = {self: None}
        for _, inner in self.subgraphs:
            found.update(dict.fromkeys(inner.all()))
        return tuple(found)


def read_topology(graph: Any, *, _within: frozenset[int] = frozenset()) -> Topology:
    """The topology of a compiled graph (or functional entrypoint: its one node, no edges)."""
    builder = getattr(graph, "builder", None)
    nodes: dict[str, Any] = graph.nodes
    known = tuple(sorted(name for name in nodes if name != "__start__"))
    inside = _within | {id(graph)}
    subgraphs = tuple(
        (name, read_topology(inner, _within=inside))
        for name in known
        for inner in (getattr(nodes[name], "subgraphs", None) or ())
        if hasattr(inner, "nodes") and id(inner) not in inside
    )
    return Topology(
        seen=GraphSeen(
            graph=graph.get_name(),
            nodes=known,
            edges=() if builder is None else tuple(sorted(set(_edges(builder)))),
        ),
        deferred=()
        if builder is None
        else tuple(sorted(n for n, spec in builder.nodes.items() if getattr(spec, "defer", False))),
        timeouts=tuple(
            (name, limit) for name in known if (limit := _timeout(nodes[name])) is not None
        ),
        subgraphs=subgraphs,
    )


def _timeout(node: Any) -> float | None:
    """The fewest seconds that a node's policy leaves one attempt; a wait for a seat is idle."""
    policy = getattr(node, "timeout", None)
    limits = [getattr(policy, name, None) for name in ("run_timeout", "idle_timeout")]
    if isinstance(policy, (int, float, timedelta)):
        limits = [policy]
    seconds = [one.total_seconds() if isinstance(one, timedelta) else one for one in limits if one]
    return min(map(float, seconds), default=None)


def _edges(builder: Any) -> Iterable[tuple[str, str, str]]:
    for source, target in builder.edges:
        yield source, target, "edge"
    for sources, target in builder.waiting_edges:
        for source in sources:
            yield source, target, "join"
    for source, branches in builder.branches.items():
        for branch in branches.values():
            # A path map goes from what the path function returns to a node.
            for target in (branch.ends or {ANYWHERE: ANYWHERE}).values():
                yield source, str(target), "branch"
    for name, spec in builder.nodes.items():
        # `destinations` may be a dict from node to label, so its keys are the targets.
        for target in getattr(spec, "ends", None) or ():
            yield name, str(target), "command"

"""The scheduled graphs of this process: told once each, and asked for limits and names."""

from collections.abc import Mapping

from headway.client import Scheduling
from headway.core.facts import GraphSeen
from headway_langgraph.topology import Topology

NO_LIMITS: Mapping[str, float] = {}


class KnownGraphs:
    """Topologies by graph name; of several with one name, the one scheduled last counts."""

    def __init__(self) -> None:
        self._graphs: dict[str, Topology] = {}
        self._announced: set[GraphSeen] = set()

    def remember(self, topology: Topology) -> None:
        """Keep the topology of a graph, and of those inside it."""
        self._graphs[topology.seen.graph] = topology
        for inner in topology.all():
            self._graphs.setdefault(inner.seen.graph, inner)

    def announce(self, client: Scheduling, graph: str) -> None:
        """Tell the topology before the graph's first run (the client retells it)."""
        topology = self._graphs.get(graph)
        if topology is None or topology.seen in self._announced:
            return
        for one in topology.all():
            if one.seen not in self._announced:
                self._announced.add(one.seen)
                client.observe(one.seen)

    def forked(self) -> None:
        """In a forked child: nothing is told yet."""
        self._announced.clear()

    def timeouts(self, graph: str) -> Mapping[str, float]:
        """Seconds that nodes of `graph` may take, by name, for nodes that say so."""
        topology = self._graphs.get(graph)
        return NO_LIMITS if topology is None or not topology.timeouts else dict(topology.timeouts)

    def own_name(self, name: str, *, outer: str, node: str, first: str) -> str:
        """The own name of a graph inside `node` of `outer` that runs as `name`, if it can be told.

        A `run_name` may be anything, another for each run even, and nothing is learned from that.
        `first` is a node of the graph.
        """
        around = self._graphs.get(outer)
        if name in self._graphs or around is None:
            return name
        inside = {
            inner.seen.graph
            for place, inner in around.subgraphs
            if place == node and first in inner.seen.nodes
        }
        return inside.pop() if len(inside) == 1 else name

"""What the decorator adds to a node that does nothing: 200 of them in a chain.

Pairs of fresh graphs, bare and scheduled, the first of a pair in turns. In a
process of its own; once with a daemon that listens to every fact, once with
none. ``python -m tests.bench.plugin PAIRS connected|alone`` is that process.
"""

import gc
import sys
import time
from collections.abc import Callable
from typing import Any, TypedDict

from langgraph.graph import START, StateGraph

from headway.calling.guard import complaints
from headway.client import get_client
from headway_langgraph import schedule
from tests.bench.children import daemon, no_daemon, pairs_of, tell_result, tell_step
from tests.bench.measure import Result, in_turns, overhead
from tests.bench.servers import server

NODES = 200
GOAL = 0.10
WARM_UP = 2


class State(TypedDict, total=False):
    x: int


def chain(*, scheduled: bool) -> Any:
    """A fresh graph of `NODES` nodes in a row."""
    builder = StateGraph(State)
    before = START
    for number in range(NODES):
        name = f"node-{number:03d}"
        builder.add_node(name, lambda state: {"x": 1})
        builder.add_edge(before, name)
        before = name
    graph = builder.compile(name="chain")
    return schedule(graph) if scheduled else graph


def seconds_per_node(*, scheduled: bool) -> float:
    """One run of a fresh graph."""
    graph = chain(scheduled=scheduled)
    gc.collect()
    began = time.perf_counter()
    graph.invoke({"x": 0}, {"recursion_limit": NODES + 10})
    return (time.perf_counter() - began) / NODES


def main(pairs: int, *, connected: bool) -> None:
    """Measure, and print what was found."""
    bare: list[float] = []
    with_it: list[float] = []
    for number, turn in enumerate(in_turns(WARM_UP + pairs)):
        for scheduled in turn:
            spent_us = seconds_per_node(scheduled=scheduled) * 1e6
            if number >= WARM_UP:
                (with_it if scheduled else bare).append(spent_us)
        if number >= WARM_UP:
            tell_step()
    if complaints.counts:
        raise RuntimeError(f"a hook complained: {complaints.counts}")
    if (get_client().pool is not None) is not connected:
        raise RuntimeError(f"a daemon took part: {not connected}, asked for: {connected}")
    tell_result({"node": (bare, with_it)})


def measure(*, pairs: int, step: Callable[[], None]) -> list[Result]:
    """`plugin_node` with a daemon, `plugin_node_alone` without one: microseconds per node."""
    results = []
    for name, somebody in (("plugin_node", True), ("plugin_node_alone", False)):
        with server("model") as url, daemon(url) if somebody else no_daemon() as socket:
            arguments = (str(pairs), "connected" if somebody else "alone")
            found = pairs_of("tests.bench.plugin", *arguments, socket=socket, step=step)
        bare, with_it = found["node"]
        results.append(overhead(name, bare, with_it, unit="us", ratio_to="bare_node", goal=GOAL))
    return results


if __name__ == "__main__":
    main(int(sys.argv[1]), connected=sys.argv[2] == "connected")

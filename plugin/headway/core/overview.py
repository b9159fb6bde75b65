"""What an operator watches: the queue, the open runs, prediction against outcome.

Plain data of bounded size, made only when somebody asks.
"""

from collections import Counter
from dataclasses import asdict
from heapq import nsmallest
from typing import Any

from headway.core.books import Books
from headway.core.calls import Call, CallState
from headway.core.graph import Node, Run
from headway.core.hindsight import by_place, foretold, hindsight
from headway.core.remaining import ahead, pieces
from headway.core.types import NodeId, RunId, Seconds
from headway.core.view import View

QUEUE_TOLD = 100
RUNS_TOLD = 100
PLACES_TOLD = 50
NODES_TOLD = 5
LONGEST_NAME = 120
FINE = 1_000.0
"""Parts of a second in which what is left of a run is counted."""


def overview(view: View, books: Books) -> dict[str, Any]:
    """Waiting calls and open runs, the oldest first, and how recent predictions turned out.

    Of each only the first are told; ``queue_total`` and ``runs_total`` count all, and
    ``waiting_for`` counts by endpoint the waiting calls that it may serve.
    """
    roots = [run for run in books.runs.values() if run.parent is None and run.state == "open"]
    calls = _OpenCalls(view, books)
    told = [one for call in books.recent if (one := foretold(call)) is not None]
    return {
        "queue": [
            _waiting_told(view, call)
            for call in nsmallest(QUEUE_TOLD, view.waiting, key=_since_first_attempt)
        ],
        "queue_total": len(view.waiting),
        "waiting_for": _waiting_for(view),
        "runs": [
            _run_told(view, run, calls)
            for run in nsmallest(RUNS_TOLD, roots, key=lambda run: (run.started_at, run.id))
        ],
        "runs_total": len(roots),
        "predictions": [
            {"graph": _short(graph), "node": _short(node), "model": _short(model), **asdict(found)}
            for (graph, node, model), found in by_place(told)[:PLACES_TOLD]
        ],
        "predictions_all": asdict(hindsight(told)) if told else None,
    }


class _OpenCalls:
    """Open calls by the run above them, and how long each node's open calls were held."""

    def __init__(self, view: View, books: Books) -> None:
        self.running: dict[RunId, int] = {}
        self.waiting: dict[RunId, int] = {}
        self.held_s: dict[tuple[RunId, NodeId], Seconds] = {}
        for call in books.calls.values():
            if (run := books.run(call.run)) is None:
                continue
            waits = call.state is CallState.WAITING
            counts = self.waiting if waits else self.running
            counts[run.root.id] = counts.get(run.root.id, 0) + 1
            self._hold(run, call.ask.node, call.held_s(view.at))

    def _hold(self, run: Run, node: NodeId, held_s: Seconds) -> None:
        """The wait counts for the call's node, and for the nodes around its graph."""
        place: NodeId | None = node
        of: Run | None = run
        while of is not None and place is not None:
            self.held_s[(of.id, place)] = max(self.held_s.get((of.id, place), 0.0), held_s)
            place, of = of.parent_node, of.parent


def _waiting_for(view: View) -> dict[str, int]:
    """By endpoint, the waiting calls that it may serve."""
    found: dict[str, int] = {str(endpoint): 0 for endpoint in view.endpoints}
    for candidates, calls in Counter(call.candidates for call in view.waiting).items():
        for endpoint in candidates:
            found[endpoint] = found.get(endpoint, 0) + calls
    return found


def _since_first_attempt(call: Call) -> tuple[Seconds, tuple[str, int]]:
    return (call.ready_at - call.ask.age_s, call.key)


def _waiting_told(view: View, call: Call) -> dict[str, Any]:
    deadline_s = view.deadline_s(call)
    return {
        "run": _short(call.run),
        "graph": _short(call.ask.graph),
        "node": _short(call.ask.node_name),
        "call": _short(call.ask.call),
        "attempt": call.ask.attempt,
        "pool_name": _short(call.ask.pool_name),
        "waited_s": call.held_s(view.at),
        "deadline_left_s": None if deadline_s is None else deadline_s - view.age_s(call),
        "candidates": len(call.candidates),
    }


def _run_told(view: View, run: Run, calls: _OpenCalls) -> dict[str, Any]:
    deadline_s = run.deadline_s
    if deadline_s is None:
        deadline_s = view.pool.class_deadlines.get(run.service_class)
    age_s = run.age_s(view.at)
    at_nodes = _open_nodes(run)
    rests = [_rest_s(view, run, node, calls) for node in at_nodes]
    names = sorted({node.name for node in at_nodes})
    back = view.return_s(run)
    return {
        "run": _short(run.id),
        "graph": _short(run.graph),
        "nodes": [_short(name) for name in names[:NODES_TOLD]],
        "nodes_total": len(names),
        "age_s": age_s,
        "deadline_left_s": None if deadline_s is None else deadline_s - age_s,
        "rest_s": max(rests, default=None),
        "rest_calls": max(
            (
                max(view.foresight.rest_calls.estimate(run.query_of(node)).p50 - node.calls, 0.0)
                for node in at_nodes
            ),
            default=None,
        ),
        "back_s": None if back is None else back.p50,
        "back_p90_s": None if back is None else back.p90,
        "running": calls.running.get(run.id, 0),
        "waiting": calls.waiting.get(run.id, 0),
    }


def _open_nodes(run: Run) -> list[Node]:
    return [node for node in run.nodes.values() if node.ended_at is None]


def _rest_s(view: View, run: Run, node: Node, calls: _OpenCalls) -> Seconds:
    """Predicted stand-alone seconds to the run's end: time lost to load is no progress.

    A node that takes longer than was foreseen has what comes of those that go on (`remaining`).
    """
    held_s = calls.held_s.get((run.id, node.id), 0.0)
    lost_s = held_s + node.calls_s - node.alone_s
    progress_s = max(view.at - node.started_at - lost_s, 0.0)
    found = view.foresight.rest_s.estimate(run.query_of(node))
    course = pieces(found.p50 * FINE, found.p90 * FINE)
    return ahead(course, progress_s * FINE) / FINE


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."

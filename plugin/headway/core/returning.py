"""When a run that waits for a tool or a person will come back with its next call.

A run that holds no seat still holds a prefix in some cache: how soon it is back says whether
that is worth keeping. What is waited for is named by the node that runs a tool, by `PERSON` for
an interrupt, and where neither is known by the node whose call ended last.
"""

from headway.core.calls import CallState
from headway.core.graph import Node, Run
from headway.core.protocols import Query
from headway.core.types import Seconds

PERSON = "(a person)"


def returns_to(run: Run, what: str) -> Query:
    """What a predictor of return times is asked, and later taught, of what the run waits for."""
    return Query(graph=run.graph, node=what, run=run.id)


def after(node_name: str) -> str:
    """What is waited for once a call of the node has ended, where nothing tells of tools."""
    return f"(after {node_name})"


def is_tool(node: Node) -> bool:
    """Whether the node has asked no model, nor has a graph inside it."""
    return not node.has_calls and not node.calls_s


def waits_for(run: Run, at: Seconds) -> tuple[Query, Seconds] | None:
    """What the run waits for, and how long it has; None while it has a call open, or is over."""
    if run.paused_at is not None and run.state == "interrupted":
        return returns_to(run, PERSON), at - run.paused_at
    if run.state != "open" or any(child.state == "open" for child in run.children):
        return None
    if any(call.state is not CallState.CLOSED for call in run.calls):
        return None
    tools = [node for node in run.nodes.values() if node.ended_at is None and is_tool(node)]
    if tools:
        latest = max(tools, key=lambda node: (node.started_at, node.id))
        return returns_to(run, latest.name), at - latest.started_at
    last = run.calls[-1] if run.calls else None
    if last is None or last.closed_at is None:
        return None
    return returns_to(run, after(last.ask.node_name)), at - last.closed_at

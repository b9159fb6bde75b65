"""What a run's course says about the answers in it, with no change of nodes.

Three signs, each learned under its own name:

``node``      a node failed after its call had answered (validation, parsing);
``loop``      the graph went round again: the answer that led there did not do;
``feedback``  somebody said so (`headway.feedback`).

A round in which a model called tools is no failure, nor is one that a person's
answer started. The last round that any run has been seen to make is not
counted as a success: a graph that gives up looks the same as one that is done.
"""

from headway.core.graph import Judgeable, Node, Run, Topology

UNSEEN_ROUNDS = 2
"""Rounds that a loop is taken to make before it has been seen."""


def _visited(run: Run, names: frozenset[str]) -> list[Node]:
    """The run's nodes among `names`, in the order in which they started."""
    found = [node for node in run.nodes.values() if node.name in names]
    return sorted(found, key=lambda node: (node.started_at, node.id))


def _judge_of(run: Run, topology: Topology, loop: frozenset[str]) -> str:
    """The loop's first node if it judges without a call of its own and can leave; else empty.

    ``write -> run_tests -> repair -> run_tests`` is judged by ``run_tests``.
    """
    visited = _visited(run, loop)
    if not visited or any(n.has_calls for n in visited if n.name == visited[0].name):
        return ""
    entry = visited[0].name
    leaves = any(after not in loop for after in topology.followers.get(entry, ()))
    return entry if leaves else ""


def _writer_of(run: Run, loop: frozenset[str]) -> str:
    """The first node of the loop that makes calls: its answers are what the loop is about."""
    return next((node.name for node in _visited(run, loop) if node.has_calls), "")


def _led_to(topology: Topology, loop: frozenset[str], judge: str, name: str) -> bool:
    return name in loop or topology.leads_to(name, judge)


def _take(run: Run, wanted: list[Judgeable]) -> list[Judgeable]:
    """Remove `wanted` from the pending answers."""
    taken = {id(one) for one in wanted}
    run.pending = [one for one in run.pending if id(one) not in taken]
    return wanted


def failures_shown(run: Run, topology: Topology, node: Node) -> list[Judgeable]:
    """Answers that the start of `node` (a first start of this visit) shows to have failed."""
    if not run.pending:
        return []
    loop = topology.loop_of(node.name)
    if not loop:
        return []
    judge = _judge_of(run, topology, loop)
    if judge and node.name != judge:
        last = max(n.started_at for n in run.nodes.values() if n.name == judge)
        failed = [
            one
            for one in run.pending
            if one.closed_at <= last and _led_to(topology, loop, judge, one.node_name)
        ]
        return _take(run, failed)
    if not judge and node.visit > 1 and node.name == _writer_of(run, loop):
        taken = _take(run, [one for one in run.pending if one.node_name in loop])
        return [one for one in taken if one.node_name == node.name]
    return []


def successes_shown(run: Run, topology: Topology) -> list[Judgeable]:
    """Answers that the good end of `run` shows to have sufficed."""
    good = []
    for one in run.pending:
        loop = topology.loop_of(one.node_name)
        if not loop:
            loop, judge = _judging_loop_after(run, topology, one)
        else:
            judge = _judge_of(run, topology, loop)
        key_node = judge or (_writer_of(run, loop) if loop else "")
        if not key_node or (not judge and one.node_name != key_node):
            continue
        rounds = run.visits.get(key_node, 1)
        if rounds > 1 and rounds >= topology.most_visits.get(key_node, 0):
            continue
        good.append(one)
    run.pending = []
    return good


def _judging_loop_after(run: Run, topology: Topology, one: Judgeable) -> tuple[frozenset[str], str]:
    """The judged loop that the answer's node leads straight into, if the run went there."""
    for follower in sorted(topology.followers.get(one.node_name, ())):
        loop = topology.loop_of(follower)
        if loop and run.visits.get(follower):
            judge = _judge_of(run, topology, loop)
            if judge == follower:
                return loop, judge
    return frozenset(), ""


def failed_models(run: Run, topology: Topology, node_name: str) -> tuple[str, ...]:
    """Models whose answers have failed so far in the loop that `node_name` is part of."""
    return run.failed_models if topology.loop_of(node_name) else ()


def rounds_left(run: Run, topology: Topology, node_name: str) -> int:
    """How many more answers the graph may still ask for if this one fails, as seen before."""
    loop = topology.loop_of(node_name)
    if loop:
        judge = _judge_of(run, topology, loop)
        key_node = judge or _writer_of(run, loop) or node_name
        # a judge's next visit is about this very answer; a writer's visit is this answer
        this_answer = run.visits.get(key_node, 0) + (1 if judge else 0)
        return max(topology.most_visits.get(key_node, UNSEEN_ROUNDS) - max(this_answer, 1), 0)
    for follower in sorted(topology.followers.get(node_name, ())):
        loop = topology.loop_of(follower)
        if loop and topology.most_visits.get(follower, 0) > 1:
            return topology.most_visits[follower] - 1
    return 0

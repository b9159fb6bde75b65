"""What a client would ask the daemon for a call, made of a trace."""

from headway.core.facts import CallReady
from headway.core.types import CallId, NodeId, RunId
from headway.sim.lives import CHARS_PER_TOKEN, Life
from headway.sim.plans import Rules

ATTEMPT_NODE = "solve"
"""The node of a graph that asks a question again until its verdict is good."""


def call_of_node(life: Life, place: int, parents: tuple[NodeId, ...], rules: Rules) -> CallReady:
    """The call of a recorded node."""
    node, run = life.body.nodes[place], life.plan.id
    plan = node.plan
    node_id = NodeId(f"{run}/{place}")
    return CallReady(
        call=CallId(node_id),
        attempt=1,
        run=RunId(run),
        graph=life.plan.run.graph,
        node=node_id,
        node_name=plan.name,
        pool_name=plan.pool_name or rules.pool_name,
        parents=parents,
        visit=node.visit,
        step=node.step,
        prompt_chars=plan.prompt_tokens * CHARS_PER_TOKEN,
        max_tokens=plan.max_tokens or rules.max_tokens,
        models=plan.models or ((plan.model,) if plan.model else ()),
    )


def call_of_attempt(life: Life, rules: Rules) -> CallReady:
    """The call of the run's present attempt at its question."""
    run = life.plan.id
    node_id = NodeId(f"{run}/{life.attempt}")
    return CallReady(
        call=CallId(node_id),
        attempt=1,
        run=RunId(run),
        graph=life.plan.run.graph,
        node=node_id,
        node_name=ATTEMPT_NODE,
        pool_name=rules.pool_name,
        parents=(life.last_node,) if life.last_node is not None else (),
        visit=life.attempt,
        step=life.attempt,
        prompt_chars=life.prompt_tokens * CHARS_PER_TOKEN,
        max_tokens=rules.max_tokens,
    )

"""Bodies: trace runs prepared for playing, once for all runs that share them."""

from dataclasses import dataclass

from headway.core.errors import ConfigError
from headway.sim.trace import TraceNode, TraceRun


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyNode:
    """A node with what playing it needs: who follows, its step and visit, its blocks.

    Steps are even: the one before is that of the node's tools.
    """

    plan: TraceNode
    children: tuple[int, ...]
    step: int
    visit: int
    prefix: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A recorded DAG ready to be played. `last_call` is the place of the node that answers."""

    nodes: tuple[BodyNode, ...]
    last_call: int


def prepared(run: TraceRun, block_tokens: int) -> Body:
    """The body of a run for engines with blocks of `block_tokens`.

    Raises `ConfigError` if the trace's blocks are not a multiple of the engines'.
    """
    children: list[list[int]] = [[] for _ in run.nodes]
    steps: list[int] = []
    for place, node in enumerate(run.nodes):
        steps.append(1 + max((steps[parent] for parent in node.parents), default=0))
        for parent in node.parents:
            children[parent].append(place)
    visits = _visits(run, steps)
    share, rest = divmod(run.block_tokens, block_tokens)
    if rest and any(node.prefix for node in run.nodes):
        raise ConfigError(
            f"run {run.id}: its blocks of {run.block_tokens} tokens are no multiple of the "
            f"engines' {block_tokens}: set block_tokens of the pool's sites"
        )
    nodes = tuple(
        BodyNode(
            plan=node,
            children=tuple(children[place]),
            step=2 * steps[place],
            visit=visits[place],
            prefix=tuple((first * share, count * share) for first, count in node.prefix),
        )
        for place, node in enumerate(run.nodes)
    )
    calls = [place for place, node in enumerate(run.nodes) if node.prompt_tokens]
    return Body(nodes=nodes, last_call=calls[-1] if calls else -1)


def _visits(run: TraceRun, steps: list[int]) -> list[int]:
    """For each node the number of steps so far in which its name ran; siblings share it."""
    seen: dict[str, list[int]] = {}
    for step, node in sorted({(steps[place], node.name) for place, node in enumerate(run.nodes)}):
        seen.setdefault(node, []).append(step)
    return [1 + seen[node.name].index(steps[place]) for place, node in enumerate(run.nodes)]


def blocks(stretches: tuple[tuple[int, int], ...], offset: int) -> tuple[int, ...]:
    """All block ids of a prompt, moved by `offset` (which tells runs apart)."""
    found: list[int] = []
    for first, count in stretches:
        found.extend(range(offset + first, offset + first + count))
    return tuple(found)

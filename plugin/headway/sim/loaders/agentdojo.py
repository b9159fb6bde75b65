"""AgentDojo: a tool-using agent of many models on the same tasks.

By default only runs without an attack (``where={"attack": ...}`` for others). Tool times
are not recorded, nor are the tools' descriptions in the prompts. The agent's prompt is its
history, which only grows: each call shares its blocks with the one before.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, after, written
from headway.sim.loaders.stretches import growing
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "AgentDojo run cache (ethz-spylab/agentdojo, MIT)"
BLOCK_TOKENS = 16


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call; `tc` counts the tools that its answer asks for."""

    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    tc: Count


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a model on a task."""

    id: str
    task: str
    suite: str
    model: str
    attack: str
    utility: bool
    n_calls: Count
    calls: tuple[Call, ...]


def agentdojo(rows: Rows) -> Iterator[TraceRun]:
    """Benign runs as chains; `ok` is the task's own check. A run without a call is left out."""
    for row in rows.of(Row, default={"attack": "none"}):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        if not row.calls:
            continue
        nodes = tuple(
            TraceNode(
                name="agent",
                parents=after(place),
                prompt_tokens=call.prompt_tokens,
                output_tokens=written(call.output_tokens),
                tool_calls=call.tc,
                prefix=growing(0, call.prompt_tokens, BLOCK_TOKENS),
            )
            for place, call in enumerate(row.calls)
        )
        yield TraceRun(
            id=row.id,
            graph=f"agentdojo.{row.suite}",
            group=row.task,
            nodes=nodes,
            ok=row.utility,
            block_tokens=BLOCK_TOKENS,
        )

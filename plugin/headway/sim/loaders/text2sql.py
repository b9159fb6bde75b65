"""HEXGEN-FLOW's text-to-SQL workflows (CHESS, MAC-SQL): stages of calls that run side by side."""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, written
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "HEXGEN-FLOW / CHESS / MAC-SQL workflows (Relaxed-System-Lab; numbers only)"


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call; calls of one stage run in parallel."""

    stage: Count
    role: str
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a pipeline."""

    id: str
    group: str
    pipeline: str
    source: str
    licence: str
    n_calls: Count
    calls: tuple[Call, ...]


def text2sql(rows: Rows) -> Iterator[TraceRun]:
    """Runs as staged DAGs: a node waits for all nodes of the stage before. No times are known."""
    for row in rows.of(Row):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        nodes: list[TraceNode] = []
        parents: tuple[int, ...] = ()
        stage: tuple[int, ...] = ()
        number = -1
        for call in sorted(row.calls, key=lambda call: call.stage):
            if call.stage != number:
                number, parents, stage = call.stage, stage, ()
            stage += (len(nodes),)
            nodes.append(
                TraceNode(
                    name=call.role,
                    parents=parents,
                    prompt_tokens=call.prompt_tokens,
                    output_tokens=written(call.output_tokens),
                )
            )
        yield TraceRun(
            id=row.id, graph=f"text2sql.{row.pipeline}", group=row.group, nodes=tuple(nodes)
        )

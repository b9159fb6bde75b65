"""ChatDev: a company of role players that writes a program, one call after the other.

Calls and token counts are from the program's own logs, times in whole seconds. A node is
(phase, role). Runs that did not complete are left out unless `where` names ``complete``.
A gap of more than five minutes between two calls is the author's machine or account at
rest, and is cut to five.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, Time, after, between, written
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "ChatDev run logs (OpenBMB/ChatDev and forks, Apache-2.0)"
GAP_CAP_S = 300.0


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of a row; seconds since the first call."""

    role: str
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    phase: str | None
    t0: Time
    t1: Time


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    group: str
    source: str
    variant: str
    model: str | None
    complete: bool
    n_calls: Count
    calls: tuple[Call, ...]


def chatdev(rows: Rows) -> Iterator[TraceRun]:
    """Complete runs as chains; the graph is ``chatdev.VARIANT``."""
    for row in rows.of(Row, default={"complete": "true"}):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        nodes = tuple(
            TraceNode(
                name=f"{call.phase}/{call.role}" if call.phase else call.role,
                parents=after(place),
                prompt_tokens=call.prompt_tokens,
                output_tokens=written(call.output_tokens),
                tool_s=between(
                    row.calls[place - 1].t1 if place else None, call.t0, cap_s=GAP_CAP_S
                ),
            )
            for place, call in enumerate(row.calls)
        )
        yield TraceRun(id=row.id, graph=f"chatdev.{row.variant}", group=row.group, nodes=nodes)

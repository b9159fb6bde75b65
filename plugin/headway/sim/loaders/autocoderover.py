"""AutoCodeRover on SWE-bench-lite: search, proxy and patch agents, one call after the other.

Tools run inside the gaps between calls, which have a resolution of a second; a gap of more
than half a minute is cut to that.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, Time, after, between, written
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "AutoCodeRover results on SWE-bench-lite (nus-apr/auto-code-rover; numbers only)"
GAP_CAP_S = 30.0


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call of a row; seconds since the run's start."""

    role: str
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    tools_before: Count
    t0: Time
    t1: Time


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run: an instance, tried the `run`-th time."""

    id: str
    instance: str
    run: int
    model: str
    outcome: str
    resolved: bool
    n_calls: Count
    calls: tuple[Call, ...]


def autocoderover(rows: Rows) -> Iterator[TraceRun]:
    """Runs as chains; `ok` is whether the patch resolved the issue."""
    for row in rows.of(Row):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        following = (*row.calls[1:], None)
        nodes = tuple(
            TraceNode(
                name=call.role,
                parents=after(place),
                prompt_tokens=call.prompt_tokens,
                output_tokens=written(call.output_tokens),
                tool_s=between(
                    row.calls[place - 1].t1 if place else None, call.t0, cap_s=GAP_CAP_S
                ),
                tool_calls=later.tools_before if later is not None else 0,
            )
            for place, (call, later) in enumerate(zip(row.calls, following, strict=True))
        )
        yield TraceRun(
            id=row.id, graph="autocoderover", group=row.instance, nodes=nodes, ok=row.resolved
        )

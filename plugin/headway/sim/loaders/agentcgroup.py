"""AgentCGroup: Claude Code and a local model on SWE-rebench tasks, with measured tool times.

Calls of sub-agents (``side``) stand in the chain where they came, as two names of nodes.
`tool_s` is the gap before a call, which is what the tools took: where a tool is itself a
sub-agent, its calls are there in its stead.

A call extends what the same agent's call before had as far as `cached` says. A run in which
nothing was cached was served by a server that does not tell: there a prompt that did not
shrink is the one before and more.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, Time, after, between, written
from headway.sim.loaders.stretches import Stretches, head, joined, size
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "AgentCGroup traces (eunomia-bpf/agentcgroup; numbers only)"
BLOCK_TOKENS = 16
TOOL_CAP_S = 600.0


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call: ready at `t0`, done at `t1`; `cached` tokens of its prompt were cached.

    `tools` are (name, seconds, result tokens).
    """

    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    cached: Count
    side: Count
    t0: Time
    t1: Time
    tools: tuple[tuple[str, Time | None, Count | None], ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    set: str
    task: str
    model: str
    n_calls: Count
    calls: tuple[Call, ...]


def agentcgroup(rows: Rows) -> Iterator[TraceRun]:
    """Runs as chains with their blocks."""
    for row in rows.of(Row):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        nodes: list[TraceNode] = []
        prompts: dict[int, Stretches] = {}
        fresh = 0
        told = any(call.cached for call in row.calls)
        for place, call in enumerate(row.calls):
            before = prompts.get(call.side, ())
            whole = call.prompt_tokens // BLOCK_TOKENS
            if told:
                kept = head(before, min(call.cached // BLOCK_TOKENS, whole))
            else:
                kept = before if size(before) <= whole else ()
            new = whole - size(kept)
            prompts[call.side] = prefix = joined(kept, ((fresh, new),))
            fresh += new
            nodes.append(
                TraceNode(
                    name="sub-agent" if call.side else "agent",
                    parents=after(place),
                    prompt_tokens=call.prompt_tokens,
                    output_tokens=written(call.output_tokens),
                    tool_s=between(
                        row.calls[place - 1].t1 if place else None, call.t0, cap_s=TOOL_CAP_S
                    ),
                    tool_calls=len(call.tools),
                    prefix=prefix,
                )
            )
        yield TraceRun(
            id=row.id,
            graph=f"agentcgroup.{row.set}",
            group=row.task,
            nodes=tuple(nodes),
            block_tokens=BLOCK_TOKENS,
        )

"""LMCache's agent traces: the true prompts of Magentic-One and mini-SWE-agent as block ids.

Rows whose prompts hold only the last message (``input_partial``) are left out unless
`where` asks for them: their token counts are not those of a prompt. A call whose prompt was
logged empty (pictures) is a node without a call. The time of a call is that of its log
line, from which no tool time can be told.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, after, written
from headway.sim.loaders.stretches import Stretches, head, joined, size
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "LMCache agent traces (LMCache/lmcache-agent-trace, Apache-2.0)"


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call: the first `lcp` blocks of the call `lcp_src`, then `new` stretches."""

    role: str
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    nb: Count
    lcp: Count
    lcp_src: Count | None
    new: tuple[tuple[Count, Count], ...]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    set: str
    block: Count
    input_partial: bool
    n_calls: Count
    calls: tuple[Call, ...]


def lmcache(rows: Rows) -> Iterator[TraceRun]:
    """Runs as chains with their blocks."""
    for row in rows.of(Row, default={"input_partial": "false"}):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        prompts: list[Stretches] = []
        nodes: list[TraceNode] = []
        for place, call in enumerate(row.calls):
            source = call.lcp_src
            if source is not None and source >= place:
                raise rows.wrong(f"calls[{place}]: lcp_src {source} is not an earlier call")
            kept = head(prompts[source], call.lcp) if source is not None else ()
            prompt = joined(kept, call.new)
            if size(prompt) != call.nb:
                raise rows.wrong(f"calls[{place}]: nb is {call.nb}, but {size(prompt)} are there")
            prompts.append(prompt)
            nodes.append(
                TraceNode(
                    name=call.role,
                    parents=after(place),
                    prompt_tokens=call.prompt_tokens,
                    output_tokens=written(call.output_tokens) if call.prompt_tokens else 0,
                    prefix=prompt,
                )
            )
        yield TraceRun(
            id=row.id,
            graph=f"lmcache.{row.set}",
            group=row.id,
            nodes=tuple(nodes),
            block_tokens=row.block,
        )

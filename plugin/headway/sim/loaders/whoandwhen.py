"""Who&When: multi-agent runs that failed, message by message.

A message's context is the question and all messages before it. What a terminal or the
person says is a node without a call. No times are known.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, after, written
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "Who&When (ag2ai/Agents_Failure_Attribution, MIT)"
NOT_MODELS = frozenset({"Computer_terminal", "ComputerTerminal", "human"})


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One message: `in` is what was said before it, without the question."""

    role: str
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    id: str
    kind: str
    question_tok: Count
    n_msgs: Count
    msgs: tuple[Message, ...]


def whoandwhen(rows: Rows) -> Iterator[TraceRun]:
    """Runs as chains of messages; all of them failed."""
    for row in rows.of(Row):
        rows.counted("n_msgs", row.n_msgs, len(row.msgs))
        nodes = tuple(
            TraceNode(name=message.role, parents=after(place))
            if message.role in NOT_MODELS
            else TraceNode(
                name=message.role,
                parents=after(place),
                prompt_tokens=max(row.question_tok + message.prompt_tokens, 1),
                output_tokens=written(message.output_tokens),
            )
            for place, message in enumerate(row.msgs)
        )
        if any(node.prompt_tokens for node in nodes):
            yield TraceRun(
                id=row.id, graph=f"whoandwhen.{row.kind}", group=row.id, nodes=nodes, ok=False
            )

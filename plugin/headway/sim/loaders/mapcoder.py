"""MapCoder and simpler methods of writing a program: calls and tokens per problem.

Only a run's totals are known. Its calls are a chain of equal shares of them: their number
and sum are measured, their sizes are not.
"""

from collections.abc import Iterator

import msgspec

from headway.sim.loaders.rows import Count, Rows, after
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "MapCoder results (Md-Ashraful-Pramanik/MapCoder, MIT)"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One problem, method and model. `api_calls` is None for methods of one call."""

    id: str
    model: str
    method: str
    set: str
    task: str
    api_calls: Count | None
    prompt_tokens: Count = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    solved: bool


def mapcoder(rows: Rows) -> Iterator[TraceRun]:
    """Runs as chains of calls of one size; the graph is ``mapcoder.METHOD``."""
    for row in rows.of(Row):
        calls = row.api_calls if row.api_calls is not None else 1
        if not 1 <= calls <= min(row.prompt_tokens, row.output_tokens):
            raise rows.wrong(
                f"{calls} calls cannot have {row.prompt_tokens} tokens in "
                f"and {row.output_tokens} out"
            )
        nodes = tuple(
            TraceNode(
                name="call",
                parents=after(place),
                prompt_tokens=_share(row.prompt_tokens, calls, place),
                output_tokens=_share(row.output_tokens, calls, place),
            )
            for place in range(calls)
        )
        yield TraceRun(
            id=row.id,
            graph=f"mapcoder.{row.method}",
            group=f"{row.set}/{row.task}",
            nodes=nodes,
            ok=row.solved,
        )


def _share(total: int, of: int, place: int) -> int:
    """The share of `total` at `place`: equal ones, the first of them one larger for the rest."""
    return total // of + (place < total % of)

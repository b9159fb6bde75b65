"""tau-bench and tau2-bench: a customer-service agent, its tools, and a model that plays the user.

Each role's prompt is its own history, which only grows: a call shares its blocks with the
role's call before.

Prompts that the source does not tell: where the role has others in this run, the nearest
one with what was said in between; where it has none, the role makes no calls in this run
(its answers are a person's, as far as the run tells). A run whose agent has none is left out.
"""

from collections.abc import Iterator, Sequence

import msgspec

from headway.sim.loaders.rows import Count, Rows, Time, after, between, written
from headway.sim.loaders.stretches import growing
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "tau-bench and tau2-bench trajectories (sierra-research, MIT)"
BLOCK_TOKENS = 16
GAP_CAP_S = 10.0
ALWAYS_GOOD = "adaptive-agent"
"""A submission that calls every one of its runs a success: they tell nothing of success."""
ROLE_BLOCKS = 1 << 20
"""Block ids of one role; no context has as many."""


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One call; `prompt_tokens` None: not told. `tc` counts the tools that its answer asks for."""

    role: str
    prompt_tokens: Count | None = msgspec.field(name="in")
    output_tokens: Count = msgspec.field(name="out")
    tc: Count
    t0: Time | None = None
    t1: Time | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One dialogue."""

    id: str
    bench: str
    domain: str
    task: str
    source: str
    agent_model: str
    user_model: str
    reward: float
    n_calls: Count
    calls: tuple[Call, ...]


def tau(rows: Rows) -> Iterator[TraceRun]:
    """Dialogues as chains; the graph is ``tau.DOMAIN``, `ok` a full reward."""
    for row in rows.of(Row):
        rows.counted("n_calls", row.n_calls, len(row.calls))
        prompts = prompts_of(row.calls)
        agent = [
            tokens for call, tokens in zip(row.calls, prompts, strict=True) if call.role == "agent"
        ]
        if not any(agent):
            continue
        roles = sorted({call.role for call in row.calls})
        nodes = tuple(
            TraceNode(
                name=call.role,
                parents=after(place),
                prompt_tokens=tokens,
                output_tokens=written(call.output_tokens) if tokens else 0,
                tool_s=between(
                    row.calls[place - 1].t1 if place else None, call.t0, cap_s=GAP_CAP_S
                ),
                tool_calls=call.tc,
                prefix=growing(roles.index(call.role) * ROLE_BLOCKS, tokens, BLOCK_TOKENS),
            )
            for place, (call, tokens) in enumerate(zip(row.calls, prompts, strict=True))
        )
        yield TraceRun(
            id=row.id,
            graph=f"tau.{row.domain}",
            group=row.task,
            nodes=nodes,
            ok=None if row.source.startswith(ALWAYS_GOOD) else row.reward >= 1.0,
            block_tokens=BLOCK_TOKENS,
        )


def prompts_of(calls: Sequence[Call]) -> tuple[int, ...]:
    """Prompt tokens of each call; 0 for those of a role that has none told."""
    said = [0]
    for call in calls:
        said.append(said[-1] + call.output_tokens)
    told: dict[str, list[tuple[int, int]]] = {}
    for place, call in enumerate(calls):
        if call.prompt_tokens is not None:
            told.setdefault(call.role, []).append((place, call.prompt_tokens))
    prompts: list[int] = []
    for place, call in enumerate(calls):
        if call.prompt_tokens is not None:
            prompts.append(call.prompt_tokens)
        elif known := told.get(call.role):
            near, tokens = min(known, key=lambda one: (abs(one[0] - place), one[0]))
            prompts.append(max(tokens + said[place] - said[near], 1))
        else:
            prompts.append(0)
    return tuple(prompts)

"""Coding sessions with a person (Claude Code), with the block ids of every prompt.

A session is a row of requests. Requests whose answer asks for a tool make an autonomous
loop with what follows; any other stop ends it. By default each loop is a run
(``weka.loop``); with ``where={"unit": "session"}`` a session is (``weka.session``), and
the pause before a loop is a person's (`think_s`).

* A request whose stream was aborted is dropped; what it added to the context stays there.
* A prompt beyond 100,000 tokens and what follows it in its loop are dropped: most pools
  could not hold it, and a run of half a context would not be one.
* The client's gap inside a loop is tool time, at most a minute: beyond that a person was
  asked for leave. Gaps before a person's words are cut to half an hour.
* Sub-agents run beside each other, from the request before them to the one after them.
* Block ids are local to a session.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from headway.sim.loaders.rows import Count, Rows, Time, written
from headway.sim.loaders.stretches import Stretches, head, joined, size
from headway.sim.trace import TraceNode, TraceRun

SOURCE = "WEKA coding-agent sessions (callanjfox/kv-cache-tester, Apache-2.0)"
CONTEXT_TOKENS = 100_000
TOOL_CAP_S = 60.0
THINK_CAP_S = 1800.0


class Request(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request, or a sub-agent with its own requests (`sub`) at its place among them.

    The prompt is the first `lcp` blocks of the request before, then `new` stretches.
    """

    prompt_tokens: Count = msgspec.field(name="in", default=0)
    output_tokens: Count = msgspec.field(name="out", default=0)
    think: Time | None = None
    stop: str = ""
    nb: Count = 0
    lcp: Count = 0
    new: tuple[tuple[Count, Count], ...] = ()
    sub: str = ""
    kind: str = "sub-agent"
    dur_s: Time = 0.0
    req: tuple["Request", ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One session."""

    id: str
    family: str
    block_size: Count
    n_req: Count
    n_sub: Count
    req: tuple[Request, ...]


@dataclass(slots=True)
class Step:
    """A request that is kept: its prompt's blocks and the sub-agents that ran before it.

    `tool` of a step: whether its answer asks for a tool. `pause_s` is the client's gap before it.
    """

    request: Request
    prefix: Stretches
    pause_s: float
    agents: list[tuple[Request, list["Step"]]] = field(default_factory=list)

    @property
    def tool(self) -> bool:
        """Whether its answer asks for a tool."""
        return self.request.stop == "tool"


def weka(rows: Rows) -> Iterator[TraceRun]:
    """Loops, or sessions with ``unit=session``; the group is the family of forked sessions."""
    unit = rows.option("unit", ("loop", "session"))
    for row in rows.of(Row):
        requests = [one for one in row.req if not one.sub]
        rows.counted("n_req", row.n_req, len(requests))
        rows.counted("n_sub", row.n_sub, len(row.req) - len(requests))
        loops = _loops(rows, row.req)
        if unit == "session":
            parts = [(row.id, [loop for loop in loops if loop])]
        else:
            parts = [(f"{row.id}/{k}", [loop]) for k, loop in enumerate(loops)]
        for run_id, kept in parts:
            nodes: list[TraceNode] = []
            for loop in kept:
                _add_loop(nodes, loop)
            if nodes:
                yield TraceRun(
                    id=run_id,
                    graph=f"weka.{unit}",
                    group=row.family,
                    nodes=tuple(nodes),
                    block_tokens=row.block_size,
                )


def _loops(rows: Rows, requests: tuple[Request, ...]) -> list[list[Step]]:
    """The autonomous loops of a session; those of which nothing is kept are empty."""
    loops: list[list[Step]] = [[]]
    latest: Stretches = ()
    agents: list[tuple[Request, list[Step]]] = []
    too_long = over = False
    for request in requests:
        if request.sub:
            agents.append((request, _steps(rows, request.req, latest)))
            continue
        if over:
            loops.append([])
            too_long = over = False
        latest = _prompt(rows, request, latest)
        over = request.stop != "tool"
        too_long = too_long or request.prompt_tokens > CONTEXT_TOKENS
        if not too_long and request.stop != "abort":
            step = Step(request, latest, request.think or 0.0, [one for one in agents if one[1]])
            loops[-1].append(step)
        agents = []
    return loops


def _steps(rows: Rows, requests: tuple[Request, ...], latest: Stretches) -> list[Step]:
    """The requests of a sub-agent, up to the first that is too long."""
    steps: list[Step] = []
    for request in requests:
        latest = _prompt(rows, request, latest)
        if request.prompt_tokens > CONTEXT_TOKENS:
            break
        if request.stop != "abort":
            steps.append(Step(request, latest, request.think or 0.0))
    return steps


def _prompt(rows: Rows, request: Request, latest: Stretches) -> Stretches:
    prompt = joined(head(latest, request.lcp), request.new)
    if size(prompt) != request.nb:
        raise rows.wrong(f"a prompt of {request.nb} blocks has {size(prompt)}")
    return prompt


def _add_loop(nodes: list[TraceNode], loop: list[Step]) -> None:
    """Append a loop's nodes; it follows the last node that is there, after a person's pause."""
    last: int | None = len(nodes) - 1 if nodes else None
    for number, step in enumerate(loop):
        ends: list[int] = []
        for agent, steps in step.agents:
            end = last
            for inner in steps:
                _append(nodes, agent.kind, inner, () if end is None else (end,), beside_s=0.0)
                end = len(nodes) - 1
            ends += [] if end is None else [end]
        parents = tuple(ends) or (() if last is None else (last,))
        beside_s = max((agent.dur_s for agent, _ in step.agents), default=0.0)
        _append(
            nodes, "agent", step, parents, beside_s=beside_s, person=number == 0, first=last is None
        )
        last = len(nodes) - 1


def _append(
    nodes: list[TraceNode],
    name: str,
    step: Step,
    parents: tuple[int, ...],
    *,
    beside_s: float,
    person: bool = False,
    first: bool = False,
) -> None:
    """Append one request; `beside_s` of its pause went to sub-agents; `first` waits for nobody."""
    pause_s = 0.0 if first else max(step.pause_s - beside_s, 0.0)
    nodes.append(
        TraceNode(
            name=name,
            parents=parents,
            prompt_tokens=step.request.prompt_tokens,
            output_tokens=written(step.request.output_tokens),
            tool_s=0.0 if person else min(pause_s, TOOL_CAP_S),
            think_s=min(pause_s, THINK_CAP_S) if person else 0.0,
            tool_calls=int(step.tool),
            prefix=step.prefix,
        )
    )

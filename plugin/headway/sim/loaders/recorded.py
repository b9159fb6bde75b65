"""What a recording of Headway's tells of runs, and how a trace is made of it.

Journals and OTLP files are both read into `RecordedRun`s. Every call becomes a node of the
trace; a node of a graph without a call becomes one too, for the time that it took. A call
waits for what had ended inside its node before it (other calls, graphs inside), else for
what its node waited for. The time between is the tools', but for a person's pauses.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec

from headway.core.types import Seconds
from headway.sim.trace import Trace, TraceNode, TraceRun

Order = tuple[float, ...]
"""Where something stands in the recording: a cause stands before what it caused."""


@dataclass(slots=True, kw_only=True)
class RecordedCall:
    """A call with all its attempts: ready at the first, ended with the last.

    Tokens are those of the last attempt; `output_tokens` None: nobody told. `failed`: the last
    attempt gave no answer.
    """

    order: Order
    ready_s: Seconds
    ended_s: Seconds
    prompt_tokens: int
    output_tokens: int | None
    tool_calls: int = 0
    max_tokens: int | None = None
    pool_name: str = ""
    models: tuple[str, ...] = ()
    failed: bool = False


@dataclass(slots=True, kw_only=True)
class RecordedNode:
    """A node, its parents' ids, its calls, and the runs of graphs inside it."""

    id: str
    name: str
    order: Order
    started_s: Seconds
    ended_s: Seconds
    parents: tuple[str, ...] = ()
    calls: list[RecordedCall] = field(default_factory=list)
    inside: list["RecordedRun"] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class RecordedRun:
    """A run: `pauses` are (from, to) in which it waited for a person; `ok` None: nobody said."""

    id: str
    graph: str
    started_s: Seconds
    thread: str = ""
    service_class: str = ""
    tenant: str = ""
    deadline_s: Seconds | None = None
    ok: bool | None = None
    pauses: list[tuple[Seconds, Seconds]] = field(default_factory=list)
    nodes: dict[str, RecordedNode] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Atom:
    """A node of the trace to be: due when its call was ready or, without one, when it ended."""

    name: str
    order: Order
    due_s: Seconds
    ended_s: Seconds
    call: RecordedCall | None
    waits: tuple["_Atom", ...] = ()
    place: int = -1


def trace_runs(runs: Sequence[RecordedRun]) -> tuple[TraceRun, ...]:
    """The runs that made a call, by start; the first of all arrives at 0.

    An answer whose length nobody told counts as the median of its node's others, or of
    everything where there are none; a call that failed without a length counts as none.
    """
    lengths = _Lengths(runs)
    ordered = sorted(runs, key=lambda run: (run.started_s, run.id))
    begun_s = ordered[0].started_s if ordered else 0.0
    made = (_trace_run(run, begun_s, lengths) for run in ordered)
    return tuple(run for run in made if any(node.prompt_tokens for node in run.nodes))


def stretched(trace: Trace, times: float) -> Trace:
    """The trace with all its durations `times` as long: as recorded on a clock that ran slower."""
    if times == 1.0:
        return trace
    runs = []
    for run in trace.runs:
        nodes = tuple(
            msgspec.structs.replace(node, tool_s=node.tool_s * times, think_s=node.think_s * times)
            for node in run.nodes
        )
        arrival_s = None if run.arrival_s is None else run.arrival_s * times
        runs.append(msgspec.structs.replace(run, nodes=nodes, arrival_s=arrival_s))
    return msgspec.structs.replace(trace, runs=tuple(runs))


class _Lengths:
    """Lengths of answers, to stand in for those that nobody told."""

    def __init__(self, runs: Iterable[RecordedRun]) -> None:
        self._told: dict[str, list[int]] = {}
        for run in runs:
            for name, call in _calls(run):
                if call.output_tokens is not None:
                    self._told.setdefault(name, []).append(call.output_tokens)
        self._all = [tokens for told in self._told.values() for tokens in told]

    def of(self, name: str, call: RecordedCall) -> int:
        """Output tokens; 0 if nothing tells: then it is no call."""
        if call.output_tokens is not None:
            return max(call.output_tokens, 1)
        told = self._told.get(name) or self._all
        return 0 if call.failed or not told else max(int(median(told)), 1)


def _calls(run: RecordedRun) -> Iterator[tuple[str, RecordedCall]]:
    for node in run.nodes.values():
        for call in node.calls:
            yield node.name, call
        for inner in node.inside:
            yield from _calls(inner)


def _trace_run(run: RecordedRun, begun_s: Seconds, lengths: _Lengths) -> TraceRun:
    atoms = _atoms(run, ())
    atoms.sort(key=lambda atom: atom.order)
    for place, atom in enumerate(atoms):
        atom.place = place
    return TraceRun(
        id=run.id,
        graph=run.graph,
        group=run.thread or run.id,
        nodes=tuple(_trace_node(atom, run, lengths) for atom in atoms),
        arrival_s=run.started_s - begun_s,
        deadline_s=run.deadline_s,
        service_class=run.service_class,
        tenant=run.tenant,
        ok=run.ok,
    )


def _trace_node(atom: _Atom, run: RecordedRun, lengths: _Lengths) -> TraceNode:
    # what stands later in the recording cannot have been waited for: a fact came late
    waits = sorted({one.place for one in atom.waits if one.place < atom.place})
    ended_s = max((one.ended_s for one in atom.waits), default=run.started_s)
    gap_s = max(atom.due_s - ended_s, 0.0)
    think_s = sum(
        max(min(until, atom.due_s) - max(since, ended_s), 0.0) for since, until in run.pauses
    )
    call = atom.call
    output_tokens = lengths.of(atom.name, call) if call is not None else 0
    return TraceNode(
        name=atom.name,
        parents=tuple(waits),
        prompt_tokens=max(call.prompt_tokens, 1) if call is not None and output_tokens else 0,
        output_tokens=output_tokens,
        tool_s=max(gap_s - think_s, 0.0),
        think_s=think_s,
        tool_calls=call.tool_calls if call is not None else 0,
        max_tokens=call.max_tokens if call is not None else None,
        pool_name=call.pool_name if call is not None else "",
        models=call.models if call is not None else (),
    )


def _atoms(run: RecordedRun, before: tuple[_Atom, ...]) -> list[_Atom]:
    """The atoms of a run, inner runs included; `before` is what its first nodes wait for."""
    made: list[_Atom] = []
    of_node: dict[str, list[_Atom]] = {}
    for node in sorted(run.nodes.values(), key=lambda node: node.order):
        known = [of_node[parent] for parent in node.parents if parent in of_node]
        if known:
            waits = tuple(atom for atoms in known for atom in _ends(atoms))
        else:
            waits = _before_pause(made, node, run) or before
        of_node[node.id] = _of_node(node, waits)
        made += of_node[node.id]
    return made


def _before_pause(made: list[_Atom], node: RecordedNode, run: RecordedRun) -> tuple[_Atom, ...]:
    """What a node that names no parents waits for after a pause: all that was before it."""
    paused_s = max((since for since, until in run.pauses if until <= node.started_s), default=None)
    if paused_s is None:
        return ()
    return _ends([atom for atom in made if atom.ended_s <= paused_s])


def _of_node(node: RecordedNode, waits: tuple[_Atom, ...]) -> list[_Atom]:
    atoms: list[_Atom] = []
    inner: list[tuple[Order, Seconds, RecordedCall | RecordedRun]] = [
        *((call.order, call.ready_s, call) for call in node.calls),
        *((_order(run, node), run.started_s, run) for run in node.inside),
    ]
    for order, at, what in sorted(inner, key=lambda one: one[0]):
        done = _ends([atom for atom in atoms if atom.ended_s <= at]) or waits
        if isinstance(what, RecordedRun):
            atoms += _atoms(what, done)
        else:
            atoms.append(
                _Atom(
                    name=node.name,
                    order=order,
                    due_s=what.ready_s,
                    ended_s=what.ended_s,
                    call=what,
                    waits=done,
                )
            )
    if not atoms:
        atom = _Atom(
            name=node.name,
            order=node.order,
            due_s=node.ended_s,
            ended_s=node.ended_s,
            call=None,
            waits=waits,
        )
        atoms.append(atom)
    return atoms


def _order(run: RecordedRun, node: RecordedNode) -> Order:
    return min((inner.order for inner in run.nodes.values()), default=node.order)


def _ends(atoms: Sequence[_Atom]) -> tuple[_Atom, ...]:
    """Those of `atoms` that none of the others waits for."""
    awaited = {id(one) for atom in atoms for one in atom.waits}
    return tuple(atom for atom in atoms if id(atom) not in awaited)

"""Headway's own journals as a trace: what a pool's users really asked for.

A daemon rotates its journal and begins anew when it starts: several files, oldest first,
are read as one recording. A file that was cut is read to its cut.
"""

from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from headway.core.errors import JournalError
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Event,
    Feedback,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.types import Seconds
from headway.sim.loaders.recorded import RecordedCall, RecordedNode, RecordedRun, trace_runs
from headway.sim.trace import Trace
from headway.sim.tracefile import DIGEST_BYTES, TraceError
from headway.wire.journal import JournalReader

CHARS_PER_TOKEN = 4.0


def from_journal(paths: Path | Iterable[Path]) -> Trace:
    """The runs of journals that ended (or paused for a person and were not resumed).

    Runs that only calls told of (a proxy's) count as ended when their calls are. Prompt
    tokens are the server's, else a quarter of the characters. Graphs inside a graph become
    part of its run. Raises `TraceError` for files that are no journals or hold no such run.
    """
    files = (paths,) if isinstance(paths, Path) else tuple(paths)
    digest = blake2b(digest_size=DIGEST_BYTES)
    recording = _Recording()
    for path in files:
        try:
            data = path.read_bytes()
            reader = JournalReader(data)
        except OSError as error:
            raise TraceError(f"cannot read {path}: {error.strerror}") from error
        except JournalError as error:
            raise TraceError(f"{path} is not a journal that can be read: {error}") from error
        digest.update(data)
        recording.next_file()
        for entry in reader.entries():
            recording.take(entry.event)
    runs = trace_runs(recording.ended())
    names = ", ".join(path.name for path in files)
    if not runs:
        raise TraceError(f"no run that made a call ended in {names or 'no file at all'}")
    return Trace(
        name=files[0].stem, source=f"journal {names}", runs=runs, digest=digest.hexdigest()
    )


class _Open:
    """A run while it is read: what was told of it besides `record`.

    `state` is ``open``, ``paused`` or ``ended``; `implied`: only calls told of it.
    """

    def __init__(self, record: RecordedRun, *, implied: bool) -> None:
        self.record = record
        self.implied = implied
        self.state = "open"
        self.paused_s: Seconds = 0.0
        self.parent: tuple[str, str] | None = None
        self.asked: dict[str, tuple[str, RecordedCall, int]] = {}
        self.open_calls: set[str] = set()


class _Recording:
    """Takes in events, however often a fact is told, and keeps what they say of runs."""

    def __init__(self) -> None:
        self._runs: dict[str, _Open] = {}
        self._alias: dict[str, str] = {}
        self._paused: dict[tuple[str, str], str] = {}
        self._count = 0
        self._shift_s: Seconds = 0.0
        self._latest_s: Seconds | None = None
        self._new_file = False

    def next_file(self) -> None:
        """What follows is of another file."""
        self._new_file = True

    def take(self, event: Event) -> None:
        """Take in one event."""
        at = event.at + self._shift_s
        if self._new_file and self._latest_s is not None and at < self._latest_s:
            # another boot, another clock: how long lies between is not known
            self._shift_s += self._latest_s - at
            at = self._latest_s
        self._new_file = False
        self._latest_s = at
        self._count += 1
        match event.fact:
            case RunStarted() as fact:
                self._run_started(fact, at)
            case RunEnded() as fact:
                self._run_ended(fact, at)
            case NodeStarted() as fact:
                if (run := self._run(fact.run)) is not None:
                    self._node(run, fact, at)
            case NodeEnded() as fact:
                self._node_ended(fact, at)
            case CallReady() as fact:
                self._asked(fact, at)
            case CallSent() as fact:
                self._asked(fact.ask, at)
            case CallEnded() as fact:
                self._call_ended(fact, at)
            case Feedback() as fact:
                run = self._run(fact.run)
                if run is not None and fact.node is None:
                    run.record.ok = fact.ok
            case _:
                pass

    def ended(self) -> list[RecordedRun]:
        """The runs that ended, with those inside them."""
        kept: list[RecordedRun] = []
        for run in self._runs.values():
            over = not run.open_calls if run.implied else run.state != "open"
            node = self._node_around(run)
            if node is not None:
                node.inside.append(run.record)
            elif over:
                kept.append(run.record)
        return kept

    def _node_around(self, run: _Open) -> RecordedNode | None:
        """The node that a run is inside of, if its run is known and not itself inside this one."""
        around, node = run, None
        while around.parent is not None and around.parent[0] in self._runs:
            name, of_node = around.parent
            around = self._runs[name]
            if around is run:
                return None
            node = node or around.record.nodes.get(of_node)
            if node is None:
                return None
        return node

    def _run(self, run: str) -> _Open | None:
        return self._runs.get(self._alias.get(run, run))

    def _run_started(self, fact: RunStarted, at: Seconds) -> None:
        if fact.resumed and (name := self._paused.pop((fact.graph, fact.thread), None)):
            run = self._runs[name]
            if at > run.paused_s:
                run.record.pauses.append((run.paused_s, at))
            run.state = "open"
            if fact.run != name:
                self._alias[fact.run] = name
            return
        known = self._run(fact.run)
        if known is None:
            record = RecordedRun(id=fact.run, graph=fact.graph, started_s=at - fact.age_s)
            known = self._runs[fact.run] = _Open(record, implied=False)
        known.implied = False
        record = known.record
        record.thread = fact.thread or record.thread
        record.service_class = fact.service_class or record.service_class
        record.tenant = fact.tenant or record.tenant
        record.deadline_s = fact.deadline_s if fact.deadline_s is not None else record.deadline_s
        if fact.parent_run is not None and known.parent is None:
            parent_run = self._alias.get(fact.parent_run, fact.parent_run)
            known.parent = (parent_run, fact.parent_node or "")

    def _run_ended(self, fact: RunEnded, at: Seconds) -> None:
        run = self._run(fact.run)
        if run is None or run.state != "open":
            return
        run.state = "ended"
        if fact.outcome == "interrupted":
            run.state, run.paused_s = "paused", at
            if run.record.thread:
                self._paused[(run.record.graph, run.record.thread)] = run.record.id
        elif fact.outcome != "ok" and run.record.ok is None:
            run.record.ok = False

    def _node(self, run: _Open, told: NodeStarted | CallReady, at: Seconds) -> RecordedNode:
        node = run.record.nodes.get(told.node)
        if node is None:
            started_s = at - told.age_s if isinstance(told, NodeStarted) else at
            node = run.record.nodes[told.node] = RecordedNode(
                id=told.node,
                name=told.name if isinstance(told, NodeStarted) else told.node_name,
                order=(self._count,),
                started_s=started_s,
                ended_s=started_s,
            )
        node.parents = node.parents or told.parents
        return node

    def _node_ended(self, fact: NodeEnded, at: Seconds) -> None:
        run = self._run(fact.run)
        node = run.record.nodes.get(fact.node) if run is not None else None
        if run is None or node is None:
            return
        node.ended_s = max(node.ended_s, at)
        for call, (of_node, record, _) in run.asked.items():
            if of_node == fact.node and call in run.open_calls:
                record.ended_s, record.failed = at, True
                run.open_calls.discard(call)

    def _asked(self, ask: CallReady, at: Seconds) -> None:
        run = self._run(ask.run)
        if run is None:
            started_s = at - ask.run_age_s
            record = RecordedRun(
                id=ask.run,
                graph=ask.graph,
                started_s=started_s,
                service_class=ask.service_class,
                tenant=ask.tenant,
                deadline_s=ask.deadline_s,
            )
            run = self._runs[ask.run] = _Open(record, implied=True)
        node = self._node(run, ask, at)
        known = run.asked.get(ask.call)
        if known is None:
            call = RecordedCall(
                order=(self._count,),
                ready_s=at,
                ended_s=at,
                prompt_tokens=int(ask.prompt_chars / CHARS_PER_TOKEN),
                output_tokens=None,
                max_tokens=ask.max_tokens,
                pool_name=ask.pool_name,
                models=ask.models,
                failed=True,
            )
            node.calls.append(call)
            run.open_calls.add(ask.call)
            run.asked[ask.call] = (ask.node, call, ask.attempt)
        elif ask.attempt > known[2]:
            run.asked[ask.call] = (ask.node, known[1], ask.attempt)
            run.open_calls.add(ask.call)

    def _call_ended(self, fact: CallEnded, at: Seconds) -> None:
        run = self._run(fact.run)
        known = run.asked.get(fact.call) if run is not None else None
        if run is None or known is None or fact.attempt < known[2]:
            return
        if fact.call not in run.open_calls:
            return
        _, call, _ = known
        run.open_calls.discard(fact.call)
        call.ended_s = at
        call.failed = fact.outcome != "ok"
        call.tool_calls = fact.tool_calls
        call.output_tokens = fact.output_tokens
        if fact.prompt_tokens is not None:
            call.prompt_tokens = fact.prompt_tokens
        node = run.record.nodes[known[0]]
        node.ended_s = max(node.ended_s, at)

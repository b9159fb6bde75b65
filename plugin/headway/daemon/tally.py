"""Counting what a journal tells: calls, waits, endpoints, runs, verdicts, entry by entry.

Plain counters; what they amount to is worked out in report.py.
"""

from collections import Counter
from dataclasses import dataclass, field, replace

from headway.core.calls import Call, CallKey
from headway.core.commands import Grant, Notice
from headway.core.facts import CallReady, CallSent
from headway.core.graph import Run
from headway.core.hindsight import Foretold, foretold
from headway.core.pool import Pool
from headway.core.types import Seconds
from headway.daemon.retold import Told, Verdict
from headway.wire.journal import Entry

Node = tuple[str, str]
"""Graph and node name."""


@dataclass(slots=True, kw_only=True)
class Attempt:
    """One attempt of a call that is not over: `endpoint` is where it runs, as far as is told."""

    ask: CallReady
    ready_at: Seconds
    grant: Grant | None = None
    shadow: bool = False
    alone: bool = False
    endpoint: str = ""
    runs: bool = False

    @property
    def node(self) -> Node:
        """The call's place in its graph."""
        return (self.ask.graph, self.ask.node_name)


@dataclass(slots=True)
class Served:
    """One endpoint or model: its closed calls by outcome, tokens, and seconds in use.

    `busy_s` had at least one call, `call_s` is the sum over calls.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    output_tokens: int = 0
    busy_s: Seconds = 0.0
    call_s: Seconds = 0.0
    running: int = 0
    since: Seconds = 0.0

    def change(self, at: Seconds, by: int) -> None:
        """So many calls more run from now on."""
        if self.running:
            self.busy_s += at - self.since
            self.call_s += (at - self.since) * self.running
        self.since = at
        self.running += by

    def close(self, call: Call) -> None:
        """Add a closed call."""
        ended = call.ended
        if ended is not None:
            self.outcomes[ended.outcome] += 1
            self.prompt_tokens += ended.prompt_tokens or 0
            self.output_tokens += ended.output_tokens or 0


@dataclass(slots=True)
class GraphRuns:
    """Runs of one graph: ended ones by outcome, and how they stood to their deadlines."""

    outcomes: Counter[str] = field(default_factory=Counter)
    completions: list[Seconds] = field(default_factory=list)
    with_deadline: int = 0
    met: int = 0


@dataclass(slots=True)
class Other:
    """Decisions at one node that another policy makes otherwise."""

    decisions: int = 0
    other_model: int = 0
    other_endpoint: int = 0
    never: int = 0


@dataclass(slots=True)
class Tally:
    """Everything that is counted, over all files."""

    graphs: dict[str, GraphRuns] = field(default_factory=dict)
    held: dict[str, list[Seconds]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    models: dict[str, Served] = field(default_factory=dict)
    endpoints: dict[str, Served] = field(default_factory=dict)
    decided: int = 0
    alone: int = 0
    dropped: int = 0
    foretold: list[Foretold] = field(default_factory=list)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    notices: Counter[tuple[str, str]] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    shadow: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    others: dict[Node, Other] = field(default_factory=dict)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    would: dict[CallKey, Grant] = field(default_factory=dict)
    open: dict[CallKey, Attempt] = field(default_factory=dict)

    def take(self, entry: Entry, told: Told, pool: Pool) -> None:
        """Count one entry and what it led to."""
        at = entry.event.at
        fact = entry.event.fact
        if isinstance(fact, CallReady):
            self._attempt(fact, pool, at)
        elif isinstance(fact, CallSent):
            self._sent(fact, pool, at)
        for command in entry.commands:
            if isinstance(command, Grant):
                self._granted(command, at)
            elif isinstance(command, Notice):
                self.notices[(command.kind, command.subject)] += 1
        if entry.error:
            self.defects[entry.error] += 1
        for call in told.closed:
            self._closed(call, pool, at)
        for run in told.ended:
            self._ended(run, pool)
        self.verdicts.update(told.verdicts)

    def has_endpoints(self, pool: Pool) -> None:
        """A pool's endpoints count, whether they are used or not."""
        for spec in pool.endpoints:
            self.endpoints.setdefault(spec.id, Served())

    def file_ends(self, at: Seconds) -> None:
        """The clock stops here: what still runs is told again in the next file, or is over."""
        for served in self.endpoints.values():
            served.change(at, -served.running)
        for attempt in self.open.values():
            attempt.runs = False

    def finish(self) -> None:
        """No more files: compare the decisions on calls that never ended."""
        for key, attempt in self.open.items():
            self._compare(key, attempt)

    # -- calls -----------------------------------------------------------------------------------

    def _attempt(self, ask: CallReady, pool: Pool, at: Seconds) -> Attempt:
        key = (ask.call, ask.attempt)
        found = self.open.get(key)
        if found is None:
            shadow = pool.mode == "shadow"
            found = self.open[key] = Attempt(ask=ask, ready_at=at, shadow=shadow)
        return found

    def _sent(self, fact: CallSent, pool: Pool, at: Seconds) -> None:
        attempt = self._attempt(fact.ask, pool, at)
        # later it is told anew, over another connection or in another file
        if not fact.sent_s and not attempt.shadow:
            attempt.alone = True
        self._run_on(attempt, fact.endpoint, at)

    def _granted(self, grant: Grant, at: Seconds) -> None:
        attempt = self.open.get((grant.call, grant.attempt))
        if attempt is None or attempt.grant is not None:
            return
        attempt.grant = grant
        name = attempt.ask.pool_name
        if not grant.endpoint:
            self.refused[name] += 1
            return
        # a call that waited when its file was full waits on in the next one
        self.held.setdefault(name, []).append(max(grant.held_s, at - attempt.ready_at))
        if not attempt.shadow:
            self._run_on(attempt, grant.endpoint, at)

    def _run_on(self, attempt: Attempt, endpoint: str, at: Seconds) -> None:
        if attempt.runs:
            self.endpoints[attempt.endpoint].change(at, -1)
        attempt.endpoint = endpoint
        attempt.runs = bool(endpoint)
        if endpoint:
            self.endpoints.setdefault(endpoint, Served()).change(at, 1)

    def _closed(self, call: Call, pool: Pool, at: Seconds) -> None:
        attempt = self.open.pop(call.key, None)
        if attempt is None:
            return
        if attempt.runs:
            self.endpoints[attempt.endpoint].change(at, -1)
        self._compare(call.key, attempt)
        if attempt.grant is None and not attempt.endpoint:
            self.dropped += 1
            return
        if attempt.shadow:
            would = attempt.grant.endpoint if attempt.grant is not None else ""
            self.shadow[(attempt.ask.pool_name, attempt.endpoint, would)] += 1
        self.decided += attempt.grant is not None and not attempt.alone
        self.alone += attempt.alone
        known = (one.model for one in pool.endpoints if one.id == attempt.endpoint)
        model = next(known, call.model) if attempt.endpoint else ""
        self.models.setdefault(model, Served()).close(call)
        if attempt.endpoint:
            self.endpoints[attempt.endpoint].close(call)
        ended = call.ended
        if ended is not None and ended.outcome == "error":
            self.failures[(ended.error or "error", attempt.endpoint)] += 1
        if (told := foretold(call)) is not None and not attempt.shadow:
            recorded = attempt.grant.output_tokens if attempt.grant is not None else 0.0
            self.foretold.append(replace(told, p50_tokens=recorded or told.p50_tokens))

    def _compare(self, key: CallKey, attempt: Attempt) -> None:
        """Hold a recorded decision against what another policy said of the same call."""
        other, grant = self.would.pop(key, None), attempt.grant
        if grant is None or not grant.endpoint:
            return
        node = self.others.setdefault(attempt.node, Other())
        node.decisions += 1
        if other is None:
            node.never += 1
        elif other.endpoint != grant.endpoint:
            node.other_model += other.model != grant.model
            node.other_endpoint += other.model == grant.model
            self.moves[(grant.endpoint, other.endpoint)] += 1

    # -- runs ------------------------------------------------------------------------------------

    def _ended(self, run: Run, pool: Pool) -> None:
        runs = self.graphs.setdefault(run.graph, GraphRuns())
        outcome = run.outcome or "interrupted"
        runs.outcomes[outcome] += 1
        age_s = run.age_s(run.ended_at if run.ended_at is not None else run.started_at)
        if outcome == "ok":
            runs.completions.append(age_s)
        deadline_s = run.deadline_s
        if deadline_s is None:
            deadline_s = pool.class_deadlines.get(run.service_class)
        if deadline_s is not None and outcome in ("ok", "error"):
            runs.with_deadline += 1
            runs.met += outcome == "ok" and age_s <= deadline_s

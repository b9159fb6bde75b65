"""A hypothesis state machine over the scheduler: whatever it is told, in whatever order.

Facts come late, twice, out of order and over several connections; clients and
endpoints go away and return; the scheduler is replaced by one that is told
what is open. After every step the books must be right, and in the end every
call that waits is granted or closed.
"""

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from headway.core.calls import CallState
from headway.core.commands import AnyCommand, Grant, SetTimer
from headway.core.facts import (
    AnyFact,
    CallEnded,
    CallReady,
    CallSent,
    ClientLost,
    EndpointSeen,
    Event,
    Feedback,
    FirstToken,
    GraphSeen,
    ModeSet,
    NodeEnded,
    NodeStarted,
    PoolSet,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.scheduler import Scheduler
from headway.core.types import CallId, ClientId, EndpointId, NodeId, RunId
from headway.policy import POLICIES, make_scheduler
from tests.support.telling import ask, endpoint, pool

NOBODY = ClientId("")
ENDPOINTS = ("s1", "s2", "l1")
POOL = pool(
    endpoint("s1", "small", seats=2, kv_tokens=4000),
    endpoint("s2", "small", seats=1),
    endpoint("l1", "large", seats=2, step_s=0.05),
    idle_grace_s=2.0,
)
SHRUNK = pool(endpoint("s1", "small", seats=1), endpoint("n1", "small", seats=1))

RUNS = st.integers(0, 3).map(lambda n: RunId(f"run{n}"))
CALLS = st.integers(0, 7).map(lambda n: CallId(f"call{n}"))
NODES = st.integers(0, 5).map(lambda n: NodeId(f"node{n}"))
NAMES = st.sampled_from(["write", "test", "repair"])
CLIENTS = st.integers(0, 2).map(lambda n: ClientId(f"client{n}"))
TO = st.sampled_from(ENDPOINTS).map(EndpointId)
OUTCOMES = st.sampled_from(["ok", "ok", "ok", "error", "cancelled", "interrupted"])


def place_of(call: CallId) -> tuple[RunId, NodeId]:
    """A call belongs to one run and node for ever."""
    number = int(call.removeprefix("call"))
    return RunId(f"run{number % 4}"), NodeId(f"node{number % 6}")


class Books(RuleBasedStateMachine):
    """Two schedulers that are told the same, and the rules that must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: dict[str, float] = {}
        self.forced: set[tuple[CallId, int]] = set()
        self.sent_by_itself: set[tuple[CallId, int]] = set()
        self.told: list[Event] = []

    @initialize(policy=st.sampled_from(sorted(POLICIES)), seed=st.integers(0, 3))
    def begin(self, policy: str, seed: int) -> None:
        self.policy, self.seed = policy, seed
        self.one = make_scheduler(POOL, policy=policy, seed=seed)
        self.two = make_scheduler(POOL, policy=policy, seed=seed)

    # -- telling ---------------------------------------------------------------------------------

    def tell(self, fact: AnyFact, client: ClientId = NOBODY) -> None:
        if isinstance(fact, CallSent):
            self.sent_by_itself.add((fact.ask.call, fact.ask.attempt))
        event = Event(at=self.now, fact=fact, client=client)
        self.told.append(event)
        self.carry_out(self.one.handle(event), self.two.handle(event))

    def carry_out(self, ours: tuple[AnyCommand, ...], theirs: tuple[AnyCommand, ...]) -> None:
        assert msgspec.msgpack.encode(ours) == msgspec.msgpack.encode(theirs)
        for command in ours:
            if isinstance(command, SetTimer):
                self.timers[command.timer] = command.at
            elif isinstance(command, Grant):
                self.check_grant(self.one, command)

    def check_grant(self, scheduler: Scheduler, grant: Grant) -> None:
        key = (grant.call, grant.attempt)
        call = scheduler.books.calls[key]
        assert call.state is CallState.RUNNING
        if "waits no longer" in grant.why or "is down" in grant.why:
            self.forced.add(key)
        if not grant.endpoint:
            assert not call.candidates
            return
        if grant is not call.grant:
            # the answer to a question asked again; its endpoint may have left the pool since
            assert msgspec.structs.replace(grant, client=NOBODY) == msgspec.structs.replace(
                call.grant, client=NOBODY
            )
            return
        assert grant.endpoint in call.candidates
        one = scheduler.endpoints[grant.endpoint]
        free = key in self.forced or scheduler.policy.binds_early
        beyond = [k for k in one.loads if k in self.forced or k in self.sent_by_itself]
        assert free or one.seats is None or len(one.loads) - len(beyond) <= one.seats

    def pass_to(self, at: float) -> None:
        """Time goes on; timers that are due fire on the way."""
        while due := [(when, name) for name, when in self.timers.items() if when <= at]:
            when, name = min(due)
            del self.timers[name]
            self.now = max(self.now, when)
            self.tell(TimerFired(timer=name))
        self.now = at

    def question(self, call: CallId, attempt: int, name: str, hold_limit_s: float) -> CallReady:
        run, node = place_of(call)
        return ask(
            call, attempt=attempt, run=run, node=node, node_name=name, hold_limit_s=hold_limit_s
        )

    # -- what can happen -------------------------------------------------------------------------

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.pass_to(self.now + seconds)

    @rule(client=CLIENTS, run=RUNS, thread=st.sampled_from(["", "t"]), resumed=st.booleans())
    def run_starts(self, client: ClientId, run: RunId, thread: str, resumed: bool) -> None:
        self.tell(RunStarted(run=run, graph="g", thread=thread, resumed=resumed), client)

    @rule(client=CLIENTS, run=RUNS, parent=RUNS, node=NODES)
    def child_starts(self, client: ClientId, run: RunId, parent: RunId, node: NodeId) -> None:
        self.tell(RunStarted(run=run, graph="h", parent_run=parent, parent_node=node), client)

    @rule(run=RUNS, outcome=OUTCOMES)
    def run_ends(self, run: RunId, outcome: str) -> None:
        self.tell(RunEnded(run=run, outcome=outcome))  # type: ignore[arg-type]

    @rule(run=RUNS, node=NODES, name=NAMES, visit=st.integers(1, 4), parent=NODES)
    def node_starts(self, run: RunId, node: NodeId, name: str, visit: int, parent: NodeId) -> None:
        self.tell(NodeStarted(run=run, node=node, name=name, visit=visit, parents=(parent,)))

    @rule(run=RUNS, node=NODES, outcome=OUTCOMES)
    def node_ends(self, run: RunId, node: NodeId, outcome: str) -> None:
        self.tell(NodeEnded(run=run, node=node, outcome=outcome))  # type: ignore[arg-type]

    @rule(
        client=CLIENTS,
        call=CALLS,
        attempt=st.integers(1, 3),
        name=NAMES,
        hold=st.sampled_from([3.0, 30.0, 300.0]),
        models=st.sampled_from([(), (), ("small",), ("l1",), ("unknown",)]),
    )
    def asks(
        self,
        client: ClientId,
        call: CallId,
        attempt: int,
        name: str,
        hold: float,
        models: tuple[str, ...],
    ) -> None:
        fact = self.question(call, attempt, name, hold)
        self.tell(msgspec.structs.replace(fact, models=models), client)

    @rule(client=CLIENTS, call=CALLS, attempt=st.integers(1, 3), to=TO, ago=st.floats(0.0, 9.0))
    def sends(
        self, client: ClientId, call: CallId, attempt: int, to: EndpointId, ago: float
    ) -> None:
        fact = self.question(call, attempt, "write", 30.0)
        self.tell(CallSent(ask=fact, endpoint=to, sent_s=ago), client)

    @rule(call=CALLS, attempt=st.integers(1, 3))
    def first_token(self, call: CallId, attempt: int) -> None:
        self.tell(FirstToken(call=call, attempt=attempt))

    @rule(
        call=CALLS,
        attempt=st.integers(1, 3),
        error=st.sampled_from(["", "", "connect", "500", "parse"]),
        tokens=st.sampled_from([None, 0, 50, 900, -7]),
        cached=st.sampled_from([None, 0, 10, 10**9]),
    )
    def ends(
        self, call: CallId, attempt: int, error: str, tokens: int | None, cached: int | None
    ) -> None:
        self.tell(
            CallEnded(
                call=call,
                attempt=attempt,
                run=place_of(call)[0],
                outcome="error" if error else "ok",
                error=error,
                output_tokens=tokens,
                prompt_tokens=100,
                cached_tokens=cached,
            )
        )

    @rule(client=CLIENTS)
    def client_is_lost(self, client: ClientId) -> None:
        self.tell(ClientLost(), client)

    @rule(to=TO, up=st.booleans(), running=st.sampled_from([None, 0, 1, 50]))
    def looks_at(self, to: EndpointId, up: bool, running: int | None) -> None:
        self.tell(EndpointSeen(endpoint=to, reachable=up, running=running, waiting=0))

    @rule(ok=st.booleans(), run=RUNS, node=NODES)
    def somebody_judges(self, ok: bool, run: RunId, node: NodeId) -> None:
        self.tell(Feedback(run=run, ok=ok, node=node))

    @rule(back=st.booleans())
    def pool_changes(self, back: bool) -> None:
        self.tell(PoolSet(pool=POOL if back else SHRUNK))

    @rule(mode=st.sampled_from(["on", "shadow", "off"]))
    def mode_changes(self, mode: str) -> None:
        self.tell(ModeSet(mode=mode))  # type: ignore[arg-type]

    @rule()
    def topology_is_told(self) -> None:
        edges = (
            ("write", "test", "edge"),
            ("test", "repair", "branch"),
            ("repair", "test", "edge"),
        )
        self.tell(GraphSeen(graph="g", nodes=("write", "test", "repair"), edges=edges))

    @rule(which=st.integers(0, 200))
    def something_is_told_again(self, which: int) -> None:
        if self.told:
            event = self.told[which % len(self.told)]
            self.tell(event.fact, event.client)

    @rule()
    def restarts(self) -> None:
        """A new scheduler goes on with what was learned and what is open."""
        before = self.one
        learned = msgspec.msgpack.decode(msgspec.msgpack.encode(before.snapshot()))
        events = before.open_facts(self.now)
        self.one, self.two = (
            make_scheduler(before.pool, policy=self.policy, seed=self.seed, learned=learned)
            for _ in range(2)
        )
        self.timers.clear()
        for event in events:
            self.told.append(event)
            if isinstance(event.fact, CallSent):
                self.sent_by_itself.add((event.fact.ask.call, event.fact.ask.attempt))
            self.carry_out(self.one.handle(event), self.two.handle(event))
        was_open = {key: call.state for key, call in before.books.calls.items()}
        now_open = {key: call.state for key, call in self.one.books.calls.items()}
        assert was_open.keys() == now_open.keys()
        for key, state in was_open.items():
            if state is CallState.ORPHANED:
                assert now_open[key] is CallState.ORPHANED
        interrupted = {run.id for run in before.books.runs.values() if run.state == "interrupted"}
        assert interrupted <= set(self.one.books.runs)

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "one"):
            return
        books, endpoints = self.one.books, self.one.endpoints
        assert set(books.waiting) <= set(books.calls)
        on: dict[tuple[CallId, int], int] = {}
        for one in endpoints.values():
            for key in one.loads:
                on[key] = on.get(key, 0) + 1
        assert set(on) <= set(books.calls), "a closed call holds a seat"
        for key, call in books.calls.items():
            assert call.state is not CallState.CLOSED
            assert (key in books.waiting) == (call.state is CallState.WAITING)
            if call.state is CallState.WAITING:
                assert key not in on and call.candidates
                assert set(call.candidates) <= set(endpoints)
            elif call.endpoint in endpoints and key in endpoints[call.endpoint].loads:
                assert on[key] == 1
            else:
                assert key not in on
            run = books.runs[call.run] if call.state is CallState.WAITING else books.run(call.run)
            assert run is not None and call in run.calls
        for run in books.runs.values():
            assert run.state in ("open", "interrupted")
            assert run.age_s(self.now) >= 0

    def teardown(self) -> None:
        """All endpoints return and answer: nothing may be left waiting."""
        if not hasattr(self, "one"):
            return
        for spec in self.one.pool.endpoints:
            self.tell(EndpointSeen(endpoint=spec.id, reachable=True, running=0, waiting=0))
        self.pass_to(self.now + 31.0)  # whatever rested after faults is back
        books = self.one.books
        for _ in range(100):
            if not books.calls:
                return
            running = [
                c for c in self.one.books.calls.values() if c.key not in self.one.books.waiting
            ]
            for call in running:
                ended = CallEnded(
                    call=call.ask.call, attempt=call.ask.attempt, run=call.run, output_tokens=10
                )
                self.tell(ended)
            self.pass_to(self.now + 1.0)
            self.the_books_are_right()
        raise AssertionError(f"still open: {[c.story() for c in self.one.books.calls.values()]}")


Books.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestBooks = Books.TestCase

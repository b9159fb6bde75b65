"""The scheduler: `handle(event) -> commands` is the only thing that changes its state.

Rules of this file. No clock, socket, thread, log or global randomness: time is
`event.at`, waiting is `SetTimer`, the generator is handed in. Facts may be
late, doubled or out of order. Which call goes where and when is the policy's
choice; here it is asked, held to the rules, and overruled where a promise to a
client would be broken (hold limits, endpoints that are down).
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from headway.core.books import Books
from headway.core.calls import Call, CallKey, CallState, CallStep
from headway.core.commands import AnyCommand, Grant, SetTimer
from headway.core.desk import CallDesk
from headway.core.endpoints import Endpoint, relate
from headway.core.errors import HeadwayError
from headway.core.facts import (
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
    PromptEncoded,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.learning import Teacher
from headway.core.lessons import Lesson
from headway.core.lookout import OUTAGE_GRACE_S, Lookout, Notices
from headway.core.memory import observed, recall, remembered
from headway.core.overview import overview
from headway.core.pool import Pool
from headway.core.protocols import Foresight, Policy, Release, Wait
from headway.core.retelling import told_anew
from headway.core.runs import RunKeeper
from headway.core.story import run_story, scheduler_status
from headway.core.types import ClientId, EndpointId, RunId, Seconds
from headway.core.view import View

WAKE_TIMER = "wake"
LOST_RUN_GRACE_S = 30.0
QUIET = (GraphSeen, RunStarted, RunEnded, NodeStarted, NodeEnded, FirstToken, Feedback)
"""Facts that by themselves make no room and bring no call: the policy is not asked after them."""
HOLD_SHARE = 0.9
"""A grant must come before the client's hold limit: the rest is for the way."""


class Scheduler:
    """One pool's scheduler. Deterministic: same events and generator, same commands.

    `learned` is an earlier `snapshot()`; raises `HeadwayError` if it is not one.
    """

    def __init__(
        self,
        pool: Pool,
        policy: Policy,
        *,
        foresight: Foresight,
        rng: random.Random,
        seed: int = 0,
        learned: dict[str, Any] | None = None,
    ) -> None:
        self.pool = pool
        self.policy = policy
        self.foresight = foresight
        self.books = Books()
        self.endpoints: dict[EndpointId, Endpoint] = {
            spec.id: Endpoint.from_spec(spec) for spec in pool.endpoints
        }
        relate(self.endpoints.values())
        self._seed = seed
        self._began: Seconds | None = None
        self._heed = getattr(policy, "heed", None)
        teacher = self._teacher = Teacher(foresight)
        self.lessons: Sequence[Lesson] = teacher.lessons  # of the last `handle`
        self._runs = RunKeeper(books=self.books, teacher=teacher, rng=rng)
        self._desk = CallDesk(
            books=self.books,
            endpoints=self.endpoints,
            runs=self._runs,
            teacher=teacher,
            view=self._view_now,
        )
        self._view: View | None = None
        self._timer_at: Seconds | None = None
        self._out: list[AnyCommand] = []
        self._notices = Notices(lambda notice: self._out.append(notice))
        self._lookout = Lookout(self.books, self._notices)
        self._handlers: dict[type, Callable[[Any, ClientId, Seconds], None]] = {
            GraphSeen: lambda fact, _client, _at: self._runs.graph_seen(fact),
            RunStarted: self._runs.run_started,
            RunEnded: self._run_ended,
            NodeStarted: lambda fact, _client, at: self._runs.node_started(fact, at),
            NodeEnded: self._node_ended,
            CallReady: self._call_ready,
            CallSent: lambda fact, client, at: self._desk.sent(fact, client, self.pool, at),
            FirstToken: lambda fact, _client, at: self._desk.first_token(fact, at),
            CallEnded: lambda fact, _client, at: self._desk.ended(fact, at),
            PromptEncoded: lambda fact, _client, _at: self._desk.encoded(fact),
            Feedback: lambda fact, _client, _at: self._runs.feedback(fact),
            ClientLost: self._client_lost,
            EndpointSeen: self._endpoint_seen,
            TimerFired: self._timer_fired,
            ModeSet: self._mode_set,
            PoolSet: self._pool_set,
        }
        if learned:
            recall(learned, self.foresight, policy, self.endpoints, self.books)

    # -- what shells ask -------------------------------------------------------------------------

    def handle(self, event: Event) -> tuple[AnyCommand, ...]:
        """Take a fact in; answer with what the shell must do now."""
        self._out = []
        self._view, at = None, event.at
        self._began = at if self._began is None else self._began
        self._teacher.judged.clear()
        self._teacher.lessons.clear()
        books = self.books
        if self._timer_at is not None and at >= self._timer_at:
            self._timer_at = None
        closed, looks = books.closed_count, books.look_at is not None and books.look_at <= at
        try:
            self._handlers[type(event.fact)](event.fact, event.client, at)
            while (due := books.due(at)) is not None:
                looks = True
                self._wake(*due, at)
            if self._heed is not None:
                self._heed(event, self._view_now(at))
            stirred = looks or books.closed_count != closed or not isinstance(event.fact, QUIET)
            if stirred and books.waiting:
                self._release_all(at)
        finally:  # whatever went wrong, time must go on
            wake_at = self.books.next_wake()
            # a timer that fires for nothing is cheaper than one moved with every event
            if wake_at is not None and (self._timer_at is None or wake_at < self._timer_at):
                self._timer_at = wake_at
                self._out.append(SetTimer(timer=WAKE_TIMER, at=wake_at))
        return tuple(self._out)

    def made(self) -> tuple[AnyCommand, ...]:
        """The commands of the last `handle`; if it raised, those it had made by then."""
        return tuple(self._out)

    def view(self, at: Seconds) -> View:
        """What the policy sees."""
        return View(
            at=at,
            pool=self.pool,
            waiting=self.books.waiting.values(),
            endpoints=self.endpoints,
            runs=self.books.runs,
            topologies=self.books.topologies,
            foresight=self.foresight,
            seed=self._seed,
            began=self._began if self._began is not None else at,
            books=self.books,
            judged=self._teacher.judged,
        )

    def _view_now(self, at: Seconds) -> View:
        """One view for the whole event: what it remembers of forecasts holds that long."""
        if self._view is None or self._view.at != at:
            self._view = self.view(at)
        return self._view

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return remembered(self.foresight, self.policy, self.endpoints, self.books)

    def observed(self) -> dict[str, Any]:
        """Of a snapshot what changes with every call and no lesson tells of: speeds."""
        return observed(self.endpoints)

    def open_facts(self, at: Seconds) -> tuple[Event, ...]:
        """Events that tell a new scheduler of the open runs, nodes and calls."""
        return told_anew(self.books, self.endpoints, at)

    def ended_runs(self) -> tuple[RunId, ...]:
        """The runs that ended of late and can still be explained, oldest first."""
        return tuple(run.id for run in self.books.ended.values() if run.parent is None)

    def worth_retrying(self, run_id: RunId, node_name: str, at: Seconds) -> bool:
        """Whether a graph should ask again at `node_name` after its last answer there failed.

        A graph that takes the advice to stop ends as if all were well: the answer is judged here.
        """
        run = self.books.run(run_id)
        advise = getattr(self.policy, "worth_retrying", None)
        if run is None or advise is None or advise(self.view(at), run, node_name):
            return True
        self._teacher.given_up(run, node_name)
        return False

    def explain(self, run: str) -> dict[str, Any]:
        """The story of a run (or ``last``), call by call. Raises `HeadwayError` if unknown."""
        return run_story(self.books, run)

    def status(self, at: Seconds) -> dict[str, Any]:
        """Mode, policy, endpoints with their load, and how much is open."""
        return scheduler_status(self.view(at), self.policy.name, self.books)

    def overview(self, at: Seconds) -> dict[str, Any]:
        """The queue, the open runs, and prediction against outcome."""
        return overview(self.view(at), self.books)

    def trust(self) -> dict[str, float]:
        """How each predictor has done of late, by ``predictor.measure``; what is not known is left.

        The same that a policy reads in its view's `foresight.records()`.
        """
        return {
            f"{record['predictor']}.{measure}": float(value)
            for record in self.foresight.records()
            for measure, value in record.items()
            if measure not in ("predictor", "judged") and value is not None
        }

    # -- runs, nodes, calls ----------------------------------------------------------------------

    def _run_ended(self, fact: RunEnded, _client: ClientId, at: Seconds) -> None:
        run = self.books.run(fact.run)
        if run is None or run.state != "open":
            return
        run.implied = False
        for call in self._runs.open_calls(run):
            self._desk.close(call, at, outcome="cancelled")
        self._runs.end(run, fact.outcome, at)

    def _node_ended(self, fact: NodeEnded, _client: ClientId, at: Seconds) -> None:
        run = self.books.run(fact.run)
        if run is None:
            return
        for call in run.calls:
            if call.ask.node == fact.node and call.state is not CallState.CLOSED:
                self._desk.close(call, at, outcome="cancelled")
        self._runs.node_ended(fact, at)

    def _call_ready(self, fact: CallReady, client: ClientId, at: Seconds) -> None:
        key: CallKey = (fact.call, fact.attempt)
        if self.books.was_closed(key):
            return
        if (known := self.books.calls.get(key)) is not None:
            known.client = client
            if known.state is CallState.ORPHANED:
                known.step(CallStep.SEND, at)
            if known.grant is not None:
                self._out.append(known.readdressed(client))
            return
        call = self._desk.open(fact, client, self.pool, at)
        if not call.candidates:
            self._refuse(call, at)
            return
        self.books.waiting[key] = call
        self.books.wake(at + HOLD_SHARE * fact.hold_limit_s, "force", key)
        self._mind_outage(call, at)

    def _mind_outage(self, call: Call, at: Seconds) -> None:
        """A call that nothing up can serve does not wait longer than the outage grace."""
        if not any(self.endpoints[one].up(at) for one in call.candidates):
            self.books.wake(at + OUTAGE_GRACE_S, "outage", call.key)

    def _refuse(self, call: Call, at: Seconds) -> None:
        """Nothing in the pool can serve the call: the client uses the fallback."""
        ask = call.ask
        reasons = "; ".join(f"{one}: {why}" for one, why in call.excluded.items())
        why = f"no endpoint can serve it ({reasons or 'the pool is empty'})"
        place = f"{ask.graph}/{ask.node_name} asking for {ask.pool_name!r}"
        self._notices.say("no_candidate", place, f"{place}: {why}")
        release = Release(call=call, endpoint=EndpointId(""), urgency=0.0, why=why)
        self._out.append(self._granted(call, release, at))

    # -- release ---------------------------------------------------------------------------------

    def _release_all(self, at: Seconds) -> None:
        """Ask the policy until it has nothing more to release."""
        view = self._view_now(at)
        while self.books.waiting:
            release = self.policy.choose(view)
            self.books.look_at = release.until if isinstance(release, Wait) else None
            if not isinstance(release, Release):
                return
            self._check(release, view)
            self._out.append(self._granted(release.call, release, at))

    def _granted(self, call: Call, release: Release, at: Seconds) -> Grant:
        return self._desk.grant(call, release, at, applied=self.pool.mode == "on")

    def _check(self, release: Release, view: View) -> None:
        """Hold the policy to its contract. Raises `HeadwayError`: the policy has a defect."""
        call: Call = release.call
        if call.key not in self.books.waiting or release.endpoint not in call.candidates:
            wrong = f"which is not one of its candidates {call.candidates}"
        elif not self.policy.binds_early and not view.has_room(
            call, self.endpoints[release.endpoint]
        ):
            wrong = "which has no room for it"
        else:
            return
        told = f"policy {self.policy.name} released {call.story()} to {release.endpoint!r}"
        raise HeadwayError(f"{told}, {wrong}")

    def _wake(self, why: str, key: CallKey | None, at: Seconds) -> None:
        call = self.books.calls.get(key) if key is not None else None
        if why == "forget":
            self._runs.forget_lost(at, LOST_RUN_GRACE_S)
        elif why == "idle":
            self._runs.end_idle(at)
        elif call is None:
            return
        elif why == "expire":
            self._desk.expire(call, at)
        elif call.state is not CallState.WAITING:
            return
        elif why == "force":
            self._force(call, at, f"its client waits no longer than {call.ask.hold_limit_s:.0f} s")
        elif why == "outage" and not any(self.endpoints[one].up(at) for one in call.candidates):
            self._force(call, at, "every endpoint that may serve it is down")

    def _force(self, call: Call, at: Seconds, why: str) -> None:
        """Release a call that cannot wait: to the endpoint that is up and soonest free."""
        view = self.view(at)

        def later(endpoint: Endpoint) -> tuple[bool, Seconds, Seconds, int]:
            place = call.candidates.index(endpoint.id)
            down = 0.0 if endpoint.up(at) else endpoint.down_until
            return (not endpoint.up(at), down, endpoint.wait_s(at), place)

        best = min((view.endpoints[one] for one in call.candidates), key=later)
        release = Release(call=call, endpoint=best.id, urgency=0.0, why=why)
        self._out.append(self._granted(call, release, at))

    # -- clients, endpoints, operators -----------------------------------------------------------

    def _client_lost(self, _fact: ClientLost, client: ClientId, at: Seconds) -> None:
        self._desk.client_lost(client, at)
        self.books.lost_clients[client] = at
        self.books.wake(at + LOST_RUN_GRACE_S, "forget")

    def _endpoint_seen(self, fact: EndpointSeen, _client: ClientId, at: Seconds) -> None:
        endpoint = self.endpoints.get(fact.endpoint)
        if endpoint is None:
            return
        if self._lookout.seen(endpoint, fact, at):
            self._desk.forget_filtered()
            self._filter_waiting(at)

    def _timer_fired(self, _fact: TimerFired, _client: ClientId, _at: Seconds) -> None:
        self._timer_at = None

    def _mode_set(self, fact: ModeSet, _client: ClientId, _at: Seconds) -> None:
        self.pool = self.pool.with_mode(fact.mode)

    def _pool_set(self, fact: PoolSet, _client: ClientId, at: Seconds) -> None:
        """A new pool: keep what is believed of endpoints that stay, look at waiting calls anew.

        One that is removed stays on the books, without new calls, until its last one ends.
        """
        self.pool = fact.pool
        before = dict(self.endpoints)
        self.endpoints.clear()
        for spec in fact.pool.endpoints:
            known = before.get(spec.id)
            same = known is not None and (known.spec.url, known.spec.model) == (
                spec.url,
                spec.model,
            )
            self.endpoints[spec.id] = (
                known.redeclared(spec) if known is not None and same else Endpoint.from_spec(spec)
            )
        for gone in before.values():
            if gone.loads and gone.id not in self.endpoints:
                gone.leaving = True
                self.endpoints[gone.id] = gone
        relate(self.endpoints.values())
        self._filter_waiting(at)

    def _filter_waiting(self, at: Seconds) -> None:
        """The pool, or what is known of it, is another: who may serve the waiting calls now?"""
        for call in list(self.books.waiting.values()):
            self._desk.find_candidates(call, self.pool)
            if call.candidates:
                self._mind_outage(call, at)
            else:
                self._refuse(call, at)

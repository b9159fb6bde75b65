"""Readiness apart from release: turns wait outside the engine under a budget of committed work."""

import math
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from headway.core.calls import Call
from headway.core.commands import Score
from headway.core.endpoints import Endpoint
from headway.core.facts import CallEnded, CallReady, EndpointSeen, RunEnded
from headway.core.graph import Run
from headway.core.protocols import Release
from headway.core.types import EndpointId, RunId, Seconds
from headway.core.view import View
from headway.policy.binding import AFFINITY
from headway.policy.steps import step_s

if TYPE_CHECKING:
    from headway.core.facts import Event

WORK_PER_OUTPUT = 4.0
TAIL = 0.95
FLOWS_KEPT = 256
LEAST_FLOWS = 20
"""Completed runs before their 95th percentile means anything."""
LEAST_TOKENS, START_TOKENS, MOST_TOKENS = 30_000.0, 120_000.0, 300_000.0
MEAN_WAIT_S, HIGH_WAIT_S, MOST_WAITING = 1.0, 5.0, 2
GUARD_S = 180.0
LOOK_EVERY = 8
"""Calls that an endpoint answers between two looks at its budget."""
HELD_TOO_LONG = 0
WAITS_KEPT = 64
SHRINK = 0.8


@dataclass(slots=True)
class _Budget:
    """What may be committed to one endpoint, and what its engine's queue has shown of late."""

    tokens: float
    waits: deque[Seconds] = field(default_factory=lambda: deque(maxlen=WAITS_KEPT))
    waiting: int = 0
    answered: int = 0

    def look(self, step_tokens: float) -> None:
        """One step towards the targets: down by a share if one is missed, else up by a step."""
        waits = sorted(self.waits)
        high_s = waits[min(int(TAIL * len(waits)), len(waits) - 1)] if waits else 0.0
        mean_s = sum(waits) / len(waits) if waits else 0.0
        if mean_s > MEAN_WAIT_S or high_s > HIGH_WAIT_S or self.waiting > MOST_WAITING:
            self.tokens = max(self.tokens * SHRINK, LEAST_TOKENS)
            self.waits.clear()  # they tell of the larger budget
        else:
            self.tokens = min(self.tokens + step_tokens, MOST_TOKENS)


@dataclass(slots=True)
class _Committed:
    """What one endpoint has taken on, in tokens of work, and the work that waits only for it.

    `call_s` is how long a call stays there on the average.
    """

    tokens: float
    call_s: Seconds
    ahead: float = 0.0
    calls_ahead: float = 0.0

    def wait_s(self, tokens: float, budget: float) -> Seconds:
        """Seconds until the budget has room for so much more (what is there leaves evenly)."""
        if self.tokens <= 0:
            return 0.0
        over = self.tokens + self.ahead + tokens - budget
        return max(min(over / self.tokens, 1.0 + self.ahead / self.tokens), 0.0) * self.call_s


class Readiness:
    """Decoupling Readiness from Release (arXiv 2609.10964).

    What. Ready turns are kept outside the engine and released in order of holding cost over work,
    highest first, while the endpoint's committed work is within its budget::

        cost = (1 - tail_weight) + tail_weight / (1 - 0.95) * [age of run > Q95 of completed flows]
        work = uncached prompt + 4 * predicted output     (tokens)

    the cost being the slope of mean-CVaR of flow time. The budget (120k tokens at first, 30k to
    300k) follows the engine's queue: mean wait 1 s, P95 5 s, 2 waiting. An endpoint with nothing
    committed takes one turn of any size; a turn held for 180 s goes first, and nothing passes it.
    Why choose it: order matters only where the queue is, so it is moved to where it can be
    changed. Inputs: predicted lengths, ages, queue waits. Parameters: `tail_weight` (weight of
    CVaR, 0 to 1), `step_tokens` (by how much a budget grows).
    Trade-offs: blind to quality and to what a run will still do; the budget reacts after the fact.

    Deviations. The engine's queue wait is heard of closed calls: time to the first token less
    prefill, or else the call's time less its predicted service. Several endpoints: the one
    that holds the run's prefix if its budget has room; the turn waits for it, while others pass,
    as long as that takes less than 4 times computing the prefix anew (the rule of every late
    release here) and it was not held too long; else the one that is least committed. Work leaves
    out cached tokens, which cost an engine next to nothing (the source: the prompt).
    Weight of CVaR, growth (additive) and decrease (by a fifth) are open; the first two are swept.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"tail_weight": weight, "step_tokens": step}
        for step in (20_000.0, 5_000.0)
        for weight in (0.0, 0.5, 0.1)
    )

    name = "readiness"
    binds_early = True

    def __init__(self, *, tail_weight: float = 0.1, step_tokens: float = 20_000.0) -> None:
        if not 0 <= tail_weight <= 1 or step_tokens <= 0:
            raise ValueError("tail_weight must be within 0 and 1, step_tokens > 0")
        self._tail_weight = tail_weight
        self._step_tokens = step_tokens
        self._flows: deque[Seconds] = deque(maxlen=FLOWS_KEPT)
        self._late_s = math.inf
        self._budgets: dict[EndpointId, _Budget] = {}
        self._open: dict[RunId, Run] = {}
        self._least: dict[EndpointId, float] = {}

    # -- release ---------------------------------------------------------------------------------

    def choose(self, view: View) -> Release | None:
        """The first turn in order that some endpoint's budget has room for."""
        committed = {
            one.id: _committed(view, one) for one in view.endpoints.values() if one.up(view.at)
        }
        # what the last look at all turns found too large: a scrape makes none of them smaller
        if not any(
            self._fits(name, there, self._least.get(name, 0.0)) for name, there in committed.items()
        ):
            return None
        least: dict[EndpointId, float] = {}
        kept: set[EndpointId] = set()
        for guard, order, _, call in sorted(
            (self._order(view, call) for call in view.waiting),
            key=lambda one: (*one[:3], one[3].key),
        ):
            candidates = view.candidates(call)
            work = {one.id: _work(view, call, one) for one in candidates}
            for name, tokens in work.items():
                least[name] = min(tokens, least.get(name, math.inf))
            fitting = [
                one
                for one in candidates
                if one.id not in kept and self._fits(one.id, committed[one.id], work[one.id])
            ]
            home = _home(view, call, candidates)
            if guard == HELD_TOO_LONG:
                if not fitting:
                    kept.update(work)
            elif home is not None and all(one is not home for one in fitting):
                there = committed[home.id]
                if self._waits_for(view, call, home, there):
                    there.ahead += work[home.id]
                    there.calls_ahead += 1.0
                    continue
            if fitting:
                return self._release(view, call, fitting, committed, order)
        self._least = least
        return None

    def _fits(self, endpoint: EndpointId, there: _Committed, tokens: float) -> bool:
        """Whether the budget has room for so much more; an endpoint with nothing takes any."""
        return not there.tokens or there.tokens + tokens <= self._budget(endpoint)

    def _waits_for(self, view: View, call: Call, home: Endpoint, there: _Committed) -> bool:
        """Whether waiting for the budget of the prefix's endpoint beats computing it anew."""
        held = call.prompt_tokens - view.uncached_tokens(call, home)
        again_s = held * home.profile.prefill_s * home.speed
        wait_s = max(
            there.wait_s(_work(view, call, home), self._budget(home.id)),
            view.wait_s(call, home, there.calls_ahead),
        )
        return wait_s < AFFINITY * again_s

    def _order(self, view: View, call: Call) -> tuple[int, float, Seconds, Call]:
        ready_at = call.ready_at - call.ask.age_s
        if view.at - call.ready_at > GUARD_S:
            return (HELD_TOO_LONG, 0.0, ready_at, call)
        cost = 1.0 - self._tail_weight
        if view.age_s(call) > self._late_s:
            cost += self._tail_weight / (1.0 - TAIL)
        candidates = [view.endpoints[one] for one in call.candidates]
        where = _home(view, call, candidates) or candidates[0]
        return (1, -cost / _work(view, call, where), ready_at, call)

    def _release(
        self,
        view: View,
        call: Call,
        fitting: list[Endpoint],
        committed: dict[EndpointId, _Committed],
        order: float,
    ) -> Release:
        chosen = _home(view, call, fitting) or min(
            fitting, key=lambda one: committed[one.id].tokens / self._budget(one.id)
        )
        there, budget = committed[chosen.id], self._budget(chosen.id)
        return Release(
            call=call,
            endpoint=chosen.id,
            urgency=0.0,  # the engine is left as it is: first come, first served
            why=f"readiness: {there.tokens:.0f} of {budget:.0f} tokens committed there",
            scores=(Score(endpoint=chosen.id, cost_s=order),),
        )

    def _budget(self, endpoint: EndpointId) -> float:
        known = self._budgets.get(endpoint)
        return START_TOKENS if known is None else known.tokens

    # -- learning --------------------------------------------------------------------------------

    def heed(self, event: "Event", view: View) -> None:
        """Queue waits, what scrapes see waiting, and how long runs took."""
        fact = event.fact
        if not isinstance(fact, EndpointSeen):
            self._least.clear()  # what waits may be another, or be foreseen to be smaller
        if isinstance(fact, CallReady):
            if (run := view.runs.get(fact.run)) is not None:
                self._open.setdefault(run.root.id, run.root)
            if len(self._open) > 2 * len(view.runs) + 64:
                self._settle(list(self._open.values()))
        elif isinstance(fact, RunEnded):
            self._settle([run] if (run := self._open.get(fact.run)) is not None else [])
        elif isinstance(fact, EndpointSeen) and fact.waiting is not None:
            self._of(fact.endpoint).waiting = fact.waiting
        elif isinstance(fact, CallEnded) and fact.outcome == "ok":
            self._heed_answer(fact, view)

    def _heed_answer(self, fact: CallEnded, view: View) -> None:
        run = view.runs.get(fact.run)
        key = (fact.call, fact.attempt)
        call = next((one for one in reversed(run.calls) if one.key == key), None) if run else None
        if call is None or call.endpoint is None or call.endpoint not in view.endpoints:
            return
        budget = self._of(call.endpoint)
        budget.waits.append(_queue_wait_s(call, fact, view.endpoints[call.endpoint]))
        budget.answered += 1
        if budget.answered % LOOK_EVERY == 0:
            budget.look(self._step_tokens)

    def _of(self, endpoint: EndpointId) -> _Budget:
        return self._budgets.setdefault(endpoint, _Budget(START_TOKENS))

    def _settle(self, runs: Iterable[Run]) -> None:
        """Learn from the runs among `runs` that are over."""
        for run in runs:
            if run.state == "ended" and run.ended_at is not None:
                del self._open[run.id]
                if run.outcome == "ok":
                    self._flows.append(run.age_s(run.ended_at))
        self._late_s = _late_s(self._flows)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "flows": list(self._flows),
            "budgets": [[name, one.tokens] for name, one in self._budgets.items()],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        flows = [float(value) for value in snapshot["flows"]]
        budgets = {EndpointId(str(name)): _Budget(float(one)) for name, one in snapshot["budgets"]}
        self._flows = deque(flows, maxlen=FLOWS_KEPT)
        self._late_s = _late_s(flows)
        self._budgets = budgets


def _late_s(flows: Collection[Seconds]) -> Seconds:
    """The 95th percentile of completed flow times, once there are enough."""
    if len(flows) < LEAST_FLOWS:
        return math.inf
    return sorted(flows)[int(TAIL * (len(flows) - 1))]


def _home(view: View, call: Call, endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The one of `endpoints` that served the run last, and has its prefix."""
    home = view.runs[call.run].last_endpoint
    return next((one for one in endpoints if one.id == home), None)


def _work(view: View, call: Call, endpoint: Endpoint) -> float:
    output = view.output(call, endpoint.spec.model).p50
    return max(view.uncached_tokens(call, endpoint) + WORK_PER_OUTPUT * output, 1.0)


def _committed(view: View, endpoint: Endpoint) -> _Committed:
    """The calls on the endpoint's server, whose work counts until they end."""
    loads = endpoint.inflight.loads.values()
    output = sum(load.output_tokens for load in loads)
    uncached = sum(load.uncached_tokens for load in loads)
    prefill_s = endpoint.profile.prefill_s * endpoint.speed
    served_s = uncached * prefill_s + output * step_s(view, endpoint)
    return _Committed(uncached + WORK_PER_OUTPUT * output, served_s / max(len(loads), 1))


def _queue_wait_s(call: Call, fact: CallEnded, endpoint: Endpoint) -> Seconds:
    if fact.first_token_s is not None:
        tokens = fact.prompt_tokens if fact.prompt_tokens is not None else call.prompt_tokens
        uncached = max(tokens - (fact.cached_tokens or 0), 0)
        return max(fact.first_token_s - uncached * endpoint.profile.prefill_s * endpoint.speed, 0.0)
    if call.closed_at is None or call.released_at is None:
        return 0.0
    return max(call.closed_at - call.released_at - call.service_s, 0.0)

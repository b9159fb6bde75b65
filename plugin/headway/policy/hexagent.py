"""HexAGenT: the run at most risk of being late goes first, planned ahead on virtual resources."""

import math
from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.commands import Score
from headway.core.endpoints import Endpoint
from headway.core.protocols import Release
from headway.core.types import EndpointId, Seconds
from headway.core.view import View
from headway.policy.binding import MAX_URGENCY, finish_s
from headway.policy.cluster import Cluster, Option
from headway.policy.placing import earliest_finish

SMALL_QUEUE = 32
"""Calls up to which each placement is followed by a new look at all others."""
LEAST_S = 1e-3


class Hexagent:
    """HexAGenT's central planner (arXiv 2605.16637, its model and scheduler sections).

    What. Risk ``R = (age + Delta) / H``, largest first: `age` of the run, `Delta` the projected
    time to completion of the call (queue, prefill, transfer, decode), `H` the stand-alone
    completion of what the run has revealed: measured so far, and this call alone on its best
    endpoint. Repeat: take the call with the largest R, give it the endpoint (or the pair of
    prefill and decode servers) of earliest completion whose KV can hold it, book it there
    virtually, compute anew. With more than 32 calls they are sorted once and swept.
    A planned call is let go when its endpoint has room; what has started is never moved.
    Why choose it: elapsed time is in the numerator, so nothing starves; best published on the
    slowdown tail. Inputs: lengths, loads, ages. Parameters: `small_queue`.
    Trade-offs: blind to what a run will still do and to quality, so of several models the one
    that is done first answers; every plan costs (calls times endpoints).

    Deviations. Calls wait in our queue, where the source binds decode at the end of prefill; its
    planner runs beside serving with a revision guard and a fall-back, here a plan is made and used
    at one moment and is never stale. KV is the prompt and the P90 of the output (the source: the
    prediction), as the scheduler holds all to. Parallel calls of a run are not added into H.
    Cached prefixes shorten prefill (in its favour). A call planned for an endpoint without room
    keeps those planned after it from that endpoint. Nothing is open: one set of parameters.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    name = "hexagent"
    binds_early = False

    def __init__(self, *, small_queue: int = SMALL_QUEUE) -> None:
        if small_queue < 1:
            raise ValueError("small_queue must be >= 1")
        self._small_queue = small_queue

    def choose(self, view: View) -> Release | None:
        """The first planned call whose endpoint has room."""
        # without a seat no call has room, so once all with one are taken nothing more is let go
        seats = {one.id for one in view.endpoints.values() if one.has_room(0.0) and one.up(view.at)}
        if not seats:
            return None
        cluster = Cluster(view)
        waiting = sorted(view.waiting, key=lambda one: (one.ready_at - one.ask.age_s, one.key))
        plans = [
            _Plan(view, call, endpoints, cluster)
            for call in waiting
            if (endpoints := view.candidates(call))
        ]
        small = len(plans) <= self._small_queue
        if not small:
            plans.sort(key=lambda plan: -plan.risk)  # stable: the oldest of equals stays first
        taken: set[EndpointId] = set()
        later = iter(plans)  # of the sorted, instead of taking from the front
        for _ in range(len(plans)):
            if seats <= taken:
                return None
            plan = plans.pop(_riskiest(plans)) if small else next(later)
            option = plan.best if small else plan.look_again(cluster)
            endpoint = option.endpoint
            if endpoint.id not in taken and view.has_room(plan.call, endpoint):
                return _release(plan, option)
            taken.add(endpoint.id)
            cluster.book(option)
            for other in plans if small else ():
                other.look_again(cluster, touched=option)
        return None


class _Plan:
    """A waiting call with its options, the earliest completion among them, and its risk."""

    __slots__ = ("_age_s", "_finishes", "_horizon_s", "best", "call", "finish_s", "options")

    def __init__(self, view: View, call: Call, endpoints: list[Endpoint], cluster: Cluster) -> None:
        self.call = call
        self.options = cluster.options(view, call, endpoints)
        self._age_s = view.age_s(call)
        self._horizon_s = horizon_s(view, call, endpoints)
        self._finishes: list[Seconds] = [math.inf] * len(self.options)
        self.best = self.options[0]
        self.finish_s: Seconds = math.inf
        self.look_again(cluster)

    @property
    def risk(self) -> float:
        """R of the call on its best option."""
        return (self._age_s + self.finish_s) / self._horizon_s

    def look_again(self, cluster: Cluster, touched: Option | None = None) -> Option:
        """The option of earliest completion, by what is booked now (only there, if `touched`)."""
        for place, option in enumerate(self.options):
            if touched is None or option.meets(touched):
                self._finishes[place] = cluster.finish_s(option)
        self.finish_s = min(self._finishes)
        self.best = self.options[self._finishes.index(self.finish_s)]
        return self.best


def _riskiest(plans: list[_Plan]) -> int:
    """The place of the largest risk: the first of equals, which is the oldest."""
    return max(range(len(plans)), key=lambda at: plans[at].risk)


def horizon_s(view: View, call: Call, endpoints: list[Endpoint]) -> Seconds:
    """H: stand-alone seconds of what the run has done, and of this call where it is fastest."""
    alone_s = min(
        one.alone_s(call.prompt_tokens, view.output(call, one.spec.model).p50) for one in endpoints
    )
    return max(view.attained_s(call) + alone_s, LEAST_S)


def _release(plan: _Plan, option: Option) -> Release:
    return Release(
        call=plan.call,
        endpoint=option.endpoint.id,
        urgency=min(plan.risk, MAX_URGENCY),
        why=f"hexagent: risk {plan.risk:.2f}, done first there",
        scores=(Score(endpoint=option.endpoint.id, cost_s=plan.finish_s),),
    )


class HexagentOrder:
    """HexAGenT's risk as an order, without its planner: largest R first, where it is done first.

    What, inputs, source: as `Hexagent` (arXiv 2605.16637); here each call looks at the loads as
    they are and not at what is planned before it. Why choose it: with late release and affinity
    (`hexagent+release`) it shows what its order is worth by itself. Parameters: none.
    Trade-offs: calls that wait do not see each other.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def order(self, view: View, call: Call) -> float:
        """-R on the endpoint of earliest completion; last of all while none is up."""
        endpoints = view.candidates(call)
        if not endpoints:
            return 0.0
        delta_s = min(finish_s(view, call, one) for one in endpoints)
        return -(view.age_s(call) + delta_s) / horizon_s(view, call, endpoints)

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """Any that may serve it."""
        return view.candidates(call)

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """Where it is done first."""
        return earliest_finish(view, call, endpoints)

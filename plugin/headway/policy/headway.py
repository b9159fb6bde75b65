"""Headway's policy: one choice of model, endpoint, moment and urgency.

What. Waiting calls are taken in order of `W * H / (age + T)`, small first (W
work left in tokens, H stand-alone time of the run, T time left alone; age
counts by itself). For each, every candidate endpoint is priced in seconds:

    J = wait + service + slowing + pressure + (1 - p) * what follows a failure

`wait` until a seat is free behind the calls ahead, `service` prefill and
decode as predicted, less what the endpoint that served the run last still has
in its cache; `slowing` what the call does to those beside it in the batch;
`pressure` what its seat-seconds cost those that wait. `p` is the confidence;
after a failure the graph's next round follows (J again, with this model known
to have failed), or the price of a failed run. The cheapest endpoint is chosen;
if it has no room the call waits for it, but no longer than its grace once
another endpoint has room.

Why choose it: small models first where a failure shows and is cheap, large
ones where it does not; under load it leans to what is quick. Inputs: predicted
lengths, rest of runs, confidence, loads. Trade-offs: needs a few completions
to know a graph; on an idle pool of one model it does what FCFS does.

Sources: expected time to success with learning from failures; the order is
HexAGenT's risk (arXiv 2605.16637) turned into work per urgency; congestion
from predicted tokens in flight is Chimera's (arXiv 2603.22206).
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from headway.core.calls import Call, CallKey
from headway.core.commands import Score
from headway.core.endpoints import Endpoint
from headway.core.protocols import Release, Wait
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.outlook import Outlook
from headway.policy.placing import Sweep

URGENCY_SPAN = 1e6
URGENCY_STEP = 1e4
DEEPEST_ROUNDS = 3
LEAST_S = 1e-3
UNKNOWN_SEATS = 8
LOOK_AHEAD = 32
"""Calls that are priced for one release. Those behind could go somewhere too, but 32 more urgent
ones would rather wait for better: their time comes within the grace."""


@dataclass(slots=True, kw_only=True)
class _Price:
    """One candidate with its terms, all in seconds but `chance`."""

    endpoint: Endpoint
    room: bool
    wait_s: Seconds
    service_s: Seconds
    slowing_s: Seconds
    pressure_s: Seconds
    chance: float = 1.0
    after_failure_s: Seconds = 0.0
    total_s: Seconds = 0.0

    @property
    def own_s(self) -> Seconds:
        """Without what follows a failure."""
        return self.wait_s + self.service_s + self.slowing_s + self.pressure_s

    def score(self) -> Score:
        """As told to people."""
        return Score(
            endpoint=self.endpoint.id,
            cost_s=self.total_s,
            parts=(
                ("wait", self.wait_s),
                ("service", self.service_s),
                ("slowing", self.slowing_s),
                ("pressure", self.pressure_s),
                ("chance", self.chance),
                ("after_failure", self.after_failure_s),
            ),
        )


def _total(price: _Price) -> Seconds:
    return price.total_s


class Headway:
    """Expected time to success, released late.

    `failure_price` is what a failed run costs, in stand-alone times of the run;
    `pressure` scales what waiting calls charge for seat-seconds (0: nothing);
    `age_guard_s` is how long a call may be held before it goes first.
    """

    name = "headway"
    binds_early = False
    SWEEP: ClassVar[Sweep] = tuple(
        {"failure_price": price} for price in (0.25, 16.0, 2.0, 1.0, 8.0)
    )

    def __init__(
        self, *, failure_price: float = 4.0, pressure: float = 0.5, age_guard_s: Seconds = 60.0
    ) -> None:
        if failure_price < 0 or pressure < 0 or age_guard_s <= 0:
            raise ValueError("failure_price and pressure must be >= 0, age_guard_s > 0")
        self._failure_price = failure_price
        self._pressure = pressure
        self._age_guard_s = age_guard_s

    def choose(self, view: View) -> Release | Wait | None:
        """The most pressing call whose best endpoint has room."""
        if not view.any_room(one for one in view.endpoints.values() if one.up(view.at)):
            return None
        ahead: dict[str, float] = {}
        room_for: dict[tuple[str, ...], bool] = {}
        look_again, priced = math.inf, 0
        for _, order, _, call in sorted(self._ordered(view)):
            alike = call.candidates + call.avoid
            room = room_for.get(alike)
            if room is None:
                room = room_for[alike] = view.any_room(view.candidates(call))
            if not room:
                for one in call.candidates:  # it will go to one of them, no matter which
                    ahead[one] = ahead.get(one, 0.0) + 1.0 / len(call.candidates)
                continue
            if priced == LOOK_AHEAD:
                break
            priced += 1
            prices = self._prices(view, call, ahead)
            best = min(prices, key=_total)
            if best.room:
                return self._release(view, call, order, best, prices)
            second = min((one for one in prices if one.room), key=_total, default=None)
            if second is not None:
                until = self._waits_until(view, call, second, best)
                if view.at >= until:
                    return self._release(view, call, order, second, prices, waited_enough=True)
                look_again = min(look_again, until)
            ahead[best.endpoint.id] = ahead.get(best.endpoint.id, 0.0) + 1.0
        return Wait(until=look_again) if look_again < math.inf else None

    def _waits_until(self, view: View, call: Call, now: _Price, best: _Price) -> Seconds:
        """Until when a call that could go elsewhere `now` should wait for the `best`.

        More urgent calls keep coming, so predicted waits are too short. As in renting skis, a
        call waits no longer in all than what waiting was to gain it, nor than its grace.
        """
        grace_s = view.pool.name(call.ask.pool_name).idle_grace_s
        return call.ready_at + min(now.total_s - best.total_s, grace_s)

    # -- order -----------------------------------------------------------------------------------

    def _ordered(self, view: View) -> list[tuple[int, float, CallKey, Call]]:
        """For each waiting call: 0 if held too long, its order, its key, itself.

        The order is ``W * H / (age + T)``, nearer for a run whose deadline is at risk.
        """
        found = []
        at, runs, held_since = view.at, view.runs, view.at - self._age_guard_s
        class_deadlines = view.pool.class_deadlines
        for call in view.waiting:  # hundreds in an overload, at every release: few calls in here
            ask = call.ask
            root = runs[ask.run]
            if root.parent is not None:
                root = root.root
            left_s = call.rest_s if call.rest_s > LEAST_S else LEAST_S
            age_s = at - root.started_at - root.paused_s if root.running else root.age_s(at)
            order = call.rest_tokens * (root.attained_s + left_s) / (age_s + left_s)
            deadline_s = root.deadline_s if root.deadline_s is not None else ask.deadline_s
            if deadline_s is None and class_deadlines:
                deadline_s = class_deadlines.get(root.service_class)
            if deadline_s is not None:
                slack = (deadline_s - age_s) / left_s
                if 1.0 <= slack < 3.0:
                    order *= slack / 3.0
            found.append((0 if call.ready_at < held_since else 1, order, call.key, call))
        return found

    # -- price -----------------------------------------------------------------------------------

    def _prices(self, view: View, call: Call, ahead: dict[str, float]) -> list[_Price]:
        endpoints = view.candidates(call)
        # what waits is charged to those that take its seats, a share to each seat
        seats = sum(one.room or UNKNOWN_SEATS for one in endpoints)
        pressure = self._pressure * (len(view.waiting) - 1) / max(seats, 1)
        prices = []
        for one in endpoints:
            output = view.output(call, one.spec.model)
            kv_need = call.prompt_tokens + output.p90
            uncached = view.uncached_tokens(call, one)
            service_s = one.service_s(view.at, uncached, output.p50)
            room = one.has_room(kv_need)
            wait_s = 0.0 if room else one.wait_s(view.at, ahead.get(one.id, 0.0), kv_need)
            price = _Price(
                endpoint=one,
                room=room,
                wait_s=wait_s if room else max(wait_s, LEAST_S),
                service_s=service_s,
                slowing_s=one.slowing_s(view.at, uncached, output.p50),
                pressure_s=pressure * service_s,
            )
            prices.append(price)
        if prices:
            self._add_failures(view, call, prices)
        return prices

    def _add_failures(self, view: View, call: Call, prices: list[_Price]) -> None:
        """Fill in confidence, what follows a failure, and the total."""
        root = view.runs[call.run].root
        lost_s = self._failure_price * (root.attained_s + call.rest_s)
        cheapest: dict[str, Seconds] = {}
        for price in prices:
            model, own_s = price.endpoint.spec.model, price.own_s
            if own_s < cheapest.get(model, math.inf):
                cheapest[model] = own_s
        outlook = Outlook(view, call, cheapest, lost_s)
        rounds = min(view.rounds_left(call), DEEPEST_ROUNDS)
        judged = {
            model: (outlook.chance(model, ()), outlook.after((model,), rounds))
            for model in cheapest
        }
        for price in prices:
            price.chance, price.after_failure_s = judged[price.endpoint.spec.model]
            price.total_s = price.own_s + (1.0 - price.chance) * price.after_failure_s

    # -- release ---------------------------------------------------------------------------------

    def _release(
        self,
        view: View,
        call: Call,
        order: float,
        chosen: _Price,
        prices: list[_Price],
        waited_enough: bool = False,
    ) -> Release:
        urgency = -URGENCY_STEP * math.log(max(order, 1e-9))
        waited = view.at - call.ready_at
        why = f"cheapest of {len(prices)} by expected time to success"
        if waited_enough:
            why = f"waited {waited:.1f} s for a better endpoint; cheapest of those with room"
        elif waited > LEAST_S:
            why += f", released when its turn came after {waited:.1f} s"
        if view.runs[call.run].last_endpoint == chosen.endpoint.id:
            why += ", where the run was served last"
        failed = view.failed(call)
        if failed:
            why += f"; failed before in this run: {', '.join(dict.fromkeys(failed))}"
        ranked = sorted(prices, key=_total)
        return Release(
            call=call,
            endpoint=chosen.endpoint.id,
            urgency=min(max(urgency, -URGENCY_SPAN), URGENCY_SPAN),
            why=why,
            scores=tuple(price.score() for price in ranked),
        )


class HeadwayEarly(Headway):
    """The same order and prices, but each call is bound when it is ready, as gateways do.

    What late release is worth, by leaving it out: the engine's own queue keeps the calls that
    wait, in the order of the urgency that they had when they were bound. For comparison only;
    parameters, sources and trade-offs are Headway's.
    """

    name = "headway+early"
    binds_early = True

    def choose(self, view: View) -> Release | None:
        """The most pressing call, to its cheapest endpoint, with or without room."""
        for _, order, _, call in sorted(self._ordered(view)):
            if prices := self._prices(view, call, {}):
                return self._release(view, call, order, min(prices, key=_total), prices)
        return None

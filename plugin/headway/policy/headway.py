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

from headway.core.calls import Call
from headway.core.commands import Score
from headway.core.endpoints import Endpoint
from headway.core.protocols import Release
from headway.core.types import Seconds
from headway.core.view import View

URGENCY_SPAN = 1e6
URGENCY_STEP = 1e4
DEEPEST_ROUNDS = 3
LEAST_S = 1e-3


@dataclass(slots=True, kw_only=True)
class _Price:
    """One candidate with its terms, all in seconds but `chance`."""

    endpoint: Endpoint
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


class Headway:
    """Expected time to success, released late.

    `failure_price` is what a failed run costs, in stand-alone times of the run;
    `pressure` scales what waiting calls charge for seat-seconds (0: nothing);
    `age_guard_s` is how long a call may be held before it goes first.
    """

    name = "headway"
    binds_early = False

    def __init__(
        self, *, failure_price: float = 2.0, pressure: float = 1.0, age_guard_s: Seconds = 60.0
    ) -> None:
        if failure_price < 0 or pressure < 0 or age_guard_s <= 0:
            raise ValueError("failure_price and pressure must be >= 0, age_guard_s > 0")
        self._failure_price = failure_price
        self._pressure = pressure
        self._age_guard_s = age_guard_s

    def choose(self, view: View) -> Release | None:
        """The most pressing call whose best endpoint has room."""
        if not view.any_room(one for one in view.endpoints.values() if one.up(view.at)):
            return None
        ahead: dict[str, int] = {}
        scored = sorted((self._order(view, call), call.key, call) for call in view.waiting)
        for (_, order), _, call in scored:
            prices = self._prices(view, call, ahead)
            if not prices:
                continue
            best = min(prices, key=lambda price: price.total_s)
            if view.has_room(call, best.endpoint):
                return self._release(view, call, order, best, prices)
            open_now = [one for one in prices if view.has_room(call, one.endpoint)]
            if open_now:
                second = min(open_now, key=lambda price: price.total_s)
                if self._waited_enough(view, call, second.total_s - best.total_s):
                    return self._release(view, call, order, second, prices, waited_enough=True)
            ahead[best.endpoint.id] = ahead.get(best.endpoint.id, 0) + 1
        return None

    def _waited_enough(self, view: View, call: Call, gain_s: Seconds) -> bool:
        """Whether a call that could go elsewhere should wait no longer for its best endpoint.

        More urgent calls keep coming, so predicted waits are too short. As in renting skis, a
        call waits no longer in all than what waiting was to gain it, nor than its grace.
        """
        grace_s = view.pool.name(call.ask.pool_name).idle_grace_s
        return view.at >= call.ready_at + min(gain_s, grace_s)  # as wake-ups are: no rounding

    # -- order -----------------------------------------------------------------------------------

    def _order(self, view: View, call: Call) -> tuple[int, float]:
        """(0 if held too long, W * H / (age + T), nearer for a run whose deadline is at risk)."""
        left_s = max(view.rest_s(call), LEAST_S)
        alone_s = view.runs[call.run].root.attained_s + left_s
        age_s = view.age_s(call)
        order = view.rest_tokens(call) * alone_s / (age_s + left_s)
        deadline_s = view.deadline_s(call)
        if deadline_s is not None:
            slack = (deadline_s - age_s) / left_s
            if 1.0 <= slack < 3.0:
                order *= slack / 3.0
        return (0 if view.at - call.ready_at > self._age_guard_s else 1, order)

    # -- price -----------------------------------------------------------------------------------

    def _prices(self, view: View, call: Call, ahead: dict[str, int]) -> list[_Price]:
        endpoints = view.candidates(call)
        seats = sum(one.seats or 8 for one in endpoints)
        others = len(view.waiting) - 1
        prices = []
        for one in endpoints:
            tokens = view.output(call, one.spec.model).p50
            uncached = view.uncached_tokens(call, one)
            service_s = one.service_s(view.at, uncached, tokens)
            room = view.has_room(call, one)
            prices.append(
                _Price(
                    endpoint=one,
                    wait_s=0.0
                    if room
                    else max(view.wait_s(call, one, ahead.get(one.id, 0)), LEAST_S),
                    service_s=service_s,
                    slowing_s=one.slowing_s(view.at, uncached, tokens),
                    pressure_s=self._pressure * service_s * others / max(seats, 1),
                )
            )
        self._add_failures(view, call, prices)
        return prices

    def _add_failures(self, view: View, call: Call, prices: list[_Price]) -> None:
        """Fill in confidence, what follows a failure, and the total."""
        run = view.runs[call.run].root
        lost_s = self._failure_price * (run.attained_s + view.rest_s(call))
        cheapest: dict[str, Seconds] = {}
        for price in prices:
            model = price.endpoint.spec.model
            cheapest[model] = min(cheapest.get(model, math.inf), price.own_s)
        outlook = _Outlook(view, call, cheapest, lost_s)
        rounds = min(view.rounds_left(call), DEEPEST_ROUNDS)
        for price in prices:
            model = price.endpoint.spec.model
            price.chance = outlook.chance(model, frozenset())
            price.after_failure_s = outlook.after(frozenset((model,)), rounds)
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
        ranked = sorted(prices, key=lambda price: price.total_s)
        return Release(
            call=call,
            endpoint=chosen.endpoint.id,
            urgency=min(max(urgency, -URGENCY_SPAN), URGENCY_SPAN),
            why=why,
            scores=tuple(price.score() for price in ranked),
        )


class _Outlook:
    """What follows if answers fail: the graph's further rounds, each by the best model then."""

    __slots__ = ("_call", "_chances", "_cost", "_lost_s", "_memo", "_view")

    def __init__(self, view: View, call: Call, cost: dict[str, Seconds], lost_s: Seconds) -> None:
        self._view = view
        self._call = call
        self._cost = cost
        self._lost_s = lost_s
        self._chances: dict[tuple[str, str], float] = {}
        self._memo: dict[tuple[frozenset[str], int], Seconds] = {}

    def chance(self, model: str, failed: frozenset[str]) -> float:
        """Confidence in `model` once those in `failed` have failed too."""
        # the same for any set of others, so ask once for each of the three cases
        case = "repeat" if model in failed else ("other" if failed else "")
        known = self._chances.get((model, case))
        if known is None:
            also = (model,) if case == "repeat" else (("",) if case == "other" else ())
            known = self._chances[(model, case)] = self._view.chance(self._call, model, also)
        return known

    def after(self, failed: frozenset[str], rounds: int) -> Seconds:
        """Expected seconds from a failure on, with `rounds` more answers possible."""
        if rounds <= 0:
            return self._lost_s
        known = self._memo.get((failed, rounds))
        if known is None:
            known = min(
                self._cost[model]
                + (1.0 - self.chance(model, failed)) * self.after(failed | {model}, rounds - 1)
                for model in self._cost
            )
            self._memo[(failed, rounds)] = known
        return known

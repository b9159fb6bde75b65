"""RouteBalance: quality, cost and latency of every (model, instance) in one weighted score."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import ATTEMPTS, at_least_one, may_ask_again
from headway.policy.steps import OfView, seated, step_s


class RouteBalance:
    """RouteBalance (arXiv 2606.17949, its scoring section; code: AKafakA/route-balance).

    What. Every (model, instance) is one candidate, the highest score wins::

        score   = w_q * quality + w_c * (1 - cost / max cost) + w_l * (1 - latency / max latency)
        latency = tpot * (d / b + L)      d pending decode tokens, b the decode batch, L the length
        cost    = price * tokens, or decode step * tokens where a price is not declared

    with weights that sum to 1; w_l is what `w_quality` and `w_cost` leave. Engines serve in order
    of arrival. Why choose it: one line that trades all three, found best of routers of single
    calls by its source. Inputs: confidence, lengths, loads, prices. Parameters: `w_quality`,
    `w_cost`, `attempts` (answers at a node after which it advises the graph to stop). Trade-offs:
    each term's scale depends on the worst candidate; no runs, no failures, no queue of its own.

    Deviations. Quality and length are this scheduler's instead of kNN over embeddings. Pending
    tokens are dead-reckoned from our books, as between its telemetry reads. The cost of an
    endpoint without a price weighs its size, for all candidates unless all have prices. Its
    batches are assigned longest first (LPT: +-2.3 % there); calls come here one by one, and LPT is
    no order of an engine's queue. It says nothing of retries: `attempts` is ours, swept in its
    favour with the weights, which are open.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"w_quality": quality / 10, "w_cost": cost / 10, "attempts": attempts}
        for quality, cost, attempts in (
            # with the first six each weight of quality is met once, then others of its attempts
            *((0, 0, 4), (10, 0, 1), (5, 0, 4), (8, 0, 1), (2, 0, 4), (9, 0, 4), (5, 0, 1)),
            *((8, 0, 4), (0, 0, 1), (5, 0, 2), (8, 0, 2), (9, 0, 1), (4, 4, 4), (6, 2, 1)),
            (6, 2, 4),
        )
    )

    def __init__(
        self, *, w_quality: float = 0.5, w_cost: float = 0.2, attempts: int = ATTEMPTS
    ) -> None:
        if w_quality < 0 or w_cost < 0 or w_quality + w_cost > 1.0 + 1e-9:
            raise ValueError("w_quality and w_cost must be >= 0 and sum to no more than 1")
        self._attempts = at_least_one(attempts)
        self._quality = w_quality
        self._cost = w_cost
        self._latency = max(1.0 - w_quality - w_cost, 0.0)
        self._loads: OfView[tuple[Seconds, float]] = OfView()

    def order(self, view: View, call: Call) -> float:
        """In order of arrival."""
        return 0.0

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the model whose best instance scores highest."""
        endpoints = view.candidates(call)
        if len({one.spec.model for one in endpoints}) < 2:
            return endpoints
        model = self._best(view, call, endpoints).spec.model
        return [one for one in endpoints if one.spec.model == model]

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The instance with the highest score."""
        # of one model quality is the same, so among them the order does not depend on `allowed`
        return self._best(view, call, endpoints)

    def worth_retrying(self, view: View, run: Run, node_name: str) -> bool:
        """Whether fewer answers than `attempts` were given; advice, the graph may ask on."""
        return may_ask_again(run, node_name, self._attempts)

    def _best(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        latencies = [self._latency_s(view, call, one) for one in endpoints]
        costs = _costs(view, call, endpoints)
        slowest, dearest = max(latencies) or 1.0, max(costs) or 1.0
        chances: dict[str, float] = {}
        scores = []
        for one, latency, cost in zip(endpoints, latencies, costs, strict=True):
            model = one.spec.model
            if model not in chances:
                chances[model] = view.chance(call, model, ())
            scores.append(
                self._quality * chances[model]
                + self._cost * (1.0 - cost / dearest)
                + self._latency * (1.0 - latency / slowest)
            )
        return endpoints[max(range(len(endpoints)), key=lambda place: scores[place])]

    def _latency_s(self, view: View, call: Call, endpoint: Endpoint) -> Seconds:
        """``tpot * (d / b + L)``: what is pending there a sequence, then the answer itself."""
        loads = self._loads.of(view)
        known = loads.get(endpoint.id)
        if known is None:
            pending = endpoint.tokens_left(view.at) / seated(endpoint)
            known = loads[endpoint.id] = (step_s(view, endpoint), pending)
        tpot_s, before = known
        return tpot_s * (before + view.output(call, endpoint.spec.model).p50)


def _costs(view: View, call: Call, endpoints: list[Endpoint]) -> list[float]:
    prices = [one.spec.price for one in endpoints]
    priced = all(price is not None for price in prices)
    return [
        (price if priced and price is not None else one.profile.step_s)
        * (call.prompt_tokens * priced + view.output(call, one.spec.model).p50)
        for price, one in zip(prices, endpoints, strict=True)
    ]

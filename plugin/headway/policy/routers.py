"""Routers of prompts by confidence and cost, with two ways to order and place what they route."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import (
    ATTEMPTS,
    at_least_one,
    earliest_finish,
    fewest_open,
    may_ask_again,
)
from headway.policy.sizes import by_model
from headway.policy.steps import OfView


class _Router:
    """The model with the best ``chance - cost_weight * cost``, cost in stand-alone seconds.

    Seconds rather than a share of the dearest, so that one weight means one gain per cost for
    short and long prompts alike (our own study: worth more than a better encoder). No failure
    changes its choice, so `attempts` bounds the answers that it advises a graph to ask for.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"cost_weight": weight, "attempts": attempts}
        for weights in ((0.0, 1.0, 0.03, 0.003), (0.1,))
        for attempts in (4, 1, 2)
        for weight in weights
    )

    def __init__(self, *, cost_weight: float = 0.01, attempts: int = ATTEMPTS) -> None:
        if cost_weight < 0:
            raise ValueError("cost_weight must be >= 0")
        self._cost_weight = cost_weight
        self._attempts = at_least_one(attempts)
        self._chosen: OfView[list[Endpoint]] = OfView()

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the chosen model."""
        chosen = self._chosen.of(view)
        if call.key not in chosen:
            chosen[call.key] = self._choose(view, call)
        return chosen[call.key]

    def worth_retrying(self, view: View, run: Run, node_name: str) -> bool:
        """Whether fewer answers than `attempts` were given; advice, the graph may ask on."""
        return may_ask_again(run, node_name, self._attempts)

    def _choose(self, view: View, call: Call) -> list[Endpoint]:
        models = by_model(view.candidates(call))
        if len(models) < 2:
            return next(iter(models.values()), [])
        # the first of equals is the user's first
        return models[max(models, key=lambda model: self._worth(view, call, models[model]))]

    def _worth(self, view: View, call: Call, endpoints: list[Endpoint]) -> float:
        model = endpoints[0].spec.model
        output = view.output(call, model).p50
        cost_s: Seconds = min(one.alone_s(call.prompt_tokens, output) for one in endpoints)
        return view.chance(call, model, ()) - self._cost_weight * cost_s


class RouterLb(_Router):
    """A prompt router in front of a load balancer.

    What: ``model = argmax(chance - cost_weight * cost)`` with cost the seconds of the call alone,
    then the endpoint of that model with the fewest open calls, in order of arrival. Why choose it:
    what a gateway with a router does; it shows what load-blind routing is worth. Inputs:
    confidence, predicted lengths. Parameters: `cost_weight`, chance given up a second, and
    `attempts`, answers at a node before it advises the graph to stop (both swept).
    Trade-offs: blind to load, so a popular model queues while another idles. Source: the form of
    RouteLLM (arXiv 2406.18665) and of cost-aware routers since; confidence is the scheduler's.
    """

    def order(self, view: View, call: Call) -> float:
        """In order of arrival."""
        return 0.0

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fewest open calls."""
        return fewest_open(endpoints)


class RouterSf(_Router):
    """The same router, and the shortest answer first.

    What: the model as `RouterLb` has it; calls are ordered by predicted output tokens on it, least
    first, and go to the endpoint where they are done first. Why choose it: a router and LTR's order
    (arXiv 2408.15792, section 4) put together, the strongest of what is blind to runs. Inputs and
    parameters as of `RouterLb`. Trade-offs: long answers wait; the model ignores load.
    Deviations: LTR ranks by a small language model, here by the predicted median; its starvation
    counter is left to the engine.
    """

    def order(self, view: View, call: Call) -> float:
        """Predicted output tokens on the model that it is routed to."""
        endpoints = self.allowed(view, call)
        return view.output(call, endpoints[0].spec.model).p50 if endpoints else 0.0

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """Where it is done first."""
        return earliest_finish(view, call, endpoints)

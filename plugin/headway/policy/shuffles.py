"""Shuffles: the endpoint of a call, or the model of a run, at random.

Drawn by hash of names, so the same call gets the same endpoint however often it is asked for.
"""

from collections.abc import Sequence

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.view import View
from headway.policy.placing import Plain, fewest_open
from headway.policy.sizes import by_model


def drawn(number: float, weights: Sequence[float]) -> int:
    """Which place a `number` in [0, 1) falls on if each takes its share of the weights."""
    left = number * sum(weights)
    for place, weight in enumerate(weights):
        left -= weight
        if left < 0:
            return place
    return max(place for place, weight in enumerate(weights) if weight > 0)


class ShuffleCall(Plain):
    """Each call to an endpoint at random, all alike.

    What: vLLM behind a load balancer that spreads requests over all models. Why choose it: what
    "vLLM without routing" means where a paper does not say; a retry may meet another model.
    Inputs: none. Parameters: none. Trade-offs: blind to everything. Source: Chimera's baseline
    vLLM (arXiv 2603.22206, sec. 4), whose split is not stated: uniform, P(e) = 1 / n.
    """

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The one drawn for the call."""
        endpoints = view.candidates(call)
        if not endpoints:
            return []
        number = view.draw("shuffle-call", *call.key)
        return [endpoints[drawn(number, [1.0] * len(endpoints))]]


class ShuffleRun(Plain):
    """Each run with a model at random, which it keeps; then the least busy of its endpoints.

    What: runs are dealt to models and stay there. Why choose it: the other reading of "vLLM
    without routing", with the prefix on one model. Inputs: open calls. Parameters: none.
    Trade-offs: a run whose model fails repeats with that model. Source: as `ShuffleCall`:
    P(m) = 1 / n for each run. Only while its model is down does a run use another.
    """

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the run's model."""
        up = by_model(view.candidates(call))
        number = view.draw("shuffle-run", view.runs[call.run].root.id)
        every = list(dict.fromkeys(view.endpoints[one].spec.model for one in call.candidates))
        for models in (every, list(up)):
            model = models[drawn(number, [1.0] * len(models))] if models else ""
            if model in up:
                return up[model]
        return []

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fewest open calls."""
        return fewest_open(endpoints)

"""Chimera: semantic routing with a latency slack, shortest total job first."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.types import Seconds
from headway.core.view import TOKENS_OF_WORK_PER_OUTPUT, View
from headway.policy.placing import ATTEMPTS, at_least_one, may_ask_again
from headway.policy.sizes import by_model
from headway.policy.steps import OfView, seated

PROMOTED = -1.0
"""Comes before any number of tokens; among those that are promoted the oldest goes first."""


class Chimera:
    """Chimera (arXiv 2603.22206, sections 3.1 to 3.8).

    What. The fastest model is replaced by the most confident of those that are little slower::

        L_m = tpot_m * (sum of R over calls in flight) / B_m + tpot_m * R(new)
        S   = {m : L_m <= (1 + tau) * L_fastest}
        m*  = argmax over S of conf_m, if conf_m* - conf_fastest >= delta; else the fastest

    R is the predicted output still to come of the *workflow*, `tpot` the profiled time of a decode
    step, B the sequences decoded at once. The model of a run's first call is kept for the others
    (`sticky`). Order: R, smallest first (shortest total job first). A call that was overtaken
    `promote_after` times goes before all others.
    Why choose it: two knobs that trace a front of latency against quality, and under load the
    large model drops out by itself. Inputs: rest of runs, confidence, loads. Parameters: `tau`
    (slack, >= 0), `delta` (margin of confidence), `sticky`, `promote_after`, `attempts` (answers
    at a node after which it advises the graph to stop; the graph decides).
    Trade-offs: blind to KV, prefill and prefixes; a failed attempt is repeated on the same model
    when sticky, and teaches the router nothing within the run.

    Deviations. R is our horizon rather than a quantile random forest's, and confidence is the
    scheduler's rather than ModernBERT's, the same as every policy here gets. `tpot` is the
    declared profile's step with all seats taken and no context, at the speed believed now. The
    promoted level needs no quantum, since a released call leaves the queue; bound at once, orders
    are not recomputed and `promote_after` does nothing. Parallel branches each carry the
    whole rest of their run (the source has chains only). It knows no stop: `attempts` is ours.
    Where tau and delta are open they are swept, with them `sticky` and `attempts`: with `sticky`
    off or fewer attempts ("Chimera-tuned") it is stronger than its source.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"tau": tau, "delta": delta, "sticky": sticky, "attempts": attempts}
        # without slack no margin matters, so 0 comes once
        for delta, taus in ((0.05, (0.0, 8.0, 0.5, 2.0)), (0.2, (8.0, 0.5, 2.0)), (0.05, (4.0,)))
        for sticky, attempts in (
            *((False, 4), (True, 1), (False, 2)),
            *((True, 4), (True, 2), (False, 1)),
        )
        for tau in taus
    )

    def __init__(
        self,
        *,
        tau: float = 0.5,
        delta: float = 0.05,
        sticky: bool = True,
        promote_after: int = 200,
        attempts: int = ATTEMPTS,
    ) -> None:
        if tau < 0 or delta < 0 or promote_after < 1:
            raise ValueError("tau and delta must be >= 0, promote_after >= 1")
        self._tau = tau
        self._delta = delta
        self._sticky = sticky
        self._promote_after = promote_after
        self._attempts = at_least_one(attempts)
        self._loads: OfView[tuple[Seconds, float]] = OfView()

    def order(self, view: View, call: Call) -> float:
        """Predicted output tokens left of the run; before all if it was overtaken too often."""
        if view.overtaken(call) >= self._promote_after:
            return PROMOTED
        return _rest_output(call.rest_tokens, call.prompt_tokens)

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the run's first model, or of the model chosen now."""
        models = by_model(view.candidates(call))
        if len(models) < 2:
            return next(iter(models.values()), [])
        if self._sticky and (first := models.get(view.first_model(call))):
            return first
        return models[self._choose(view, call, models)]

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The least congested."""
        return min(endpoints, key=lambda one: self._congestion_s(view, call, one))

    def worth_retrying(self, view: View, run: Run, node_name: str) -> bool:
        """Whether fewer answers than `attempts` were given; advice, the graph may ask on."""
        return may_ask_again(run, node_name, self._attempts)

    def _choose(self, view: View, call: Call, models: dict[str, list[Endpoint]]) -> str:
        latency = {
            model: min(self._congestion_s(view, call, one) for one in endpoints)
            for model, endpoints in models.items()
        }
        fastest = min(models, key=lambda model: latency[model])
        within = [
            model for model in models if latency[model] <= (1.0 + self._tau) * latency[fastest]
        ]
        chance = {model: view.chance(call, model, ()) for model in within}
        best = max(within, key=lambda model: (chance[model], -latency[model]))
        return best if chance[best] - chance[fastest] >= self._delta else fastest

    def _congestion_s(self, view: View, call: Call, endpoint: Endpoint) -> Seconds:
        """L_m of one endpoint: added on release, taken off at the end, no progress between."""
        loads = self._loads.of(view)
        known = loads.get(endpoint.id)
        if known is None:
            in_flight = sum(
                _rest_output(load.rest_tokens, load.prompt_tokens)
                for load in endpoint.inflight.loads.values()
            )
            batch = endpoint.room or seated(endpoint, 1)
            step_s = endpoint.profile.step_time_s(sequences=batch, context_tokens=0)
            known = loads[endpoint.id] = (step_s * endpoint.speed, in_flight / batch)
        tpot_s, before = known
        return tpot_s * (before + _rest_output(call.rest_tokens, call.prompt_tokens))


def _rest_output(rest_tokens: float, prompt_tokens: int) -> float:
    """Output tokens in a horizon that counts the prompt and weighted output."""
    return max(rest_tokens - prompt_tokens, 0.0) / TOKENS_OF_WORK_PER_OUTPUT

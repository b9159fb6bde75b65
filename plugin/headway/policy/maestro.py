"""Maestro: shortest remaining workflow first by class, placed by fitness."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.view import View
from headway.policy.placing import earliest_finish

CLASS_STEP_S = 4e5
"""More than any run is predicted to take, and small enough for both classes to be urgencies."""


class Maestro:
    """Maestro (arXiv 2606.12950, sections 3 and 4).

    What. Order: interactive before batch, then ``T_rem = T_current + T_future`` with T_future the
    median over history given the state (boundary-preemptive SRTF: a running call is never cut,
    which is so here by nature). Placement::

        fitness = -(T_ready + T_queue + T_prefill + T_decode + RTT)   if KV <= free KV

    Why choose it: short runs finish early, and calls keep off endpoints that sleep or have no
    memory. Inputs: rest of runs in seconds, lengths, loads, service classes. Parameters: `batch`,
    the name of the service class that yields; runs of any other class, or none, are interactive.
    Trade-offs: no notion of quality, so of several models the one that is done first answers;
    long runs wait as long as short ones come.

    Deviations. The weights of the fitness were not reached, all terms count alike in seconds; if
    no endpoint has the KV free, the fittest is taken. KV is the prompt and the P90 of the output.
    Residency of weights and elastic KV are the engines' affair. Prefill counts what the run's last
    endpoint has cached (in its favour). Nothing is open: one set of parameters.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def __init__(self, *, batch: str = "batch") -> None:
        self._batch = batch

    def order(self, view: View, call: Call) -> float:
        """Seconds left of the run if it were alone, those of batch runs after all others."""
        rest_s = min(max(call.rest_s, 0.0), CLASS_STEP_S - 1.0)
        return rest_s + (CLASS_STEP_S if view.service_class(call) == self._batch else 0.0)

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """Any that may serve it."""
        return view.candidates(call)

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fittest of those with enough free KV."""
        fitting = [one for one in endpoints if _kv_fits(view, call, one)]
        # waking, prefill, decode and the way there are part of when it is done
        return earliest_finish(view, call, fitting or endpoints)


def _kv_fits(view: View, call: Call, endpoint: Endpoint) -> bool:
    if endpoint.kv_tokens is None:
        return True
    need = call.prompt_tokens + view.output(call, endpoint.spec.model).p90
    return endpoint.kv_reserved() + need <= endpoint.kv_tokens

"""Which models are small and which are large, as the profiles say: by time of a decode step."""

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.types import Seconds
from headway.core.view import View


def models_by_size(view: View, call: Call) -> tuple[str, ...]:
    """The models that may answer the call, smallest first; ties in the user's order.

    Size is the declared step of a model's fastest endpoint, up or not, so that neither load nor an
    outage makes a small model a large one.
    """
    steps: dict[str, Seconds] = {}
    for endpoint_id in call.candidates:
        one = view.endpoints.get(endpoint_id)
        if one is None:  # it left the pool since
            continue
        model, step_s = one.spec.model, one.profile.step_s
        if step_s < steps.get(model, float("inf")):
            steps[model] = step_s
    return tuple(sorted(steps, key=lambda model: steps[model]))


def by_model(endpoints: list[Endpoint]) -> dict[str, list[Endpoint]]:
    """The endpoints of each model, all in the user's order."""
    found: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        found.setdefault(one.spec.model, []).append(one)
    return found

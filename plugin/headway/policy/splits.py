"""Fixed choices of model: always the smallest, always the largest, or a share of the runs each."""

from typing import ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.view import View
from headway.policy.placing import ATTEMPTS, Plain, Sweep, at_least_one, may_ask_again
from headway.policy.sizes import by_model, models_by_size


def by_size(view: View, call: Call) -> list[str]:
    """The models that may answer the call, the smallest first, whether they are up or not.

    Size is the declared quality if all of them have one, else the time of a decode step.
    """
    models = models_by_size(view, call)
    quality = view.pool.quality
    if all(model in quality for model in models):
        return sorted(models, key=lambda model: quality[model])
    return list(models)


def _first_up(view: View, call: Call, models: list[str]) -> list[Endpoint]:
    """The endpoints of the first of `models` that is up."""
    up = by_model(view.candidates(call))
    return next((up[model] for model in models if model in up), [])


class _Fixed(Plain):
    """A choice that no failure changes: after `attempts` answers another is not worth it."""

    def __init__(self, *, attempts: int = ATTEMPTS) -> None:
        self._attempts = at_least_one(attempts)

    def worth_retrying(self, view: View, run: Run, node_name: str) -> bool:
        """Whether fewer answers than `attempts` were given; advice, the graph may ask on."""
        return may_ask_again(run, node_name, self._attempts)


class SmallOnly(_Fixed):
    """Always the smallest model that may answer.

    What: order of arrival, one model, where it is done first. Why choose it: the cheapest and
    fastest that the pool can be. Inputs: sizes of models; lengths for the place. Parameters:
    `attempts`, answers at a node after which it advises the graph to stop. Trade-offs: quality of
    the small model; the large ones idle. Source: the reference "always small" that Chimera's
    evaluation (arXiv 2603.22206) lacks: argmin size.
    """

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the smallest model."""
        return _first_up(view, call, by_size(view, call))


class LargeOnly(_Fixed):
    """Always the largest model that may answer.

    What: as `SmallOnly`, with the largest. Why choose it: the best quality without thought; what
    a router must beat at equal success. Inputs: sizes of models; lengths for the place.
    Parameters: `attempts`, as of `SmallOnly` (swept). Trade-offs: queues while the small ones idle.
    Source: the reference "always large": argmax size.
    """

    SWEEP: ClassVar[Sweep] = tuple({"attempts": attempts} for attempts in (1, 4, 2))

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the largest model."""
        return _first_up(view, call, by_size(view, call)[::-1])


class StaticSplit(_Fixed):
    """A fixed share of the runs with the largest model, the others with the smallest.

    What: runs are dealt by hash and keep their model. Why choose it: the best that a split
    without a look at prompt or load can do. Inputs: sizes of models; lengths for the place.
    Parameters: `share` of the runs for the largest model, `attempts` as of `SmallOnly`. Trade-offs:
    tuned for one load, wrong for others. Source: the reference "best static split"; both are swept
    and the best told.
    """

    SWEEP: ClassVar[Sweep] = tuple(
        {"share": share, "attempts": attempts}
        for shares in ((0.1, 0.9, 0.25, 0.75), (0.5,))
        for attempts in (4, 1, 2)
        for share in shares
    )

    def __init__(self, *, share: float = 0.5, attempts: int = ATTEMPTS) -> None:
        super().__init__(attempts=attempts)
        if not 0.0 <= share <= 1.0:
            raise ValueError("share must be from 0 to 1")
        self._share = share

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints of the run's model."""
        models = by_size(view, call)
        large = view.draw("static", view.runs[call.run].root.id) < self._share
        return _first_up(view, call, models[::-1] if large else models)

"""What baselines have in common: where a call goes if their source does not say."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.graph import Run
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.binding import finish_s

Sweep = tuple[dict[str, Any], ...]
"""Sets of parameters that the laboratory tries, to report the best: what a source leaves open."""

ATTEMPTS = 4
"""Answers that a rule without a stop of its own lets a graph ask for at a node."""


class Plain:
    """A rule that leaves everything open: in order of arrival, anywhere, where it is done first.

    With its order, bound at once, urgency is always 0: engines' queues go by arrival by themselves.
    """

    SWEEP: ClassVar[Sweep] = ({},)

    def order(self, view: View, call: Call) -> float:
        """The same for all: ties go by arrival."""
        return 0.0

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """Every candidate."""
        return view.candidates(call)

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """Where it would be done first."""
        return earliest_finish(view, call, endpoints)


def at_least_one(attempts: int) -> int:
    """`attempts`. Raises `ValueError` if that is not even the first answer."""
    if attempts < 1:
        raise ValueError("attempts must be >= 1")
    return attempts


def may_ask_again(run: Run, node_name: str, attempts: int) -> bool:
    """Whether fewer than `attempts` visits of `node_name` were answered in the run.

    For rules that choose a model and whose sources say nothing of when to stop: asking the same
    model again burdens them most, so the number is theirs to tune. Advice: the graph decides.
    Visits, not calls, as one attempt may take several calls.
    """
    closed = (one.ask for one in run.calls if one.closed_at is not None)
    return len({ask.node for ask in closed if ask.node_name == node_name}) < attempts


def earliest_finish(view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
    """The one of `endpoints` that would be done first, cached prefix and engine queues counted.

    Baselines without affinity lose by up to four times on long prefixes (our own study), so
    each whose source does not say where calls go gets this. Ties go by the user's order.
    """

    def done_s(one: Endpoint) -> tuple[Seconds, int]:
        return finish_s(view, call, one), call.candidates.index(one.id)

    return min(endpoints, key=done_s)


def fewest_open(endpoints: list[Endpoint]) -> Endpoint:
    """The one of `endpoints` with the fewest open calls. Ties go by their order, the user's."""
    return min(endpoints, key=_open)


def least_full(endpoints: list[Endpoint]) -> Endpoint:
    """The one with the fewest open calls for each of its seats; ties by fewer calls, then order."""
    return min(endpoints, key=_filled)


def _open(endpoint: Endpoint) -> int:
    return endpoint.sequences


def _filled(endpoint: Endpoint) -> tuple[float, int]:
    open_calls, room = endpoint.sequences, endpoint.room
    return (open_calls / room if room else 0.0, open_calls)

"""The time of a decode step as believed at the present load, and what need not be asked twice."""

from typing import Generic, TypeVar

from headway.core.endpoints import Endpoint
from headway.core.types import Seconds
from headway.core.view import View

Kept = TypeVar("Kept")


class OfView(Generic[Kept]):
    """What was computed from one view until something is released: calls that wait share it.

    No state of a rule: forgetting it changes nothing but the time an answer takes.
    """

    __slots__ = ("_found", "_releases", "_view")

    def __init__(self) -> None:
        self._view: View | None = None
        self._releases = -1
        self._found: dict[object, Kept] = {}

    def of(self, view: View) -> dict[object, Kept]:
        """What is known of `view`, to be filled by who asks."""
        # one view serves all releases of an event, and each adds to the loads
        if self._view is not view or self._releases != view.books.releases:
            self._view, self._releases, self._found = view, view.books.releases, {}
        return self._found


def seated(endpoint: Endpoint, more: int = 0) -> int:
    """Sequences that decode together if `more` come: no more than the seats, at least one."""
    together = endpoint.sequences + more
    if endpoint.room is not None:
        together = min(together, endpoint.room)
    return max(together, 1)


def step_s(view: View, endpoint: Endpoint, prompt_tokens: float = 0.0) -> Seconds:
    """Seconds of a step with one more sequence of `prompt_tokens` of context."""
    context = endpoint.context_tokens(view.at) + prompt_tokens
    return endpoint.profile.step_time_s(seated(endpoint, 1), context) * endpoint.speed

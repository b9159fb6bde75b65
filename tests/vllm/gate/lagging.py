"""LiteLLM's least-busy as it really counts: an answer leaves its count when it is logged.

Its Router counts a call down in a callback that a worker runs after the answer has gone back.
Until then the deployment looks busier than it is, and some picks are not the least busy.
"""

from collections import Counter, deque

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.facts import CallEnded, Event
from headway.core.types import EndpointId, Seconds
from headway.core.view import View
from headway.policy.binding import BoundAtOnce
from headway.policy.gateways import LeastBusy


class HeardLate(LeastBusy):
    """Least-busy that hears of each end `late_s` after it."""

    def __init__(self, *, late_s: Seconds) -> None:
        self._late_s = late_s
        self._ended: deque[tuple[Seconds, EndpointId]] = deque()

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fewest calls that are open or not known to have ended; ties by the user's order."""
        while self._ended and self._ended[0][0] <= view.at - self._late_s:
            self._ended.popleft()
        unheard = Counter(endpoint for _, endpoint in self._ended)
        return min(endpoints, key=lambda one: one.sequences + unheard[one.id])

    def heed(self, event: Event, view: View) -> None:
        """An end, to be heard later."""
        fact = event.fact
        if not isinstance(fact, CallEnded) or (run := view.runs.get(fact.run)) is None:
            return
        key = (fact.call, fact.attempt)
        call = next((one for one in reversed(run.calls) if one.key == key), None)
        if call is not None and call.endpoint is not None:
            self._ended.append((event.at, call.endpoint))

    def snapshot(self) -> dict[str, object]:
        """Nothing that outlives a play."""
        return {}

    def restore(self, snapshot: dict[str, object]) -> None:
        """Nothing to take back."""


def least_busy(late_s: Seconds) -> BoundAtOnce:
    """The policy."""
    return BoundAtOnce("least-busy", HeardLate(late_s=late_s))

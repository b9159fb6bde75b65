"""FCFS: the call that has waited longest goes first, to whichever endpoint has most room.

What: late release in order of arrival (of the call, counted from its first
attempt), blind to models, lengths and runs. Why choose it: the reference for
fairness, and the floor that any order must beat. Inputs: none. Parameters: none.
Trade-offs: short calls wait behind long ones; small and large models are used alike.
"""

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.protocols import Release
from headway.core.view import View


class Fcfs:
    """First come, first served."""

    name = "fcfs"
    binds_early = False

    def choose(self, view: View) -> Release | None:
        """The oldest call that some endpoint has room for."""
        if not view.any_room(one for one in view.endpoints.values() if one.up(view.at)):
            return None
        ordered = sorted(view.waiting, key=lambda call: (call.ready_at - call.ask.age_s, call.key))
        for call in ordered:
            with_room = [one for one in view.candidates(call) if view.has_room(call, one)]
            if with_room:
                best = min(with_room, key=lambda one: _filled(one, call))
                return Release(
                    call=call,
                    endpoint=best.id,
                    urgency=0.0,
                    why=f"oldest call; {best.id} is least full ({best.sequences} open calls)",
                )
        return None


def _filled(endpoint: Endpoint, call: Call) -> tuple[float, int, int]:
    """How full an endpoint is; ties by fewer calls, then by the user's order."""
    share = endpoint.sequences / endpoint.room if endpoint.room else 0.0
    return (share, endpoint.sequences, call.candidates.index(endpoint.id))

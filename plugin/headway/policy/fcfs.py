"""First come, first served: by the call or by the run, bound at once or released late."""

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.view import View
from headway.policy.placing import Plain, least_full


class Fcfs(Plain):
    """Order of arrival of the calls, to the endpoint that is least full.

    What: a gateway that counts open calls in front of vLLM's own queue. Why choose it: what
    stands in most places today. Inputs: open calls, seats. Parameters: none. Trade-offs: short
    calls wait behind long ones, early ones of a run like late ones; models are used alike.
    Source: vLLM's default scheduling policy ``fcfs``; the gateway takes argmin open / seats.
    """

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fewest open calls for each seat."""
        return least_full(endpoints)


class WorkflowFcfs(Plain):
    """Order of arrival of the runs, with prefix affinity.

    What: calls of the run that came first go first, to the endpoint that served the run last and
    has its prefix; a run's first call, or while that is down, goes where fewest calls are open for
    each seat. Why choose it: needs no prediction, short tails of completion; the policy by which
    loads are fixed. Inputs: start of the run, its last endpoint, open calls, seats. Parameters:
    none. Trade-offs: short runs wait behind long ones, so slowdown is poor; a run never leaves a
    crowded endpoint. Source: HexAGenT's baseline Workflow-FCFS (arXiv 2605.16637) and Parrot's
    application order (arXiv 2405.19888): order = arrival of the run, a_w. The place is session
    affinity, as routers have it: being done first left homes too early on long prefixes.
    """

    def order(self, view: View, call: Call) -> float:
        """When the whole run began, since the scheduler did."""
        return view.runs[call.run].root.started_at - view.began

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The run's last endpoint, else the fewest open calls for each seat."""
        home = view.runs[call.run].last_endpoint
        return next((one for one in endpoints if one.id == home), None) or least_full(endpoints)

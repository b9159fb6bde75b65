"""SRPT: the run with least left goes first; with true predictions a clairvoyant bound."""

from typing import Any, ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.view import View
from headway.policy.placing import earliest_finish


class Srpt:
    """Shortest remaining processing time over whole runs.

    What: order by what is left of the run in seconds if it were alone, least first; each call goes
    where it is done first. Why choose it: with a predictor that knows the truth it is the bound on
    mean completion that the laboratory calls ``clairvoyant-srpt`` (Schrage 1968: optimal for one
    server); with a learned one it is shortest-first by horizon. Inputs: rest of runs, lengths,
    loads. Parameters: none. Trade-offs: long runs wait; blind to quality and deadlines.
    """

    SWEEP: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def order(self, view: View, call: Call) -> float:
        """Seconds left of the run."""
        return call.rest_s

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """Any that may serve it."""
        return view.candidates(call)

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """Where it is done first."""
        return earliest_finish(view, call, endpoints)

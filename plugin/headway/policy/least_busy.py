"""Least-busy: every call is bound at once to the endpoint with the fewest open calls.

What: what LiteLLM's ``least-busy`` strategy does (early binding, requests
counted, not tokens; the queue is the engine's). Why choose it: the usual
default of gateways, so the baseline that users come from. Inputs: open calls
per endpoint. Parameters: none. Trade-offs: blind to size of models and calls.
"""

from headway.core.protocols import Release
from headway.core.view import View


class LeastBusy:
    """Fewest open calls, bound on arrival."""

    name = "least-busy"
    binds_early = True

    def choose(self, view: View) -> Release | None:
        """The next call in order of arrival, wherever fewest calls are open."""
        for call in sorted(view.waiting, key=lambda one: (one.ready_at, one.key)):
            endpoints = view.candidates(call)
            if endpoints:
                best = min(
                    endpoints, key=lambda one: (one.sequences, call.candidates.index(one.id))
                )
                return Release(
                    call=call,
                    endpoint=best.id,
                    urgency=0.0,
                    why=f"fewest open calls ({best.sequences})",
                )
        return None

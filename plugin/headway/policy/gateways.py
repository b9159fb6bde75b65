"""LiteLLM's routing strategies: which deployment a call goes to, bound at once, engine FCFS."""

from statistics import fmean
from typing import ClassVar

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import Plain, Sweep, fewest_open
from headway.policy.shuffles import drawn


class LeastBusy(Plain):
    """To the endpoint with the fewest open calls.

    What: LiteLLM's ``least-busy`` (requests counted, not tokens; the queue is the engine's).
    Why choose it: the usual default of gateways, so the baseline that users come from.
    Inputs: open calls per endpoint. Parameters: none. Trade-offs: blind to size of models,
    calls and seats. Source: LiteLLM ``router_strategy/least_busy.py``: argmin open.
    """

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """The fewest open calls."""
        return fewest_open(endpoints)


class SimpleShuffle(Plain):
    """At random, weighted by the declared requests a minute, else tokens a minute.

    What: LiteLLM's default, ``simple-shuffle``. Why choose it: needs no state, so any number of
    gateways can do it side by side. Inputs: `rpm`, `tpm` of endpoints. Parameters: none.
    Trade-offs: blind to load; where weights are declared, an endpoint without one gets nothing.
    Source: LiteLLM ``router_strategy/simple_shuffle.py``: P(e) = rpm(e) / sum of rpm.
    """

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The one drawn for the call."""
        endpoints = view.candidates(call)
        if not endpoints:
            return []
        for weights in (
            [float(one.spec.rpm or 0) for one in endpoints],
            [float(one.spec.tpm or 0) for one in endpoints],
        ):
            if max(weights) > 0:
                break
        else:
            weights = [1.0] * len(endpoints)
        return [endpoints[drawn(view.draw("simple-shuffle", *call.key), weights)]]


class LatencyBased(Plain):
    """To the endpoint that answered fastest of late, in seconds per output token.

    What: LiteLLM's ``latency-based-routing``: the mean of the last ten latencies per output
    token, 0 for an endpoint that was not used yet; one at random of those within the buffer of
    the lowest. Why choose it: finds slow endpoints without being told. Inputs: latencies.
    Parameters: `lowest_latency_buffer`, a share of the lowest latency. Trade-offs: a small
    model that decodes fast attracts everything until its queue shows in latencies, which is
    late, so load swings. Released late it is only order of arrival: latencies choose no model.
    Source: LiteLLM ``router_strategy/lowest_latency.py``: {e: mean(e) <= (1 + buffer) * min mean};
    default buffer 0, others swept.
    """

    SWEEP: ClassVar[Sweep] = (
        {},
        {"lowest_latency_buffer": 1.0},
        {"lowest_latency_buffer": 0.25},
        {"lowest_latency_buffer": 0.5},
    )

    def __init__(self, *, lowest_latency_buffer: float = 0.0) -> None:
        if lowest_latency_buffer < 0:
            raise ValueError("lowest_latency_buffer must be >= 0")
        self._reach = 1.0 + lowest_latency_buffer

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """At random among those that are about as fast as the fastest."""
        latencies = [_latency_s(one) for one in endpoints]
        most = min(latencies) * self._reach
        fast = [one for one, latency in zip(endpoints, latencies, strict=True) if latency <= most]
        return fast[drawn(view.draw("latency-based", *call.key), [1.0] * len(fast))]


def _latency_s(endpoint: Endpoint) -> Seconds:
    return fmean(endpoint.latencies) if endpoint.latencies else 0.0

"""The pool as a planner books it: when seats, KV and prefill servers come free, virtually.

A copy of what is believed at one moment; booking changes the copy and nothing else.
"""

import math
from bisect import insort
from dataclasses import dataclass

from headway.core.calls import Call
from headway.core.endpoints import Endpoint
from headway.core.types import EndpointId, Seconds
from headway.core.view import View
from headway.policy.steps import step_s


@dataclass(slots=True, kw_only=True)
class Option:
    """One call on one endpoint: the KV it needs and the seconds of its parts."""

    endpoint: Endpoint
    server: str
    prefill_server: str
    kv_need: float
    ready_s: Seconds
    prefill_s: Seconds
    transfer_s: Seconds
    decode_s: Seconds

    def meets(self, other: "Option") -> bool:
        """Whether booking one may delay the other."""
        return self.server == other.server or (
            self.prefill_server != "" and self.prefill_server == other.prefill_server
        )


class _Server:
    """The seats and KV of one server: `ends` are (seconds from now, KV that comes free)."""

    __slots__ = ("capacity", "ends", "held", "room")

    def __init__(self, view: View, endpoint: Endpoint) -> None:
        room = endpoint.room
        self.room: float = math.inf if room is None else max(room - endpoint.foreign, 1)
        self.capacity: float = math.inf if endpoint.kv_tokens is None else endpoint.kv_tokens
        self.ends: list[tuple[Seconds, float]] = []
        self.held = 0.0
        one_step_s = step_s(view, endpoint)
        for load in endpoint.inflight.loads.values():
            done = (view.at - load.released_at) / one_step_s
            self.add(load.left(done) * one_step_s, load.kv_tokens)

    def add(self, end_s: Seconds, kv_need: float) -> None:
        insort(self.ends, (end_s, kv_need))
        self.held += kv_need

    def start_s(self, kv_need: float) -> Seconds:
        """When there is a seat, and KV for the call; an empty server takes any."""
        count, held, start_s = len(self.ends), self.held, 0.0
        if self.capacity == math.inf:  # only a seat is wanting: no need to look at every end
            return self.ends[count - int(self.room)][0] if count >= self.room else 0.0
        for end_s, freed in self.ends:
            if count < self.room and held + kv_need <= self.capacity:
                break
            count, held, start_s = count - 1, held - freed, end_s
        return start_s


class Cluster:
    """All servers of the pool, and the lines before its prefill servers."""

    def __init__(self, view: View) -> None:
        self._servers: dict[str, _Server] = {}
        self._line_s: dict[str, Seconds] = {}
        self._steps: dict[EndpointId, Seconds] = {}

    def options(self, view: View, call: Call, endpoints: list[Endpoint]) -> list[Option]:
        """The call on each endpoint whose KV can ever hold it; on each, if none can."""
        found = [self._option(view, call, one) for one in endpoints]
        fit = [one for one in found if one.kv_need <= self._servers[one.server].capacity]
        return fit or found

    def _option(self, view: View, call: Call, endpoint: Endpoint) -> Option:
        spec, profile = endpoint.spec, endpoint.profile
        server, output = spec.server or endpoint.id, view.output(call, spec.model)
        if server not in self._servers:
            self._servers[server] = _Server(view, endpoint)
        if endpoint.id not in self._steps:
            self._steps[endpoint.id] = step_s(view, endpoint)
        pair = endpoint.prefills is not None
        if endpoint.prefills is not None and spec.prefill_server not in self._line_s:
            self._line_s[spec.prefill_server] = max(endpoint.prefills.free_at - view.at, 0.0)
        uncached = view.uncached_tokens(call, endpoint)
        own_s = call.prompt_tokens * profile.context_s * endpoint.speed
        return Option(
            endpoint=endpoint,
            server=server,
            prefill_server=spec.prefill_server if pair else "",
            kv_need=call.prompt_tokens + output.p90,
            ready_s=endpoint.wake_left_s(view.at) + spec.rtt_s,
            prefill_s=uncached * profile.prefill_s * endpoint.speed,
            transfer_s=uncached * profile.transfer_s * endpoint.speed if pair else 0.0,
            decode_s=output.p50 * (self._steps[endpoint.id] + own_s),
        )

    def finish_s(self, option: Option) -> Seconds:
        """Seconds until the call would be done, after all that is booked."""
        seat_s = self._servers[option.server].start_s(option.kv_need) + option.ready_s
        if option.prefill_server:
            prompt_s = self._line_s[option.prefill_server] + option.prefill_s + option.transfer_s
            return max(prompt_s, seat_s) + option.decode_s
        return seat_s + option.prefill_s + option.decode_s

    def book(self, option: Option) -> None:
        """Take the seat, the KV and the place in the line of prompts."""
        end_s = self.finish_s(option)
        if option.prefill_server:
            self._line_s[option.prefill_server] += option.prefill_s
        self._servers[option.server].add(end_s, option.kv_need)

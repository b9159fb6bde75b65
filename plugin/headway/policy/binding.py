"""From a rule to a policy: bound at once, as gateways do, or released late, as Headway does.

A `Rule` is what a baseline's source describes: in which order calls are served, which
endpoints a call may go to, and which of them it is given. `BoundAtOnce` binds a call
to an endpoint when it is ready and tells the engine its urgency, which stays as it was.
`ReleasedLate` keeps the same order in the daemon's own queue (identifier with ``+release``).
"""

from collections.abc import Callable
from typing import Protocol

from headway.core.calls import Call
from headway.core.commands import Score
from headway.core.endpoints import Endpoint
from headway.core.protocols import Release
from headway.core.types import Seconds
from headway.core.view import View

MAX_URGENCY = 1e6
AFFINITY = 4.0
"""A call waits for the endpoint that holds its prefix while that takes less than so many times
what computing the prefix anew would take (our own study: late release without it is a loss)."""


class Rule(Protocol):
    """A baseline as its source has it. Rules keep no state but what `heed` gives them.

    A rule may also have the methods of `Heeding` and `Advising`, and
    ``output_limit(view, call, endpoint) -> int | None``: the most tokens of the answer there.
    """

    def order(self, view: View, call: Call) -> float:
        """Smaller is served first. Ties go by time of arrival, then by id."""
        ...

    def allowed(self, view: View, call: Call) -> list[Endpoint]:
        """The endpoints that the call may be given, out of `view.candidates(call)`."""
        ...

    def place(self, view: View, call: Call, endpoints: list[Endpoint]) -> Endpoint:
        """One of `endpoints` (not empty, allowed)."""
        ...


def ranked(view: View, rule: Rule) -> list[tuple[float, Seconds, Call]]:
    """The waiting calls in the rule's order, with what the rule said and when they were ready."""
    calls = [
        (rule.order(view, call), call.ready_at - call.ask.age_s, call) for call in view.waiting
    ]
    return sorted(calls, key=lambda one: (one[0], one[1], one[2].key))


def finish_s(view: View, call: Call, endpoint: Endpoint, ahead: float = 0.0) -> Seconds:
    """Seconds until the call would be done there, with `ahead` others before it, cache counted."""
    output = view.output(call, endpoint.spec.model).p50
    uncached = view.uncached_tokens(call, endpoint)
    service_s = endpoint.service_s(view.at, uncached, output)
    return view.wait_s(call, endpoint, ahead) + service_s


class BoundAtOnce:
    """Each call is bound when it is ready; its urgency is the order at that moment."""

    binds_early = True

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.rule = rule
        _take_over(self, rule)

    def choose(self, view: View) -> Release | None:
        """The first waiting call that may go anywhere at all."""
        for order, _, call in ranked(view, self.rule):
            if endpoints := self.rule.allowed(view, call):
                endpoint = self.rule.place(view, call, endpoints)
                why = f"{self.name}: bound at once"
                return _release(view, self.rule, call, endpoint, order, why)
        return None


class ReleasedLate:
    """The rule's order and models, with our late release and prefix affinity.

    A call goes where its run's prefix is if there is room, waits for that endpoint while it is
    worth it, and else goes where it is done first among those with room.
    """

    binds_early = False

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.rule = rule
        _take_over(self, rule)

    def choose(self, view: View) -> Release | None:
        """The first call in the rule's order that has room somewhere and need not wait."""
        # asked once for all calls: most of a long queue waits for an endpoint without a seat
        seats = {one.id for one in view.endpoints.values() if one.has_room(0.0) and one.up(view.at)}
        if not seats:
            return None
        ahead: dict[str, float] = {}
        for order, _, call in ranked(view, self.rule):
            endpoints = self.rule.allowed(view, call)
            home = view.runs[call.run].last_endpoint
            at_home = next((one for one in endpoints if one.id == home), None)
            if at_home is not None and self._waits_for(view, call, at_home, ahead):
                ahead[home] = ahead.get(home, 0.0) + 1.0
                continue
            free = [one for one in endpoints if one.id in seats and view.has_room(call, one)]
            if free:
                best = min(
                    free, key=lambda one: (finish_s(view, call, one), call.candidates.index(one.id))
                )
                why = f"{self.name}: first in order, has room"
                return _release(view, self.rule, call, best, order, why)
        return None

    @staticmethod
    def _waits_for(view: View, call: Call, home: Endpoint, ahead: dict[str, float]) -> bool:
        """Whether waiting for the full endpoint that holds the prefix beats computing it anew."""
        if view.has_room(call, home):
            return False
        held = call.prompt_tokens - view.uncached_tokens(call, home)
        again_s = held * home.profile.prefill_s * home.speed
        return view.wait_s(call, home, ahead.get(home.id, 0.0)) < AFFINITY * again_s


def _take_over(policy: object, rule: Rule) -> None:
    """Let a rule that learns, advises or limits do so through its policy."""
    for method in ("heed", "snapshot", "restore", "worth_retrying"):
        found: Callable[..., object] | None = getattr(rule, method, None)
        if found is not None:
            setattr(policy, method, found)


def _release(
    view: View, rule: Rule, call: Call, endpoint: Endpoint, order: float, why: str
) -> Release:
    limit: Callable[[View, Call, Endpoint], int | None] | None
    limit = getattr(rule, "output_limit", None)
    urgency = min(max(0.0 - order, -MAX_URGENCY), MAX_URGENCY)  # 0.0, not -0.0, for no order
    return Release(
        call=call,
        endpoint=endpoint.id,
        urgency=urgency,
        why=why,
        scores=(Score(endpoint=endpoint.id, cost_s=order),),
        output_limit=None if limit is None else limit(view, call, endpoint),
    )

"""A call on its way through LiteLLM, and how code further in finds the one that it belongs to."""

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from headway.calling.calls import HOLD_LIMIT_S, ON_LOOP_HOLD_LIMIT_S, Call, decided
from headway.client import Route
from headway_litellm.request import Kwargs, Target


@dataclass(slots=True, eq=False, kw_only=True)
class Flight:
    """One logical call on its way through LiteLLM.

    `kwargs` is what the caller gave (a group: to the Router), `target` where a call without
    a Router would go, `route` the decision for the attempt that comes next.
    """

    call: Call
    kwargs: Kwargs
    group: bool = False
    router: Any = None
    target: Target | None = None
    route: Route | None = None
    passes: bool = False
    is_async: bool = True
    hold_limit_s: float = HOLD_LIMIT_S

    @property
    def node_is_over(self) -> bool:
        """Whether the node has ended: what is still read of its stream is nobody's call."""
        scope = self.call.scope
        return scope.is_live is not None and not scope.is_live(scope)

    def is_entered_again(self, router: Any, kwargs: Kwargs) -> bool:
        """Whether `router`, which makes this call, calls itself for it (as with a `priority`).

        Guards and mirrors ask about the same messages, but another group or from within an attempt.
        """
        if self.router is not router or decided.get() is self.call:
            return False
        return self.kwargs.get("model") == kwargs.get("model") and self.has_messages_of(kwargs)

    def has_messages_of(self, kwargs: Kwargs) -> bool:
        """Whether `kwargs` are of a call with the same messages."""
        for name in ("messages", "prompt"):
            mine, theirs = self.kwargs.get(name), kwargs.get(name)
            if mine is not theirs and mine != theirs:
                return False
        return True


flying: ContextVar[Flight | None] = ContextVar("headway_flying", default=None)
"""The call around the current code."""


def timed(flight: Flight | None, *, is_async: bool) -> Flight | None:
    """Bound how long a synchronous call on an event loop is held: all else there stands still."""
    if flight is None or is_async:
        return flight
    flight.is_async = False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return flight
    # A synchronous Router runs its attempts on a loop of its own, where nobody else waits.
    if flying.get() is not flight:
        flight.hold_limit_s = ON_LOOP_HOLD_LIMIT_S
    return flight

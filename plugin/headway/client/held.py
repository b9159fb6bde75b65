"""A call that waits for its grant, and the two ways of waiting: a thread's and a loop's."""

import asyncio
import logging
import threading
from collections.abc import Callable
from time import monotonic

import msgspec

from headway.client.route import Route
from headway.core.facts import CallEnded, CallReady, NodeEnded, RunEnded
from headway.core.types import CallId, Seconds

log = logging.getLogger("headway")

LONGEST_S = 86_400.0
LEAST_GRACE_S = 0.25
"""A daemon that is merely busy gets this much time after the hold limit, however short that is."""


class Held:
    """One asked attempt. Fields change only under the client's lock.

    `deadline` is when the waiter stops believing: the end of the acknowledge clock at
    first, of the hold clock once `acked`, or the staggered moment once `lost`.
    """

    def __init__(self, ask: CallReady) -> None:
        self.ask = ask
        self.asked_at: Seconds = 0.0
        self.deadline: Seconds = 0.0
        self.asked = False
        self.acked = False
        self.extended = False
        self.lost = False
        self.route: Route | None = None

    @property
    def key(self) -> tuple[CallId, int]:
        """What the daemon's answers name."""
        return (self.ask.call, self.ask.attempt)

    def hold_until(self, grace_s: Seconds) -> Seconds:
        """The end of the hold clock; who can hardly wait is not made to wait by the grace."""
        limit = max(0.0, min(self.ask.hold_limit_s, LONGEST_S))
        return self.asked_at + limit + min(grace_s, max(limit, LEAST_GRACE_S))

    def extends(self, *, heard_at: Seconds, until_s: Seconds) -> bool:
        """Whether a daemon that was heard since the question, but did not acknowledge it, gets
        the longer clock instead; once.
        """
        if self.lost or self.acked or self.extended or heard_at < self.asked_at:
            return False
        self.extended = True
        self.deadline = self.asked_at + until_s
        return True

    def why_given_up(self) -> str:
        """Why the deadline that has passed ends the wait."""
        if self.lost:
            return "the connection to the daemon is lost"
        if self.acked:
            return "the daemon held the call beyond its limit"
        return "the daemon did not acknowledge the call"

    def resolve(self, route: Route) -> None:
        """End the wait, from any thread."""
        self.route = route


class ThreadHeld(Held):
    """Waits in a thread."""

    def __init__(self, ask: CallReady) -> None:
        super().__init__(ask)
        self._event = threading.Event()

    def resolve(self, route: Route) -> None:
        """End the wait, from any thread."""
        self.route = route
        self._event.set()

    def wait(self) -> None:
        """Return when resolved, or at the deadline as it was on entry."""
        self._event.wait(max(0.0, self.deadline - monotonic()))


class LoopHeld(Held):
    """Waits on whatever event loop runs now."""

    def __init__(self, ask: CallReady) -> None:
        super().__init__(ask)
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[None] | None = None

    def resolve(self, route: Route) -> None:
        """End the wait, from any thread; a loop that is closed has nobody waiting."""
        self.route = route
        if self._loop.is_closed():
            return
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            log.debug("the event loop of %s closed while the call was held", self.ask.call)

    async def wait(self, at_deadline: Callable[[], None]) -> Route:
        """Await the route; `at_deadline` runs at each deadline that passes without one."""
        self._future = self._loop.create_future()
        timer: asyncio.TimerHandle | None = None

        def tick() -> None:
            nonlocal timer
            if self.route is None:
                at_deadline()
            if self.route is None:
                timer = self._loop.call_later(max(0.0, self.deadline - monotonic()), tick)

        timer = self._loop.call_later(max(0.0, self.deadline - monotonic()), tick)
        try:
            while self.route is None:
                await self._future
        finally:
            timer.cancel()
        return self.route

    def _wake(self) -> None:
        if self._future is not None and not self._future.done():
            self._future.set_result(None)


def ends(fact: msgspec.Struct, ask: CallReady) -> bool:
    """Whether `fact` closes the asked attempt, its node or its run."""
    if isinstance(fact, NodeEnded):
        return (fact.run, fact.node) == (ask.run, ask.node)
    if isinstance(fact, CallEnded):
        return fact.call == ask.call and fact.attempt >= ask.attempt
    return isinstance(fact, RunEnded) and fact.run == ask.run

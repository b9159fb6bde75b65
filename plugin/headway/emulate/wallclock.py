"""An engine on the wall clock: submits requests, wakes when something happens, measures lateness.

One timer per engine serves all its requests. Emulated seconds = wall seconds
x speed-up; the loop that runs it is the only source of time.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TypeVar

from headway.core.types import Seconds
from headway.engine import Engine, EngineProfile, Finished, FirstToken, Gauges, Rejected

_T = TypeVar("_T")

LATENESS_WINDOW = 4096
"""Requests that the lateness percentiles look back on."""


@dataclass(slots=True, kw_only=True)
class Ticket:
    """A request in the engine. `first` is done at its first token, `end` when it is through."""

    id: str
    submitted_at: Seconds
    first: asyncio.Future[FirstToken | Rejected]
    end: asyncio.Future[Finished | Rejected]
    late_s: Seconds = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """How late answers left, over the request's own emulated duration: 0.1 is 10 %."""

    requests: int
    p50: float
    p95: float
    worst: float


class WallClockEngine:
    """Runs an `Engine` in the event loop that it is first used in."""

    def __init__(self, *, profile: EngineProfile, speedup: float) -> None:
        self.profile = profile
        self.speedup = speedup
        self._engine = Engine(profile)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._tickets: dict[str, Ticket] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due: Seconds | None = None
        self._told: Seconds = 0.0
        self._ratios: deque[float] = deque(maxlen=LATENESS_WINDOW)
        self._delivered = 0

    def now(self) -> Seconds:
        """Emulated seconds since the start."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._began = self._loop.time()
        return (self._loop.time() - self._began) * self.speedup

    def submit(
        self,
        request_id: str,
        *,
        prompt_tokens: int,
        output_tokens: int,
        priority: int,
        prefix: tuple[int, ...],
    ) -> Ticket:
        """Hand a request to the engine; a refusal is known at once (`end` is done)."""
        at = self._engine_time()
        loop = asyncio.get_running_loop()
        ticket = Ticket(
            id=request_id, submitted_at=at, first=loop.create_future(), end=loop.create_future()
        )
        self._tickets[request_id] = ticket
        self._engine.submit(
            request_id,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            priority=priority,
            prefix=prefix,
            at=at,
        )
        self._turn(at)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """The client is gone: free the seat at once. Harmless when the request is through."""
        if self._tickets.pop(ticket.id, None) is not None:
            at = self._engine_time()
            self._engine.cancel(ticket.id, at=at)
            self._turn(at)

    def produced(self, ticket: Ticket) -> int:
        """Output tokens of a request in the engine by now."""
        self._turn(self._engine_time())
        return self._engine.produced(ticket.id)

    def gauges(self) -> Gauges:
        """The engine's load now."""
        self._turn(self._engine_time())
        return self._engine.gauges()

    def note_delivery(self, ticket: Ticket, due: FirstToken | Finished) -> None:
        """What was due then has left now. The last delivery of a request must be its `Finished`."""
        ticket.late_s = max(ticket.late_s, self.now() - due.at)
        if isinstance(due, Finished):
            self._delivered += 1
            self._ratios.append(ticket.late_s / max(due.at - due.submitted_at, 1e-9))

    def late_ratios(self) -> tuple[float, ...]:
        """The lateness of each of the last requests, oldest first."""
        return tuple(self._ratios)

    def lateness(self) -> Lateness:
        """Percentiles over the last requests; zeros before the first."""
        ratios = sorted(self._ratios)
        if not ratios:
            return Lateness(requests=0, p50=0.0, p95=0.0, worst=0.0)
        last = len(ratios) - 1
        return Lateness(
            requests=self._delivered,
            p50=ratios[round(0.5 * last)],
            p95=ratios[round(0.95 * last)],
            worst=ratios[last],
        )

    def close(self) -> None:
        """Stop waking up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._timer = None
        # Timers may fire a clock tick early; what was due is then taken as having come.
        self._turn(max(self._engine_time(), self._due or 0.0))

    def _engine_time(self) -> Seconds:
        """Now, but never before a time that the engine has been told."""
        return max(self.now(), self._told)

    def _turn(self, at: Seconds) -> None:
        self._told = at
        for happened in self._engine.advance(at):
            ticket = self._tickets.get(happened.id)
            if ticket is None:
                continue
            if isinstance(happened, FirstToken):
                _resolve(ticket.first, happened)
                continue
            del self._tickets[happened.id]
            if isinstance(happened, Rejected):
                _resolve(ticket.first, happened)
            _resolve(ticket.end, happened)
        self._schedule()

    def _schedule(self) -> None:
        due = self._engine.next_at()
        if due == self._due and self._timer is not None:
            return
        self.close()
        self._due = due
        if due is not None and self._loop is not None:
            when = self._began + due / self.speedup
            self._timer = self._loop.call_at(when, self._wake)


def _resolve(future: asyncio.Future[_T], value: _T) -> None:
    if not future.done():
        future.set_result(value)

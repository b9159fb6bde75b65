"""Commands: everything the scheduler can ask of its shell.

`Scheduler.handle(event)` returns a tuple of these. The shell carries them out
in order and answers a `SetTimer` with a `TimerFired` fact.
"""

from typing import Union

import msgspec

from headway.core.types import CallId, ClientId, EndpointId, RunId, Seconds


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One candidate of a decision: `cost_s` is what the policy compared (lower is better).

    `parts` name the terms that make up the cost, in seconds unless the name says otherwise.
    """

    endpoint: EndpointId
    cost_s: float
    parts: tuple[tuple[str, float], ...] = ()


class Command(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="command", gc=False
):
    """Base of all commands."""


class Grant(Command, frozen=True, kw_only=True, tag="grant"):
    """Release a waiting call: bind it to `endpoint` with `urgency` (higher is served first).

    An empty `endpoint` says that no candidate can serve the call: the client
    uses the pool name's fallback. `why` is one line for people. `output_tokens`
    is the predicted length of the answer (median), `output_limit` the most tokens that it may
    have (None: as the request says).
    """

    client: ClientId
    call: CallId
    attempt: int
    run: RunId
    endpoint: EndpointId
    model: str
    urgency: float
    held_s: Seconds
    why: str
    scores: tuple[Score, ...] = ()
    output_tokens: float = 0.0
    output_limit: int | None = None


class SetTimer(Command, frozen=True, kw_only=True, tag="set_timer"):
    """Call back with ``TimerFired(timer)`` at `at`; the same name again replaces the older one."""

    timer: str
    at: Seconds


class Notice(Command, frozen=True, kw_only=True, tag="notice"):
    """Something an operator should read, once per `kind` and subject."""

    kind: str
    subject: str
    message: str


AnyCommand = Union[Grant, SetTimer, Notice]

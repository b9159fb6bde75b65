"""The life of one attempt of a call, as a transition table.

A call waits until it is released, runs until it is closed. Facts come late
and twice: what the table does not list for a state is either stale (the call
is closed: ignored) or a defect (`IllegalTransition`, with the call's story).
No clock here: every change is given its `at`.
"""

from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from headway.core.commands import Grant
from headway.core.errors import IllegalTransition
from headway.core.facts import CallEnded, CallReady
from headway.core.protocols import Estimate
from headway.core.types import CallId, ClientId, EndpointId, RunId, Seconds

CallKey = tuple[CallId, int]


class CallState(StrEnum):
    """Where an attempt of a call is."""

    WAITING = "waiting"
    RUNNING = "running"
    ORPHANED = "orphaned"
    CLOSED = "closed"


class CallStep(StrEnum):
    """What can happen to an attempt of a call."""

    GRANT = "grant"
    SEND = "send"
    FIRST_TOKEN = "first_token"
    END = "end"
    LOSE_CLIENT = "lose_client"
    EXPIRE = "expire"


TRANSITIONS: dict[tuple[CallState, CallStep], CallState] = {
    (CallState.WAITING, CallStep.GRANT): CallState.RUNNING,
    (CallState.WAITING, CallStep.SEND): CallState.RUNNING,
    (CallState.WAITING, CallStep.END): CallState.CLOSED,
    (CallState.WAITING, CallStep.LOSE_CLIENT): CallState.CLOSED,
    (CallState.RUNNING, CallStep.SEND): CallState.RUNNING,
    (CallState.RUNNING, CallStep.FIRST_TOKEN): CallState.RUNNING,
    (CallState.RUNNING, CallStep.END): CallState.CLOSED,
    (CallState.RUNNING, CallStep.LOSE_CLIENT): CallState.ORPHANED,
    (CallState.ORPHANED, CallStep.SEND): CallState.RUNNING,
    (CallState.ORPHANED, CallStep.FIRST_TOKEN): CallState.ORPHANED,
    (CallState.ORPHANED, CallStep.END): CallState.CLOSED,
    (CallState.ORPHANED, CallStep.EXPIRE): CallState.CLOSED,
    (CallState.ORPHANED, CallStep.LOSE_CLIENT): CallState.ORPHANED,
}


@dataclass(slots=True, kw_only=True)
class Call:
    """One attempt of one LLM request, from the question to the end.

    `prompt_tokens` and `output` are predictions until `ended` tells the truth; `rest_s` and
    `rest_tokens` are the run's horizon (stand-alone seconds, work in tokens) as foreseen when
    the call was ready. A call whose decision was not `applied` (shadow mode) ran who knows
    where, unless its client told where it `went`.
    `releases_before` counts the releases of all calls by the time it was ready.
    `key` identifies the attempt. `candidates` are the endpoints that may serve it, in the
    user's order;
    `excluded` says why each other endpoint of the pool may not; those to `avoid` failed an
    earlier attempt and are taken only if nothing else is up.
    """

    ask: CallReady
    client: ClientId
    ready_at: Seconds
    prompt_tokens: int
    rest_s: Seconds = 0.0
    rest_tokens: float = 0.0
    candidates: tuple[EndpointId, ...] = ()
    excluded: dict[str, str] = field(default_factory=dict)
    avoid: tuple[EndpointId, ...] = ()
    state: CallState = CallState.WAITING
    endpoint: EndpointId | None = None
    model: str = ""
    output: Estimate | None = None
    service_s: Seconds = 0.0
    released_at: Seconds | None = None
    first_token_at: Seconds | None = None
    closed_at: Seconds | None = None
    grant: Grant | None = None
    applied: bool = True
    went: EndpointId | None = None
    ended: CallEnded | None = None
    releases_before: int = 0
    key: CallKey = field(init=False)

    def __post_init__(self) -> None:
        self.key = (self.ask.call, self.ask.attempt)

    @property
    def run(self) -> RunId:
        """The run that the call belongs to."""
        return self.ask.run

    def step(self, step: CallStep, at: Seconds) -> None:
        """Change state by the table. Raises `IllegalTransition` for what cannot happen."""
        after = TRANSITIONS.get((self.state, step))
        if after is None:
            raise IllegalTransition(
                f"{step.value} of a call that is {self.state.value}; {self.story()}"
            )
        self.state = after
        if after is CallState.CLOSED:
            self.closed_at = at
        elif step is CallStep.FIRST_TOKEN and self.first_token_at is None:
            self.first_token_at = at

    def held_s(self, at: Seconds) -> Seconds:
        """Seconds that the call has waited, or waited, for its release."""
        until = self.released_at if self.released_at is not None else (self.closed_at or at)
        return max(until - self.ready_at, 0.0)

    def readdressed(self, client: ClientId) -> Grant:
        """The grant once more, for a client that asks again over another connection."""
        if self.grant is None:
            raise IllegalTransition(f"no grant to repeat; {self.story()}")
        return msgspec.structs.replace(self.grant, client=client)

    def story(self) -> str:
        """One line for people: this call's life so far."""
        return (
            f"call {self.ask.call}#{self.ask.attempt} of run {self.run} node {self.ask.node_name}: "
            f"ready {self.ready_at:.3f}, endpoint {self.endpoint}, released {self.released_at}, "
            f"closed {self.closed_at}, {self.state.value}"
        )

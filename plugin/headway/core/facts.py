"""Facts: everything the scheduler can be told, by clients or by its shell.

A fact is a frozen struct that says what happened, with durations instead of
instants: the shell stamps ``at`` when it arrives (`Event`). Facts may come
late, twice, in any order and over several connections, so each names all the
ids it needs. What may not live here: decisions (commands.py), behaviour.

All fields have units in their names; fields are only ever appended, with a
default, so that an older peer still understands a newer one.
"""

from typing import Union

import msgspec

from headway.core.pool import Pool
from headway.core.types import (
    CallId,
    ClientId,
    EndpointId,
    Mode,
    Need,
    NodeId,
    Outcome,
    RunId,
    Seconds,
)


class Fact(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="fact", gc=False
):
    """Base of all facts."""


class GraphSeen(Fact, frozen=True, kw_only=True, tag="graph_seen"):
    """The static topology of a graph: a prior for the runs to come, never a promise.

    `edges` are (source, target, kind) with kind one of ``edge``, ``join``,
    ``branch``, ``command``; a target ``*`` means that the graph did not say.
    """

    graph: str
    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str, str], ...]


class RunStarted(Fact, frozen=True, kw_only=True, tag="run_started"):
    """A run begins, or (with `resumed`) goes on after an interrupt of the same (graph, thread)."""

    run: RunId
    graph: str
    parent_run: RunId | None = None
    parent_node: NodeId | None = None
    thread: str = ""
    resumed: bool = False
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    budget: float | None = None
    age_s: Seconds = 0.0


class RunEnded(Fact, frozen=True, kw_only=True, tag="run_ended"):
    """A run ended; ``interrupted`` means that it waits for a person and may be resumed."""

    run: RunId
    outcome: Outcome = "ok"


class NodeStarted(Fact, frozen=True, kw_only=True, tag="node_started"):
    """A node of a run begins. `visit` counts the steps in which this name ran, from 1."""

    run: RunId
    node: NodeId
    name: str
    parents: tuple[NodeId, ...] = ()
    visit: int = 1
    step: int = 0
    age_s: Seconds = 0.0


class NodeEnded(Fact, frozen=True, kw_only=True, tag="node_ended"):
    """A node ended; every call that it still has open is closed with it."""

    run: RunId
    node: NodeId
    outcome: Outcome = "ok"


class CallReady(Fact, frozen=True, kw_only=True, tag="call_ready"):
    """A node asks for a decision. Says all that a decision needs, whatever came before.

    `prompt_chars` is the size of the messages in characters, `needs` the
    capabilities that the request uses, `models` the narrowing by run and node
    (empty: none), `loop_model` the model whose tool calls or thinking the
    messages hold (empty: none). `endpoints` are all that the client can reach (empty: the
    whole pool); it chooses among them by itself where there is no decision. The daemon
    grants before `hold_limit_s`. `features` is what the prompt says, hashed (`core.prompts`), for
    pool names that ask for it.
    """

    call: CallId
    attempt: int
    run: RunId
    graph: str
    node: NodeId
    node_name: str
    pool_name: str
    parents: tuple[NodeId, ...] = ()
    visit: int = 1
    step: int = 0
    age_s: Seconds = 0.0
    run_age_s: Seconds = 0.0
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    prompt_chars: int = 0
    max_tokens: int | None = None
    needs: tuple[Need, ...] = ()
    models: tuple[str, ...] = ()
    loop_model: str = ""
    hold_limit_s: Seconds = 300.0
    endpoints: tuple[EndpointId, ...] = ()
    features: tuple[int, ...] = ()


class CallSent(Fact, frozen=True, kw_only=True, tag="call_sent"):
    """A call is on its way to `endpoint` without a grant of this daemon.

    Told on a new connection for every call already running, and after a
    client has fallen open, so that the books stay right.
    """

    ask: CallReady
    endpoint: EndpointId
    sent_s: Seconds = 0.0


class PromptEncoded(Fact, frozen=True, kw_only=True, tag="prompt_encoded"):
    """The shell's encoder has read what a call asks: its embedding as `core.prompts` tells it.

    It comes when it is ready, most often after the decision: nothing waits for it by itself.
    """

    call: CallId
    attempt: int
    features: tuple[int, ...]


class FirstToken(Fact, frozen=True, kw_only=True, tag="first_token"):
    """The first chunk of a streamed answer arrived."""

    call: CallId
    attempt: int


class CallEnded(Fact, frozen=True, kw_only=True, tag="call_ended"):
    """One attempt of a call is closed.

    `error` is a short kind (``connect``, ``timeout``, ``429``, ``500``,
    ``parse``...). Token counts are the engine's own where it told them, else
    None. `duration_s` runs from sending to the end; `queue_s` of that the engine says that the
    call waited for a seat. `engine_waiting`: how many requests it said to hold in its queue when
    it answered.
    """

    call: CallId
    attempt: int
    run: RunId
    outcome: Outcome = "ok"
    error: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    first_token_s: Seconds | None = None
    duration_s: Seconds = 0.0
    tool_calls: int = 0
    finish_reason: str = ""
    queue_s: Seconds | None = None
    engine_waiting: int | None = None


class Feedback(Fact, frozen=True, kw_only=True, tag="feedback"):
    """Somebody who knows says whether a run (or what one node of it answered) was good."""

    run: RunId
    ok: bool
    node: NodeId | None = None


class ClientLost(Fact, frozen=True, kw_only=True, tag="client_lost"):
    """A client's connection ended: its held calls are dropped, its running ones expire."""


class EndpointSeen(Fact, frozen=True, kw_only=True, tag="endpoint_seen"):
    """What a look at an endpoint's health and metrics told; None means that it did not say.

    `restarted`: since the last look; what was cached there is gone. `heeds_urgency`: whether its
    own queue is served by priority.
    `lost_prefixes` are runs whose prefix has left its cache since the last look.
    """

    endpoint: EndpointId
    reachable: bool
    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    kv_tokens: int | None = None
    seats: int | None = None
    error: str = ""
    asleep: bool | None = None
    restarted: bool = False
    version: str = ""
    context_tokens: int | None = None
    heeds_urgency: bool | None = None
    lost_prefixes: tuple[RunId, ...] = ()


class TimerFired(Fact, frozen=True, kw_only=True, tag="timer_fired"):
    """The answer to a `SetTimer` command."""

    timer: str


class ModeSet(Fact, frozen=True, kw_only=True, tag="mode_set"):
    """An operator switched the scheduler's mode."""

    mode: Mode


class PoolSet(Fact, frozen=True, kw_only=True, tag="pool_set"):
    """An operator changed the pool."""

    pool: Pool


AnyFact = Union[
    GraphSeen,
    RunStarted,
    RunEnded,
    NodeStarted,
    NodeEnded,
    CallReady,
    CallSent,
    PromptEncoded,
    FirstToken,
    CallEnded,
    Feedback,
    ClientLost,
    EndpointSeen,
    TimerFired,
    ModeSet,
    PoolSet,
]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact as it reached the scheduler: when (`at`, monotonic) and over which connection."""

    at: Seconds
    fact: AnyFact
    client: ClientId = ClientId("")

"""Tells a scheduler facts in virtual time and picks its answers apart: events in, commands out."""

from typing import Any

from headway.core.calls import Call, CallState
from headway.core.commands import AnyCommand, Grant, Notice, SetTimer
from headway.core.endpoints import Endpoint
from headway.core.facts import (
    AnyFact,
    CallEnded,
    CallReady,
    CallSent,
    ClientLost,
    EndpointSeen,
    Event,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.scheduler import Scheduler
from headway.core.types import CallId, ClientId, EndpointId, NodeId, RunId
from headway.policy import make_scheduler

ALICE = ClientId("alice#1")
BOB = ClientId("bob#1")


def endpoint(name: str, model: str = "small", **fields: Any) -> EndpointSpec:
    """One endpoint; keyword arguments of `Profile` go there, the others to the endpoint."""
    of_profile = {key: fields.pop(key) for key in list(fields) if key in Profile.__struct_fields__}
    of_profile.setdefault("seats", 1)
    return EndpointSpec(
        id=EndpointId(name),
        url=f"http://{name}/v1",
        model=model,
        profile=Profile(**of_profile),
        **fields,
    )


def pool(*endpoints: EndpointSpec, **fields: Any) -> Pool:
    """A pool whose one pool name ``agent`` may be answered by every model in it."""
    models = tuple(dict.fromkeys(spec.model for spec in endpoints))
    grace = fields.pop("idle_grace_s", 2.0)
    switch = fields.pop("switch_in_loop", False)
    name = PoolName(name="agent", models=models, idle_grace_s=grace, switch_in_loop=switch)
    fields.setdefault("names", (name,))
    return Pool(endpoints=endpoints, **fields)


def ask(call: str = "c1", **fields: Any) -> CallReady:
    """A question of run ``r1`` and node ``n-CALL`` unless told otherwise.

    Its node's name says nothing of how much it writes.
    """
    fields.setdefault("attempt", 1)
    fields.setdefault("run", "r1")
    fields.setdefault("graph", "g")
    fields.setdefault("node", f"n-{call}")
    fields.setdefault("node_name", "step")
    fields.setdefault("pool_name", "agent")
    fields.setdefault("prompt_chars", 400)
    return CallReady(call=CallId(call), **fields)


class Teller:
    """One scheduler and its clock. Each method tells one fact and returns what was commanded."""

    def __init__(
        self, of: Pool | Scheduler, *, policy: str = "fcfs+release", **params: Any
    ) -> None:
        self.scheduler = (
            of if isinstance(of, Scheduler) else make_scheduler(of, policy=policy, params=params)
        )
        self.now = 0.0
        self.asked: dict[tuple[str, int], CallReady] = {}

    def tell(
        self, fact: AnyFact, client: ClientId = ALICE, *, at: float | None = None
    ) -> tuple[AnyCommand, ...]:
        self.now = self.now if at is None else at
        return self.scheduler.handle(Event(at=self.now, fact=fact, client=client))

    def tick(self, at: float) -> tuple[AnyCommand, ...]:
        """The scheduler's own timer fires."""
        return self.tell(TimerFired(timer="wake"), ClientId(""), at=at)

    def ready(
        self, call: str = "c1", *, at: float | None = None, client: ClientId = ALICE, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        fact = ask(call, **fields)
        self.asked[(call, fact.attempt)] = fact
        return self.tell(fact, client, at=at)

    def sent(
        self, call: str, to: str, *, sent_s: float = 0.0, client: ClientId = ALICE, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        fact = CallSent(ask=ask(call, **fields), endpoint=EndpointId(to), sent_s=sent_s)
        return self.tell(fact, client)

    def ended(
        self, call: str = "c1", *, at: float | None = None, attempt: int = 1, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        asked = self.asked.get((call, attempt))
        fields.setdefault("run", asked.run if asked is not None else "r1")
        fields.setdefault("output_tokens", 100 if fields.get("outcome", "ok") == "ok" else None)
        return self.tell(CallEnded(call=CallId(call), attempt=attempt, **fields), at=at)

    def run_started(
        self, run: str = "r1", *, at: float | None = None, client: ClientId = ALICE, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        fields.setdefault("graph", "g")
        return self.tell(RunStarted(run=RunId(run), **fields), client, at=at)

    def run_ended(
        self, run: str = "r1", outcome: Any = "ok", *, at: float | None = None
    ) -> tuple[AnyCommand, ...]:
        return self.tell(RunEnded(run=RunId(run), outcome=outcome), at=at)

    def node_started(
        self, node: str, name: str, *, run: str = "r1", at: float | None = None, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        fact = NodeStarted(run=RunId(run), node=NodeId(node), name=name, **fields)
        return self.tell(fact, at=at)

    def node_ended(
        self, node: str, outcome: Any = "ok", *, run: str = "r1", at: float | None = None
    ) -> tuple[AnyCommand, ...]:
        return self.tell(NodeEnded(run=RunId(run), node=NodeId(node), outcome=outcome), at=at)

    def lost(self, client: ClientId = ALICE, *, at: float | None = None) -> tuple[AnyCommand, ...]:
        return self.tell(ClientLost(), client, at=at)

    def seen(
        self, name: str, *, reachable: bool = True, at: float | None = None, **fields: Any
    ) -> tuple[AnyCommand, ...]:
        fact = EndpointSeen(endpoint=EndpointId(name), reachable=reachable, **fields)
        return self.tell(fact, ClientId(""), at=at)

    # -- what the books say ----------------------------------------------------------------------

    def endpoint(self, name: str) -> Endpoint:
        return self.scheduler.endpoints[EndpointId(name)]

    def on(self, name: str) -> list[str]:
        """Calls on the endpoint's books, in order of release."""
        return [call for call, _ in self.endpoint(name).loads]

    def waiting(self) -> list[str]:
        return [call for call, _ in self.scheduler.books.waiting]

    def call(self, name: str, attempt: int = 1) -> Call | None:
        return self.scheduler.books.calls.get((CallId(name), attempt))

    def state(self, name: str, attempt: int = 1) -> CallState | None:
        call = self.call(name, attempt)
        return call.state if call is not None else None


def grants(commands: tuple[AnyCommand, ...]) -> list[Grant]:
    return [command for command in commands if isinstance(command, Grant)]


def granted(commands: tuple[AnyCommand, ...]) -> list[tuple[str, str]]:
    """(call, endpoint) of each grant, in order."""
    return [(grant.call, grant.endpoint) for grant in grants(commands)]


def notices(commands: tuple[AnyCommand, ...]) -> list[tuple[str, str]]:
    """(kind, subject) of each notice, in order."""
    return [(one.kind, one.subject) for one in commands if isinstance(one, Notice)]


def timer(commands: tuple[AnyCommand, ...]) -> float | None:
    """When the scheduler wants to be woken, if it said so."""
    times = [one.at for one in commands if isinstance(one, SetTimer)]
    return times[-1] if times else None

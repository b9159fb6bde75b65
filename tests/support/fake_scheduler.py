"""A scheduler that grants at once, for tests of the daemon alone: no queue, little learning."""

from typing import Any

import msgspec

from headway.core.commands import AnyCommand, Grant, Notice, Score, SetTimer
from headway.core.errors import HeadwayError
from headway.core.facts import (
    CallEnded,
    CallReady,
    ClientLost,
    EndpointSeen,
    Event,
    ModeSet,
    PoolSet,
    TimerFired,
)
from headway.core.pool import Pool
from headway.core.types import EndpointId, RunId, Seconds
from headway.daemon.shell import Recipe


class FakeScheduler:
    """Grants on the first endpoint that serves the pool name, by `seed` rotation.

    Graph names steer it: ``hold`` keeps a call until a timer of 50 ms,
    ``raise`` makes `handle` raise.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.pool: Pool = recipe.pool
        self.recipe = recipe
        learned = recipe.learned or {}
        self.seen = int(learned.get("seen", 0))
        self.held: dict[str, tuple[CallReady, Any]] = {}
        self.lost: list[str] = []
        self.endpoints: dict[str, EndpointSeen] = {}

    lessons = ()

    def observed(self) -> dict[str, Any]:
        return {}

    def made(self) -> tuple[AnyCommand, ...]:
        return ()

    def handle(self, event: Event) -> tuple[AnyCommand, ...]:
        fact = event.fact
        if isinstance(fact, CallReady):
            if fact.graph == "raise":
                raise RuntimeError("told to")
            if fact.graph == "hold":
                self.held[fact.call] = (fact, event.client)
                return (SetTimer(timer=f"hold {fact.call}", at=event.at + 0.05),)
            return (self._grant(fact, event.client),)
        if isinstance(fact, TimerFired) and fact.timer.startswith("hold "):
            entry = self.held.pop(fact.timer.removeprefix("hold "), None)
            return (self._grant(*entry),) if entry else ()
        if isinstance(fact, CallEnded):
            self.seen += 1
        elif isinstance(fact, ClientLost):
            self.lost.append(event.client)
            self.held = {k: v for k, v in self.held.items() if v[1] != event.client}
        elif isinstance(fact, EndpointSeen):
            self.endpoints[fact.endpoint] = fact
            if not fact.reachable:
                return (Notice(kind="down", subject=fact.endpoint, message=fact.error),)
        elif isinstance(fact, ModeSet):
            self.pool = msgspec.structs.replace(self.pool, mode=fact.mode)
        elif isinstance(fact, PoolSet):
            self.pool = fact.pool
        return ()

    def _grant(self, ask: CallReady, client: Any) -> Grant:
        declared = self.pool.name(ask.pool_name)
        serving = [spec for model in declared.models for spec in self.pool.serving(model)]
        if self.recipe.policy == "fcfs":  # stands for any other policy
            serving.reverse()
        chosen = serving[0] if serving else None
        return Grant(
            client=client,
            call=ask.call,
            attempt=ask.attempt,
            run=ask.run,
            endpoint=chosen.id if chosen else EndpointId(""),
            model=chosen.model if chosen else "",
            urgency=1.0 + self.seen,
            held_s=0.0,
            why="first in the list",
            scores=(Score(endpoint=EndpointId("a"), cost_s=1.0, parts=(("own_s", 1.0),)),),
        )

    def snapshot(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def open_facts(self, at: Seconds) -> tuple[Event, ...]:
        return tuple(
            Event(at=at, fact=fact, client=client)
            for _, (fact, client) in sorted(self.held.items())
        )

    def ended_runs(self) -> tuple[RunId, ...]:
        return ()

    def explain(self, run: str) -> dict[str, Any]:
        if run != "last":
            raise HeadwayError(f"no run {run!r}")
        return {"run": "r1", "graph": "g", "state": "running", "calls": []}

    def status(self, at: Seconds) -> dict[str, Any]:
        return {"mode": self.pool.mode, "policy": self.recipe.policy, "seen": self.seen}

    def overview(self, at: Seconds) -> dict[str, Any]:
        return {"queue": [], "queue_total": 0, "runs": [], "runs_total": 0}

    def trust(self) -> dict[str, float]:
        return {"output_tokens.order": 0.75}

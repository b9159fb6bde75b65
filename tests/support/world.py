"""A tiny world in virtual time: agent programs, endpoints that serve, and a scheduler between.

Drives a `Scheduler` alone, without an engine: answers its timers, closes
granted calls after a service time, starts each step of a program when the one
before has ended. All randomness comes from string seeds, so a world is the
same in every process. Run as a program, it prints the command stream of each policy named:
``python -m tests.support.world POLICY...``.
"""

import heapq
import random
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import msgspec

from headway.core.commands import AnyCommand, Grant, SetTimer
from headway.core.facts import (
    AnyFact,
    CallEnded,
    CallReady,
    EndpointSeen,
    Event,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.scheduler import Scheduler
from headway.core.types import CallId, ClientId, EndpointId, NodeId, RunId, Seconds
from headway.policy import make_scheduler

CLIENT = ClientId("world#1")
SKILL = {"small": 0.45, "large": 0.9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One node of a step: `tokens` of a call (0: no call), `own_s` seconds besides it."""

    name: str
    tokens: int = 0
    prompt_chars: int = 2000
    own_s: Seconds = 0.05
    tool_calls: int = 0


Program = Generator[list[Plan], list[str], None]
"""Yields the nodes of each step; is sent the models that answered (empty: no call)."""


def coding(rng: random.Random) -> Program:
    """write -> run_tests <-> repair, up to four answers."""
    difficulty = rng.random()
    models = yield [Plan(name="write", tokens=rng.randint(80, 300))]
    for attempt in range(1, 5):
        yield [Plan(name="run_tests", own_s=0.3)]
        if attempt == 4 or difficulty < SKILL[models[0]]:
            return
        models = yield [Plan(name="repair", tokens=rng.randint(60, 200), prompt_chars=4000)]


def research(rng: random.Random) -> Program:
    """plan -> researchers by fan-out -> join -> writer."""
    yield [Plan(name="plan", tokens=rng.randint(40, 90))]
    yield [Plan(name="researcher", tokens=rng.randint(100, 400)) for _ in range(rng.randint(2, 4))]
    yield [Plan(name="join")]
    yield [Plan(name="writer", tokens=rng.randint(200, 600), prompt_chars=8000)]


def chat(rng: random.Random) -> Program:
    """A tool-calling agent: agent <-> tools."""
    for _ in range(rng.randint(1, 3)):
        yield [Plan(name="agent", tokens=rng.randint(20, 60), tool_calls=1)]
        yield [Plan(name="tools", own_s=0.5)]
    yield [Plan(name="agent", tokens=rng.randint(40, 120))]


PROGRAMS: dict[str, Callable[[random.Random], Program]] = {
    "coding": coding,
    "research": research,
    "chat": chat,
}
EDGES = {
    "coding": [
        ("__start__", "write", "edge"),
        ("write", "run_tests", "edge"),
        ("run_tests", "repair", "branch"),
        ("run_tests", "__end__", "branch"),
        ("repair", "run_tests", "edge"),
    ],
    "chat": [("agent", "tools", "branch"), ("tools", "agent", "edge")],
}


def three_endpoints() -> Pool:
    """Two small and one large endpoint behind one pool name."""
    small = Profile(prefill_s=0.0001, step_s=0.01, seq_s=0.001, seats=4, kv_tokens=20_000)
    large = Profile(prefill_s=0.0004, step_s=0.04, seq_s=0.003, seats=3, kv_tokens=20_000)

    def spec(name: str, model: str, profile: Profile) -> EndpointSpec:
        return EndpointSpec(
            id=EndpointId(name), url=f"http://{name}/v1", model=model, profile=profile
        )

    return Pool(
        endpoints=(
            spec("s1", "small", small),
            spec("s2", "small", small),
            spec("l1", "large", large),
        ),
        names=(PoolName(name="agent", models=("small", "large")),),
        quality={"small": 0.6, "large": 0.85},
        class_deadlines={"interactive": 20.0},
    )


@dataclass(slots=True, kw_only=True)
class _Life:
    """One run under way."""

    id: RunId
    graph: str
    program: Program
    step: int = 0
    parents: tuple[NodeId, ...] = ()
    visits: dict[str, int] = field(default_factory=dict)
    answered: dict[NodeId, str] = field(default_factory=dict)


class World:
    """`runs` programs arrive at `rate` a second; `play` runs them to their end.

    `log` holds every event with what the scheduler commanded; `done` the
    seconds that each run took.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        seed: int = 1,
        runs: int = 40,
        rate: float = 3.0,
        scrape_s: Seconds = 2.0,
    ) -> None:
        self.scheduler = scheduler
        self.pool = scheduler.pool
        self.log: list[tuple[Event, tuple[AnyCommand, ...]]] = []
        self.done: dict[RunId, Seconds] = {}
        self.held: dict[tuple[CallId, int], Seconds] = {}
        self.started: dict[RunId, Seconds] = {}
        self._seed = seed
        self._agenda: list[tuple[Seconds, int, Callable[[Seconds], None]]] = []
        self._count = 0
        self._timers: dict[str, int] = {}
        self._asks: dict[CallId, tuple[CallReady, Plan, _Life]] = {}
        self._serving: dict[EndpointId, list[CallId]] = {e.id: [] for e in self.pool.endpoints}
        self._queued: dict[EndpointId, list[Grant]] = {e.id: [] for e in self.pool.endpoints}
        self._left = runs
        rng = random.Random(f"arrivals {seed}")
        at = 0.0
        for number in range(runs):
            graph = rng.choice(sorted(PROGRAMS))
            at += rng.expovariate(rate)
            self._later(at, lambda now, n=number, g=graph: self._arrive(n, g, now))
        self._later(scrape_s, lambda now: self._scrape(now, scrape_s))

    def play(self) -> "World":
        """Until every run has ended."""
        for graph, edges in sorted(EDGES.items()):
            nodes = tuple(dict.fromkeys(name for edge in edges for name in edge[:2]))
            self._tell(GraphSeen(graph=graph, nodes=nodes, edges=tuple(edges)), 0.0)
        while self._left and self._agenda:
            at, _, action = heapq.heappop(self._agenda)
            action(at)
        return self

    def _later(self, at: Seconds, action: Callable[[Seconds], None]) -> int:
        self._count += 1
        heapq.heappush(self._agenda, (at, self._count, action))
        return self._count

    def _tell(self, fact: AnyFact, at: Seconds, client: ClientId = CLIENT) -> None:
        event = Event(at=at, fact=fact, client=client)
        commands = self.scheduler.handle(event)
        self.log.append((event, commands))
        for command in commands:
            if isinstance(command, Grant):
                self._granted(command, at)
            elif isinstance(command, SetTimer):
                self._set_timer(command)

    def _set_timer(self, command: SetTimer) -> None:
        def fire(now: Seconds) -> None:
            if self._timers.get(command.timer) == number:
                self._tell(TimerFired(timer=command.timer), now, ClientId(""))

        number = self._later(command.at, fire)
        self._timers[command.timer] = number

    # -- programs --------------------------------------------------------------------------------

    def _arrive(self, number: int, graph: str, at: Seconds) -> None:
        program = PROGRAMS[graph](random.Random(f"run {self._seed} {number}"))
        life = _Life(id=RunId(f"run{number}"), graph=graph, program=program)
        self.started[life.id] = at
        service_class = "interactive" if graph == "chat" else ""
        self._tell(RunStarted(run=life.id, graph=graph, service_class=service_class), at)
        self._begin(life, next(program), at)

    def _begin(self, life: _Life, plans: list[Plan], at: Seconds) -> None:
        life.step += 1
        parents = life.parents
        ids = [NodeId(f"{life.id}.{life.step}.{place}") for place in range(len(plans))]
        for name in dict.fromkeys(plan.name for plan in plans):
            life.visits[name] = life.visits.get(name, 0) + 1
        life.parents = tuple(ids)
        for node, plan in zip(ids, plans, strict=True):
            visit = life.visits[plan.name]
            started = NodeStarted(
                run=life.id, node=node, name=plan.name, parents=parents, visit=visit, step=life.step
            )
            self._tell(started, at)
            if not plan.tokens:
                self._later(at + plan.own_s, lambda now, n=node: self._node_over(life, n, "", now))
                continue
            question = CallReady(
                call=CallId(f"call-{node}"),
                attempt=1,
                run=life.id,
                graph=life.graph,
                node=node,
                node_name=plan.name,
                pool_name="agent",
                parents=parents,
                visit=visit,
                step=life.step,
                prompt_chars=plan.prompt_chars,
                needs=("tools",) if plan.tool_calls else (),
            )
            self._asks[question.call] = (question, plan, life)
            self._tell(question, at)

    def _node_over(self, life: _Life, node: NodeId, model: str, at: Seconds) -> None:
        life.answered[node] = model
        self._tell(NodeEnded(run=life.id, node=node), at)
        if len(life.answered) < len(life.parents):
            return
        models = [life.answered[one] for one in life.parents]
        life.answered.clear()
        try:
            plans = life.program.send(models)
        except StopIteration:
            self._left -= 1
            self.done[life.id] = at - self.started[life.id]
            self._tell(RunEnded(run=life.id), at)
        else:
            self._begin(life, plans, at)

    # -- endpoints as they are -------------------------------------------------------------------

    def _granted(self, grant: Grant, at: Seconds) -> None:
        self.held[(grant.call, grant.attempt)] = grant.held_s
        spec = self.pool.endpoint(grant.endpoint)
        assert spec.profile is not None and spec.profile.seats is not None
        if len(self._serving[spec.id]) < spec.profile.seats:
            self._serve(grant.call, spec, at)
        else:
            self._queued[spec.id].append(grant)

    def _serve(self, call: CallId, spec: EndpointSpec, at: Seconds) -> None:
        question, plan, _ = self._asks[call]
        serving, profile = self._serving[spec.id], spec.profile
        assert profile is not None
        serving.append(call)
        # the truth is a fifth slower than what is believed
        step_s = 1.2 * profile.step_time_s(len(serving), 0.0)
        tokens = plan.tokens * (1.3 if spec.model == "large" else 1.0)
        took_s = question.prompt_chars / 4 * profile.prefill_s + tokens * step_s
        self._later(at + took_s, lambda now: self._served(call, spec, took_s, int(tokens), now))

    def _served(
        self, call: CallId, spec: EndpointSpec, took_s: Seconds, tokens: int, at: Seconds
    ) -> None:
        question, plan, life = self._asks.pop(call)
        self._serving[spec.id].remove(call)
        ended = CallEnded(
            call=call,
            attempt=1,
            run=life.id,
            prompt_tokens=question.prompt_chars // 4,
            cached_tokens=0,
            output_tokens=tokens,
            duration_s=took_s,
            tool_calls=plan.tool_calls,
        )
        self._tell(ended, at)
        if self._queued[spec.id]:
            self._serve(self._queued[spec.id].pop(0).call, spec, at)
        self._later(
            at + plan.own_s, lambda now: self._node_over(life, question.node, spec.model, now)
        )

    def _scrape(self, at: Seconds, every_s: Seconds) -> None:
        for spec in self.pool.endpoints:
            seen = EndpointSeen(
                endpoint=spec.id,
                reachable=True,
                running=len(self._serving[spec.id]),
                waiting=len(self._queued[spec.id]),
            )
            self._tell(seen, at, ClientId(""))
        self._later(at + every_s, lambda now: self._scrape(now, every_s))


def played(policy: str, *, seed: int = 1, **options: float) -> World:
    """A world over three endpoints, played to its end under `policy`."""
    scheduler = make_scheduler(three_endpoints(), policy=policy, seed=seed)
    return World(scheduler, seed=seed, **options).play()  # type: ignore[arg-type]


def main() -> None:
    """Print every event and command of a world for each policy, a line each, after its name."""
    for policy in sys.argv[1:]:
        print(f"policy {policy}")
        for event, commands in played(policy, seed=5, runs=25).log:
            print(msgspec.json.encode([event, commands]).decode())


if __name__ == "__main__":
    main()

"""The player: closed loop as `headway.sim.playing` is, but on the wall clock and over the wire.

A node begins when its parents have ended here, plus the time of its tools. How a call is
decided and answered is a `Way`'s. Nobody pauses to think, and no policy advises against a retry.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headway.core.facts import CallReady, NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.types import CallId, NodeId, RunId, Seconds
from headway.emulate.answers import CHARS_PER_TOKEN
from headway.sim.asking import ATTEMPT_NODE
from headway.sim.bodies import Body, prepared
from headway.sim.luck import Answer
from headway.sim.plans import WORDS_ABOUT_A_FAILURE, Planned
from headway.sim.playing import TOOLS
from headway.sim.poolspec import POOL_NAME
from headway.sim.workload import Workload
from tests.validity.prompts import NodePrompt, Talk
from tests.validity.setting import HOLD_LIMIT_S
from tests.validity.ways import Wanted, Way


@dataclass(slots=True, kw_only=True)
class _Life:
    """One run under way: its body, and for each node how many parents it still waits for."""

    plan: Planned
    body: Body
    waits_for: list[int]


class Player:
    """Plays each run at its arrival. `play` may be called once.

    `max_tokens` is the limit of calls that have none of their own.
    Afterwards `latencies_s` holds each call's seconds from being ready to its answer.
    """

    def __init__(
        self,
        workload: Workload,
        *,
        way: Way,
        block_tokens: int,
        max_tokens: int,
        speedup: float = 1.0,
    ) -> None:
        self.latencies_s: list[Seconds] = []
        self._planned = workload.planned
        self._luck = workload.luck
        self._way = way
        self._speedup = speedup
        self._block_tokens = block_tokens
        self._max_tokens = max_tokens
        self._loop = asyncio.get_running_loop()
        self._began = 0.0

    async def play(self, progress: Callable[[], None] = lambda: None) -> dict[str, Seconds]:
        """The completion of each run, by its id; `progress` is told of each that has ended.

        Raises `RuntimeError` for a call that was not decided, or that its endpoint refused.
        """
        self._began = self._loop.time()

        async def one(plan: Planned) -> Seconds:
            ended = await self._run(plan)
            progress()
            return ended

        async with asyncio.TaskGroup() as group:
            playing = [group.create_task(one(plan)) for plan in self._planned]
        ended = [task.result() for task in playing]
        return {plan.id: at - plan.arrival_s for plan, at in zip(self._planned, ended, strict=True)}

    def _now(self) -> Seconds:
        return (self._loop.time() - self._began) * self._speedup

    async def _until(self, at: Seconds) -> None:
        await asyncio.sleep(max(0.0, self._began + at / self._speedup - self._loop.time()))

    # -- runs ------------------------------------------------------------------------------------

    async def _run(self, plan: Planned) -> Seconds:
        """Play one run; when it ended."""
        await self._until(plan.arrival_s)
        started = RunStarted(
            run=RunId(plan.id),
            graph=plan.run.graph,
            thread=plan.id,
            deadline_s=None if plan.deadline_s is None else plan.deadline_s / self._speedup,
            service_class=plan.service_class,
            tenant=plan.tenant,
        )
        self._way.observe(started)
        if plan.run.nodes:
            body = prepared(plan.run, self._block_tokens)
            waits_for = [len(node.plan.parents) for node in body.nodes]
            life = _Life(plan=plan, body=body, waits_for=waits_for)
            roots = [place for place, waits in enumerate(waits_for) if not waits]
            await asyncio.gather(*(self._node(life, place) for place in roots))
        else:
            await self._question(plan)
        self._way.observe(RunEnded(run=RunId(plan.id)))
        return self._now()

    async def _node(self, life: _Life, place: int) -> None:
        """A node whose parents have ended: its tools, its call, and those that waited for it."""
        node = life.body.nodes[place]
        run, name = RunId(life.plan.id), NodeId(f"{life.plan.id}/{place}")
        parents = tuple(NodeId(f"{life.plan.id}/{parent}") for parent in node.plan.parents)
        if node.plan.tool_s:
            tools = NodeId(f"{name}/tools")
            self._way.observe(
                NodeStarted(
                    run=run,
                    node=tools,
                    name=f"{node.plan.name}{TOOLS}",
                    parents=parents,
                    visit=node.visit,
                    step=node.step - 1,
                )
            )
            await self._until(self._now() + node.plan.tool_s)
            self._way.observe(NodeEnded(run=run, node=tools))
            parents = (tools,)
        if node.plan.prompt_tokens:
            await self._node_call(life, place, name, parents)
        else:
            started = NodeStarted(
                run=run,
                node=name,
                name=node.plan.name,
                parents=parents,
                visit=node.visit,
                step=node.step,
            )
            self._way.observe(started)
        self._way.observe(NodeEnded(run=run, node=name))
        ready = []
        for child in node.children:
            life.waits_for[child] -= 1
            if not life.waits_for[child]:
                ready.append(child)
        await asyncio.gather(*(self._node(life, child) for child in ready))

    async def _node_call(
        self, life: _Life, place: int, name: NodeId, parents: tuple[NodeId, ...]
    ) -> None:
        node, run = life.body.nodes[place], life.plan.id
        ask = self._asked(
            name,
            run=RunId(run),
            graph=life.plan.run.graph,
            node_name=node.plan.name,
            parents=parents,
            visit=node.visit,
            step=node.step,
            prompt_chars=node.plan.prompt_tokens * CHARS_PER_TOKEN,
            max_tokens=node.plan.max_tokens or self._max_tokens,
            models=(node.plan.model,) if node.plan.model else (),
        )

        def wanted(model: str) -> Wanted:
            return Wanted(
                prompt=NodePrompt(run=run, body=life.plan.run, place=place),
                tokens=node.plan.outputs.get(model, node.plan.output_tokens),
                tool_calls=node.plan.tool_calls,
            )

        await self._call(ask, wanted)

    async def _question(self, plan: Planned) -> None:
        """Ask the run's question until its verdict is good, or the attempts are spent."""
        asked = self._luck.question(plan.id).prompt_tokens
        answers: list[tuple[str, int]] = []
        parents: tuple[NodeId, ...] = ()
        for attempt in range(1, plan.attempts + 1):
            name = NodeId(f"{plan.id}/{attempt}")
            said = tuple(tokens for _, tokens in answers)
            prompt_tokens = asked + sum(said) + len(said) * WORDS_ABOUT_A_FAILURE
            ask = self._asked(
                name,
                run=RunId(plan.id),
                graph=plan.run.graph,
                node_name=ATTEMPT_NODE,
                parents=parents,
                visit=attempt,
                step=attempt,
                prompt_chars=prompt_tokens * CHARS_PER_TOKEN,
                max_tokens=self._max_tokens,
            )

            def answer(model: str) -> Answer:
                earlier = sum(other == model for other, _ in answers)
                return self._luck.answer(plan.id, model, earlier)

            def wanted(model: str, said: tuple[int, ...] = said) -> Wanted:
                return Wanted(
                    prompt=Talk(run=plan.id, prompt_tokens=asked, answers=said),
                    tokens=answer(model).output_tokens,
                )

            model, tokens = await self._call(ask, wanted)
            drawn = answer(model)
            self._way.observe(NodeEnded(run=ask.run, node=name))
            right = drawn.ok and drawn.output_tokens <= tokens
            if self._luck.verdict(plan.id, attempt, right) or attempt == plan.attempts:
                return
            answers.append((model, tokens))
            parents = (name,)
            await self._until(self._now() + plan.pause_s)

    # -- calls -----------------------------------------------------------------------------------

    def _asked(self, node: NodeId, **said: Any) -> CallReady:
        return CallReady(
            call=CallId(node),
            attempt=1,
            node=node,
            pool_name=POOL_NAME,
            hold_limit_s=HOLD_LIMIT_S / self._speedup,
            **said,
        )

    async def _call(self, ask: CallReady, wanted: Callable[[str], Wanted]) -> tuple[str, int]:
        """One call, decided and answered: its model and the answer's tokens."""
        ready_s = self._loop.time()
        answered = await self._way.call(ask, wanted)
        self.latencies_s.append((self._loop.time() - ready_s) * self._speedup)
        return answered

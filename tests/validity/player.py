"""The player: closed loop as `headway.sim.playing` is, but on the wall clock and over the wire.

A node begins when its parents have ended here, plus the time of its tools. Each call asks the
daemon through the client library, goes to the endpoint that it names, with its urgency, and is
told of when it has ended. Nobody pauses to think, and no policy advises against a retry.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from headway.client import Client, Clocks, Route
from headway.client.engines import hints
from headway.core.facts import (
    CallEnded,
    CallReady,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.types import CallId, NodeId, RunId, Seconds
from headway.emulate.answers import CHARS_PER_TOKEN
from headway.sim.asking import ATTEMPT_NODE
from headway.sim.bodies import Body, prepared
from headway.sim.luck import Answer
from headway.sim.plans import WORDS_ABOUT_A_FAILURE, Planned
from headway.sim.playing import TOOLS
from headway.sim.pools import SimPool
from headway.sim.poolspec import POOL_NAME
from headway.sim.workload import Workload
from tests.validity.prompts import ALOUD, Messages, conversation, node_prompt
from tests.validity.setting import HOLD_LIMIT_S, MAX_TOKENS

CLOCKS = Clocks(ack_idle_s=5.0, ack_busy_s=10.0)
"""A machine shared with others may be late; calls that fall open would be another policy's."""
ENGINE = "emulated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One call: where it went, and what it took, in emulated seconds.

    `decision_s` is what asking took beyond the time that the daemon held the call, `http_s` the
    request from its sending to its answer.
    """

    request: str
    endpoint: str
    decision_s: Seconds
    http_s: Seconds
    cached_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of the model that was chosen: `tokens` it shall write, `aloud` as a text."""

    messages: Messages
    tokens: int
    tool_calls: int = 0
    aloud: bool = False


@dataclass(slots=True, kw_only=True)
class _Life:
    """One run under way: its body, and for each node how many parents it still waits for."""

    plan: Planned
    body: Body
    waits_for: list[int]


class Player:
    """Plays each run at its arrival. `play` may be called once."""

    def __init__(self, workload: Workload, *, pool: SimPool, socket: Path, speedup: float) -> None:
        self.calls: list[Served] = []
        self._planned = workload.planned
        self._luck = workload.luck
        self._speedup = speedup
        self._block_tokens = pool.sites[0].profile.block_tokens
        self._client = Client(socket, clocks=CLOCKS)
        self._numbers: Iterator[int] = count()
        self._loop = asyncio.get_running_loop()
        self._began = 0.0

    async def play(self) -> dict[str, Seconds]:
        """The completion of each run, by its id.

        Raises `RuntimeError` for a call that the daemon did not decide or the endpoint refused.
        """
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                self._session = session
                self._began = self._loop.time()
                ended = await asyncio.gather(*(self._run(plan) for plan in self._planned))
        finally:
            self._client.close()
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
        self._client.observe(started)
        if plan.run.nodes:
            body = prepared(plan.run, self._block_tokens)
            waits_for = [len(node.plan.parents) for node in body.nodes]
            life = _Life(plan=plan, body=body, waits_for=waits_for)
            roots = [place for place, waits in enumerate(waits_for) if not waits]
            await asyncio.gather(*(self._node(life, place) for place in roots))
        else:
            await self._question(plan)
        self._client.observe(RunEnded(run=RunId(plan.id)))
        return self._now()

    async def _node(self, life: _Life, place: int) -> None:
        """A node whose parents have ended: its tools, its call, and those that waited for it."""
        node = life.body.nodes[place]
        run, name = RunId(life.plan.id), NodeId(f"{life.plan.id}/{place}")
        parents = tuple(NodeId(f"{life.plan.id}/{parent}") for parent in node.plan.parents)
        if node.plan.tool_s:
            tools = NodeId(f"{name}/tools")
            self._client.observe(
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
            self._client.observe(NodeEnded(run=run, node=tools))
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
            self._client.observe(started)
        self._client.observe(NodeEnded(run=run, node=name))
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
            max_tokens=node.plan.max_tokens or MAX_TOKENS,
            models=(node.plan.model,) if node.plan.model else (),
        )

        def wanted(model: str) -> Wanted:
            return Wanted(
                messages=node_prompt(run, life.plan.run, place, model),
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
                max_tokens=MAX_TOKENS,
            )

            def answer(model: str) -> Answer:
                earlier = sum(other == model for other, _ in answers)
                return self._luck.answer(plan.id, model, earlier)

            def wanted(model: str, said: tuple[int, ...] = said) -> Wanted:
                return Wanted(
                    messages=conversation(plan.id, asked, said, model),
                    tokens=answer(model).output_tokens,
                    aloud=True,
                )

            model, tokens = await self._call(ask, wanted)
            drawn = answer(model)
            self._client.observe(NodeEnded(run=ask.run, node=name))
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
        """One call, decided, sent, answered and told of: its model and the answer's tokens."""
        asked_s = self._loop.time()
        route = await self._client.adecide(ask)
        granted_s = self._loop.time()
        if route.source != "daemon" or route.endpoint is None:
            raise RuntimeError(f"call {ask.call} was not decided by the daemon: {route.why}")
        request = f"q{next(self._numbers)}"
        want = wanted(route.endpoint.model)
        used = await self._post(route, request, want, limit=ask.max_tokens or MAX_TOKENS)
        ended_s = self._loop.time()
        prompt_tokens, tokens = int(used["prompt_tokens"]), int(used["completion_tokens"])
        if prompt_tokens * CHARS_PER_TOKEN != ask.prompt_chars:
            raise RuntimeError(
                f"call {ask.call}: {ask.prompt_chars} characters were read as {used}"
            )
        cached = int(used["prompt_tokens_details"]["cached_tokens"])
        told = CallEnded(
            call=ask.call,
            attempt=1,
            run=ask.run,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            output_tokens=tokens,
            duration_s=ended_s - granted_s,
            tool_calls=want.tool_calls,
        )
        self._client.observe(told)
        self.calls.append(
            Served(
                request=request,
                endpoint=route.endpoint.id,
                decision_s=(granted_s - asked_s - route.held_s) * self._speedup,
                http_s=(ended_s - granted_s) * self._speedup,
                cached_tokens=cached,
            )
        )
        return route.endpoint.model, tokens

    async def _post(
        self, route: Route, request: str, want: Wanted, *, limit: int
    ) -> dict[str, Any]:
        """A chat completion of exactly the wanted tokens; its usage."""
        assert route.endpoint is not None
        told = hints(ENGINE, route.urgency)
        body = {
            "model": route.endpoint.model,
            "messages": want.messages,
            "max_tokens": max(1, min(want.tokens, limit)),
            "user": ALOUD if want.aloud else "",
            **told.body,
        }
        headers = {"Content-Type": "application/json", "X-Request-Id": request, **told.headers}
        url = f"{route.endpoint.url}/chat/completions"
        sent = msgspec.json.encode(body)
        async with self._session.post(url, data=sent, headers=headers) as response:
            answer = msgspec.json.decode(await response.read())
            if response.status != 200:
                raise RuntimeError(f"{url} answers {response.status}: {answer}")
            used: dict[str, Any] = answer["usage"]
            return used

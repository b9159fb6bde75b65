"""What a decision adds to a call at an idle pool, for each covered way to call.

The same graph of one node, bare and scheduled, in turns, against model servers
that answer at once; the pool's six endpoints lie on two servers, so that a
call may be sent elsewhere than its client would. ``python -m
tests.bench.latency CALLS`` is the process that calls.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import openai
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from pydantic import SecretStr

from headway.calling.guard import complaints
from headway.client import get_client
from headway_langgraph import schedule
from tests.bench.children import daemon, pairs_of, tell_result, tell_step
from tests.bench.measure import Result, added_p50, in_turns
from tests.bench.servers import server

GOAL_MS = 2.0
WARM_UP = 10
MESSAGES: Any = [{"role": "user", "content": "hi"}]
WAYS = (
    "chat_invoke",
    "chat_ainvoke",
    "chat_stream",
    "chat_astream",
    "openai_sync",
    "openai_async",
    "openai_sync_stream",
    "openai_async_stream",
)
STEPS = 10
"""How often a way tells of its progress."""


class State(TypedDict, total=False):
    x: int


def nodes(url: str) -> dict[str, Callable[[State], Any]]:
    """A node for each way to call."""
    chat = ChatOpenAI(model="agent", base_url=url, api_key=SecretStr("none"), max_retries=0)
    sync = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    later = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)

    def invoke(state: State) -> State:
        chat.invoke("hi")
        return {"x": 1}

    async def ainvoke(state: State) -> State:
        await chat.ainvoke("hi")
        return {"x": 1}

    def stream(state: State) -> State:
        return {"x": sum(1 for _ in chat.stream("hi"))}

    async def astream(state: State) -> State:
        return {"x": len([one async for one in chat.astream("hi")])}

    def create(state: State) -> State:
        sync.chat.completions.create(model="agent", messages=MESSAGES)
        return {"x": 1}

    async def acreate(state: State) -> State:
        await later.chat.completions.create(model="agent", messages=MESSAGES)
        return {"x": 1}

    def create_stream(state: State) -> State:
        chunks = sync.chat.completions.create(model="agent", messages=MESSAGES, stream=True)
        return {"x": sum(1 for _ in chunks)}

    async def acreate_stream(state: State) -> State:
        chunks = await later.chat.completions.create(model="agent", messages=MESSAGES, stream=True)
        return {"x": len([one async for one in chunks])}

    made = (invoke, ainvoke, stream, astream, create, acreate, create_stream, acreate_stream)
    return dict(zip(WAYS, made, strict=True))


def graph_of(node: Any, *, scheduled: bool) -> Any:
    """A graph of one node."""
    builder = StateGraph(State)
    builder.add_node("n", node)
    builder.add_edge(START, "n")
    graph = builder.compile(name="one")
    return schedule(graph) if scheduled else graph


def runner(node: Any, *, scheduled: bool) -> Callable[[], Awaitable[None]]:
    """Runs such a graph once, as its user would."""
    graph = graph_of(node, scheduled=scheduled)

    async def run_async() -> None:
        await graph.ainvoke({"x": 0})

    async def run_sync() -> None:
        graph.invoke({"x": 0})

    return run_async if asyncio.iscoroutinefunction(node) else run_sync


async def pairs(node: Any, calls: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, bare and scheduled."""
    bare: list[float] = []
    with_it: list[float] = []
    runners = {side: runner(node, scheduled=side) for side in (False, True)}
    for number, turn in enumerate(in_turns(WARM_UP + calls)):
        for scheduled in turn:
            began = time.perf_counter()
            await runners[scheduled]()
            spent_ms = (time.perf_counter() - began) * 1e3
            if number >= WARM_UP:
                (with_it if scheduled else bare).append(spent_ms)
        if number >= WARM_UP and (number - WARM_UP) % max(calls // STEPS, 1) == 0:
            tell_step()
    return bare, with_it


async def main(url: str, calls: int) -> None:
    """Measure, and print what was found."""
    found = {way: await pairs(node, calls) for way, node in nodes(url).items()}
    if complaints.counts:
        raise RuntimeError(f"a hook complained: {complaints.counts}")
    if get_client().pool is None:
        raise RuntimeError("no daemon took part")
    tell_result(found)


def measure(*, calls: int, step: Callable[[], None]) -> list[Result]:
    """`added_latency_WAY` in milliseconds for every way."""
    with server("model") as url, server("model") as other, daemon(url, other) as socket:
        found = pairs_of("tests.bench.latency", url, str(calls), socket=socket, step=step)
    return [
        added_p50(f"added_latency_{way}", *found[way], ratio_to="the_same_graph_bare", goal=GOAL_MS)
        for way in WAYS
    ]


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

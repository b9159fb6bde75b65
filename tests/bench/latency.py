"""What a decision adds to a call at an idle pool, for each covered way to call in process.

The same graph of one node, bare and scheduled, in turns, against model servers
that answer at once; the pool's six endpoints lie on two servers, so that a
call may be sent elsewhere than its client would. ``python -m
tests.bench.latency URL OTHER CALLS openai|litellm`` is the process that calls: the
openai SDK (here), or LiteLLM (litellm_ways.py), which is imported only there.
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
from headway.client import Route, get_client
from headway_langgraph import schedule
from tests.bench.children import daemon, pairs_of, tell_result, tell_step
from tests.bench.measure import Result, added_p50, in_turns
from tests.bench.servers import server

GOAL_MS = 2.0
WARM_UP = 10
SETTLE_S = 0.003
"""After a call: LiteLLM logs in the background, which must fall into nobody's time."""

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
    "responses_sync",
    "responses_async",
)
LITELLM_WAYS = (
    "litellm_async",
    "litellm_sync",
    "chat_litellm_ainvoke",
    "chat_litellm_invoke",
    "router_async",
    "router_sync",
    "chat_router_ainvoke",
    "chat_router_invoke",
)
STEPS = 10
"""How often a way tells of its progress."""


class State(TypedDict, total=False):
    x: int


class Decisions:
    """Watches how many attempts got an endpoint."""

    def __init__(self) -> None:
        self.count = 0

    def told(self, fact: Any) -> None: ...

    def asked(self, ask: Any) -> None: ...

    def routed(self, ask: Any, route: Route) -> None:
        self.count += route.source == "daemon" and route.endpoint is not None

    def headers(self, ask: Any) -> dict[str, str]:
        return {}


def nodes(url: str) -> dict[str, Callable[[State], Any]]:
    """A node for each way to call the openai SDK."""
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

    def respond(state: State) -> State:
        sync.responses.create(model="agent", input="hi")
        return {"x": 1}

    async def arespond(state: State) -> State:
        await later.responses.create(model="agent", input="hi")
        return {"x": 1}

    made = (
        *(invoke, ainvoke, stream, astream),
        *(create, acreate, create_stream, acreate_stream, respond, arespond),
    )
    return dict(zip(WAYS, made, strict=True))


def graph_of(node: Any, *, scheduled: bool) -> Any:
    """A graph of one node."""
    builder = StateGraph(State)
    builder.add_node("n", node)
    builder.add_edge(START, "n")
    graph = builder.compile(name="one")
    return schedule(graph) if scheduled else graph


def runner(node: Any, *, scheduled: bool) -> Callable[[], Awaitable[float]]:
    """Runs such a graph once, as its user would; milliseconds."""
    graph = graph_of(node, scheduled=scheduled)

    async def run_async() -> float:
        began = time.perf_counter()
        await graph.ainvoke({"x": 0})
        return (time.perf_counter() - began) * 1e3

    def timed() -> float:
        began = time.perf_counter()
        graph.invoke({"x": 0})
        return (time.perf_counter() - began) * 1e3

    async def run_sync() -> float:
        # A synchronous program has no event loop in its thread, and LiteLLM looks for one.
        return await asyncio.to_thread(timed)

    return run_async if asyncio.iscoroutinefunction(node) else run_sync


async def pairs(
    way: str, node: Any, calls: int, switch: Callable[[bool], None] | None
) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, bare and scheduled; `switch` puts hooks in and takes them out.

    Raises `RuntimeError` if a scheduled call was not decided by the daemon, or twice.
    """
    bare: list[float] = []
    with_it: list[float] = []
    runners = {side: runner(node, scheduled=side) for side in (False, True)}
    decisions = Decisions()
    get_client().watchers.add(decisions)
    for number, turn in enumerate(in_turns(WARM_UP + calls)):
        if number == WARM_UP:
            get_client().watchers.remove(decisions)
            if decisions.count != WARM_UP:
                raise RuntimeError(f"{way}: {decisions.count} decisions for {WARM_UP} calls")
        for scheduled in turn:
            if switch is not None:
                switch(scheduled)
            spent_ms = await runners[scheduled]()
            if switch is not None:
                await asyncio.sleep(SETTLE_S)
            if number >= WARM_UP:
                (with_it if scheduled else bare).append(spent_ms)
        if number >= WARM_UP and (number - WARM_UP) % max(calls // STEPS, 1) == 0:
            tell_step()
    return bare, with_it


async def main(urls: tuple[str, str], calls: int, kind: str) -> None:
    """Measure, and print what was found."""
    if kind == "litellm":
        from tests.bench.litellm_ways import nodes as litellm_nodes
        from tests.bench.litellm_ways import switch

        found = {way: await pairs(way, node, calls, switch) for way, node in litellm_nodes(urls)}
    else:
        found = {way: await pairs(way, node, calls, None) for way, node in nodes(urls[0]).items()}
    if complaints.counts:
        raise RuntimeError(f"a hook complained: {complaints.counts}")
    tell_result(found)


def measure(*, calls: int, step: Callable[[], None], kind: str = "openai") -> list[Result]:
    """`added_latency_WAY` in milliseconds for every way of the kind."""
    with server("model") as url, server("model") as other, daemon(url, other) as socket:
        arguments = (url, other, str(calls), kind)
        found = pairs_of("tests.bench.latency", *arguments, socket=socket, step=step)
    return [
        added_p50(f"added_latency_{way}", *found[way], ratio_to="the_same_graph_bare", goal=GOAL_MS)
        for way in (WAYS if kind == "openai" else LITELLM_WAYS)
    ]


if __name__ == "__main__":
    asyncio.run(main((sys.argv[1], sys.argv[2]), int(sys.argv[3]), sys.argv[4]))

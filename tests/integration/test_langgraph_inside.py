"""Graphs inside nodes: whose node a call belongs to, names, what a child run may say, limits."""

import asyncio
import copy
import logging
import os
import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import openai
import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, TimeoutPolicy

from headway.calling.guard import complaints
from headway.context import Scope, current_run, scope
from headway.core.facts import GraphSeen, RunStarted
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, assert_clean, shape, two_endpoints, using

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")


def builder_of(node: Any = lambda state: {"x": ["n"]}, **kwargs: Any) -> StateGraph[Any]:
    graph = StateGraph(State)
    graph.add_node("n", node, **kwargs)
    graph.add_edge(START, "n")
    return graph


def graph_of(node: Any = lambda state: {"x": ["n"]}, name: str = "g", **kwargs: Any) -> Any:
    return builder_of(node, **kwargs).compile(name=name)


async def quiet(state: State) -> State:
    return {}


async def call(server: FakeOpenAI) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0) as sdk:
        await sdk.chat.completions.create(model="small", messages=HI)


# Calls after an awaited graph


async def test_calls_after_an_awaited_graph_are_the_nodes_own(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    innermost = graph_of(quiet, "innermost")
    runs = []

    async def middle(state: State) -> State:
        await innermost.ainvoke({"x": []})
        await call(a)
        return {}

    inner = graph_of(middle, "inner")

    async def outer(state: State) -> State:
        runs.append(current_run())
        await inner.ainvoke({"x": []})
        runs.append(current_run())
        await call(a)
        async for _ in inner.astream({"x": []}):
            continue
        await call(a)
        async for _ in inner.astream({"x": []}):
            break
        await call(a)
        return {}

    with using(client) as installed:
        await schedule(graph_of(outer, "outer")).ainvoke({"x": []})
        assert current_run() is None
        assert_clean(installed)
    assert [ask.graph for ask in client.asks] == ["inner", "outer"] * 3
    assert runs[0] is not None and runs[0] == runs[1]
    assert a.requests == [] and len(b.requests) == 6


async def test_calls_after_an_awaited_agent(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI

    llm = ChatOpenAI(model="small", base_url=a.url, api_key="k", max_retries=0)  # type: ignore[arg-type]
    agent: Any = create_agent(llm, [], name="agent")

    async def outer(state: State) -> State:
        await agent.ainvoke({"messages": [("user", "hi")]})
        await llm.ainvoke("hi")
        return {}

    with using(client):
        await schedule(graph_of(outer, "outer")).ainvoke({"x": []})
    asks = [(ask.graph, ask.node_name) for ask in client.asks]
    assert asks == [("agent", "model"), ("outer", "n")]
    assert [(one.way, one.count) for one in client.covered] == [("chat_openai", 1)] * 2


async def test_calls_of_an_async_task_after_an_awaited_graph(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    inner = graph_of(quiet, "inner")

    @task
    async def one(x: int) -> int:
        await inner.ainvoke({"x": []})
        await call(a)
        return x

    @entrypoint()
    async def flow(x: int) -> int:
        await inner.ainvoke({"x": []})
        await call(a)
        return await one(x)

    with using(client) as installed:
        await schedule(flow).ainvoke(1)
        assert_clean(installed)
    assert [ask.node_name for ask in client.asks] == ["flow", "one"]


async def test_a_model_run_after_an_awaited_graph_is_the_nodes_own(client: FakeClient) -> None:
    inner = graph_of(quiet, "inner")
    owners: list[Any] = []

    async def outer(state: State) -> State:
        before = scope.get()
        await inner.ainvoke({"x": []})
        installed.tracker.llm_started(key := uuid4(), own=True)
        owners.append((before.node if before else None, installed.calls.llms[key].node))
        return {}

    with using(client) as installed:
        await schedule(graph_of(outer, "outer")).ainvoke({"x": []})
        assert_clean(installed)
    ((expected, found),) = owners
    assert found == expected is not None


# What a child run says, and is called


def test_a_childs_own_metadata_go_over_what_it_inherits(client: FakeClient) -> None:
    seen: list[Scope | None] = []

    def look(state: State) -> State:
        seen.append(scope.get())
        return {}

    inner = graph_of(look, "inner")
    said = [
        {"headway_class": "batch", "headway_deadline_s": 5, "headway_models": "large"},
        {"headway_tenant": "other", "headway_deadline_s": 500, "headway_tags": "t"},
        {"headway_off": True},
    ]

    def outer(state: State) -> State:
        for one in said:
            inner.invoke({"x": []}, {"metadata": one})
        return {}

    mine = {"headway_class": "interactive", "headway_deadline_s": 9, "headway_tenant": "me"}
    with using(client):
        schedule(graph_of(outer, "outer")).invoke({"x": []}, {"metadata": mine})
    first, second, third = (one for one in seen if one is not None)
    assert (first.service_class, first.tenant, first.models) == ("batch", "me", ("large",))
    assert first.deadline_s == 5
    assert (second.service_class, second.tenant) == ("interactive", "other")
    assert second.deadline_s is not None and 8 < second.deadline_s <= 9
    assert [one.off for one in (first, second, third)] == [False, False, True]
    told = client.of(RunStarted)[1:]
    assert [run.service_class for run in told] == ["batch", "interactive", "interactive"]
    assert [run.tags for run in told] == [(), ("t",), ()]


def test_a_node_that_says_what_only_runs_may_is_warned_of_once(
    client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with using(client), caplog.at_level(logging.WARNING):
        for _ in range(2):
            schedule(graph_of(metadata={"headway_class": "batch", "headway_models": "large"}))
        schedule(graph_of(metadata={"headway_off": True}))
        assert complaints.counts == {"headway_class of a node": 1}
        complaints.counts.clear()
    assert [r.getMessage().split(" is ")[0] for r in caplog.records] == [
        "headway: headway_class in the metadata of node 'n'"
    ]


def test_a_run_name_is_no_graph_name(client: FakeClient) -> None:
    with using(client):
        inner = schedule(graph_of(name="inner"))
        bare = graph_of(name="bare")

        def outer(state: State) -> State:
            inner.invoke({"x": []}, {"run_name": "for user 7"})
            return {}

        def outer_of_bare(state: State) -> State:
            bare.invoke({"x": []}, {"run_name": "for user 8"})
            return {}

        schedule(graph_of(outer, "outer")).invoke({"x": []}, {"run_name": "for user 9"})
        schedule(graph_of(outer_of_bare, "other")).invoke({"x": []})
        graph_of(outer, "unscheduled").invoke({"x": []})
        sequence: Any = RunnableLambda(lambda x: x) | inner
        sequence.invoke({"x": []}, {"run_name": "for user 10"})
    names = [run.graph for run in client.of(RunStarted)]
    assert names == ["outer", "inner", "other", "bare", "inner", "inner"]


def test_a_hidden_scheduled_graph_is_announced(client: FakeClient) -> None:
    box: dict[str, Any] = {}

    def outer(state: State) -> State:
        box["inner"].invoke({"x": []})
        return {}

    with using(client):
        box["inner"] = schedule(graph_of(name="inner"))
        graph = schedule(graph_of(outer, "outer"))
        for _ in range(2):
            graph.invoke({"x": []})
    assert [seen.graph for seen in client.of(GraphSeen)] == ["outer", "inner"]


def test_going_somewhere_is_no_resume(client: FakeClient) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}
    with using(client):
        graph = schedule(builder_of().compile(name="g", checkpointer=InMemorySaver()))
        inputs: list[Any] = [{"x": []}, Command(goto="n"), Command(update={"x": [1]})]
        for given in [*inputs, Command(resume=0)]:
            graph.invoke(given, config)
    assert [run.resumed for run in client.of(RunStarted)] == [False, False, False, True]


# Limits, forks, copies


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [
        (None, 300.0),
        (4.0, 2.0),
        (timedelta(seconds=8), 4.0),
        (TimeoutPolicy(run_timeout=90, idle_timeout=6), 3.0),
    ],
)
async def test_a_nodes_time_out_bounds_the_hold(
    timeout: Any, limit: float, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    async def node(state: State) -> State:
        await call(a)
        return {}

    inner = graph_of(node, "inner")

    async def outer(state: State) -> State:
        await inner.ainvoke({"x": []})
        await call(a)
        return {}

    with using(client):
        await schedule(graph_of(outer, "outer", timeout=timeout)).ainvoke({"x": []})
        await schedule(graph_of(node, timeout=timeout)).ainvoke({"x": []})
    assert [ask.hold_limit_s for ask in client.asks] == [limit] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_a_thread_holds_our_locks(client: FakeClient) -> None:
    held, over = threading.Event(), threading.Event()

    def in_child() -> int:
        calls, tracker = installed.calls, installed.tracker
        for lock in (calls._lock, calls.coverage._lock, tracker._lock):
            if not lock.acquire(timeout=2):
                return 3
            lock.release()
        clean = not (tracker._runs or tracker._nodes or calls._open or calls.llms)
        return 0 if clean and current_run() is None else 4

    def hold() -> None:
        calls = installed.calls
        with calls._lock, calls.coverage._lock, installed.tracker._lock:
            held.set()
            over.wait(20)

    def node(state: State) -> State:
        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        held.wait(20)
        child = os.fork()
        if child == 0:
            code = 5
            try:
                code = in_child()
            finally:
                os._exit(code)
        over.set()
        thread.join()
        return {"x": [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]}

    with using(client) as installed:
        assert schedule(graph_of(node)).invoke({"x": []})["x"] == [0]
    assert shape(client) == [">g", "+n#1@1", "-n", "<g"]


def test_a_copy_of_a_scheduled_builder_compiles_itself(client: FakeClient) -> None:
    original = StateGraph.compile
    with using(client):
        builder = schedule(builder_of())
        other = copy.copy(builder)
        other.nodes, other.edges = dict(other.nodes), set(other.edges)
        other.add_node("m", lambda state: {"x": ["m"]})
        other.add_edge("n", "m")
        deep = copy.deepcopy(other)
        assert builder.compile().invoke({"x": []})["x"] == ["n"]
        assert other.compile().invoke({"x": []})["x"] == ["n", "m"]
        assert deep.compile().invoke({"x": []})["x"] == ["n", "m"]
        assert len(client.of(RunStarted)) == 3
        builder_of().compile().invoke({"x": []})
        assert len(client.of(RunStarted)) == 3
    assert StateGraph.compile is original
    other.compile().invoke({"x": []})
    assert len(client.of(RunStarted)) == 3


async def test_modes_of_streaming_change_nothing() -> None:
    client = FakeClient()
    expected = [">g", "+n#1@1", ">inner^n", "+n#1@1", "-n", "<inner", "-n", "<g"]
    modes: list[dict[str, Any]] = [
        {"stream_mode": ["values", "updates"]},
        {"stream_mode": "messages"},
        {"stream_mode": "updates", "subgraphs": True},
    ]
    with using(client) as installed:
        graph = schedule(graph_of(graph_of(name="inner"), "g"))
        for mode in modes:
            client.clear()
            async for _ in graph.astream({"x": []}, **mode):
                await asyncio.sleep(0)
            assert shape(client) == expected
        client.clear()
        async for _ in graph.astream_events({"x": []}, version="v2"):
            await asyncio.sleep(0)
        assert shape(client) == expected
        assert_clean(installed)

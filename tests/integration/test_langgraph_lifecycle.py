"""Pauses, errors, retries, cancellation and agents in real LangGraph: how runs and nodes end."""

import asyncio
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

from headway.core.facts import NodeEnded, NodeStarted, RunEnded, RunStarted
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.scheduled import State, assert_clean, shape, starts, using

QUICK = RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=3, retry_on=ValueError)


def one_node(node: Any, **kwargs: Any) -> StateGraph[Any]:
    graph = StateGraph(State)
    graph.add_node("n", node, **kwargs)
    graph.add_edge(START, "n")
    return graph


def ask(state: State) -> State:
    return {"x": [interrupt("may I?")]}


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_pause_and_its_resume(is_async: bool) -> None:
    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client) as installed:
        graph = schedule(one_node(ask).compile(name="g", checkpointer=InMemorySaver()))
        for given in ({"x": []}, Command(resume="yes")):
            if is_async:
                await graph.ainvoke(given, config)
            else:
                graph.invoke(given, config)
        assert_clean(installed)
    assert shape(client) == [
        ">g",
        "+n#1@1",
        "-n interrupted",
        "<g interrupted",
        ">g resumed",
        "+n#1@1",
        "-n",
        "<g",
    ]
    first, second = client.of(RunStarted)
    assert first.run != second.run
    assert (first.thread, second.thread) == ("t1", "t1")


def test_a_static_pause_shows_only_at_the_root() -> None:
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"x": ["a"]})
    graph.add_node("b", lambda state: {"x": ["b"]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client):
        compiled = schedule(
            graph.compile(name="g", checkpointer=InMemorySaver(), interrupt_before=["b"])
        )
        compiled.invoke({"x": []}, config)
        compiled.invoke(None, config)
    assert shape(client) == [
        ">g",
        "+a#1@1",
        "-a",
        "<g interrupted",
        ">g resumed",
        "+b#1@2",
        "-b",
        "<g",
    ]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_static_pause_after_a_node(is_async: bool) -> None:
    graph = one_node(lambda state: {"x": ["n"]})
    graph.add_node("b", lambda state: {"x": ["b"]})
    graph.add_edge("n", "b")
    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client) as installed:
        compiled = schedule(
            graph.compile(name="g", checkpointer=InMemorySaver(), interrupt_after=["n"])
        )
        for given in ({"x": []}, None):
            if is_async:
                await compiled.ainvoke(given, config)
            else:
                compiled.invoke(given, config)
        assert_clean(installed)
    first = [">g", "+n#1@1", "-n", "<g interrupted"]
    assert shape(client) == [*first, ">g resumed", "+b#1@2", "-b", "<g"]


def test_an_error_handler_follows_the_node_that_failed() -> None:
    def bad(state: State) -> State:
        raise ValueError("no")

    graph = one_node(bad, error_handler=lambda state: {"x": ["handled"]})
    graph.add_node("after", lambda state: {"x": ["after"]})
    graph.add_edge("n", "after")
    client = FakeClient()
    with using(client) as installed:
        schedule(graph.compile(name="g")).invoke({"x": []})
        assert_clean(installed)
    told = shape(client)
    assert (told[:2], told[-1]) == ([">g", "+n#1@1"], "<g")
    assert told.count("-n error") == 1
    assert [line.split("#")[0] for line in starts(client)][1] == "+__error_handler__n"
    assert len(client.of(NodeStarted)) == len(client.of(NodeEnded))


async def test_async_functions_retried_paused_and_resumed() -> None:
    attempts: list[int] = []

    @task(retry_policy=QUICK)
    async def one(x: int) -> int:
        attempts.append(x)
        if len(attempts) < 2:
            raise ValueError("not yet")
        return x

    @entrypoint(checkpointer=InMemorySaver())
    async def flow(x: int) -> int:
        y = await one(x)
        interrupt("may I?")
        return y

    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client) as installed:
        schedule(flow)
        await flow.ainvoke(1, config)
        await flow.ainvoke(Command(resume=1), config)
        assert_clean(installed)
    assert [line.replace(flow.get_name(), "f") for line in shape(client)] == [
        *(">f", "+flow#1@0", "+one#1@0", "-one", "-flow interrupted", "<f interrupted"),
        *(">f resumed", "+flow#1@0", "-flow", "<f"),
    ]


def test_a_pause_inside_a_sub_graph() -> None:
    inner = one_node(ask).compile(name="inner")
    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client) as installed:
        graph = schedule(one_node(inner).compile(name="outer", checkpointer=InMemorySaver()))
        graph.invoke({"x": []}, config)
        graph.invoke(Command(resume="yes"), config)
        assert_clean(installed)
    assert shape(client) == [
        ">outer",
        "+n#1@1",
        ">inner^n",
        "+n#1@1",
        "-n interrupted",
        "<inner interrupted",
        "-n interrupted",
        "<outer interrupted",
        ">outer resumed",
        "+n#1@1",
        ">inner^n resumed",
        "+n#1@1",
        "-n",
        "<inner",
        "-n",
        "<outer",
    ]


def test_a_second_start_on_a_thread_is_a_new_run() -> None:
    client = FakeClient()
    config: Any = {"configurable": {"thread_id": "t1"}}
    with using(client):
        graph = schedule(
            one_node(lambda s: {"x": []}).compile(name="g", checkpointer=InMemorySaver())
        )
        graph.invoke({"x": []}, config)
        graph.invoke({"x": []}, config)
    assert [run.resumed for run in client.of(RunStarted)] == [False, False]


def test_an_error_ends_node_and_run() -> None:
    def bad(state: State) -> State:
        raise ValueError("no")

    client = FakeClient()
    with using(client) as installed:
        with pytest.raises(ValueError, match="no"):
            schedule(one_node(bad).compile(name="g")).invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [">g", "+n#1@1", "-n error", "<g error"]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_retried_node_is_one_node(is_async: bool) -> None:
    attempts = []

    def flaky(state: State) -> State:
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")
        return {"x": ["n"]}

    async def aflaky(state: State) -> State:
        return flaky(state)

    client = FakeClient()
    with using(client) as installed:
        graph = schedule(
            one_node(aflaky if is_async else flaky, retry_policy=QUICK).compile(name="g")
        )
        if is_async:
            await graph.ainvoke({"x": []})
        else:
            graph.invoke({"x": []})
        assert_clean(installed)
    assert len(attempts) == 3
    assert shape(client) == [">g", "+n#1@1", "-n", "<g"]


def test_a_node_that_fails_all_its_attempts() -> None:
    def bad(state: State) -> State:
        raise ValueError("never")

    client = FakeClient()
    with using(client) as installed:
        with pytest.raises(ValueError, match="never"):
            schedule(one_node(bad, retry_policy=QUICK).compile(name="g")).invoke({"x": []})
        assert_clean(installed)
    assert shape(client) == [">g", "+n#1@1", "-n error", "<g error"]


def test_a_graph_without_an_end() -> None:
    graph = StateGraph(State)
    graph.add_node("n", lambda state: {"x": [1]})
    graph.add_edge(START, "n")
    graph.add_edge("n", "n")
    client = FakeClient()
    with using(client) as installed:
        with pytest.raises(GraphRecursionError):
            schedule(graph.compile(name="g")).invoke({"x": []}, {"recursion_limit": 3})
        assert_clean(installed)
    assert starts(client) == ["+n#1@1", "+n#2@2 <- n", "+n#3@3 <- n"]
    assert shape(client)[-1] == "<g error"


async def test_cancellation() -> None:
    begun = asyncio.Event()

    async def wait(state: State) -> State:
        begun.set()
        await asyncio.Event().wait()
        return {}

    client = FakeClient()
    with using(client) as installed:
        running = asyncio.create_task(schedule(one_node(wait).compile(name="g")).ainvoke({"x": []}))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert_clean(installed)
    assert shape(client) == [">g", "+n#1@1", "-n cancelled", "<g cancelled"]


async def test_a_failing_sibling_cancels_the_other() -> None:
    async def wait(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    async def bad(state: State) -> State:
        await asyncio.sleep(0)
        raise ValueError("no")

    graph = StateGraph(State)
    graph.add_node("wait", wait)
    graph.add_node("bad", bad)
    graph.add_edge(START, "wait")
    graph.add_edge(START, "bad")
    client = FakeClient()
    with using(client) as installed:
        with pytest.raises(ValueError, match="no"):
            await schedule(graph.compile(name="g")).ainvoke({"x": []})
        await asyncio.sleep(0)
        assert_clean(installed)
    assert sorted(shape(client)[3:5]) == ["-bad error", "-wait cancelled"]
    assert shape(client)[-1] == "<g error"


async def test_an_abandoned_astream() -> None:
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"x": ["a"]})
    graph.add_node("b", lambda state: {"x": ["b"]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    client = FakeClient()
    with using(client) as installed:
        stream = schedule(graph.compile(name="g")).astream({"x": []}, stream_mode="updates")
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        assert_clean(installed)
    assert [(e.outcome) for e in client.of(RunEnded)] == ["cancelled"]
    assert len(client.of(NodeStarted)) == len(client.of(NodeEnded))


def test_an_abandoned_stream() -> None:
    graph = StateGraph(State)
    graph.add_node("a", lambda state: {"x": ["a"]})
    graph.add_node("b", lambda state: {"x": ["b"]})
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    client = FakeClient()
    with using(client) as installed:
        stream = schedule(graph.compile(name="g")).stream({"x": []}, stream_mode="updates")
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert_clean(installed)
    assert [run.outcome for run in client.of(RunEnded)] == ["cancelled"]


def test_going_to_the_parent_graph_is_no_error() -> None:
    inner = one_node(lambda s: Command(goto="after", graph=Command.PARENT)).compile(name="inner")
    outer = StateGraph(State)
    outer.add_node("sub", inner, destinations=("after",))
    outer.add_node("after", lambda state: {"x": ["after"]})
    outer.add_edge(START, "sub")
    client = FakeClient()
    with using(client) as installed:
        schedule(outer.compile(name="outer")).invoke({"x": []})
        assert_clean(installed)
    assert "error" not in " ".join(shape(client))
    assert starts(client)[-1] == "+after#1@2 <- sub"


def test_sends_that_fail_and_are_retried() -> None:
    failed: set[int] = set()

    def work(state: Any) -> State:
        if state["i"] not in failed:
            failed.add(state["i"])
            raise ValueError("once")
        return {"x": [state["i"]]}

    graph = StateGraph(State)
    graph.add_node("plan", lambda state: {"x": []})
    graph.add_node("work", work, retry_policy=QUICK)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda s: [Send("work", {"i": i}) for i in range(3)])
    client = FakeClient()
    with using(client) as installed:
        result = schedule(graph.compile(name="g")).invoke({"x": []})
        assert_clean(installed)
    assert sorted(result["x"]) == [0, 1, 2]
    assert starts(client) == ["+plan#1@1", *["+work#1@2 <- plan"] * 3]
    assert [end.outcome for end in client.of(NodeEnded)] == ["ok"] * 4


async def test_create_agent_tells_model_and_tools() -> None:
    from langchain.agents import create_agent

    @tool
    def look_up(word: str) -> str:
        """Look up a word."""
        return word

    call = {"name": "look_up", "args": {"word": "w"}, "id": "c1"}

    class Model(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    client = FakeClient()
    with using(client) as installed:
        for is_async in (False, True):
            client.clear()
            model = Model(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("done")]))
            agent = schedule(create_agent(model, [look_up], name="agent"))
            given: Any = {"messages": [("user", "hi")]}
            if is_async:
                await agent.ainvoke(given)
            else:
                agent.invoke(given)
            assert [line.split("@")[0] for line in starts(client)] == [
                "+model#1",
                "+tools#1",
                "+model#2",
            ]
        assert_clean(installed)


def test_other_callbacks_see_what_they_always_saw() -> None:
    from langchain_core.callbacks import BaseCallbackHandler

    class Seen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.events: list[Any] = []

        def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
            metadata = kwargs["metadata"]
            names = sorted(key for key in metadata)
            self.events.append(("start", kwargs["name"], kwargs["tags"], inputs, names))

        def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
            self.events.append(("end", outputs))

    bare, scheduled_, given = Seen(), Seen(), Seen()
    one_node(lambda s: {"x": [1]}).compile(name="g").invoke({"x": []}, {"callbacks": [bare]})
    client = FakeClient()
    with using(client):
        graph = one_node(lambda s: {"x": [1]}).compile(name="g")
        graph.config = {"callbacks": [given], "tags": []}
        schedule(graph).invoke({"x": []}, {"callbacks": [scheduled_]})
    assert scheduled_.events == bare.events == given.events
    assert shape(client) == [">g", "+n#1@1", "-n", "<g"]
    assert graph.config["callbacks"] == [given]

"""Spans of real LangGraph runs: agents, tools, pauses, cancellation, errors, other tracing."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

import headway_otel
import headway_otel.installation as otel_module
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, two_endpoints, using
from tests.support.traced import Traced, ids, is_below


@contextmanager
def tracing(client: FakeClient, provider: Any, meters: Any = None) -> Iterator[None]:
    """`headway_otel` installed into this client."""
    with pytest.MonkeyPatch.context() as patch, using(client):
        patch.setattr(otel_module, "get_client", lambda: client)
        headway_otel.install(provider, meters)
        try:
            yield
        finally:
            headway_otel.uninstall()
    assert not client.watchers


@pytest.fixture
def traced() -> Traced:
    return Traced()


def one_node(node: Any, **kwargs: Any) -> StateGraph[Any]:
    graph = StateGraph(State)
    graph.add_node("n", node, **kwargs)
    graph.add_edge(START, "n")
    return graph


def model(server: FakeOpenAI, **kwargs: Any) -> ChatOpenAI:
    return ChatOpenAI(model="small", base_url=server.url, api_key="k", max_retries=0, **kwargs)  # type: ignore[arg-type]


@tool
def search(query: str = "") -> str:
    """Search."""
    return "found"


@tool
def broken(query: str = "") -> str:
    """Fails."""
    raise KeyError("lost")


def agent_of(a: FakeOpenAI) -> Any:
    return schedule(create_agent(model(a), [search], name="support"))


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_agent(a: FakeOpenAI, b: FakeOpenAI, traced: Traced, is_async: bool) -> None:
    client = FakeClient(two_endpoints(a.url, b.url))
    with tracing(client, traced.provider, traced.meters):
        agent = agent_of(a)
        given: Any = {"messages": [{"role": "user", "content": "use the tool"}]}
        await agent.ainvoke(given) if is_async else agent.invoke(given)
    run = traced.named("invoke_agent support")
    nodes = traced.all("node")
    assert [one.name for one in nodes] == ["node model", "node tools", "node model"]
    assert all(is_below(one, run) for one in nodes)
    first, second = traced.all("chat")
    assert is_below(first, nodes[0]) and is_below(second, nodes[2])
    used = traced.named("execute_tool search")
    assert is_below(used, nodes[1])
    assert used.attributes["gen_ai.tool.call.id"] == "call-1"
    assert [link.context.span_id for link in nodes[1].links] == [ids(nodes[0])[1]]
    assert [link.context.span_id for link in nodes[2].links] == [ids(nodes[1])[1]]
    assert first.attributes["gen_ai.usage.output_tokens"] == 7
    assert first.attributes["headway.tool_calls"] == 1
    assert len({ids(one)[0] for one in traced.spans}) == 1
    text = str([dict(one.attributes) for one in traced.spans])
    assert "use the tool" not in text and "hello there" not in text and "found" not in text
    (calls,) = traced.points()["gen_ai.invoke_agent.inference_calls"]
    assert calls.sum == 2


async def test_a_tool_that_fails_and_a_node_that_is_tried_again(traced: Traced) -> None:
    tries: list[int] = []

    def node(state: State) -> State:
        tries.append(1)
        if len(tries) == 1:
            broken.invoke({})
        return {}

    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=KeyError)
    with tracing(FakeClient(), traced.provider):
        schedule(one_node(node, retry_policy=policy).compile(name="g")).invoke({"x": []})
    span = traced.named("execute_tool broken")
    assert span.attributes["error.type"] == "KeyError"
    node_span = traced.named("node n")
    assert [event.attributes["error.type"] for event in node_span.events] == ["KeyError"]
    assert node_span.attributes["headway.outcome"] == "ok"


async def test_errors_have_their_kind(traced: Traced) -> None:
    def node(state: State) -> State:
        raise LookupError("no")

    with tracing(FakeClient(), traced.provider), pytest.raises(LookupError):
        schedule(one_node(node).compile(name="g")).invoke({"x": []})
    for name in ("node n", "invoke_workflow g"):
        assert traced.named(name).attributes["error.type"] == "LookupError"
        assert traced.named(name).status.status_code is trace.StatusCode.ERROR


async def test_a_pause_and_its_resume(traced: Traced) -> None:
    def node(state: State) -> State:
        return {"x": [interrupt("may I?")]}

    config: Any = {"configurable": {"thread_id": "t1"}}
    with tracing(FakeClient(), traced.provider):
        graph = schedule(one_node(node).compile(name="g", checkpointer=InMemorySaver()))
        graph.invoke({"x": []}, config)
        graph.invoke(Command(resume="yes"), config)
    first, second = traced.all("invoke_workflow")
    assert first.attributes["headway.outcome"] == "interrupted"
    assert second.attributes["gen_ai.conversation.id"] == "t1"
    assert ids(first)[0] != ids(second)[0]
    assert [link.context.span_id for link in second.links] == [ids(first)[1]]


async def test_a_cancelled_run_ends_all_its_spans(
    a: FakeOpenAI, b: FakeOpenAI, traced: Traced
) -> None:
    async def node(state: State) -> State:
        await model(a).ainvoke("slow")
        return {}

    with tracing(FakeClient(two_endpoints(a.url, b.url)), traced.provider):
        graph = schedule(one_node(node).compile(name="g"))
        running = asyncio.ensure_future(graph.ainvoke({"x": []}))
        await asyncio.to_thread(a.wait_for, 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert {one.name: one.attributes["headway.outcome"] for one in traced.spans} == {
        "chat small": "cancelled",
        "node n": "cancelled",
        "invoke_workflow g": "cancelled",
    }


async def test_the_users_own_spans_can_be_put_below_a_node(traced: Traced) -> None:
    tracer = traced.provider.get_tracer("user")

    def node(state: State) -> State:
        with trace.use_span(headway_otel.current_span()), tracer.start_as_current_span("mine"):
            return {}

    with tracing(FakeClient(), traced.provider):
        schedule(one_node(node).compile(name="g")).invoke({"x": []})
        assert not headway_otel.current_span().get_span_context().is_valid
    assert is_below(traced.named("mine"), traced.named("node n"))


@pytest.mark.parametrize("is_async", [False, True])
async def test_beside_openinference(
    a: FakeOpenAI, b: FakeOpenAI, traced: Traced, is_async: bool
) -> None:
    module = pytest.importorskip("openinference.instrumentation.langchain")
    theirs = module.LangChainInstrumentor()
    client = FakeClient(two_endpoints(a.url, b.url))
    user = traced.provider.get_tracer("user")
    theirs.instrument(tracer_provider=traced.provider)
    try:
        with tracing(client, traced.provider), user.start_as_current_span("request"):
            agent = agent_of(a)
            given: Any = {"messages": [{"role": "user", "content": "use the tool"}]}
            await agent.ainvoke(given) if is_async else agent.invoke(given)
    finally:
        theirs.uninstrument()
    request = traced.named("request")
    ours = [one for one in traced.spans if one.instrumentation_scope.name == "headway"]
    others = [one for one in traced.spans if one not in ours and one is not request]
    assert others and len({ids(one)[0] for one in traced.spans}) == 1
    # Each tree hangs on the user's span and is whole by itself.
    for tree in (ours, others):
        inside = {ids(one) for one in tree}
        roots = [one for one in tree if (one.parent.trace_id, one.parent.span_id) not in inside]
        assert [is_below(one, request) for one in roots] == [True]
    assert [one.name for one in ours if one.name.startswith("chat")] == ["chat small"] * 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_side_by_side_each_call_hangs_on_its_own_node(
    a: FakeOpenAI, b: FakeOpenAI, traced: Traced, is_async: bool
) -> None:
    async def anode(state: State) -> State:
        llm = model(a)
        await asyncio.gather(llm.ainvoke("hi"), asyncio.to_thread(llm.invoke, "hi"))
        return {}

    def node(state: State) -> State:
        model(a).batch(["hi", "hi"])
        return {}

    graph = StateGraph(State)
    for name in ("p", "q", "r"):
        graph.add_node(name, anode if is_async else node)
        graph.add_edge(START, name)
    graph.add_node("join", lambda state: {})
    graph.add_edge(["p", "q", "r"], "join")
    with tracing(FakeClient(two_endpoints(a.url, b.url)), traced.provider):
        compiled = schedule(graph.compile(name="g"))
        # The same handler a second time, as a caller may give it too.
        twice: Any = {"callbacks": list((compiled.config or {})["callbacks"])}
        if is_async:
            await asyncio.gather(*(compiled.ainvoke({"x": []}, twice) for _ in range(3)))
        else:
            await asyncio.to_thread(compiled.batch, [{"x": []}] * 3, twice)
        kept = otel_module._installation.tracing._books  # type: ignore[union-attr]
        assert not kept.runs and not kept.nodes and not kept.calls and not kept.tools
    runs = {one.attributes["headway.run.id"]: one for one in traced.all("invoke_workflow")}
    nodes = {one.attributes["headway.node.id"]: one for one in traced.all("node")}
    calls = traced.all("chat")
    assert (len(runs), len(nodes), len(calls)) == (3, 12, 18)
    assert len(traced.spans) == 33 + len(traced.all("headway.wait"))
    for one in nodes.values():
        assert is_below(one, runs[one.attributes["headway.run.id"]])
        assert len(one.links) == (3 if one.name == "node join" else 0)
    for call in calls:
        assert is_below(call, nodes[call.attributes["headway.node.id"]])
    assert len(a.requests) == 18


class Raising(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:
        raise RuntimeError("the exporter is broken")


class Hanging(SpanExporter):
    """Exports nothing until it is let go."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.go = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.began.set()
        self.go.wait(20)
        return SpanExportResult.SUCCESS


class RaisingProcessor(SpanProcessor):
    def on_end(self, span: Any) -> None:
        raise RuntimeError("the processor is broken")


@pytest.mark.parametrize(
    "make", [lambda: SimpleSpanProcessor(Raising()), lambda: BatchSpanProcessor(Raising()),
             RaisingProcessor],
)  # fmt: skip
async def test_an_exporter_that_raises(a: FakeOpenAI, b: FakeOpenAI, make: Any) -> None:
    provider = TracerProvider()
    provider.add_span_processor(make())
    client = FakeClient(two_endpoints(a.url, b.url))

    async def node(state: State) -> State:
        return {"x": [(await model(a).ainvoke("hi")).text]}

    with tracing(client, provider):
        graph = schedule(one_node(node).compile(name="g"))
        for _ in range(2):
            assert (await graph.ainvoke({"x": []}))["x"] == ["hello there"]
        assert not otel_module._installation.tracing._books.runs  # type: ignore[union-attr]
    provider.shutdown()


def test_an_exporter_that_hangs_holds_nobody_up() -> None:
    exporter = Hanging()
    provider = TracerProvider()
    provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=8, max_export_batch_size=4,
                           schedule_delay_millis=1)
    )  # fmt: skip
    with tracing(FakeClient(), provider):
        graph = schedule(one_node(lambda state: {}).compile(name="g"))
        graph.invoke({"x": []})
        assert exporter.began.wait(20)
        # More than its queue holds, while it hangs.
        for _ in range(20):
            graph.invoke({"x": []})
        assert not exporter.go.is_set()
    exporter.go.set()
    provider.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_traces_its_own(traced: Traced) -> None:
    client = FakeClient()
    receive, send = os.pipe()
    with tracing(client, traced.provider):
        graph = schedule(one_node(lambda state: {}).compile(name="g"))

        def forking(state: State) -> State:
            child = os.fork()
            if child == 0:  # the parent's run is not this process's
                traced.exporter.clear()
                Context().run(graph.invoke, {"x": []})
                told = ",".join(one.name for one in traced.spans)
                os.write(send, f"{told} {len(traced.tracing._books.runs)}".encode())
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
            return {}

        schedule(one_node(forking).compile(name="outer")).invoke({"x": []})
    assert os.read(receive, 1000).decode() == "node n,invoke_workflow g 0"
    assert [one.name for one in traced.spans] == ["node n", "invoke_workflow outer"]


def test_a_second_installation_takes_the_place_of_the_first(
    a: FakeOpenAI, b: FakeOpenAI, traced: Traced
) -> None:
    client, other = FakeClient(two_endpoints(a.url, b.url)), Traced()
    given: Any = {"messages": [{"role": "user", "content": "hi"}]}
    with tracing(client, other.provider):
        agent = agent_of(a)
        agent.invoke(given)
        headway_otel.install(traced.provider)
        agent.invoke(given)
    for each in (other, traced):  # that it is an agent is told in the first run only
        assert len(each.all("invoke_agent support")) == 1


def test_nobody_hears_of_tools_when_nobody_watches() -> None:
    from headway.client.watching import ToolStarted

    client = FakeClient()
    with using(client) as installed:
        graph = one_node(lambda state: {"x": [search.invoke({})]}).compile(name="g")
        schedule(graph)
        (handler,) = graph.config["callbacks"]  # type: ignore[index]
        assert handler.ignore_agent
        graph.invoke({"x": []})
        assert installed.tracker.watchers is client.watchers
    assert client.of(ToolStarted) == []

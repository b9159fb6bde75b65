"""What arrives at the model's server: the trace context of the attempt's own span, in every way."""

import asyncio
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

import msgspec
import openai

from headway_langgraph import schedule
from tests.integration.test_otel_langgraph import model, one_node, tracing
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI, Request
from tests.support.scheduled import State, two_endpoints
from tests.support.traced import Traced, ids

HI: Any = [{"role": "user", "content": "hi"}]


def sent(request: Request) -> tuple[int, int]:
    """Trace and span id of the `traceparent` that arrived."""
    version, trace_id, span_id, flags = request.headers["traceparent"].split("-")
    assert version == "00" and int(flags, 16) & 1
    return int(trace_id, 16), int(span_id, 16)


def raw(server: FakeOpenAI, **kwargs: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="k", **kwargs)


def araw(server: FakeOpenAI, **kwargs: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.url, api_key="k", **kwargs)


def sync_sdk(server: FakeOpenAI) -> Any:
    def node(state: State) -> State:
        raw(server).chat.completions.create(model="small", messages=HI)
        return {}

    return node


def sync_stream(server: FakeOpenAI) -> Any:
    def node(state: State) -> State:
        list(raw(server).chat.completions.create(model="small", messages=HI, stream=True))
        return {}

    return node


def async_sdk(server: FakeOpenAI) -> Any:
    async def node(state: State) -> State:
        await araw(server).chat.completions.create(model="small", messages=HI)
        return {}

    return node


def async_stream(server: FakeOpenAI) -> Any:
    async def node(state: State) -> State:
        stream = await araw(server).chat.completions.create(model="small", messages=HI, stream=True)
        async for _ in stream:
            continue
        return {}

    return node


def chat_openai(server: FakeOpenAI) -> Any:
    def node(state: State) -> State:
        model(server).invoke("hi")
        return {}

    return node


def achat_openai(server: FakeOpenAI) -> Any:
    async def node(state: State) -> State:
        await model(server).ainvoke("hi")
        return {}

    return node


WAYS = [sync_sdk, sync_stream, async_sdk, async_stream, chat_openai, achat_openai]


@pytest.mark.parametrize("where", ["a", "b"])
@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
async def test_the_attempts_span_is_what_arrives(
    a: FakeOpenAI, b: FakeOpenAI, make: Any, where: str
) -> None:
    traced = Traced()
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: where)
    node = make(a)
    with tracing(client, traced.provider):
        graph = schedule(one_node(node).compile(name="g"))
        if asyncio.iscoroutinefunction(node):
            await graph.ainvoke({"x": []})
        else:
            await asyncio.to_thread(graph.invoke, {"x": []})
    (request,) = (a if where == "a" else b).requests
    (call,) = traced.all("chat")
    assert sent(request) == ids(call)
    run = call.attributes["headway.run.id"]
    assert request.headers["baggage"] == f"headway.run.id={run}"
    assert call.attributes["headway.decision.endpoint"] == where
    assert call.name == ("chat small" if where == "a" else "chat large")


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_retry_carries_its_own_span(a: FakeOpenAI, b: FakeOpenAI, is_async: bool) -> None:
    traced = Traced()
    a.fail(1, 500)

    def node(state: State) -> State:
        raw(a, max_retries=1).chat.completions.create(model="small", messages=HI)
        return {}

    async def anode(state: State) -> State:
        await araw(a, max_retries=1).chat.completions.create(model="small", messages=HI)
        return {}

    with tracing(FakeClient(two_endpoints(a.url, b.url)), traced.provider):
        if is_async:
            await schedule(one_node(anode).compile(name="g")).ainvoke({"x": []})
        else:
            graph = schedule(one_node(node).compile(name="g"))
            await asyncio.to_thread(graph.invoke, {"x": []})
    first, second = traced.all("chat")
    assert [sent(request) for request in a.requests] == [ids(first), ids(second)]
    assert first.attributes["error.type"] == "500"
    assert (first.attributes["headway.attempt"], second.attributes["headway.attempt"]) == (1, 2)
    assert first.attributes["headway.call.id"] == second.attributes["headway.call.id"]


@pytest.mark.parametrize("make", WAYS, ids=lambda make: make.__name__)
async def test_what_a_proxy_decides_about_joins_its_node(
    a: FakeOpenAI, b: FakeOpenAI, make: Any
) -> None:
    traced = Traced()
    pool = msgspec.structs.replace(two_endpoints("", b.url), gateways={a.url: "headway"})
    node = make(a)
    with tracing(FakeClient(pool), traced.provider):
        graph = schedule(one_node(node).compile(name="g"))
        if asyncio.iscoroutinefunction(node):
            await graph.ainvoke({"x": []})
        else:
            await asyncio.to_thread(graph.invoke, {"x": []})
    (request,) = a.requests
    assert traced.all("chat") == []
    assert sent(request) == ids(traced.named("node n"))
    assert request.headers["x-headway-run"] in request.headers["baggage"]


async def test_nothing_is_sent_when_nobody_watches(a: FakeOpenAI, b: FakeOpenAI) -> None:
    traced = Traced()
    client = FakeClient(two_endpoints(a.url, b.url))
    with tracing(client, traced.provider):
        graph = schedule(one_node(sync_sdk(a)).compile(name="g"))
        graph.get_name()
        client.watchers.remove(traced.tracing)
        from headway_otel import uninstall

        uninstall()
        await asyncio.to_thread(graph.invoke, {"x": []})
    (request,) = a.requests
    assert "traceparent" not in request.headers and "baggage" not in request.headers

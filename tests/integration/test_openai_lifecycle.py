"""Cancelled calls, abandoned streams, and credentials that must stay at home."""

import asyncio
import gc
from typing import Any

import openai
import pytest
from langgraph.graph import START, StateGraph

from headway.calling.apply import is_secret, origin
from headway.core.facts import CallEnded, NodeEnded
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, assert_clean, two_endpoints, using

HI: Any = [{"role": "user", "content": "hi"}]
SLOW: Any = [{"role": "user", "content": "slow"}]
STALL: Any = [{"role": "user", "content": "stall"}]


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")


def graph_of(node: Any, **kwargs: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("n", node, **kwargs)
    graph.add_edge(START, "n")
    return schedule(graph.compile(name="g"))


def raw(server: FakeOpenAI, **kwargs: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="user-key", max_retries=0, **kwargs)


def araw(server: FakeOpenAI, **kwargs: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.url, api_key="user-key", max_retries=0, **kwargs)


def simple(server: FakeOpenAI, **kwargs: Any) -> Any:
    def node(state: State) -> State:
        raw(server, **kwargs).chat.completions.create(model="small", messages=HI)
        return {}

    return node


# Ends


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call_is_closed(
    stream: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    async def node(state: State) -> State:
        sdk = araw(a)
        messages = STALL if stream else SLOW
        got: Any = await sdk.chat.completions.create(
            model="small", messages=messages, stream=stream
        )
        async for _ in got:
            continue
        return {}

    with using(client) as installed:
        running = asyncio.create_task(graph_of(node).ainvoke({"x": []}))
        await asyncio.to_thread(b.wait_for)
        if stream:
            await _until(lambda: any(f for f in client.facts if type(f).__name__ == "FirstToken"))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert_clean(installed)
    (ended,) = client.of(CallEnded)
    assert ended.outcome == "cancelled"


@pytest.mark.parametrize("how", ["close", "drop", "node end"])
def test_an_abandoned_stream_is_closed(
    how: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    kept = []

    def node(state: State) -> State:
        stream = raw(a).chat.completions.create(model="small", messages=STALL, stream=True)
        for _ in stream:
            break
        if how == "close":
            stream.close()
        elif how == "drop":
            del stream
            gc.collect()
        else:
            kept.append(stream)
        assert len(client.of(CallEnded)) == (how != "node end")
        return {}

    with using(client) as installed:
        graph_of(node).invoke({"x": []})
        assert_clean(installed)
        b.release.set()
        kept.clear()
    (ended,) = client.of(CallEnded)
    assert ended.outcome == "cancelled"
    (node_ended,) = client.of(NodeEnded)
    assert client.facts.index(ended) < client.facts.index(node_ended)


async def test_an_abandoned_async_stream_is_closed(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    async def node(state: State) -> State:
        stream = await araw(a).chat.completions.create(model="small", messages=STALL, stream=True)
        async for _ in stream:
            break
        await stream.close()
        assert [end.outcome for end in client.of(CallEnded)] == ["cancelled"]
        return {}

    with using(client) as installed:
        await graph_of(node).ainvoke({"x": []})
        assert_clean(installed)
    assert len(client.of(CallEnded)) == 1


def test_who_stops_after_the_last_word_has_it_all(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        stream = raw(a).chat.completions.create(model="small", messages=HI, stream=True)
        for chunk in stream:
            if chunk.choices[0].finish_reason:
                break
        stream.close()
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    (ended,) = client.of(CallEnded)
    assert (ended.outcome, ended.finish_reason) == ("ok", "stop")


# Secrets


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("key", [None, "pool-key"])
async def test_no_credential_follows_to_another_host(
    is_async: bool,
    key: str | None,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if key:
        monkeypatch.setenv("POOL_KEY", key)
        client.pool = two_endpoints(a.url, b.url, api_key="os.environ/POOL_KEY")
    secrets: dict[str, Any] = {
        "organization": "secret-org",
        "project": "secret-project",
        "default_headers": {
            "api-key": "secret-1",
            "Cookie": "session=secret-2",
            "X-My-Token": "secret-3",
            "x-harmless": "stays",
            "x-headway-tenant": "secret-tenant",
        },
    }
    # What hangs on the HTTP client itself is merged in below the SDK.
    try:
        import httpx2 as http
    except ImportError:
        import httpx as http  # type: ignore[no-redef]
    below: dict[str, Any] = {"headers": {"x-api-key": "secret-4"}, "cookies": {"c": "secret-5"}}
    per_call = {"AUTHORIZATION": "Bearer secret-6", "x-plain": "stays"}

    def node(state: State) -> State:
        sdk = raw(a, http_client=http.Client(**below), **secrets)
        sdk.chat.completions.create(model="small", messages=HI, extra_headers=per_call)
        return {}

    async def anode(state: State) -> State:
        sdk = araw(a, http_client=http.AsyncClient(**below), **secrets)
        await sdk.chat.completions.create(model="small", messages=HI, extra_headers=per_call)
        return {}

    with using(client):
        await graph_of(anode if is_async else node).ainvoke({"x": []})
        client.choose = lambda ask: "a"
        await graph_of(anode if is_async else node).ainvoke({"x": []})
    (foreign,) = b.requests
    assert "secret" not in str(foreign.headers) and "user-key" not in str(foreign.headers)
    assert foreign.headers.get("authorization") == (f"Bearer {key}" if key else None)
    assert foreign.headers["x-harmless"] == foreign.headers["x-plain"] == "stays"
    (own,) = a.requests
    assert own.headers["authorization"] == "Bearer secret-6"
    assert own.headers["openai-organization"] == "secret-org"


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "api-key", "X-API-Key", "Cookie", "OpenAI-Project", "x-auth-token"),
        *("X-JWT-Assertion", "x-signature", "X-Headway-Run"),
    ],
)
def test_secret_headers(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["content-type", "Idempotency-Key", "x-stainless-os", "user-agent"]
)
def test_harmless_headers(name: str) -> None:
    assert not is_secret(name)


def test_the_port_belongs_to_the_host() -> None:
    assert origin("http://h:1/v1") != origin("http://h:2/v1")
    assert origin("https://H/v1") == origin("https://h:443/v2")


async def _until(met: Any) -> None:
    async with asyncio.timeout(10):
        while not met():
            await asyncio.sleep(0.005)

"""Base URLs that the pool names as gateways: LiteLLM's terms, or only who asks."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph

from headway.client import Client, Route
from headway.core.facts import CallEnded, CallReady
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_daemon import write_pool_view
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_nodes import asking_node
from tests.support.scheduled import State, assert_clean, using

HI: Any = [{"role": "user", "content": "hi"}]
EACH_STREAM = pytest.mark.parametrize("stream", [False, True])
EACH_SYNC = pytest.mark.parametrize("is_async", [False, True])
EACH_FORM = pytest.mark.parametrize("form", ["chat", "responses"])


class Tracer:
    """A watcher that gives every attempt a trace of its own."""

    def told(self, fact: msgspec.Struct) -> None:
        """Not of interest here."""

    def asked(self, ask: CallReady) -> None:
        """Not of interest here."""

    def routed(self, ask: CallReady, route: Route) -> None:
        """Not of interest here."""

    def headers(self, ask: CallReady) -> dict[str, str]:
        return {"traceparent": f"00-trace-{ask.attempt}"}


def pool_of(kind: str, gateway: str, endpoint: str) -> Pool:
    """A gateway of two deployments, of which only B has a URL of its own."""
    return Pool(
        endpoints=(
            EndpointSpec(id=EndpointId("dep-a"), url="", model="small", engine="vllm"),
            EndpointSpec(
                id=EndpointId("dep-b"),
                url=endpoint,
                model="large",
                engine="vllm",
                api_key="os.environ/POOL_KEY",
            ),
        ),
        gateways={gateway: kind},
    )


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A is a LiteLLM proxy; every call goes to the deployment B with urgency 2."""
    monkeypatch.setenv("POOL_KEY", "pool-key")
    pool = pool_of("litellm", a.url, b.url)
    return FakeClient(pool, choose=lambda ask: "dep-b", urgency=2.0)


def forwarding(client: FakeClient, a: FakeOpenAI, b: FakeOpenAI) -> None:
    """A is a proxy with Headway in it."""
    client.pool = pool_of("headway", a.url, b.url)


async def run(node: Any, metadata: Any = None, **of_node: Any) -> None:
    graph = StateGraph(State)
    graph.add_node("n", node, **of_node)
    graph.add_edge(START, "n")
    compiled = schedule(graph.compile(name="g"))
    config: Any = {"metadata": metadata or {}}
    if asyncio.iscoroutinefunction(node):
        await compiled.ainvoke({"x": []}, config)
    else:
        await asyncio.to_thread(compiled.invoke, {"x": []}, config)


def asking(
    url: str, *, form: str = "chat", stream: bool = False, is_async: bool = False, **more: Any
) -> Any:
    """A node that asks for `agent` at `url`."""
    request = {"model": "agent", "stream": stream, **more}
    return asking_node({"base_url": url, "timeout": 40}, request, form=form, is_async=is_async)


def ours(headers: dict[str, str]) -> set[str]:
    """Names of headers that only we set."""
    known = ("traceparent", "x-vllm-priority", "x-session-id")
    return {name for name in headers if name in known or name.startswith("x-headway-")}


# LiteLLM


@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_a_decision_is_said_in_litellms_terms(
    form: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.watchers.add(Tracer())
    with using(client) as installed:
        await run(asking(a.url, form=form, stream=stream, is_async=is_async))
        assert_clean(installed)
    assert b.requests == []
    (request,) = a.requests
    assert request.path == ("/v1/chat/completions" if form == "chat" else "/v1/responses")
    assert request.body["model"] == "dep-b"
    assert request.body["extra_body"] == {"priority": -2000}
    assert "priority" not in request.body
    assert request.headers["authorization"] == "Bearer user-key"
    assert request.headers["x-headway-decision"] == "dep-b"
    assert ours(request.headers) == {"x-headway-decision", "traceparent"}
    (ask,) = client.asks
    assert (ask.pool_name, ask.endpoints) == ("agent", ("dep-a", "dep-b"))
    (ended,) = client.of(CallEnded)
    assert (ended.outcome, ended.call) == ("ok", ask.call)
    assert [one.way for one in client.covered] == ["openai"]


async def test_a_retry_at_litellm_asks_again(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.watchers.add(Tracer())
    client.choose = lambda ask: {1: "dep-b", 2: "dep-a"}.get(ask.attempt)
    a.fail(2, 503)
    with using(client):
        await run(asking(a.url, extra_body={"extra_body": {"cache_salt": "z"}}))
    assert [request.body["model"] for request in a.requests] == ["dep-b", "dep-a", "agent"]
    marks = [request.headers.get("x-headway-decision") for request in a.requests]
    assert marks == ["dep-b", "dep-a", None]
    traces = [request.headers.get("traceparent") for request in a.requests]
    assert traces == ["00-trace-1", "00-trace-2", None]
    salted = {"cache_salt": "z", "priority": -2000}
    assert [request.body["extra_body"] for request in a.requests] == [
        salted,
        salted,
        {"cache_salt": "z"},
    ]


async def test_langchain_at_litellm(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
    options: Any = {"base_url": a.url, "api_key": "user-key", "model": "agent"}
    for responses in (False, True):
        llm = ChatOpenAI(use_responses_api=responses, **options)
        with using(client):
            await run(lambda state, llm=llm: {"x": ["".join(c.text for c in llm.stream("hi"))]})
    assert [request.body["model"] for request in a.requests] == ["dep-b", "dep-b"]
    assert [end.output_tokens for end in client.of(CallEnded)] == [7, 7]


@pytest.mark.parametrize("source", ["shadow", "fallback", "none"])
async def test_without_a_decision_litellm_gets_the_request_as_it_was(
    source: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.watchers.add(Tracer())
    client.source = source
    with using(client) as installed:
        await run(asking(a.url))
        assert_clean(installed)
    (request,) = a.requests
    assert request.body["model"] == "agent" and "extra_body" not in request.body
    assert ours(request.headers) == set() and client.covered == []


async def test_what_litellm_has_stored_stays_with_it(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using(client):
        await run(asking(a.url, form="responses", previous_response_id="resp_1"))
    assert client.asks == [] and len(client.passed) == 1
    assert a.bodies[0]["model"] == "agent" and ours(a.requests[0].headers) == set()


async def test_what_litellm_was_seen_to_store_is_asked_of_its_deployment(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using(client):
        await run(asking(a.url, form="responses"))
        await run(asking(a.url, form="responses", previous_response_id="resp_x"))
    assert [ask.endpoints for ask in client.asks] == [("dep-a", "dep-b"), ("dep-b",)]
    assert [body["model"] for body in a.bodies] == ["dep-b", "dep-b"]
    assert client.passed == [] and b.requests == []


# A proxy with Headway in it

IDENTITY = {
    *("x-headway-run", "x-headway-graph", "x-headway-node", "x-headway-node-name"),
    *("x-headway-visit", "x-headway-attempt", "x-headway-timeout-s"),
}


@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_who_asks_is_all_that_a_headway_proxy_is_told(
    form: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    forwarding(client, a, b)
    client.watchers.add(Tracer())
    a.fail(1, 503)
    with using(client) as installed:
        await run(
            asking(a.url, form=form, stream=stream, is_async=is_async),
            {"headway_deadline_s": 60, "headway_class": "batch", "headway_tenant": "t"},
        )
        assert_clean(installed)
    assert b.requests == []
    assert client.asks == [] and client.of(CallEnded) == [] and client.passed == []
    assert [one.way for one in client.covered] == ["gateway"]
    assert len(a.requests) == 2
    for attempt, request in enumerate(a.requests, start=1):
        said = request.headers
        assert ours(said) >= {*IDENTITY, "traceparent"}
        assert said["x-headway-attempt"] == str(attempt)
        assert said["traceparent"] == f"00-trace-{attempt}"
        assert (said["x-headway-graph"], said["x-headway-class"]) == ("g", "batch")
        assert (said["x-headway-deadline-s"], said["x-headway-timeout-s"]) == ("60", "40")
        assert said["authorization"] == "Bearer user-key"
        assert "x-headway-decision" not in said
        assert request.body["model"] == "agent"
        assert "priority" not in request.body and "extra_body" not in request.body


async def test_a_node_that_is_off_says_so_to_the_proxy(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    forwarding(client, a, b)
    with using(client):
        await run(asking(a.url), metadata={"headway_off": True})
        assert a.requests[0].headers["x-headway-off"] == "1"
        client.off = True
        await run(asking(a.url))
    assert ours(a.requests[1].headers) == set()


@EACH_SYNC
async def test_azure_clients_and_stored_answers_are_the_proxys_matter(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    forwarding(client, a, b)
    options: Any = {"base_url": a.url, "api_key": "azure-key", "api_version": "1"}

    def node(state: State) -> State:
        openai.AzureOpenAI(**options).chat.completions.create(model="agent", messages=HI)
        return {}

    async def anode(state: State) -> State:
        sdk = openai.AsyncAzureOpenAI(**options)
        await sdk.chat.completions.create(model="agent", messages=HI)
        return {}

    with using(client):
        await run(anode if is_async else node)
        await run(asking(a.url, form="responses", previous_response_id="resp_1"))
    assert all(
        ours(request.headers) >= IDENTITY - {"x-headway-timeout-s"} for request in a.requests
    )
    assert a.requests[0].headers["api-key"] == "azure-key" and client.passed == []


# Everywhere else


@pytest.mark.parametrize("kind", ["litellm", "headway"])
async def test_other_hosts_never_see_our_headers(
    kind: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.pool = pool_of(kind, a.url, b.url)
    client.watchers.add(Tracer())
    with FakeOpenAI() as elsewhere, using(client):
        await run(asking(elsewhere.url))
        await run(asking(b.url))
        (request,) = elsewhere.requests
    assert ours(request.headers) == set() and request.body["model"] == "agent"
    assert not [name for name in b.requests[0].headers if name.startswith("x-headway-")]
    assert [passed.target for passed in client.passed] == [elsewhere.url]


@pytest.mark.parametrize("kind", ["litellm", "headway"])
@EACH_STREAM
@EACH_SYNC
async def test_with_the_daemon_away_the_gateway_still_answers(
    kind: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, tmp_path: Path
) -> None:
    write_pool_view(tmp_path / "s.sock", pool_of(kind, a.url, b.url))
    real: Any = Client(tmp_path / "s.sock")
    a.fail(1, 503)
    try:
        with using(real) as installed:
            await run(asking(a.url, stream=stream, is_async=is_async))
            assert_clean(installed)
    finally:
        real.close()
    assert b.requests == [] and len(a.requests) == 2
    for request in a.requests:
        assert request.body["model"] == "agent" and "extra_body" not in request.body
        assert request.headers["authorization"] == "Bearer user-key"
        assert (ours(request.headers) >= IDENTITY) == (kind == "headway")
        assert "x-headway-decision" not in request.headers


async def test_a_pool_that_shows_up_late_names_a_gateway(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    forwarding(client, a, b)
    pool, client.pool = client.pool, None
    decide = client.decide

    def decide_late(ask: CallReady) -> Any:
        client.pool = pool
        return decide(ask)

    client.decide = decide_late  # type: ignore[method-assign]
    with using(client) as installed:
        await run(asking(a.url))
        assert_clean(installed)
    assert b.requests == []
    assert a.bodies[0]["model"] == "agent" and ours(a.requests[0].headers) == set()

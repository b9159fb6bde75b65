"""Each attempt on its own: retries, carried headers, hooks within hooks, and no daemon at all."""

from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest

from headway.calling.calls import decided
from headway.client import Client, Route
from headway.context import live_scope
from headway.core.facts import CallEnded, CallReady
from tests.support.fake_client import FakeClient
from tests.support.fake_daemon import write_pool_view
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_nodes import asking_node, run
from tests.support.scheduled import State, assert_clean, two_endpoints, using

HI: Any = [{"role": "user", "content": "hi"}]
EACH_FORM = pytest.mark.parametrize("form", ["chat", "responses"])
EACH_STREAM = pytest.mark.parametrize("stream", [False, True])
EACH_SYNC = pytest.mark.parametrize("is_async", [False, True])


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


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B, the more urgent the more often it was tried."""
    found = FakeClient(two_endpoints(a.url, b.url))

    def choose(ask: CallReady) -> str:
        found.urgency = float(ask.attempt)
        return "b"

    found.choose = choose
    return found


def asking(
    url: str, *, form: str, stream: bool, is_async: bool, headers: Any = None, **options: Any
) -> Any:
    """A node that asks for `small` at `url`."""
    request = {"model": "small", "stream": stream, "extra_headers": headers}
    return asking_node({"base_url": url, **options}, request, form=form, is_async=is_async)


# Retries


@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_every_attempt_is_put_right_afresh(
    form: str,
    stream: bool,
    is_async: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POOL_KEY", "pool-key")
    client.pool = two_endpoints(a.url, b.url, api_key="os.environ/POOL_KEY")
    client.watchers.add(Tracer())
    b.fail(2, 503)
    with using(client) as installed:
        await run(asking(a.url, form=form, stream=stream, is_async=is_async))
        assert_clean(installed)
    assert a.requests == []
    assert [
        (
            request.body["model"],
            request.body["priority"],
            request.headers["x-vllm-priority"],
            request.headers["authorization"],
            request.headers["traceparent"],
        )
        for request in b.requests
    ] == [
        ("large", -1000 * n, str(-1000 * n), "Bearer pool-key", f"00-trace-{n}") for n in (1, 2, 3)
    ]
    ends = [(end.attempt, end.outcome, end.error) for end in client.of(CallEnded)]
    assert ends == [(1, "error", "503"), (2, "error", "503"), (3, "ok", "")]


@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_nothing_of_an_attempt_sticks_to_the_next(
    form: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """First elsewhere, then at home, then by nobody's decision."""
    client.watchers.add(Tracer())
    client.choose = lambda ask: {1: "b", 2: "a"}.get(ask.attempt)
    for server in (a, b):
        server.fail(1, 500)
    with using(client):
        await run(asking(a.url, form=form, stream=stream, is_async=is_async))
    (foreign,) = b.requests
    assert "authorization" not in foreign.headers and "user-key" not in str(foreign.headers)
    home, plain = a.requests
    for request in (home, plain):
        assert request.headers["authorization"] == "Bearer user-key"
        assert request.body["model"] == "small"
    assert home.headers["traceparent"] == "00-trace-2" and "priority" in home.body
    assert "traceparent" not in plain.headers and "priority" not in plain.body
    assert "x-vllm-priority" not in plain.headers


@pytest.mark.parametrize("daemon", ["gone", "never seen"])
@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_without_a_daemon_retries_go_the_ordinary_way(
    daemon: str,
    form: str,
    stream: bool,
    is_async: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    tmp_path: Path,
) -> None:
    if daemon == "gone":
        write_pool_view(tmp_path / "s.sock", two_endpoints(a.url, b.url))
    real: Any = Client(tmp_path / "s.sock")
    a.fail(2, 503)
    try:
        with using(real) as installed:
            await run(asking(a.url, form=form, stream=stream, is_async=is_async))
            assert_clean(installed)
    finally:
        real.close()
    assert len(a.requests) == 3 and b.requests == []
    for request in a.requests:
        assert request.body["model"] == "small"
        assert request.headers["authorization"] == "Bearer user-key"


# Carried headers


@EACH_FORM
@EACH_SYNC
async def test_a_trace_replaces_the_callers_in_any_spelling(
    form: str, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    own: Any = {"headers": {"TraceParent": "mine"}, "default_headers": {"TRACEPARENT": "mine"}}
    ask = {"form": form, "stream": False, "is_async": is_async}
    with using(client):
        await run(asking(a.url, **own, **ask))
        client.watchers.add(Tracer())
        await run(asking(a.url, **own, **ask))
    kept, replaced = b.requests
    assert kept.headers["traceparent"] == "mine"
    assert replaced.headers["traceparent"] == "00-trace-1"


@pytest.mark.parametrize("why", ["foreign", "shadow", "azure"])
async def test_nothing_is_carried_by_what_passes(
    why: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.watchers.add(Tracer())
    client.source = "shadow" if why == "shadow" else "daemon"
    ask: Any = {"form": "chat", "stream": False, "is_async": False}
    with FakeOpenAI() as elsewhere, using(client):
        if why == "azure":

            def node(state: State) -> State:
                sdk = openai.AzureOpenAI(base_url=a.url, api_key="k", api_version="1")
                sdk.chat.completions.create(model="small", messages=HI)
                return {}

            await run(node)
        else:
            await run(asking(elsewhere.url if why == "foreign" else a.url, **ask))
        (request,) = elsewhere.requests if why == "foreign" else a.requests
    assert b.requests == []
    ours = ("traceparent", "x-vllm-priority", "x-session-id")
    assert not [n for n in request.headers if n in ours or n.startswith("x-headway")]


async def test_the_callers_own_headers_of_urgency_are_kept(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    ask: Any = {"form": "chat", "stream": False, "is_async": False}
    with using(client):
        await run(asking(a.url, headers={"x-vllm-PRIORITY": "5"}, **ask))
        await run(asking(a.url, default_headers={"X-Session-ID": "mine"}, **ask))
        from headway.calling.guard import complaints

        assert complaints.counts == {"own urgency": 1}
        complaints.counts.clear()
    own, session = b.requests
    assert own.headers["x-vllm-priority"] == "5" and "priority" not in own.body
    assert session.headers["x-session-id"] == "mine" and session.body["priority"] == -1000


# One attempt, one decision


@EACH_FORM
@EACH_STREAM
@EACH_SYNC
async def test_what_an_outer_hook_decides_is_let_be(
    form: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    inner = asking(a.url, form=form, stream=stream, is_async=is_async)
    begun: list[Any] = []

    def outer() -> Any:
        scope = live_scope()
        assert scope is not None
        calls = installed.calls
        call = calls.begin(client=client, scope=scope, body={}, way="outer", timeout_s=None)
        begun.append(client.decide(call.next_attempt()))
        return call

    def node(state: State) -> State:
        call = outer()
        token = decided.set(call)
        try:
            inner(state)
        finally:
            decided.reset(token)
        call.close()
        return {}

    async def anode(state: State) -> State:
        call = outer()
        token = decided.set(call)
        try:
            await inner(state)
        finally:
            decided.reset(token)
        call.close()
        return {}

    with using(client) as installed:
        await run(anode if is_async else node)
        assert_clean(installed)
    assert len(begun) == len(client.asks) == len(client.of(CallEnded)) == 1
    assert client.covered == [] and client.passed == []
    (request,) = a.requests
    assert request.body["model"] == "small" and "priority" not in request.body


async def test_a_request_made_later_is_decided_again(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """A stream's helper sends when it is entered, and a program calls while it reads a stream."""

    def node(state: State) -> State:
        sdk = openai.OpenAI(base_url=a.url, api_key="k", max_retries=0)
        scope = live_scope()
        assert scope is not None
        call = installed.calls.begin(
            client=client, scope=scope, body={}, way="outer", timeout_s=None
        )
        token = decided.set(call)
        helper = sdk.responses.stream(model="small", input="hi")
        decided.reset(token)
        with helper as events:
            for event in events:
                if event.type == "response.created":
                    sdk.chat.completions.create(model="small", messages=HI)
        return {}

    with using(client) as installed:
        await run(node)
        assert_clean(installed)
    assert [request.path for request in b.requests] == ["/v1/responses", "/v1/chat/completions"]
    assert len({ask.call for ask in client.asks}) == 2
    assert [end.outcome for end in client.of(CallEnded)] == ["ok", "ok"]


# Azure


@pytest.mark.parametrize("how", ["base_url", "azure_endpoint"])
@EACH_STREAM
@EACH_SYNC
async def test_azure_passes_with_its_own_key_and_is_counted(
    how: str, stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    where: Any = {"base_url": a.url} if how == "base_url" else {"azure_endpoint": a.url[:-3]}
    options: Any = {"api_key": "azure-key", "api_version": "2024-10-21", **where}
    request: Any = {"model": "small", "messages": HI, "stream": stream}

    def node(state: State) -> State:
        list(openai.AzureOpenAI(**options).chat.completions.create(**request))
        return {}

    async def anode(state: State) -> State:
        answer = await openai.AsyncAzureOpenAI(**options).chat.completions.create(**request)
        if stream:
            _ = [part async for part in answer]
        return {}

    a.fail(1, 500)
    with using(client) as installed:
        await run(anode if is_async else node)
        assert_clean(installed)
    assert b.requests == [] and client.asks == [] and client.of(CallEnded) == []
    assert [request.headers["api-key"] for request in a.requests] == ["azure-key"] * 2
    assert {request.body["model"] for request in a.requests} == {"small"}
    assert all("priority" not in request.body for request in a.requests)
    (passed,) = client.passed
    assert (passed.why, passed.count) == ("azure clients are not covered", 1)
    assert passed.target.startswith(a.url[:-3])

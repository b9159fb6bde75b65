"""Requests that must pass untouched; the patch installed, removed, and broken on purpose."""

from types import ModuleType
from typing import Any

import openai
import openai._base_client as base_client
import pytest
from langgraph.graph import START, StateGraph

from headway.calling.guard import complaints
from headway.core.facts import CallEnded, CallReady
from headway_langgraph import openai_patch, schedule
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


# Requests that pass


def test_outside_a_run_nothing_happens(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
    with using(client):
        graph_of(lambda state: {}).invoke({"x": []})
        client.clear()
        simple(a)({})
    assert client.facts == []
    assert a.requests[0].headers["authorization"] == "Bearer user-key"
    assert "priority" not in a.bodies[0]


async def test_after_an_async_run_nothing_happens(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    async def node(state: State) -> State:
        return {}

    with using(client):
        await graph_of(node).ainvoke({"x": []})
        client.clear()
        await araw(a).chat.completions.create(model="small", messages=HI)
    assert client.facts == [] and len(a.requests) == 1


@pytest.mark.parametrize("where", ["run", "node", "client"])
def test_off_switches(where: str, a: FakeOpenAI, client: FakeClient) -> None:
    off = {"headway_off": True}
    client.off = where == "client"
    with using(client):
        graph_of(simple(a), metadata=off if where == "node" else {}).invoke(
            {"x": []}, {"metadata": off if where == "run" else {}}
        )
    assert len(a.requests) == 1
    assert client.asks == [] and client.passed == [] and client.covered == []


def test_pins_reach_the_question(a: FakeOpenAI, client: FakeClient) -> None:
    with using(client):
        graph_of(simple(a), metadata={"headway_models": "large"}).invoke({"x": []})
    assert [ask.models for ask in client.asks] == [("large",)]


def test_a_foreign_base_url_is_never_redirected(a: FakeOpenAI, client: FakeClient) -> None:
    with FakeOpenAI() as elsewhere, using(client):
        graph_of(simple(elsewhere)).invoke({"x": []})
        assert len(elsewhere.requests) == 1
    assert client.asks == []
    (passed,) = client.passed
    assert passed.target == elsewhere.url and "pool" in passed.why


def test_a_pool_that_shows_up_late_redirects_nobody_foreign(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    pool, client.pool = client.pool, None

    def choose(ask: CallReady) -> str:
        return "b"

    decide = client.decide

    def decide_late(ask: CallReady) -> Any:
        client.pool = pool
        return decide(ask)

    client.choose, client.decide = choose, decide_late  # type: ignore[method-assign]
    with FakeOpenAI() as elsewhere, using(client) as installed:
        graph_of(simple(elsewhere)).invoke({"x": []})
        assert len(elsewhere.requests) == 1
        assert_clean(installed)
    assert b.requests == []
    assert [end.outcome for end in client.of(CallEnded)] == ["cancelled"]
    assert len(client.passed) == 1


@pytest.mark.parametrize("source", ["shadow", "off", "none"])
def test_a_decision_that_is_not_to_be_applied(
    source: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.source = source
    with using(client):
        graph_of(simple(a)).invoke({"x": []})
    assert len(a.requests) == 1 and b.requests == []
    assert "priority" not in a.bodies[0]
    assert a.requests[0].headers["authorization"] == "Bearer user-key"
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"]
    assert client.covered == []


def test_no_pool_at_all(a: FakeOpenAI, client: FakeClient) -> None:
    client.pool = None
    with using(client) as installed:
        graph_of(simple(a)).invoke({"x": []})
        assert_clean(installed)
    assert a.bodies[0]["model"] == "small"


def test_azure_and_signed_clients_pass(a: FakeOpenAI, client: FakeClient) -> None:
    azure = openai.AzureOpenAI(base_url=a.url, api_key="k", api_version="2024-01-01", max_retries=0)

    def node(state: State) -> State:
        azure.chat.completions.create(model="small", messages=HI)
        raw(a, default_query={"key": "k"}).chat.completions.create(model="small", messages=HI)
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    assert client.asks == []
    assert [passed.why.split(":")[0] for passed in client.passed] == [
        "azure clients are not covered",
        "the request has URL parameters, which may hold a key",
    ]
    assert all(passed.target == a.url for passed in client.passed)


class Signing(openai.OpenAI):
    """Signs its requests at the last moment, as the SDK invites to."""

    def _prepare_request(self, request: Any) -> None:
        request.headers["x-plain"] = "secret"


def with_a_hook() -> Any:
    def sign(request: Any) -> None:
        request.headers["x-plain"] = "secret"

    try:
        import httpx2 as http
    except ImportError:
        import httpx as http  # type: ignore[no-redef]
    return http.Client(event_hooks={"request": [sign]})


@pytest.mark.parametrize("how", ["class", "hook"])
def test_what_signs_at_the_last_moment_stays_at_home(
    how: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    options: Any = {"base_url": a.url, "api_key": "user-key", "max_retries": 0}

    def node(state: State) -> State:
        if how == "class":
            sdk: openai.OpenAI = Signing(**options)
        else:
            sdk = openai.OpenAI(http_client=with_a_hook(), **options)
        sdk.chat.completions.create(model="small", messages=HI)
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    assert b.requests == [] and client.asks == []
    assert a.requests[0].headers["x-plain"] == "secret"
    (passed,) = client.passed
    assert "sign" in passed.why or "hooks" in passed.why


def test_other_requests_are_not_even_looked_at(a: FakeOpenAI, client: FakeClient) -> None:
    def node(state: State) -> State:
        with pytest.raises(openai.NotFoundError):
            a.fail(1, 404)
            raw(a).embeddings.create(model="e", input="hi")
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    assert client.asks == [] and client.passed == []


# The patch itself

PATCHED = [
    (base_client.SyncAPIClient, "request"),
    (base_client.AsyncAPIClient, "request"),
    (base_client.SyncAPIClient, "_prepare_options"),
    (base_client.AsyncAPIClient, "_prepare_options"),
    (base_client.SyncAPIClient, "_sleep_for_retry"),
    (base_client.AsyncAPIClient, "_sleep_for_retry"),
    (base_client.BaseClient, "_build_request"),
]


def test_the_patch_is_idempotent_and_reversible(client: FakeClient) -> None:
    before = [owner.__dict__[name] for owner, name in PATCHED]
    with using(client) as installed:
        installed.install()
        once = [owner.__dict__[name] for owner, name in PATCHED]
        installed.install()
        assert [owner.__dict__[name] for owner, name in PATCHED] == once
        assert all(new is not old for new, old in zip(once, before, strict=True))
        installed.uninstall()
        assert [owner.__dict__[name] for owner, name in PATCHED] == before


def test_an_unknown_sdk_is_left_alone(client: FakeClient) -> None:
    strange = ModuleType("openai._base_client")

    class SyncAPIClient:
        def request(self, everything: Any) -> None:
            """Not what we know."""

    strange.SyncAPIClient = SyncAPIClient  # type: ignore[attr-defined]
    with using(client) as installed:
        installed._patch(strange)
        assert not installed.patch.installed
        complaints.counts.clear()
    (passed,) = client.passed
    assert "not known" in passed.why
    assert openai_patch.unknown_in(base_client) == ""


@pytest.mark.parametrize(
    "broken",
    [
        "headway_langgraph.openai_patch.OpenAIPatch._begin_request",
        "headway_langgraph.openai_patch.OpenAIPatch._settle",
        "headway_langgraph.sending.Sending.change",
        "headway_langgraph.sending.Sending.finish",
        "headway_langgraph.openai_patch._attempt_failed",
        "headway_langgraph.openai_patch._hear",
        "headway_langgraph.openai_patch.follow",
        "headway_langgraph.openai_patch.rewrite",
        "headway.calling.calls.Call.next_attempt",
        "headway.calling.calls.Call.sent",
        "headway.calling.calls.Call.chunk",
        "headway.calling.calls.Call.close",
        "headway.calling.calls.Call.failed",
        "headway.calling.calls.Calls.begin",
        "headway.calling.calls.Calls.close_node",
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_whatever_breaks_the_call_succeeds(
    broken: str,
    is_async: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def boom(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    answers = []

    def node(state: State) -> State:
        sdk = raw(a).with_options(max_retries=3)
        for server in (a, b):
            server._failures.clear()
            server.fail(1)
        answers.append(sdk.chat.completions.create(model="small", messages=HI))
        answers.append(list(sdk.chat.completions.create(model="small", messages=HI, stream=True)))
        sdk.chat.completions.create(model="small", messages=HI, stream=True).close()
        return {}

    async def anode(state: State) -> State:
        sdk = araw(a).with_options(max_retries=3)
        for server in (a, b):
            server._failures.clear()
            server.fail(1)
        answers.append(await sdk.chat.completions.create(model="small", messages=HI))
        stream = await sdk.chat.completions.create(model="small", messages=HI, stream=True)
        answers.append([chunk async for chunk in stream])
        stream = await sdk.chat.completions.create(model="small", messages=HI, stream=True)
        await stream.close()
        return {}

    with using(client) as installed:
        graph = graph_of(anode if is_async else node)
        monkeypatch.setattr(broken, boom)
        await graph.ainvoke({"x": []})
        monkeypatch.undo()
        assert complaints.counts
        complaints.counts.clear()
        installed.uninstall()
    assert len(answers) == 2 and answers[0].choices and answers[1]
    for request in b.requests:
        assert "user-key" not in str(request.headers)

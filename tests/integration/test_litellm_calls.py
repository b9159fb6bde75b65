"""Calls of litellm's own functions, without a Router: where they go, and with whose key."""

import asyncio
import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from langchain_litellm import ChatLiteLLM, ChatLiteLLMRouter

from headway.core.facts import CallEnded, CallReady, CallSent, FirstToken
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, router, run, using_litellm

WAYS = ("async", "async stream", "sync", "sync stream", "on loop", "on loop stream")


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B, with urgency 2.5."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)


@pytest.fixture(params=["hosted_vllm", "openai", "bare openai"])
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How LiteLLM speaks to the server; ``bare``: as if no patch of ours saw the openai SDK."""
    if request.param.startswith("bare"):
        monkeypatch.setattr("headway_litellm.attempts.sdk_is_covered", lambda: False)
    return str(request.param)


def agent(provider: str) -> str:
    return f"{provider.removeprefix('bare ')}/agent"


async def call(way: str, *args: Any, **kwargs: Any) -> str:
    """One call in a run; its text."""
    if not args:
        kwargs.setdefault("messages", HI)
    streamed = "stream" in way
    if streamed:
        kwargs["stream"] = True

    async def acall() -> str:
        answer: Any = await litellm.acompletion(*args, **kwargs)
        if streamed:
            parts = [chunk async for chunk in answer]
            return "".join(c.choices[0].delta.content or "" for c in parts if c.choices)
        return str(answer.choices[0].message.content)

    def scall() -> str:
        answer: Any = litellm.completion(*args, **kwargs)
        if streamed:
            return "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
        return str(answer.choices[0].message.content)

    async def on_loop() -> str:
        return scall()

    if way.startswith("async"):
        return str(await arun(acall))
    if way.startswith("on loop"):
        return str(await arun(on_loop))
    return str(await asyncio.to_thread(run, scall))


@pytest.mark.parametrize("way", WAYS)
async def test_the_decision_arrives(
    way: str, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        said = {"model": agent(provider), "api_base": a.url, "api_key": "user-key"}
        assert await call(way, **said) == "hello there"
    assert a.requests == []
    (request,) = b.requests
    assert (request.body["model"], request.body["priority"]) == ("large", -2500)
    assert request.headers["x-vllm-priority"] == "-2500"
    assert "user-key" not in str(request.headers)
    assert [(ask.pool_name, ask.attempt, ask.endpoints) for ask in client.asks] == [
        ("agent", 1, ())
    ]
    (end,) = client.of(CallEnded)
    assert end.outcome == "ok"
    assert len(client.of(FirstToken)) == ("stream" in way)
    assert [one.way for one in client.covered] == ["openai" if provider == "openai" else "litellm"]
    assert client.passed == []


async def test_only_synchronous_calls_on_a_loop_are_hardly_held(
    a: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        for way in ("async", "sync", "on loop"):
            await call(way, model="hosted_vllm/agent", api_base=a.url)
    assert [ask.hold_limit_s for ask in client.asks] == [300.0, 300.0, 0.05]


async def test_arguments_by_position(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
    with using_litellm(client):
        for way in ("async", "sync"):
            await call(way, "hosted_vllm/agent", HI, api_base=a.url)
    assert [body["model"] for body in b.bodies] == ["large", "large"]


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_a_provider_said_apart(
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        await call(way, model="agent", custom_llm_provider="hosted_vllm", base_url=a.url)
        await call(way, model="agent", custom_llm_provider="openai", base_url=a.url, api_key="k")
    assert [body["model"] for body in b.bodies] == ["large", "large"] and a.requests == []


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_an_address_from_the_environment(
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", a.url)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "user-key-of-env")
    with using_litellm(client):
        await call(way, model="hosted_vllm/agent")
    (request,) = b.requests
    assert "user-key" not in str(request.headers)


SECRETS: dict[str, Any] = {
    "api_key": "sk-user-1",
    "extra_headers": {"Authorization": "Bearer sk-user-2", "X-Kept": "yes", "api-key": "sk-user-3"},
    "headers": {"Cookie": "sk-user-4", "x-auth-token": "sk-user-5"},
}


@pytest.mark.parametrize("own_key", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_no_key_goes_to_another_host(
    way: str,
    provider: str,
    own_key: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_API_KEY", "HOSTED_VLLM_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, f"sk-user-{name}")
    monkeypatch.setenv("OPENAI_ORGANIZATION", "sk-user-organization")
    monkeypatch.setattr(litellm, "headers", {"X-Token": "sk-user-common", "X-Common": "yes"})
    monkeypatch.setenv("KEY_OF_B", "key-of-b")
    named = {"api_key": "os.environ/KEY_OF_B"} if own_key else {}
    client = FakeClient(two_endpoints(a.url, b.url, **named), choose=lambda ask: "b")
    secrets = {**SECRETS, "organization": "sk-user-6"} if "openai" in provider else SECRETS
    with using_litellm(client):
        await call(way, model=agent(provider), api_base=a.url, **secrets)
    (request,) = b.requests
    assert "sk-user" not in str(request.headers) + str(request.body)
    assert request.headers["x-kept"] == "yes"
    sent = request.headers.get("authorization", "Bearer none")
    assert sent == ("Bearer key-of-b" if own_key else "Bearer none")


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_the_users_key_stays_on_its_own_host(way: str, a: FakeOpenAI, b: FakeOpenAI) -> None:
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "a")
    with using_litellm(client):
        await call(way, model="hosted_vllm/agent", api_base=a.url, api_key="user-key")
    assert a.requests[0].headers["authorization"] == "Bearer user-key"


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_an_address_outside_the_pool_is_never_redirected(
    way: str, provider: str, a: FakeOpenAI, client: FakeClient
) -> None:
    with FakeOpenAI() as c, using_litellm(client):
        await call(way, model=agent(provider), api_base=c.url, api_key="user-key")
        assert c.requests[0].headers["authorization"] == "Bearer user-key"
        assert "priority" not in c.bodies[0]
    assert client.asks == [] and client.of(CallEnded) == []
    assert [(one.count, one.target) for one in client.passed] == [(1, c.url)]


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_other_providers_are_untouched(way: str, client: FakeClient, a: FakeOpenAI) -> None:
    with using_litellm(client):
        await call(way, model="openai/agent", mock_response="hello", api_base=a.url)
        with pytest.raises(Exception, match=r"(?i)connection|connect|refused|failed"):
            await call(way, model="ollama_chat/x", api_base="http://127.0.0.1:9")
    assert client.asks == []
    assert [one.why for one in client.passed] == ["provider ollama_chat: not covered"]


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_outside_a_run_nothing_happens(way: str, a: FakeOpenAI, client: FakeClient) -> None:
    said: Any = {"model": "hosted_vllm/agent", "messages": HI, "api_base": a.url}
    with using_litellm(client):
        if way == "async":
            await litellm.acompletion(**said)
        else:
            litellm.completion(**said)
    assert len(a.requests) == 1 and client.facts == []


@pytest.mark.parametrize("source", ["shadow", "off", "none"])
@pytest.mark.parametrize("way", ["async", "sync"])
async def test_a_decision_that_is_not_to_be_applied(
    way: str, source: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.source = source
    with using_litellm(client):
        await call(way, model="hosted_vllm/agent", api_base=a.url, api_key="user-key")
    assert b.requests == [] and "priority" not in a.bodies[0]
    assert a.requests[0].headers["authorization"] == "Bearer user-key"
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"]


@pytest.mark.parametrize("way", ["async", "async stream", "sync", "sync stream"])
async def test_litellms_own_retries_ask_again(
    way: str, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    if provider == "bare openai":
        pytest.skip("LiteLLM leaves these retries to the SDK, which nobody sees here")

    def choose(ask: CallReady) -> str:
        client.urgency = float(ask.attempt)
        return "b" if ask.attempt == 1 else "a"

    client.choose = choose
    b.fail(1, 503)
    said = {"model": agent(provider), "api_base": a.url, "api_key": "user-key"}
    with using_litellm(client):
        await call(way, **said, num_retries=2, max_retries=0)
    assert len({ask.call for ask in client.asks}) == 1
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "agent")]
    assert [(end.attempt, end.outcome, end.error) for end in client.of(CallEnded)] == [
        (1, "error", "503"),
        (2, "ok", ""),
    ]
    assert (b.bodies[0]["priority"], a.bodies[0]["priority"]) == (-1000, -2000)
    assert "user-key" not in str(b.requests[0].headers)
    assert a.requests[0].headers["authorization"] == "Bearer user-key"


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_fallbacks_without_a_router_are_attempts_of_one_call(
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    b.fail(1, 500)
    with using_litellm(client):
        await call(way, model="hosted_vllm/agent", api_base=a.url, fallbacks=["hosted_vllm/small"])
    assert len({ask.call for ask in client.asks}) == 1
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "small")]
    assert len(b.requests) == 2 and a.requests == []


@pytest.mark.parametrize("kind", ["chat", "router"])
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream", "invoke on loop"])
async def test_langchains_models(
    way: str, kind: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    model: Any
    if kind == "chat":
        model = ChatLiteLLM(model="hosted_vllm/agent", api_base=a.url, api_key="user-key")
    else:
        model = ChatLiteLLMRouter(router=router(a.url, b.url), model_name="agent")

    def scall() -> str:
        if way == "stream":
            return "".join(part.content for part in model.stream("hi"))
        return str(model.invoke("hi").content)

    async def acall() -> str:
        if way == "astream":
            return "".join([part.content async for part in model.astream("hi")])
        if way == "invoke on loop":
            return scall()
        return str((await model.ainvoke("hi")).content)

    with using_litellm(client):
        if way in ("invoke", "stream"):
            result = await asyncio.to_thread(run, scall)
        else:
            result = await arun(acall)
    assert result == "hello there"
    assert a.requests == []
    (request,) = b.requests
    assert (request.body["model"], request.body["priority"]) == ("large", -2500)
    assert "user-key" not in str(request.headers)
    assert len(client.asks) == 1 and client.of(CallSent) == []
    (end,) = client.of(CallEnded)
    # LangChain asks for the token counts of streams too.
    assert (end.outcome, end.prompt_tokens, end.output_tokens) == ("ok", 11, 7)


async def test_a_tool_loop_stays_with_its_model(a: FakeOpenAI, b: FakeOpenAI) -> None:
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "function", "function": function}]
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")
    said: Any = {"model": "hosted_vllm/agent", "api_base": a.url, "tools": tools}
    user = {"role": "user", "content": "tool"}

    async def course() -> None:
        first: Any = await litellm.acompletion(messages=[user], **said)
        message = first.choices[0].message
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "1"}
        await litellm.acompletion(messages=[user, message.model_dump(), result], **said)

    with using_litellm(client):
        await arun(course)
    assert [ask.loop_model for ask in client.asks] == ["", "large"]
    assert [ask.needs for ask in client.asks] == [("tools",), ("tools",)]


def test_two_models_at_one_address() -> None:
    """Sleeping and waking models of one server: the model is what differs."""
    with FakeOpenAI() as one:
        pool = Pool(
            endpoints=tuple(
                EndpointSpec(id=EndpointId(name), url=one.url, model=name, engine="vllm")
                for name in ("small", "large")
            )
        )
        client = FakeClient(pool, choose=lambda ask: "large")
        with using_litellm(client):
            run(lambda: litellm.completion("hosted_vllm/agent", HI, api_base=one.url, api_key="k"))
        assert one.bodies[0]["model"] == "large"
        assert one.requests[0].headers["authorization"] == "Bearer k"

"""Calls of litellm's own functions, without a Router: where they go, and with whose key."""


            api_base=a.url,
            api_key="user-key",
            await call(way, "hosted_vllm/agent", HI, api_base=a.url)
            await call(way, model="ollama_chat/x", api_base="http://127.0.0.1:9")
            await litellm.acompletion(model="hosted_vllm/agent", messages=HI, api_base=a.url)
            litellm.completion(model="hosted_vllm/agent", messages=HI, api_base=a.url)
            max_retries=0,
            model=agent(provider),
            num_retries=2,
            parts = [chunk async for chunk in answer]
            result = await arun(acall)
            result = await asyncio.to_thread(run, scall)
            return "".join([part.content async for part in model.astream("hi")])
            return "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
            return "".join(c.choices[0].delta.content or "" for c in parts if c.choices)
            return "".join(part.content for part in model.stream("hi"))
            return scall()
            way,
        ("agent", 1, ())
        (1, "error", "503"),
        (2, "ok", ""),
        )
        answer: Any = await litellm.acompletion(*args, **kwargs)
        answer: Any = litellm.completion(*args, **kwargs)
        assert "priority" not in c.bodies[0]
        assert await call(way, model=model, api_base=a.url, api_key="user-key") == "hello there"
        assert c.requests[0].headers["authorization"] == "Bearer user-key"
        await arun(course)
        await call(
        await call(way, model="agent", custom_llm_provider="hosted_vllm", base_url=a.url)
        await call(way, model="agent", custom_llm_provider="openai", base_url=a.url, api_key="k")
        await call(way, model="hosted_vllm/agent")
        await call(way, model="hosted_vllm/agent", api_base=a.url, api_key="user-key")
        await call(way, model="hosted_vllm/agent", api_base=a.url, fallbacks=["hosted_vllm/small"])
        await call(way, model="openai/agent", mock_response="hello", api_base=a.url)
        await call(way, model=agent(provider), api_base=a.url, **secrets)
        await call(way, model=agent(provider), api_base=c.url, api_key="user-key")
        await litellm.acompletion(messages=[user, message.model_dump(), result], **said)
        client.urgency = float(ask.attempt)
        else:
        first: Any = await litellm.acompletion(messages=[user], **said)
        for way in ("async", "sync"):
        if streamed:
        if way == "astream":
        if way == "async":
        if way == "invoke on loop":
        if way == "stream":
        if way in ("invoke", "stream"):
        kwargs.setdefault("messages", HI)
        kwargs["stream"] = True
        message = first.choices[0].message
        model = ChatLiteLLM(model="hosted_vllm/agent", api_base=a.url, api_key="user-key")
        model = ChatLiteLLMRouter(router=router(a.url, b.url), model_name="agent")
        model = agent(provider)
        monkeypatch.setattr("headway_litellm.attempts.sdk_is_covered", lambda: False)
        monkeypatch.setenv(name, f"sk-user-{name}")
        pytest.skip("LiteLLM leaves these retries to the SDK, which nobody sees here")
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "1"}
        return "b" if ask.attempt == 1 else "a"
        return scall()
        return str((await model.ainvoke("hi")).content)
        return str(answer.choices[0].message.content)
        return str(await arun(acall))
        return str(await arun(on_loop))
        return str(model.invoke("hi").content)
        sdk = provider == "openai"
        with pytest.raises(Exception, match=r"(?i)connection|connect|refused|failed"):
    """How LiteLLM speaks to the server; ``bare``: as if no patch of ours saw the openai SDK."""
    """One call in a run; its text."""
    """Sends every call to `large` at B, with urgency 2.5."""
    "api_key": "sk-user-1",
    "extra_headers": {"Authorization": "Bearer sk-user-2", "X-Kept": "yes", "api-key": "sk-user-3"},
    "headers": {"Cookie": "sk-user-4", "x-auth-token": "sk-user-5"},
    # LangChain asks for the token counts of streams too.
    (end,) = client.of(CallEnded)
    (request,) = b.requests
    ]
    a: FakeOpenAI,
    assert "sk-user" not in str(request.headers) + str(request.body)
    assert "user-key" not in str(b.requests[0].headers)
    assert "user-key" not in str(request.headers)
    assert (b.bodies[0]["priority"], a.bodies[0]["priority"]) == (-1000, -2000)
    assert (end.outcome, end.prompt_tokens, end.output_tokens) == ("ok", 11, 7)
    assert (request.body["model"], request.body["priority"]) == ("large", -2500)
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "agent")]
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "small")]
    assert [(ask.pool_name, ask.attempt, ask.endpoints) for ask in client.asks] == [
    assert [(end.attempt, end.outcome, end.error) for end in client.of(CallEnded)] == [
    assert [(one.count, one.target) for one in client.passed] == [(1, c.url)]
    assert [ask.loop_model for ask in client.asks] == ["", "large"]
    assert [ask.needs for ask in client.asks] == [("tools",), ("tools",)]
    assert [body["model"] for body in b.bodies] == ["large", "large"]
    assert [body["model"] for body in b.bodies] == ["large", "large"] and a.requests == []
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"]
    assert [one.way for one in client.covered] == ["openai" if sdk else "litellm"]
    assert [one.why for one in client.passed] == ["provider ollama_chat: not covered"]
    assert a.requests == []
    assert a.requests[0].headers["authorization"] == "Bearer user-key"
    assert b.requests == [] and "priority" not in a.bodies[0]
    assert client.asks == []
    assert client.asks == [] and client.of(CallEnded) == []
    assert client.asks[0].hold_limit_s == (0.05 if way.startswith("on loop") else 300.0)
    assert client.passed == []
    assert end.outcome == "ok"
    assert len(a.requests) == 1 and client.facts == []
    assert len(b.requests) == 2 and a.requests == []
    assert len(client.asks) == 1 and client.of(CallSent) == []
    assert len(client.of(FirstToken)) == ("stream" in way)
    assert len({ask.call for ask in client.asks}) == 1
    assert request.headers["x-kept"] == "yes"
    assert request.headers["x-vllm-priority"] == "-2500"
    assert result == "hello there"
    assert sent == ("Bearer key-of-b" if own_key else "Bearer none")
    async def acall() -> str:
    async def course() -> None:
    async def on_loop() -> str:
    b.fail(1, 500)
    b.fail(1, 503)
    b: FakeOpenAI,
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "a")
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")
    client = FakeClient(two_endpoints(a.url, b.url, **named), choose=lambda ask: "b")
    client.choose = choose
    client.source = source
    def choose(ask: CallReady) -> str:
    def scall() -> str:
    else:
    for name in ("OPENAI_API_KEY", "HOSTED_VLLM_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
    function = {"name": "f", "parameters": {"type": "object", "properties": {}}}
    if kind == "chat":
    if not args:
    if provider == "bare openai":
    if request.param.startswith("bare"):
    if streamed:
    if way.startswith("async"):
    if way.startswith("on loop"):
    model: Any
    monkeypatch.setattr(litellm, "headers", {"X-Token": "sk-user-common", "X-Common": "yes"})
    monkeypatch.setenv("HOSTED_VLLM_API_BASE", a.url)
    monkeypatch.setenv("HOSTED_VLLM_API_KEY", "user-key-of-env")
    monkeypatch.setenv("KEY_OF_B", "key-of-b")
    monkeypatch.setenv("OPENAI_ORGANIZATION", "sk-user-organization")
    monkeypatch: pytest.MonkeyPatch,
    named = {"api_key": "os.environ/KEY_OF_B"} if own_key else {}
    own_key: bool,
    provider: str,
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)
    return f"{provider.removeprefix('bare ')}/agent"
    return str(await asyncio.to_thread(run, scall))
    return str(request.param)
    said: Any = {"model": "hosted_vllm/agent", "api_base": a.url, "tools": tools}
    secrets = {**SECRETS, "organization": "sk-user-6"} if "openai" in provider else SECRETS
    sent = request.headers.get("authorization", "Bearer none")
    streamed = "stream" in way
    tools = [{"type": "function", "function": function}]
    user = {"role": "user", "content": "tool"}
    way: str,
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient, monkeypatch: pytest.MonkeyPatch
    way: str, kind: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    way: str, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    way: str, provider: str, a: FakeOpenAI, client: FakeClient
    way: str, source: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    with FakeOpenAI() as c, using_litellm(client):
    with using_litellm(client):
) -> None:
@pytest.fixture
@pytest.fixture(params=["hosted_vllm", "openai", "bare openai"])
@pytest.mark.parametrize("kind", ["chat", "router"])
@pytest.mark.parametrize("own_key", [False, True])
@pytest.mark.parametrize("source", ["shadow", "off", "none"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("way", ["async", "async stream", "sync", "sync stream"])
@pytest.mark.parametrize("way", ["async", "sync"])
@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream", "invoke on loop"])
SECRETS: dict[str, Any] = {
WAYS = ("async", "async stream", "sync", "sync stream", "on loop", "on loop stream")
async def call(way: str, *args: Any, **kwargs: Any) -> str:
async def test_a_decision_that_is_not_to_be_applied(
async def test_a_provider_said_apart(
async def test_a_tool_loop_stays_with_its_model(a: FakeOpenAI, b: FakeOpenAI) -> None:
async def test_an_address_from_the_environment(
async def test_an_address_outside_the_pool_is_never_redirected(
async def test_arguments_by_position(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
async def test_fallbacks_without_a_router_are_attempts_of_one_call(
async def test_langchains_models(
async def test_litellms_own_retries_ask_again(
async def test_no_key_goes_to_another_host(
async def test_other_providers_are_untouched(way: str, client: FakeClient, a: FakeOpenAI) -> None:
async def test_outside_a_run_nothing_happens(way: str, a: FakeOpenAI, client: FakeClient) -> None:
async def test_the_decision_arrives(
async def test_the_users_key_stays_on_its_own_host(way: str, a: FakeOpenAI, b: FakeOpenAI) -> None:
def agent(provider: str) -> str:
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
def provider(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
import asyncio
import litellm
import os
import pytest
}
from headway.core.facts import CallEnded, CallReady, CallSent, FirstToken
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from langchain_litellm import ChatLiteLLM, ChatLiteLLMRouter
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, router, run, using_litellm
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

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

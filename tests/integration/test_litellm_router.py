"""Calls through a real `litellm.Router`, synchronous and not, streamed and not."""


            return text([chunk async for chunk in answer])
        answer = await used.acompletion(model=model, messages=messages, **stream, **kwargs)
        answer = used.completion(model=model, messages=messages, **stream, **kwargs)
        if stream:
        return call()
        return str(answer.choices[0].message.content)
        return str(await arun(acall))
        return str(await arun(on_loop))
        return text(list(answer)) if stream else str(answer.choices[0].message.content)
    """One call in a run; its text. `way`: async or sync, `stream` added if it is streamed."""
    """Sends every call to `large` at B, with urgency 2.5."""
    async def acall() -> str:
    async def on_loop() -> str:
    def call() -> str:
    if way.startswith("async"):
    if way.startswith("on loop"):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)
    return str(await asyncio.to_thread(run, call))
    stream = {"stream": True} if "stream" in way else {}
    way: str, used: Any, *, model: str = "agent", messages: Any = HI, **kwargs: Any
) -> str:
@pytest.fixture
PROVIDERS = ("hosted_vllm", "openai")
WAYS = ("async", "async stream", "sync", "sync stream", "on loop", "on loop stream")
async def through(
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
def text(chunks: list[Any]) -> str:
import asyncio
import os
import pytest
from headway.core.facts import CallEnded, CallSent, FirstToken
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, router, run, using_litellm
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("way", WAYS)
async def test_the_decision_arrives(
    way: str, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        used = router(a.url, b.url, provider=provider)
        for _ in range(4):
            assert await through(way, used) == "hello there"
    assert a.requests == []
    assert len(b.requests) == 4
    for request in b.requests:
        assert (request.body["model"], request.body["priority"]) == ("large", -2500)
        assert request.headers["x-vllm-priority"] == "-2500"
        assert request.headers["authorization"] == "Bearer deployed-key"
    assert [(ask.attempt, ask.pool_name, ask.endpoints) for ask in client.asks] == [
        (1, "agent", ("a", "b"))
    ] * 4
    ends = client.of(CallEnded)
    assert [(end.outcome, end.attempt) for end in ends] == [("ok", 1)] * 4
    assert len(client.of(FirstToken)) == (4 if "stream" in way else 0)
    if "stream" not in way:
        assert {(end.prompt_tokens, end.output_tokens) for end in ends} == {(11, 7)}
    assert client.of(CallSent) == []
    assert {one.way for one in client.covered} == {"litellm_router"} and client.passed == []

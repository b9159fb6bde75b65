"""Calls through a real `litellm.Router`, synchronous and not, streamed and not."""

import asyncio
import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

from headway.core.facts import CallEnded, CallSent, FirstToken
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, router, run, using_litellm

WAYS = ("async", "async stream", "sync", "sync stream", "on loop", "on loop stream")


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B, with urgency 2.5."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)


def text(chunks: list[Any]) -> str:
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def through(way: str, used: Any) -> str:
    """One call in a run; its text."""
    said: Any = {"model": "agent", "messages": HI}
    stream = "stream" in way
    if stream:
        said["stream"] = True

    async def acall() -> str:
        answer = await used.acompletion(**said)
        if stream:
            return text([chunk async for chunk in answer])
        return str(answer.choices[0].message.content)

    def call() -> str:
        answer = used.completion(**said)
        return text(list(answer)) if stream else str(answer.choices[0].message.content)

    async def on_loop() -> str:
        return call()

    if way.startswith("async"):
        return str(await arun(acall))
    if way.startswith("on loop"):
        return str(await arun(on_loop))
    return str(await asyncio.to_thread(run, call))


@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
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


async def test_plain_completions_through_a_router(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        used = router(a.url, b.url)
        await arun(lambda: used.atext_completion(model="agent", prompt="hi"))
    assert a.requests == [] and len(b.requests) == 1
    assert b.bodies[0]["priority"] == -2500
    assert [ask.prompt_chars for ask in client.asks] == [2]
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"]

"""What vLLM says of its queue in an answer's headers reaches the daemon, whoever sends the call."""

import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm

from headway.core.facts import CallEnded
from tests.integration.test_openai_calls import HI, araw, raw, run
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, two_endpoints, using
from tests.support.with_litellm import arun, using_litellm


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B, which is a vLLM server."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")


def told(client: FakeClient) -> list[int | None]:
    return [fact.engine_waiting for fact in client.facts if isinstance(fact, CallEnded)]


async def test_through_the_openai_sdk(a: FakeOpenAI, client: FakeClient) -> None:
    sdk, asdk = raw(a), araw(a)

    def node(state: State) -> State:
        sdk.chat.completions.create(model="small", messages=HI)
        return {}

    async def anode(state: State) -> State:
        await asdk.chat.completions.create(model="small", messages=HI)
        return {}

    with using(client):
        await run(node)
        await run(anode)
    assert told(client) == [3, 3]


async def test_a_stream_does_not_tell(a: FakeOpenAI, client: FakeClient) -> None:
    sdk = raw(a)

    def node(state: State) -> State:
        for _ in sdk.chat.completions.create(model="small", messages=HI, stream=True):
            pass
        return {}

    with using(client):
        await run(node)
    assert told(client) == [None]


@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
async def test_through_litellm(provider: str, a: FakeOpenAI, client: FakeClient) -> None:
    async def call() -> Any:
        return await litellm.acompletion(
            model=f"{provider}/agent", messages=HI, api_base=a.url, api_key="user-key"
        )

    with using_litellm(client):
        await arun(call)
    assert told(client) == [3]

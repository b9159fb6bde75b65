"""LangGraph with Headway in front of a proxy with Headway: one of them decides, not both."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from langgraph.graph import START, StateGraph

from headway.client import Client
from headway.context import current_run
from headway_langgraph import schedule
from tests.support.litellm_proxy import MASTER_KEY, TEAM_KEY, LiteLLMProxy, chat, until
from tests.support.scheduled import State, using

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DECIDED = "litellm_proxy (decided by the client)"


@pytest.fixture
def client(proxy: LiteLLMProxy) -> Iterator[Client]:
    own = Client(proxy.socket)
    until(lambda: own.pool is not None)
    fake: Any = own
    with using(fake):
        yield own
    own.close()


def draft(base_url: str, key: str, *, is_streamed: bool = False) -> tuple[str, str]:
    """Run a graph of one node that asks once: the run's id and the answer."""
    runs: list[str] = []

    def node(state: State) -> State:
        runs.append(current_run() or "")
        with openai.OpenAI(
            base_url=base_url,
            api_key=key,
            max_retries=0,
            http_client=httpx.Client(trust_env=False),
        ) as sdk:
            if not is_streamed:
                answer = sdk.chat.completions.create(**chat("hi"))
                return {"x": [answer.choices[0].message.content]}
            with sdk.chat.completions.create(**chat("hi"), stream=True) as stream:
                parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
            return {"x": ["".join(parts)]}

    graph = StateGraph(State)
    graph.add_node("draft", node)
    graph.add_edge(START, "draft")
    compiled: Any = schedule(graph.compile(name="desk"))
    config = {"metadata": {"headway_tenant": "ann", "headway_models": "dep-b"}}
    (text,) = compiled.invoke({"x": []}, config)["x"]
    return runs[0], text


def counted(proxy: LiteLLMProxy, way: str) -> int:
    found: int = proxy.query("status")["covered"].get(way, 0)
    return found


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_gateway_with_headway_decides_with_the_runs_node(
    proxy: LiteLLMProxy, client: Client, is_streamed: bool
) -> None:
    run, text = draft(f"{proxy.url}/v1", TEAM_KEY, is_streamed=is_streamed)
    assert text == "hello there"
    ((endpoint, request),) = proxy.sent()
    assert (endpoint, request.body["model"]) == ("dep-b", "large")
    assert isinstance(request.body["priority"], int)
    assert not any(name.startswith("x-headway") for name in request.headers)
    story = proxy.story(run, tenant="ann")
    assert (story["graph"], story["outcome"]) == ("desk", "ok")
    (node,), (call,) = story["nodes"], story["calls"]
    assert (node["node"], node["outcome"]) == ("draft", "ok")
    assert (call["node"], call["attempt"], call["endpoint"]) == ("draft", 1, "dep-b")
    assert call["why"]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_gateway_of_kind_litellm_only_carries_out(
    proxy: LiteLLMProxy, client: Client, is_streamed: bool
) -> None:
    gateway = f"http://localhost:{proxy.port}/v1"
    run, text = draft(gateway, MASTER_KEY, is_streamed=is_streamed)
    assert text == "hello there"
    ((endpoint, request),) = proxy.sent()
    assert endpoint == "dep-b" and isinstance(request.body["priority"], int)
    story = proxy.story(run, tenant="ann")
    (call,) = story["calls"]
    assert (call["node"], call["endpoint"], call["outcome"]) == ("draft", "dep-b", "ok")
    assert until(lambda: counted(proxy, DECIDED))
    assert "proxy:dep-b" not in proxy.query("status")["graphs"]

"""The support matrix, made true: each way is called inside a node, and we look where it arrived."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, two_endpoints, using
from tests.support.ways import KEY, WAYS, Servers, Way, table

DOCUMENT = Path(__file__).parents[2] / "docs/reference/support.md"


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> Iterator[FakeClient]:
    """Sends every call to `large` at B with urgency 2."""
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.0)
    with everything(client):
        yield client


def everything(client: FakeClient) -> contextlib.AbstractContextManager[object]:
    """All integrations whose hosts are installed, at once."""
    if find_spec("litellm") is None:
        return using(client)
    from tests.support.with_litellm import using_litellm

    return using_litellm(client)


async def inside_a_node(way: Way, servers: Servers) -> None:
    """Make the call in the only node of a scheduled graph."""

    async def anode(state: Any) -> Any:
        with let_fail(way):
            await way.make(servers)
        return {}

    def node(state: Any) -> Any:
        with let_fail(way):
            way.call(servers)
        return {}

    graph = StateGraph(State)
    graph.add_node("n", anode if way.is_async else node)
    graph.add_edge(START, "n")
    compiled = schedule(graph.compile(name="g"))
    if way.is_async:
        await compiled.ainvoke({"x": []})
    else:
        await asyncio.to_thread(compiled.invoke, {"x": []})


def let_fail(way: Way) -> contextlib.AbstractContextManager[None]:
    """The fake servers speak completions only: what else was asked has arrived, and fails."""
    return contextlib.suppress(Exception) if way.treatment == "node time" else nullcontext()


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.id)
async def test_each_way_is_treated_as_the_docs_say(
    way: Way, client: FakeClient, a: FakeOpenAI, b: FakeOpenAI
) -> None:
    if way.needs and find_spec(way.needs) is None:
        pytest.skip(f"{way.needs} is not installed")
    await inside_a_node(way, Servers(url=a.url, beside=b.url))
    if way.treatment == "scheduled":
        assert len(client.asks) == 1 and not a.requests
        request = b.requests[0]
        assert request.body["model"] == "large" and request.body["priority"] == -2000
        assert KEY not in str(request.headers)
        assert sum(told.count for told in client.covered) == 1 and not client.passed
    else:
        assert not client.asks and not b.requests and len(a.requests) == 1
        assert "priority" not in a.requests[0].body
        assert len(client.passed) == (1 if way.treatment == "listed" else 0)


def test_the_docs_print_this_matrix() -> None:
    assert table() in DOCUMENT.read_text(), "print it anew: python -m tests.support.ways"

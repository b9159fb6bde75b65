"""The whole client side at once: LangGraph, ChatOpenAI, the real client, and a daemon's answers."""

import asyncio
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph

from headway.client import Client
from headway.core.facts import CallEnded, CallReady, GraphSeen, NodeEnded, RunEnded, RunStarted
from headway.wire.messages import Covered
from headway_langgraph import schedule
from tests.support.fake_daemon import FakeDaemon
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, two_endpoints, using


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_granted_call_end_to_end(is_async: bool, tmp_path: Path) -> None:
    with FakeOpenAI() as a, FakeOpenAI() as b:
        daemon = FakeDaemon(tmp_path / "s.sock", two_endpoints(a.url, b.url)).start()
        daemon.grant_to = "b"
        client = Client(tmp_path / "s.sock")
        llm = ChatOpenAI(model="small", base_url=a.url, api_key="user-key", max_retries=0)  # type: ignore[arg-type]

        async def anode(state: State) -> State:
            return {"x": [(await llm.ainvoke("hi")).content]}

        graph = StateGraph(State)
        graph.add_node("n", anode if is_async else lambda state: {"x": [llm.invoke("hi").content]})
        graph.add_edge(START, "n")
        fake: Any = client
        try:
            with using(fake):
                compiled: Any = schedule(graph.compile(name="g"))
                if is_async:
                    result = await compiled.ainvoke({"x": []})
                else:
                    result = await asyncio.to_thread(compiled.invoke, {"x": []})
                await asyncio.to_thread(daemon.wait_for, RunEnded)
        finally:
            client.close()
            daemon.stop()
        assert result["x"] == ["hello there"]
        assert a.requests == []
        (request,) = b.requests
        assert (request.body["model"], request.body["priority"]) == ("large", -2500)
        assert "authorization" not in request.headers
    # The fact that opens a connection is told in its greeting too; facts may come twice.
    assert set(daemon.of(GraphSeen)) == {
        GraphSeen(graph="g", nodes=("n",), edges=(("__start__", "n", "edge"),))
    }
    for kind in (RunStarted, CallReady, CallEnded, NodeEnded, Covered):
        assert len(daemon.of(kind)) == 1, kind


async def test_a_synchronous_call_on_a_loop_does_not_stop_the_loop(tmp_path: Path) -> None:
    """Nothing is granted here, as when the seat is held by a call of the very same loop."""
    with FakeOpenAI() as a, FakeOpenAI() as b:
        daemon = FakeDaemon(tmp_path / "s.sock", two_endpoints(a.url, b.url)).start()
        daemon.grants = False
        client = Client(tmp_path / "s.sock")
        sdk = openai.OpenAI(base_url=a.url, api_key="user-key", max_retries=0, timeout=60)
        took: list[float] = []

        async def node(state: State) -> State:
            begun = time.monotonic()
            sdk.chat.completions.create(model="small", messages=[{"role": "user", "content": "hi"}])
            took.append(time.monotonic() - begun)
            return {}

        graph = StateGraph(State)
        graph.add_node("n", node)
        graph.add_edge(START, "n")
        fake: Any = client
        try:
            with using(fake):
                compiled: Any = schedule(graph.compile(name="g"))
                await compiled.ainvoke({"x": []})
                await asyncio.to_thread(daemon.wait_for, CallReady)
        finally:
            client.close()
            daemon.stop()
        (ask,) = daemon.of(CallReady)
        assert ask.hold_limit_s <= 0.1
        assert took[0] < 10
        assert len(a.requests) + len(b.requests) == 1

"""LiteLLM, LangGraph, the real client and the real daemon together; and what is left without it."""


                        for _ in range(8)
                        litellm.acompletion("hosted_vllm/agent", HI, api_base=a.url)
                    ),
                    *(
                    *(chat.ainvoke("hi") for _ in range(4)),
                    *(used.acompletion(model="agent", messages=HI) for _ in range(8)),
                )
                await asyncio.gather(
                await graph.ainvoke({"x": []})
                await one()
                await used.acompletion(model="agent", messages=HI)
                return {}
            (sent, *_) = again.of(CallSent)
            a.release.set()
            again.stop()
            assert where.bodies[-1]["messages"][0]["content"] == "slow"
            async def course() -> None:
            async def node(state: Any) -> dict[str, Any]:
            await arun(course)
            await arun(lambda: used.acompletion(**said))
            await asyncio.to_thread(again.wait_for, CallSent)
            await asyncio.to_thread(daemon.wait_for, CallEnded)
            await asyncio.to_thread(run, lambda: used.completion(**said))
            await asyncio.to_thread(run, lambda: used.completion(model="agent", messages=HI))
            await asyncio.to_thread(until, lambda: not client._courier.connected)
            await one()
            await task
            b.release.set()
            chat = ChatLiteLLMRouter(router=used, model_name="agent")
            client.close()
            daemon.grant_to = "a"
            daemon.stop()
            for _ in range(4):
            graph = graph_of(node, metadata={"headway_models": "large"})
            used = router(a.url, b.url)
            where = a if sent.endpoint == "a" else b
            yield client
        # Side by side, a policy that counts calls uses both.
        # The client spreads by itself; a Router's own strategy goes on.
        again = FakeDaemon(socket, two_endpoints(a.url, b.url)).start()
        assert a.requests and b.requests
        assert all("priority" in request.body for request in requests)
        assert len(requests) == 21
        await asyncio.to_thread(until, lambda: len(a.requests) + len(b.requests) == 2)
        await asyncio.to_thread(until, lambda: not client._courier.connected)
        await used.acompletion(model="agent", messages=HI)
        client = Client(daemon.options.socket, clocks=PATIENT)
        client.close()
        daemon.stop()
        else:
        finally:
        if is_async:
        requests = a.requests + b.requests
        task = asyncio.create_task(used.acompletion(model="agent", messages=slow))
        try:
        used, said = litellm, {"model": "hosted_vllm/small", "messages": HI, "api_base": a.url}
        with using_litellm(client):
    """A real daemon with a real scheduler, and this process's client of it."""
    assert a.requests == [] and len(b.requests) == 4
    assert len(a.requests) + len(b.requests) == 5
    async def course() -> None:
    async def one() -> None:
    async with connected(tmp_path, a, b) as client:
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
    client = Client(socket, clocks=FAST)
    config = CONFIG.format(a=a.url, b=b.url)
    daemon = FakeDaemon(socket, two_endpoints(a.url, b.url)).start()
    finally:
    if way == "plain":
    said: Any = {"model": "agent", "messages": HI}
    slow: Any = [{"role": "user", "content": "slow"}]
    socket = tmp_path / "s.sock"
    tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI
    try:
    used = router(a.url, b.url)
    way: str, is_async: bool, tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI
  - {{id: a, url: "{a}", model: small, engine: vllm}}
  - {{id: b, url: "{b}", model: large, engine: vllm}}
  agent: [small, large]
"""
) -> None:
@contextlib.asynccontextmanager
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", ["router", "plain"])
CONFIG = """\
async def connected(tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI) -> AsyncIterator[Any]:
async def test_a_daemon_that_comes_back_is_told_where_calls_are(
async def test_a_node_narrows_what_the_router_may_use(
async def test_every_way_at_once(tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI) -> None:
async def test_with_the_daemon_dead_calls_go_on(
endpoints:
import asyncio
import contextlib
import litellm
import os
import pytest
models:
policy: least-busy
from collections.abc import AsyncIterator
from headway.client import Client
from headway.core.facts import CallEnded, CallReady, CallSent
from headway.daemon.shell import make_scheduler
from langchain_litellm import ChatLiteLLMRouter
from pathlib import Path
from tests.support.daemons import running, until
from tests.support.fake_daemon import FAST, PATIENT, FakeDaemon
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, graph_of, router, run, using_litellm
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

    try:
        daemon.grant_to = "a"
        with using_litellm(client):
            await arun(course)
    finally:
        client.close()
        daemon.stop()
    assert len(daemon.of(CallReady)) == 1

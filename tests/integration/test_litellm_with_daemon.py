"""LiteLLM, LangGraph, the real client and the real daemon together; and what is left without it."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from langchain_litellm import ChatLiteLLMRouter

from headway.client import Client
from headway.core.facts import CallEnded, CallReady, CallSent
from headway.daemon.shell import make_scheduler
from tests.support.daemons import running
from tests.support.fake_daemon import FAST, PATIENT, FakeDaemon, until
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, SLOW, arun, graph_of, router, run, using_litellm

CONFIG = """\
endpoints:
  - {{id: a, url: "{a}", model: small, engine: vllm}}
  - {{id: b, url: "{b}", model: large, engine: vllm}}
models:
  agent: [small, large]
policy: least-busy
"""


@contextlib.asynccontextmanager
async def connected(tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI) -> AsyncIterator[Any]:
    """A real daemon with a real scheduler, and this process's client of it."""
    config = CONFIG.format(a=a.url, b=b.url)
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        client = Client(daemon.options.socket, clocks=PATIENT)
        try:
            yield client
        finally:
            client.close()


async def test_every_way_at_once(tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI) -> None:
    async with connected(tmp_path, a, b) as client:
        with using_litellm(client):
            used = router(a.url, b.url)
            chat = ChatLiteLLMRouter(router=used, model_name="agent")

            async def course() -> None:
                plain = {"model": "hosted_vllm/agent", "messages": HI, "api_base": a.url}
                await asyncio.gather(
                    *(used.acompletion(model="agent", messages=HI) for _ in range(8)),
                    *(chat.ainvoke("hi") for _ in range(4)),
                    *(litellm.acompletion(**plain) for _ in range(8)),
                )

            await arun(course)
            await asyncio.to_thread(run, lambda: used.completion(model="agent", messages=HI))
    requests = a.requests + b.requests
    assert len(requests) == 21
    assert all("priority" in request.body for request in requests)
    # Side by side, a policy that counts calls uses both.
    assert a.requests and b.requests


async def test_a_node_narrows_what_the_router_may_use(
    tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI
) -> None:
    async with connected(tmp_path, a, b) as client:
        with using_litellm(client):
            used = router(a.url, b.url)

            async def node(state: Any) -> dict[str, Any]:
                await used.acompletion(model="agent", messages=HI)
                return {}

            graph = graph_of(node, metadata={"headway_models": "large"})
            for _ in range(4):
                await graph.ainvoke({"x": []})
    assert a.requests == [] and len(b.requests) == 4


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", ["router", "plain"])
async def test_with_the_daemon_dead_calls_go_on(
    way: str, is_async: bool, tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI
) -> None:
    socket = tmp_path / "s.sock"
    daemon = FakeDaemon(socket, two_endpoints(a.url, b.url)).start()
    daemon.grant_to = "a"
    client = Client(socket, clocks=FAST)
    used: Any = router(a.url, b.url)
    said: Any = {"model": "agent", "messages": HI}
    if way == "plain":
        used, said = litellm, {"model": "hosted_vllm/small", "messages": HI, "api_base": a.url}

    async def one() -> None:
        if is_async:
            await arun(lambda: used.acompletion(**said))
        else:
            await asyncio.to_thread(run, lambda: used.completion(**said))

    try:
        with using_litellm(client):
            await one()
            await asyncio.to_thread(daemon.wait_for, CallEnded)
            daemon.stop()
            await asyncio.to_thread(until, lambda: not client._courier.connected)
            for _ in range(4):
                await one()
    finally:
        client.close()
        daemon.stop()
    assert len(a.requests) + len(b.requests) == 5
    if way == "plain":
        assert b.requests == []  # the model asked for is A's alone


async def test_a_daemon_that_comes_back_is_told_where_calls_are(
    tmp_path: Path, a: FakeOpenAI, b: FakeOpenAI
) -> None:
    socket = tmp_path / "s.sock"
    daemon = FakeDaemon(socket, two_endpoints(a.url, b.url)).start()
    daemon.grant_to = "a"
    client = Client(socket, clocks=FAST)
    used = router(a.url, b.url)

    async def course() -> None:
        await used.acompletion(model="agent", messages=HI)
        daemon.stop()
        await asyncio.to_thread(until, lambda: not client._courier.connected)
        task = asyncio.create_task(used.acompletion(model="agent", messages=SLOW))
        await asyncio.to_thread(until, lambda: len(a.requests) + len(b.requests) == 2)
        again = FakeDaemon(socket, two_endpoints(a.url, b.url)).start()
        try:
            await asyncio.to_thread(again.wait_for, CallSent)
            where = a if again.of(CallSent)[0].endpoint == "a" else b
            assert where.bodies[-1]["messages"] == SLOW
            a.release.set()
            b.release.set()
            await task
        finally:
            again.stop()

    try:
        with using_litellm(client):
            await arun(course)
    finally:
        client.close()
        daemon.stop()
    assert len(daemon.of(CallReady)) == 1

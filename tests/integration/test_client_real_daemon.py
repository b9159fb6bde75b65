"""The client against the real daemon (its scheduling replaced by a fake that grants at once)."""

import asyncio
from pathlib import Path

from headway.client import Client
from headway.client.paths import pool_view_path
from headway.core.facts import CallEnded, NodeEnded, NodeStarted, RunEnded, RunStarted
from tests.support.daemons import running
from tests.support.fake_daemon import PATIENT, make_ask, until


async def a_run(client: Client, run: str) -> str:
    """One run of one node with one call, as an integration tells it; who decided."""
    client.observe(RunStarted(run=run, graph="g"))
    client.observe(NodeStarted(run=run, node=f"{run}-n", name="write"))
    ask = make_ask(f"{run}-c", run=run, node=f"{run}-n")
    route = await client.adecide(ask)
    client.observe(CallEnded(call=ask.call, attempt=1, run=run, output_tokens=7))
    client.observe(NodeEnded(run=run, node=f"{run}-n"))
    client.observe(RunEnded(run=run))
    return route.source


async def test_decisions_and_a_restart(tmp_path: Path):
    socket = tmp_path / "run" / "headway.sock"
    client = Client(socket, clocks=PATIENT)
    async with running(tmp_path):
        sources = await asyncio.gather(*(a_run(client, f"r{n}") for n in range(20)))
        assert set(sources) == {"daemon"}
        assert client.endpoint_for("http://127.0.0.1:9/v1/") is not None
    await asyncio.to_thread(until, lambda: not client._courier.connected)
    assert await a_run(client, "alone") == "spread"
    assert pool_view_path(socket).exists()
    latecomer = Client(socket, clocks=PATIENT)
    assert await a_run(latecomer, "late") == "fallback"
    async with running(tmp_path):
        await asyncio.to_thread(until, lambda: client._courier.connected)
        assert await a_run(client, "again") == "daemon"
    client.close()
    latecomer.close()

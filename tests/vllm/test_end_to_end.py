"""LangGraph, the daemon and real vLLM servers together: what may go wrong with a server."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headway.cli.ask import Where, ask
from tests.paced.servers import PacedPool
from tests.support.daemons import process, until

pytestmark = pytest.mark.vllm
RUNS = 150
WINDOW_S = 12.0


def config(pool: PacedPool, *names: str) -> str:
    endpoints = "\n".join(
        f"  - {{id: {name}, url: '{pool.url(name)}', model: {name}, engine: vllm, "
        "heeds_urgency: true, profile: {seats: 8}}"
        for name in names
    )
    return f"endpoints:\n{endpoints}\nmodels: {{agent: [{', '.join(names)}]}}\n"


async def test_a_server_killed_in_mid_load_costs_no_run(paced: PacedPool, tmp_path: Path) -> None:
    text = config(paced, "small", "middle")
    where = Where(socket=tmp_path / "run" / "headway.sock")

    def endpoints() -> dict[str, dict[str, object]]:
        return {one["id"]: one for one in ask(where, "status")["endpoints"]}

    with process(tmp_path, config=text):
        await until(lambda: all(one["version"] for one in endpoints().values()))
        load = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.support.load"),
                *(paced.url("small"), str(RUNS), str(WINDOW_S)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "HEADWAY_SOCKET": str(where.socket)},
        )
        await until(lambda: int(str(endpoints()["middle"]["served"])) >= 5, timeout_s=60)
        await asyncio.to_thread(paced.kill, "middle")
        await until(lambda: not endpoints()["middle"]["up"])
        trouble = str(endpoints()["middle"]["trouble"])
        await asyncio.to_thread(paced.start, "middle")
        await until(lambda: endpoints()["middle"]["up"], timeout_s=60)
        out, err = await asyncio.to_thread(load.communicate, timeout=120)
    log = (tmp_path / "daemon.log").read_text()
    assert "connect" in trouble.lower()
    assert "endpoint down: middle is down" in log and "endpoint up: middle is back" in log
    assert json.loads(out)["failed"] == [], err

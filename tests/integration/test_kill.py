"""``kill -9`` of the daemon in mid-load: no run fails, no herd, scheduling resumes by itself."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from headway.cli.ask import Where, ask
from headway.core.errors import HeadwayError
from tests.integration.test_daemon_emulated import emulated, free_port
from tests.support.daemons import process, until, write_config

MODELS = {"small-1": "small", "small-2": "small", "large-1": "large", "large-2": "large"}
RUNS = 150
WINDOW_S = 9.0


def config(ports: dict[str, int]) -> str:
    endpoints = "\n".join(
        f"  - {{id: {name}, url: 'http://127.0.0.1:{port}/v1', model: {MODELS[name]}, "
        "engine: emulated}"
        for name, port in ports.items()
    )
    seats = ", ".join(f"{name}: {{seats: 8, step_s: 0.1}}" for name in ports)
    return (
        f"endpoints:\n{endpoints}\nmodels: {{agent: [small, large]}}\n"
        f"emulate: {{speedup: 20, endpoints: {{{seats}}}}}\n"
    )


def requests_seen(ports: dict[str, int]) -> Counter[str]:
    """How many requests each endpoint has got since the log was last emptied."""
    seen: Counter[str] = Counter()
    for name, port in ports.items():
        url = f"http://127.0.0.1:{port}/_emulate/log"
        with urllib.request.urlopen(url) as answer:
            seen[name] = len(json.load(answer))
        urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()
    return seen


async def test_kill_nine_in_mid_load(tmp_path: Path) -> None:
    ports = {name: free_port() for name in MODELS}
    text = config(ports)
    path = write_config(tmp_path, text)
    where = Where(socket=tmp_path / "run" / "headway.sock")

    def served() -> int:
        try:
            return sum(one["served"] for one in ask(where, "status")["endpoints"])
        except HeadwayError:
            return 0

    with emulated(path):
        with process(tmp_path, config=text) as first:
            load = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.support.load"),
                    *(f"http://127.0.0.1:{ports['small-1']}/v1", str(RUNS), str(WINDOW_S)),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "HEADWAY_SOCKET": str(where.socket)},
            )
            await until(lambda: served() >= 20)
            first.kill()
            first.wait()
        requests_seen(ports)
        await asyncio.sleep(2.0)  # the outage itself: real time has to pass
        alone = requests_seen(ports)
        with process(tmp_path, config=text):
            await until(lambda: served() >= 20)
            out, err = await asyncio.to_thread(load.communicate, timeout=40)
    result: dict[str, Any] = json.loads(out)
    assert result["failed"] == [], err
    assert alone.total() >= 20, "the outage saw too few calls to judge"
    busiest = max(alone.values()) / alone.total()
    assert busiest <= 0.5, f"a herd on one endpoint: {alone}"

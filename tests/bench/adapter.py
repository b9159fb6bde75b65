"""What looking at a vLLM server costs the daemon: one page of metrics over HTTP, read.

The page is one that vLLM 0.32 wrote (52 kB), served by a process of its own. Looked at once a
second, 10,000 us of processor time are one per cent of a core: the goal for an endpoint.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp

from headway.core.pool import EndpointSpec
from headway.core.types import EndpointId
from headway.daemon.scrape import HttpSite
from headway_vllm import adapter
from tests.bench.measure import Result, percentile, quartiles

PAGE = Path(__file__).parents[1] / "support" / "vllm_0_32_metrics.txt"
SERVER = """
import sys
from pathlib import Path
from aiohttp import web
page = Path(sys.argv[1]).read_text()
async def metrics(request): return web.Response(text=page)
async def models(request): return web.json_response({"data": [{"id": "small"}]})
app = web.Application()
app.router.add_get("/metrics", metrics)
app.router.add_get("/v1/models", models)
web.run_app(app, host="127.0.0.1", port=0, print=lambda text: print(text, flush=True))
"""
GOAL_US = 10_000.0
ROUNDS = 5


def measure(*, looks: int, step: Callable[[], None]) -> list[Result]:
    """`adapter_look`: microseconds of processor time a look, beside fetching the page alone."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(PAGE)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            url = re.findall(r"http://[^ ]+", server.stdout.readline())[0]
            fetched, looked = asyncio.run(_measured(url, looks, step))
        finally:
            server.terminate()
    return [
        Result(
            name="adapter_look",
            value=percentile(looked, 50),
            unit="us",
            ratio_to="page_fetched",
            ratio=percentile(looked, 50) / percentile(fetched, 50),
            n=looks * ROUNDS,
            spread=quartiles(looked),
            goal=GOAL_US,
            goal_of="value",
        )
    ]


async def _measured(
    url: str, looks: int, step: Callable[[], None]
) -> tuple[list[float], list[float]]:
    spec = EndpointSpec(
        id=EndpointId("a"), url=f"{url}/v1", model="small", engine="vllm", heeds_urgency=True
    )
    fetched, looked = [], []
    async with aiohttp.ClientSession() as session:
        site = HttpSite(spec, session)
        watcher = adapter.watch(site)
        assert (await watcher.look()).kv_tokens
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(looks):
                await site.get("/metrics")
            fetched.append((time.process_time() - began) / looks * 1e6)
            began = time.process_time()
            for _ in range(looks):
                await watcher.look()
            looked.append((time.process_time() - began) / looks * 1e6)
            step()
    return fetched, looked

"""A cell on the real servers: daemon or Router, player and what it all came to."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from headway.core.types import Seconds
from headway.sim.workload import Workload
from headway_samples.demo.validity import CpuMeter
from headway_samples.processes import headway_command, listens, process
from tests.paced.servers import PacedPool
from tests.validity.player import Player
from tests.validity.ways import ThroughDaemon, Way
from tests.vllm.gate.profiled import Profiled
from tests.vllm.gate.prompts import completion
from tests.vllm.gate.router import ThroughRouter, router_way
from tests.vllm.gate.setting import BLOCK_TOKENS, LITELLM, MAX_TOKENS

SETTLE_S: Seconds = 2.0
"""Servers report their lateness once a second, and the daemon looks at them."""
ARRIVED = "vllm:e2e_request_latency_seconds"
INSIDE = ("vllm:request_queue_time_seconds", "vllm:request_inference_time_seconds")
ALONE = 20
"""Requests to an idle server, one after the other."""


class Lived(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that was played live: seconds of each run by its id, and of each call.

    `slipped` is the share of the paced time by which the latest server was too slow, `cpu` the
    host's mean use, `calls_on` how many calls each endpoint served.
    """

    completion_s: dict[str, Seconds]
    latencies_s: list[Seconds]
    slipped: float
    cpu: float
    calls_on: dict[str, int]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What a way takes for a call beside its engine, and how late LiteLLM hears of its end."""

    charged_s: Seconds
    heard_late_s: Seconds = 0.0


async def live(
    workload: Workload,
    known: Profiled,
    servers: PacedPool,
    *,
    policy: str,
    folder: Path,
    seed: int,
    progress: Callable[[], None],
) -> Lived:
    """Play the runs on servers with empty caches. Raises `RuntimeError` if a call was refused."""
    async with _way(known, policy, folder, seed) as way:
        await _forget(known)
        before = servers.late()
        player = Player(workload, way=way, block_tokens=BLOCK_TOKENS, max_tokens=MAX_TOKENS)
        async with CpuMeter() as cpu:
            completion_s = await player.play(progress)
        await asyncio.sleep(SETTLE_S)
        after = servers.late()
        served = Counter(one.endpoint for one in way.calls)
    return Lived(
        completion_s=completion_s,
        latencies_s=player.latencies_s,
        slipped=max(
            (after[name].slipped_s - before[name].slipped_s)
            / max(after[name].paced_s - before[name].paced_s, 1e-9)
            for name in after
        ),
        cpu=cpu.mean,
        calls_on={name: served[name] for name in known.urls},
    )


async def beside(workload: Workload, known: Profiled, *, policy: str, folder: Path) -> Beside:
    """What a way takes for a call beside the engines, while other runs come at a cell's load.

    By the servers' own clocks: what calls took in all, less what passed from their arrival at a
    server's door to their end there; and what idle servers take within that door besides waiting
    and running. How long a busy one lets a request wait for its next step is the engine model's.
    """
    within_s = await _within_the_door_s(known)
    async with _way(known, policy, folder, seed=0) as way:
        await _forget(known)
        player = Player(workload, way=way, block_tokens=BLOCK_TOKENS, max_tokens=MAX_TOKENS)
        before = await _clocks(known)
        await player.play()
        after = await _clocks(known)
        heard_late_s = way.heard_late_s if isinstance(way, ThroughRouter) else 0.0
        calls = list(way.calls)
    whole_s = sum(one.decision_s + one.http_s for one in calls)
    outside_s = (whole_s - (after[ARRIVED] - before[ARRIVED])) / len(calls)
    return Beside(charged_s=max(outside_s + within_s, 0.0), heard_late_s=heard_late_s)


async def _within_the_door_s(known: Profiled) -> Seconds:
    """For a request that nothing else is beside: mean over the servers."""
    before = await _clocks(known)
    async with aiohttp.ClientSession() as http:
        for name, url in known.urls.items():
            body = {
                "model": known.models[name],
                "prompt": [5, 6, 7],
                "max_tokens": 3,
                "ignore_eos": True,
            }
            for _ in range(ALONE):
                async with http.post(f"{url}/completions", json=body) as response:
                    response.raise_for_status()
                    await response.read()
    after = await _clocks(known)
    taken = {name: after[name] - before[name] for name in (ARRIVED, *INSIDE)}
    return (taken[ARRIVED] - sum(taken[name] for name in INSIDE)) / (ALONE * len(known.urls))


async def _clocks(known: Profiled) -> dict[str, Seconds]:
    """Sums over the requests of all servers so far, by their metrics."""
    found = dict.fromkeys((ARRIVED, *INSIDE), 0.0)
    async with aiohttp.ClientSession() as http:
        for url in known.urls.values():
            async with http.get(f"{url.removesuffix('/v1')}/metrics") as response:
                response.raise_for_status()
                text = await response.text()
            for family in text_string_to_metric_families(text):
                if family.name in found:
                    found[family.name] += sum(
                        one.value for one in family.samples if one.name == f"{family.name}_sum"
                    )
    return found


@contextlib.asynccontextmanager
async def _way(known: Profiled, policy: str, folder: Path, seed: int) -> AsyncIterator[Way]:
    if policy == LITELLM:
        with router_way(known.urls, known.models) as router:
            yield router
        return
    file = known.write(folder / "daemon.yaml", policy=policy, seed=seed)
    async with (
        _daemon(file) as socket,
        ThroughDaemon(socket, sending=completion, engine="vllm") as daemon,
    ):
        yield daemon


@contextlib.asynccontextmanager
async def _daemon(file: Path) -> AsyncIterator[Path]:
    """A fresh daemon that has looked at its endpoints."""
    home = file.parent / f"run-{file.stat().st_mtime_ns}"
    home.mkdir(mode=0o700)
    socket = home / "headway.sock"

    up = headway_command("up", "--config", str(file), "--socket", str(socket))
    async with process(up, home / "daemon.log", lambda: listens(socket)):
        await asyncio.sleep(SETTLE_S)
        yield socket


async def _forget(known: Profiled) -> None:
    """Empty the servers' prefix caches."""
    async with aiohttp.ClientSession() as http:
        for url in known.urls.values():
            async with http.post(f"{url.removesuffix('/v1')}/reset_prefix_cache") as response:
                response.raise_for_status()

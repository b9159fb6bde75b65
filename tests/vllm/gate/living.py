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
INSIDE = ("vllm:request_queue_time_seconds", "vllm:request_inference_time_seconds")


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


async def beside(
    workload: Workload, known: Profiled, servers: PacedPool, *, policy: str, folder: Path
) -> Beside:
    """What a way takes for a call beside the engines, while other runs come at a cell's load.

    It is what calls took in all, less what their servers say that they waited and ran inside; and
    less the half step for which, on a busy server, a request waits unseen between two steps, which
    the engine model counts too.
    """
    async with _way(known, policy, folder, seed=0) as way:
        await _forget(known)
        player = Player(workload, way=way, block_tokens=BLOCK_TOKENS, max_tokens=MAX_TOKENS)
        inside, late, began = await _inside_s(known), servers.late(), _now()
        await player.play()
        took_s = _now() - began
        await asyncio.sleep(SETTLE_S)
        inside_s = await _inside_s(known) - inside
        after = servers.late()
        heard_late_s = way.heard_late_s if isinstance(way, ThroughRouter) else 0.0
        calls = list(way.calls)
    steps = {site.id: site.profile.step_s for site in known.sim.sites}
    busy = {name: min((after[name].paced_s - late[name].paced_s) / took_s, 1.0) for name in after}
    unseen_s = sum(0.5 * busy[one.endpoint] * steps[one.endpoint] for one in calls)
    whole_s = sum(one.decision_s + one.http_s for one in calls)
    charged_s = max((whole_s - inside_s - unseen_s) / len(calls), 0.0)
    return Beside(charged_s=charged_s, heard_late_s=heard_late_s)


def _now() -> Seconds:
    return asyncio.get_running_loop().time()


async def _inside_s(known: Profiled) -> Seconds:
    """What all servers' requests have waited and run inside them so far, by their own clocks."""
    total = 0.0
    async with aiohttp.ClientSession() as http:
        for url in known.urls.values():
            async with http.get(f"{url.removesuffix('/v1')}/metrics") as response:
                response.raise_for_status()
                text = await response.text()
            for family in text_string_to_metric_families(text):
                if family.name in INSIDE:
                    total += sum(
                        one.value for one in family.samples if one.name == f"{family.name}_sum"
                    )
    return total


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

"""A cell on the real servers: daemon or Router, player and what it all came to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median

import aiohttp
import msgspec

from headway.core.facts import CallReady
from headway.core.types import CallId, NodeId, RunId, Seconds
from headway.emulate.answers import CHARS_PER_TOKEN
from headway.sim.poolspec import POOL_NAME
from headway.sim.workload import Workload
from headway_samples.demo.validity import CpuMeter
from headway_samples.processes import headway_command, process
from tests.paced.servers import PacedPool
from tests.validity.player import Player
from tests.validity.prompts import Talk
from tests.validity.ways import ThroughDaemon, Wanted, Way
from tests.vllm.gate.profiled import Profiled
from tests.vllm.gate.prompts import completion
from tests.vllm.gate.router import router_way
from tests.vllm.gate.setting import BLOCK_TOKENS, LITELLM, MAX_TOKENS

SETTLE_S: Seconds = 2.0
"""Servers report their lateness once a second, and the daemon looks at them."""
TRIALS, TRIAL_PROMPT, TRIAL_TOKENS = 12, 64, 8


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
    await _forget(known)
    async with _way(known, policy, folder, seed) as way:
        before = servers.late()
        player = Player(workload, way=way, block_tokens=BLOCK_TOKENS, max_tokens=MAX_TOKENS)
        async with CpuMeter() as cpu:
            completion_s = await player.play(progress)
        await asyncio.sleep(SETTLE_S)
        after = servers.late()
        served = way.served
    return Lived(
        completion_s=completion_s,
        latencies_s=player.latencies_s,
        slipped=max(
            (after[name].slipped_s - before[name].slipped_s)
            / max(after[name].paced_s - before[name].paced_s, 1e-9)
            for name in after
        ),
        cpu=cpu.mean,
        calls_on={name: served.get(name, 0) for name in known.urls},
    )


async def asking_s(known: Profiled, policy: str, folder: Path) -> Seconds:
    """What a way takes for a call on the idle pool beside what the profile says: to be charged.

    The median of some calls, each alone, on the first endpoint's model.
    """
    sites = {site.model: site for site in known.sim.sites}
    beside = []
    async with _way(known, policy, folder, seed=0) as way:
        for number in range(TRIALS):
            run = f"trial-{number}"
            ask = CallReady(
                call=CallId(run),
                attempt=1,
                run=RunId(run),
                graph="trial",
                node=NodeId(run),
                node_name="trial",
                pool_name=POOL_NAME,
                hold_limit_s=60.0,
                prompt_chars=TRIAL_PROMPT * CHARS_PER_TOKEN,
                max_tokens=TRIAL_TOKENS,
            )
            prompt = Talk(run=run, prompt_tokens=TRIAL_PROMPT, answers=())
            loop = asyncio.get_running_loop()
            began = loop.time()
            model, _ = await way.call(
                ask, lambda _, prompt=prompt: Wanted(prompt=prompt, tokens=TRIAL_TOKENS)
            )
            took_s = loop.time() - began
            site = sites[model]
            alone_s = site.profile.alone_s(prompt_tokens=TRIAL_PROMPT, output_tokens=TRIAL_TOKENS)
            if number > 1:  # the first ones import and connect
                beside.append(took_s - alone_s - site.rtt_s)
    return max(0.0, median(beside))


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

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(socket))
        except OSError:
            return False
        writer.close()
        return True

    up = headway_command("up", "--config", str(file), "--socket", str(socket))
    async with process(up, home / "daemon.log", listens):
        await asyncio.sleep(SETTLE_S)
        yield socket


async def _forget(known: Profiled) -> None:
    """Empty the servers' prefix caches."""
    async with aiohttp.ClientSession() as http:
        for url in known.urls.values():
            async with http.post(f"{url.removesuffix('/v1')}/reset_prefix_cache") as response:
                response.raise_for_status()

"""A cell on the real servers: daemon or Router, player and what it all came to."""

import asyncio
import contextlib
import resource
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from statistics import fmean

import aiohttp
import msgspec

from headway.client.engines import urgency_rank
from headway.core.types import Seconds
from headway.engine import Engine, Finished
from headway.sim.workload import Workload
from headway_samples.demo.validity import CpuMeter
from headway_samples.processes import headway_command, listens, process
from tests.paced.servers import PacedPool
from tests.validity.player import Player
from tests.validity.ways import Served, ThroughDaemon, Way
from tests.vllm.gate.profiled import Profiled
from tests.vllm.gate.prompts import completion, ids_of
from tests.vllm.gate.router import router_way
from tests.vllm.gate.setting import BLOCK_TOKENS, LITELLM, MAX_TOKENS

SETTLE_S: Seconds = 2.0
"""Servers report their lateness once a second, and the daemon looks at them."""
FAR_S: Seconds = 1e6


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
    """What a way takes for a call beside its engine, and how late LiteLLM hears of its end.

    Of `charged_s` this process is busy for `busy_s`, with one call after the other.
    """

    charged_s: Seconds
    busy_s: Seconds = 0.0
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


async def charged(workload: Workload, known: Profiled, *, policy: str, folder: Path) -> Beside:
    """What a way takes for a call beside the engines, on runs that come so seldom that they
    hardly meet: what the engine model does to a queue is no part of it.
    """
    async with _way(known, policy, folder, seed=0) as way:
        before = _processor_s()
        calls = await _played(workload, known, way)
        busy_s = (_processor_s() - before) / len(calls)
    return Beside(charged_s=_longer(calls, known), busy_s=busy_s)


def _processor_s() -> Seconds:
    """Of this process, which plays, and is the client or LiteLLM's Router."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def heard_late(workload: Workload, known: Profiled) -> Seconds:
    """How long after an answer LiteLLM hears of its end, on average over the runs' calls."""
    with router_way(known.urls, known.models) as router:
        await _played(workload, known, router)
        return router.heard_late_s


async def _played(workload: Workload, known: Profiled, way: Way) -> list[Served]:
    await _forget(known)
    player = Player(workload, way=way, block_tokens=BLOCK_TOKENS, max_tokens=MAX_TOKENS)
    await player.play()
    return list(way.calls)


def _longer(calls: Sequence[Served], known: Profiled) -> Seconds:
    """By how much calls took longer than engines of the profiles would have taken.

    The same requests are put before those at the instants at which they were really sent: the
    mean of what asking took and each request took longer, without the tenths at both ends.
    """
    engines = {site.id: Engine(site.profile) for site in known.sim.sites}
    ended: dict[str, Seconds] = {}
    began = min(one.sent_s for one in calls)
    for number, one in sorted(enumerate(calls), key=lambda each: each[1].sent_s):
        at = one.sent_s - began
        ended |= _ends(engines[one.endpoint], at)
        ids = ids_of(one.prompt)
        engines[one.endpoint].submit(
            str(number),
            prompt_tokens=len(ids),
            output_tokens=one.tokens,
            at=at,
            priority=-urgency_rank(one.urgency),
            prefix=_blocks(ids),
        )
    for engine in engines.values():
        ended |= _ends(engine, FAR_S)
    longer = sorted(
        one.decision_s + one.http_s - (ended[str(number)] - (one.sent_s - began))
        for number, one in enumerate(calls)
    )
    tenth = len(longer) // 10
    return max(fmean(longer[tenth : len(longer) - tenth]), 0.0)


def _ends(engine: Engine, to: Seconds) -> dict[str, Seconds]:
    return {one.id: one.at for one in engine.advance(to) if isinstance(one, Finished)}


def _blocks(ids: list[int]) -> tuple[int, ...]:
    """A hash of each full block of a prompt, over all that is before its end."""
    found: list[int] = []
    before = 0
    for place in range(len(ids) // BLOCK_TOKENS):
        block = ids[place * BLOCK_TOKENS : (place + 1) * BLOCK_TOKENS]
        before = hash((before, *block))
        found.append(before)
    return tuple(found)


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

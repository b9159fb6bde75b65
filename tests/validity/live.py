"""Plays a cell live: the emulator and the daemon as processes of their own, and the player here.

All times that come out are emulated seconds.
"""

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import aiohttp

from headway.core.types import Seconds
from headway.sim.pools import SimPool
from headway.sim.workload import Workload
from headway_samples.demo.validity import CpuMeter
from headway_samples.processes import headway_command, listens, process
from tests.validity.player import Player
from tests.validity.setting import MAX_TOKENS, free_urls, write_config
from tests.validity.ways import Served, ThroughDaemon, chat

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """A cell that was played live: completion by run, calls, and how the machine bore it.

    `decision_s` and `transport_s` are means over the calls of what is this machine's doing:
    asking, and what a request took beyond what its engine did. `lateness` is the emulator's P95.
    """

    completion_s: dict[str, Seconds]
    calls: tuple[Served, ...]
    decision_s: Seconds
    transport_s: Seconds
    lateness: float
    cpu: float


async def play_live(
    workload: Workload, *, pool: SimPool, policy: str, speedup: float, seed: int
) -> Lived:
    """Play the runs on fresh processes. Raises `RuntimeError` if a call was not decided there."""
    with tempfile.TemporaryDirectory(prefix="headway-validity-") as name:
        urls = free_urls(pool)
        file = write_config(
            Path(name) / "headway.yaml",
            pool,
            urls=urls,
            policy=policy,
            speedup=speedup,
            seed=seed,
        )
        async with _servers(file, urls) as socket, aiohttp.ClientSession() as looking:
            way = ThroughDaemon(socket, sending=chat, engine="emulated", speedup=speedup)
            player = Player(
                workload,
                way=way,
                block_tokens=pool.sites[0].profile.block_tokens,
                max_tokens=MAX_TOKENS,
                speedup=speedup,
            )
            async with way, CpuMeter() as cpu:
                completion_s = await player.play()
            logs = [await _log(looking, url) for url in urls.values()]
    engine_s = {request: spent for log in logs for request, spent in log.engine_s.items()}
    late = sorted(ratio for log in logs for ratio in log.late)
    calls = tuple(way.calls)
    return Lived(
        completion_s=completion_s,
        calls=calls,
        decision_s=fmean(one.decision_s for one in calls),
        transport_s=fmean(one.http_s - engine_s[one.request] for one in calls),
        lateness=late[round(0.95 * (len(late) - 1))],
        cpu=cpu.mean,
    )


# -- the processes -------------------------------------------------------------------------------


@asynccontextmanager
async def _servers(file: Path, urls: dict[str, str]) -> AsyncIterator[Path]:
    """Emulator and daemon, up; yields the daemon's socket."""
    socket = file.parent / "run" / "headway.sock"
    path = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    env = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}

    async def answers() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                for url in urls.values():
                    async with session.get(f"{url}/models") as response:
                        response.raise_for_status()
            except aiohttp.ClientError:
                return False
        return True

    emulate = headway_command("emulate", str(file))
    up = headway_command("up", "--config", str(file), "--socket", str(socket))
    async with process(emulate, file.parent / "emulator.log", answers, env=env):  # noqa: SIM117
        async with process(up, file.parent / "daemon.log", lambda: listens(socket), env=env):
            yield socket


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What an emulated server says of its requests: seconds in its engine by id, lateness."""

    engine_s: dict[str, Seconds]
    late: list[float]


async def _log(session: aiohttp.ClientSession, url: str) -> _Log:
    root = url.removesuffix("/v1")
    async with session.get(f"{root}/_emulate/log") as response:
        entries = [entry for entry in await response.json() if entry["outcome"] == "ok"]
    async with session.get(f"{root}/_emulate/lateness") as response:
        ratios: list[float] = (await response.json())["ratios"]
    entries.sort(key=lambda entry: float(entry["ended_s"]))  # as answers left, so as the ratios are
    engine_s = {}
    for entry, ratio in zip(entries, ratios[-len(entries) :], strict=True):
        spent_s = entry["ended_s"] - entry["received_s"]
        engine_s[entry["headers"]["x-request-id"]] = spent_s / (1.0 + ratio)
    return _Log(engine_s=engine_s, late=ratios)

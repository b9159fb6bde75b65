"""From a stand to what is known of it: ``headway profile`` on each server, into a pool file."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import yaml

from headway.core.pool import Pool
from headway.daemon.config import load_config
from headway.sim.pools import SimPool
from headway.sim.poolspec import POOL_NAME, own_pool
from headway_samples.processes import headway_command
from tests.paced.servers import PacedPool
from tests.vllm.gate.setting import BLOCK_TOKENS, STEP_TOKENS, Stand

KEYS = ("step_s", "seq_s", "context_s", "prefill_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """A stand that was measured: its pool file's content, and the same as simulator and
    scheduler see it. `rows` hold for each endpoint what was fitted beside what is true.
    """

    stand: Stand
    content: dict[str, Any]
    sim: SimPool
    belief: Pool
    rows: tuple[dict[str, Any], ...]

    @property
    def urls(self) -> dict[str, str]:
        """Base URLs by endpoint id."""
        return {one["id"]: one["url"] for one in self.content["endpoints"]}

    @property
    def models(self) -> dict[str, str]:
        """Models by endpoint id."""
        return {one["id"]: one["model"] for one in self.content["endpoints"]}

    def write(self, path: Path, *, policy: str, seed: int) -> Path:
        """The pool file for the daemon."""
        content = {**self.content, "policy": {"name": policy, "seed": seed}}
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


async def profiled(
    stand: Stand, servers: PacedPool, folder: Path, told: Callable[[str], None]
) -> Profiled:
    """Measure every server, one after the other. Raises `RuntimeError` with what it said."""
    file = folder / "headway.yaml"
    content: dict[str, Any] = {
        "endpoints": [
            {"id": one.name, "url": servers.url(one.name), "model": one.model, "engine": "vllm"}
            for one in stand.servers
        ],
        "models": {POOL_NAME: list(stand.names)},
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    for one in stand.servers:
        said = await _profile(servers.url(one.name), one.model, file, folder / f"{one.name}.json")
        told(f"{one.name}: {said}")
    known = yaml.safe_load(file.read_text())
    sim, belief = _pools(stand, file)
    return Profiled(stand=stand, content=known, sim=sim, belief=belief, rows=_rows(stand, known))


async def _profile(url: str, model: str, file: Path, points: Path) -> str:
    command = headway_command(
        "profile", url, "--model", model, "--pool", str(file), "--json", str(points)
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"headway profile {url}: {printed.decode(errors='replace')}")
    found = json.loads(points.read_text())
    return ", ".join(f"{key} {found['profile'][key]:.3g}" for key in KEYS)


def _pools(stand: Stand, file: Path) -> tuple[SimPool, Pool]:
    """What the laboratory makes of the pool file, with the block and step that vLLM tells."""
    sim, belief = own_pool(load_config(file).pool, stand.name)
    sites = tuple(
        msgspec.structs.replace(
            site,
            profile=replace(site.profile, block_tokens=BLOCK_TOKENS, step_tokens=STEP_TOKENS),
        )
        for site in sim.sites
    )
    return msgspec.structs.replace(sim, sites=sites), belief


def _rows(stand: Stand, content: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = []
    for server, endpoint in zip(stand.servers, content["endpoints"], strict=True):
        fitted, true = endpoint["profile"], server.profile
        row: dict[str, Any] = {"endpoint": server.name, "rtt_s": endpoint.get("rtt", 0.0)}
        for key in KEYS:
            row[key] = fitted[key]
            row[f"true_{key}"] = getattr(true, key)
        found.append(row | {"seats": fitted.get("seats"), "kv_tokens": fitted.get("kv_tokens")})
    return tuple(found)

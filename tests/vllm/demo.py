"""The demo's programs and arms on real, paced vLLM servers of three sizes: ``make demo-vllm``.

LangGraph, LiteLLM's Router, the daemon and vLLM are real, and so are tokens, queues and times;
weights are random, so what an answer is worth is the samples' skill model's to say (`fates`).
Answers have a tenth of their tokens, so ten emulated seconds pass in one.
"""

import argparse
import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from headway.engine import EngineProfile
from headway_samples.demo.arms import HEADWAY, ROUTER_HEADWAY, parse_arms
from headway_samples.demo.command import finish
from headway_samples.demo.plan import Plan
from headway_samples.demo.play import play
from headway_samples.demo.routers import check_installed
from headway_samples.demo.stage import Stage
from headway_samples.pool import LARGE, MIDDLE, MODELS, PRIORS, SMALL, Endpoint, SamplePool
from headway_samples.sample import POOL_NAME
from headway_samples.stopping import Stopped, run_stoppable
from tests.paced.pace import Lateness
from tests.paced.servers import PacedPool, PacedServer
from tests.vllm.fates import fated

SPEEDUP = 10.0
"""Emulated seconds in one: the reciprocal of `fates.TOKENS_SHARE`."""
STEP_S = {SMALL: 0.02, MIDDLE: 0.06, LARGE: 0.16}
PREFILL_TOKENS_S = {SMALL: 8000, MIDDLE: 2700, LARGE: 1000}
SEATS = {SMALL: 6, MIDDLE: 6, LARGE: 8}
ARMS = ("simple-shuffle", "least-busy", "static", "large-only", HEADWAY, ROUTER_HEADWAY)
QUICK_ARMS = ("least-busy", HEADWAY, ROUTER_HEADWAY)


def truth(model: str) -> EngineProfile:
    """How a server of that model is paced."""
    return EngineProfile(
        step_s=STEP_S[model],
        prefill_s=1 / PREFILL_TOKENS_S[model],
        seq_s=0.005 * STEP_S[model],
        seats=SEATS[model],
        kv_tokens=65536,
        block_tokens=32,
        step_tokens=2048,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmPool(SamplePool):
    """The pool of three servers, as a user would declare it after `headway profile`."""

    def _content(self) -> dict[str, Any]:
        return {
            "endpoints": [
                {
                    "id": each.id,
                    "url": each.url,
                    "model": each.model,
                    "engine": "vllm",
                    "heeds_urgency": True,
                    "profile": self.profile(each.model),
                }
                for each in self.endpoints
            ],
            "models": {POOL_NAME: {"any_of": list(MODELS), "idle_grace_s": self.idle_grace_s}},
            "quality": dict(PRIORS),
        }

    def profile(self, model: str) -> dict[str, Any]:
        """Its speed and size, in wall seconds."""
        true = truth(model)
        return {
            "prefill_s": true.prefill_s,
            "step_s": true.step_s,
            "seq_s": true.seq_s,
            "seats": true.seats,
            "kv_tokens": true.kv_tokens,
        }

    def tokens_per_s(self) -> float:
        """Output tokens per emulated second: each really written one stands for ten."""
        wall = sum(
            SEATS[each.model]
            / truth(each.model).step_time_s(sequences=SEATS[each.model], context_tokens=0)
            for each in self.endpoints
        )
        return wall


@dataclass(slots=True)
class Servers:
    """The servers of all arms, which are kept up; each arm begins with empty caches."""

    paced: PacedPool
    _since: dict[str, Lateness] = field(default_factory=dict)

    def pool(self, speedup: float) -> VllmPool:
        """The pool as the demo sees it."""
        ports = {model: int(self.paced.url(model).split(":")[2].split("/")[0]) for model in MODELS}
        made = tuple(Endpoint(id=model, model=model, port=ports[model]) for model in MODELS)
        return VllmPool(endpoints=made, speedup=speedup)

    @contextlib.asynccontextmanager
    async def running(self, pool: SamplePool, folder: Path) -> AsyncIterator[None]:
        """The servers with nothing in their caches."""
        del folder
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            for each in pool.endpoints:
                root = each.url.removesuffix("/v1")
                (await http.post(f"{root}/reset_prefix_cache")).raise_for_status()
        self._since = self.paced.late()
        yield
        await asyncio.sleep(1.0)  # reports of lateness come once a second

    async def lateness(self, pool: SamplePool) -> list[float]:
        """By how much each server was slower than its profile, as a share of its time."""
        now = self.paced.late()
        return [_slipped(now[each.model], self._since.get(each.model)) for each in pool.endpoints]


def _slipped(now: Lateness, before: Lateness | None) -> float:
    slipped_s, paced_s = now.slipped_s, now.paced_s
    if before is not None:
        slipped_s, paced_s = slipped_s - before.slipped_s, paced_s - before.paced_s
    return slipped_s / paced_s if paced_s > 0 else 0.0


def plan_of(*, quick: bool, seed: int) -> Plan:
    """All arms, or some with too few runs to compare."""
    return Plan(
        speedup=SPEEDUP,
        pilot_speedup=SPEEDUP,
        window_s=12.0 if quick else 45.0,
        pilot_s=40.0 if quick else 150.0,
        probe_s=10.0 if quick else 25.0,
        idle_runs=6 if quick else 15,
        arms=QUICK_ARMS if quick else ARMS,
        seed=seed,
    )


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.vllm.demo", description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, default=Path("demo-vllm.png"))
    parser.add_argument("--quick", action="store_true", help="few arms, too few runs to compare")
    parser.add_argument("--arms", default="", help="which arms, with commas between them")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan, console = plan_of(quick=given.quick, seed=given.seed), Console()
    if given.arms:
        plan = replace(plan, arms=parse_arms(given.arms))
    check_installed(plan.arms)
    servers = [
        PacedServer(
            name=model, model=model, profile=truth(model), env={"VLLM_SERVER_DEV_MODE": "1"}
        )
        for model in MODELS
    ]
    with tempfile.TemporaryDirectory(prefix="headway-") as name:
        folder = Path(name)
        console.print("starting three vLLM servers (half a minute)")
        with PacedPool(servers, folder / "vllm") as paced:
            up = Servers(paced)
            stage = Stage(
                text=", ".join(f"vLLM {model} of {SEATS[model]} seats" for model in MODELS),
                make=up.pool,
                running=up.running,
                lateness=up.lateness,
                chats=fated,
            )
            try:
                played = run_stoppable(play(plan, folder=folder, console=console, stage=stage))
            except Stopped as stopped:
                console.print(f"{stopped}: servers and daemon are ended, nothing was written")
                return stopped.status
    return finish(console, played, json_file=given.json, plot_file=given.plot)


if __name__ == "__main__":
    raise SystemExit(main())

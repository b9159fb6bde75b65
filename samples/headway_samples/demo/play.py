"""The demo from start to end: pilot, arms, and what came out of them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from headway import __version__
from headway_samples.demo.arms import SAMPLES
from headway_samples.demo.arrivals import draw_arrivals
from headway_samples.demo.driver import Load, Outcome, drive, run_id
from headway_samples.demo.measures import RunRecord, percentile, report
from headway_samples.demo.opening import Opened, opened
from headway_samples.demo.pilot import Pilot, Search, find_load
from headway_samples.demo.plan import (
    GUESS_SHARE,
    LOAD_SHARE,
    TOKENS_PER_RUN,
    VARIATION,
    Plan,
    mix,
)
from headway_samples.demo.stage import EMULATED, Stage
from headway_samples.demo.story import choose
from headway_samples.demo.validity import CpuMeter, ProcessMeter, Strain
from headway_samples.processes import explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Everything that a demo measured."""

    pilot: Pilot
    rate: float
    arms: dict[str, list[RunRecord]]
    errors: dict[str, list[str]]
    strains: tuple[Strain, ...]
    plan: Plan
    pool: str
    explained: str
    """What ``headway explain`` says of a run of Headway's; empty if no arm was Headway's."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """Why the numbers are not valid; empty if they are."""
        return tuple(text for strain in self.strains for text in strain.complaints())

    @property
    def failed(self) -> int:
        """How many runs raised, over all arms."""
        return sum(record.failed for records in self.arms.values() for record in records)

    def as_dict(self) -> dict[str, Any]:
        """The demo's JSON; ``setting`` says under what it was measured."""
        return {
            "valid": not self.complaints,
            **report(self.arms),
            "setting": {
                "version": __version__,
                "seed": self.plan.seed,
                "runs_per_arm": max((len(each) for each in self.arms.values()), default=0),
                "speedup": self.plan.speedup,
                "pool": self.pool,
                "load_share": LOAD_SHARE,
                "knee": self.pilot.sureness,
                "knee_runs_per_s": self.pilot.knee / self.plan.pilot_speedup,
                "load_runs_per_s": self.rate / self.plan.speedup,
                "deadlines_s": self.pilot.deadlines,
                "strain": {
                    each.arm: {"cpu": each.cpu, "lateness_p95": each.lateness}
                    | ({} if each.proxy is None else {"proxy_core": each.proxy})
                    for each in self.strains
                },
                "complaints": list(self.complaints),
            },
        }


async def play(plan: Plan, *, folder: Path, console: Console, stage: Stage = EMULATED) -> Played:
    """Find the load, run every arm of `plan` under it, and collect what was measured.

    Logs of the servers and the daemon, and the pool file, stay in `folder`.
    """
    pool = stage.make(plan.pilot_speedup)
    console.print(f"pool: {stage.text}; {plan.speedup:g} emulated seconds pass in one")
    progress = Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} runs"),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        how = Search(
            mix=mix(),
            variation=VARIATION,
            seed=plan.seed,
            guess=GUESS_SHARE * pool.tokens_per_s() / TOKENS_PER_RUN * plan.pilot_speedup,
            idle_runs=plan.idle_runs,
            window_s=plan.probe_s,
            longest_s=plan.pilot_s,
        )
        pilot = await find_load(pool, how, stage=stage, folder=folder, say=progress.console.print)
        progress.console.print(_pilot_line(pilot, plan.pilot_speedup))
        return await _all_arms(plan, pilot, stage, folder=folder, progress=progress)


async def _all_arms(
    plan: Plan, pilot: Pilot, stage: Stage, *, folder: Path, progress: Progress
) -> Played:
    pool = stage.make(plan.speedup)
    rate = LOAD_SHARE * pilot.knee * plan.speedup / plan.pilot_speedup
    count = max(len(SAMPLES), round(rate * plan.window_s))
    load = Load(
        arrivals=draw_arrivals(seed=plan.seed, count=count, mix=mix(), variation=VARIATION),
        rate=rate,
        speedup=plan.speedup,
        deadlines=pilot.deadlines,
    )
    arms: dict[str, list[RunRecord]] = {}
    errors: dict[str, list[str]] = {}
    strains = []
    explained = ""
    for name in plan.arms:
        bar = progress.add_task(name, total=count)
        async with (
            stage.running(pool, folder),
            opened(name, pool, seed=plan.seed, folder=folder, chats=stage.chats) as ready,
        ):
            outcome, strain = await _measured(ready, load, progress, bar)
            late = await stage.lateness(pool)
            strain = replace(strain, lateness=percentile(late, 0.95) if late else 0.0)
            if ready.socket is not None and not explained:
                explained = await _story(ready.socket, name, outcome)
        arms[name] = outcome.records
        errors[name] = outcome.errors
        strains.append(strain)
    return Played(
        pilot=pilot,
        rate=rate,
        arms=arms,
        errors=errors,
        strains=tuple(strains),
        plan=plan,
        pool=stage.text,
        explained=explained,
    )


async def _measured(
    ready: Opened, load: Load, progress: Progress, bar: TaskID
) -> tuple[Outcome, Strain]:
    arm = ready.arm
    meter = ProcessMeter(ready.proxy) if ready.proxy is not None else None
    async with CpuMeter() as cpu:
        outcome = await drive(
            arm, load, progress=lambda ended: progress.update(bar, completed=ended)
        )
    proxy = meter.share() if meter is not None else None
    return outcome, Strain(arm=arm.name, cpu=cpu.mean, lateness=0.0, proxy=proxy)


async def _story(socket: Path, arm: str, outcome: Outcome) -> str:
    """What ``headway explain`` prints of one instructive run of `arm`."""

    async def as_json(number: int) -> str:
        return await explain(socket, str(run_id(arm, number)), as_json=True)

    chosen = await choose(outcome.records, as_json)
    return await explain(socket, "last" if chosen is None else str(run_id(arm, chosen)))


def _pilot_line(pilot: Pilot, speedup: float) -> str:
    rate = LOAD_SHARE * pilot.knee
    deadlines = ", ".join(f"{name} {limit:.0f} s" for name, limit in pilot.deadlines.items())
    return (
        f"knee of least-busy ({pilot.sureness}): "
        f"{pilot.knee / speedup:.3f} runs per emulated second "
        f"(found in {pilot.wall_s:.0f} s); every arm gets {rate / speedup:.3f}. "
        f"Deadlines: {deadlines}."
    )

"""The demo from start to end: pilot, arms, and what came out of them."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from headway_samples.demo.arms import HEADWAY, SAMPLES, Arm, baseline, headway_arm, use_daemon
from headway_samples.demo.arrivals import draw_arrivals
from headway_samples.demo.driver import Load, Outcome, drive
from headway_samples.demo.measures import RunRecord, report
from headway_samples.demo.pilot import Pilot, Search, find_load
from headway_samples.demo.plan import (
    GUESS_SHARE,
    LOAD_SHARE,
    TOKENS_PER_RUN,
    VARIATION,
    Plan,
    mix,
)
from headway_samples.demo.validity import CpuMeter, Strain
from headway_samples.pool import SEATS, SamplePool, make_pool
from headway_samples.processes import daemon, emulator, explain, lateness


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """Everything that a demo measured."""

    pilot: Pilot
    rate: float
    arms: dict[str, list[RunRecord]]
    errors: dict[str, list[str]]
    strains: tuple[Strain, ...]
    explained: str

    @property
    def complaints(self) -> tuple[str, ...]:
        """Why the numbers are not valid; empty if they are."""
        return tuple(text for strain in self.strains for text in strain.complaints())

    @property
    def failed(self) -> int:
        """How many runs raised, over all arms."""
        return sum(record.failed for records in self.arms.values() for record in records)

    def as_dict(self) -> dict[str, Any]:
        """The demo's JSON."""
        return {"valid": not self.complaints, **report(self.arms)}


async def play(plan: Plan, *, folder: Path, console: Console) -> Played:
    """Find the load, run every arm of `plan` under it, and collect what was measured.

    Logs of the emulator and the daemon, and the pool file, stay in `folder`.
    """
    pool = make_pool(speedup=plan.speedup)
    console.print(_pool_line(pool))
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
            guess=GUESS_SHARE * pool.tokens_per_s() / TOKENS_PER_RUN * plan.speedup,
            idle_runs=plan.idle_runs,
            window_s=plan.probe_s,
            longest_s=plan.pilot_s,
        )
        pilot = await find_load(pool, how, folder=folder, say=progress.console.print)
        rate = LOAD_SHARE * pilot.knee
        progress.console.print(_pilot_line(pilot, rate, plan.speedup))
        return await _all_arms(plan, pool, pilot, rate, folder=folder, progress=progress)


async def _all_arms(
    plan: Plan, pool: SamplePool, pilot: Pilot, rate: float, *, folder: Path, progress: Progress
) -> Played:
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
        async with emulator(pool, folder=folder), _arm(name, pool, plan, folder=folder) as ready:
            arm, socket = ready
            outcome, strain = await _measured(arm, load, pool, progress, bar)
            if socket is not None:
                explained = await explain(socket)
        arms[name] = outcome.records
        errors[name] = outcome.errors
        strains.append(strain)
    return Played(
        pilot=pilot,
        rate=rate,
        arms=arms,
        errors=errors,
        strains=tuple(strains),
        explained=explained,
    )


@contextlib.asynccontextmanager
async def _arm(
    name: str, pool: SamplePool, plan: Plan, *, folder: Path
) -> AsyncIterator[tuple[Arm, Path | None]]:
    """The arm by name; for Headway's a fresh, untrained daemon and its socket."""
    if name != HEADWAY:
        yield baseline(name, pool, seed=plan.seed), None
        return
    async with daemon(pool, folder=folder) as socket:
        use_daemon(str(socket))
        yield headway_arm(pool), socket


async def _measured(
    arm: Arm, load: Load, pool: SamplePool, progress: Progress, bar: TaskID
) -> tuple[Outcome, Strain]:
    async with CpuMeter() as cpu:
        outcome = await drive(
            arm, load, progress=lambda ended: progress.update(bar, completed=ended)
        )
    return outcome, Strain(arm=arm.name, cpu=cpu.mean, lateness=await lateness(pool))


def _pool_line(pool: SamplePool) -> str:
    counted: dict[str, int] = {}
    for each in pool.endpoints:
        counted[each.model] = counted.get(each.model, 0) + 1
    listed = ", ".join(
        f"{count} x {model} of {SEATS[model]} seats" for model, count in counted.items()
    )
    return f"pool: {listed}; {pool.speedup:g} emulated seconds pass in one"


def _pilot_line(pilot: Pilot, rate: float, speedup: float) -> str:
    deadlines = ", ".join(f"{name} {limit:.0f} s" for name, limit in pilot.deadlines.items())
    return (
        f"knee of least-busy: {pilot.knee / speedup:.3f} runs per emulated second "
        f"(found in {pilot.wall_s:.0f} s); every arm gets {rate / speedup:.3f}. "
        f"Deadlines: {deadlines}."
    )

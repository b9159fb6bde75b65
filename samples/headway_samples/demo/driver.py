"""Drives one arm: starts each run at its arrival, open loop, and records how it went."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_URL, UUID, uuid5

from headway_samples.demo.arms import SAMPLES, Arm
from headway_samples.demo.arrivals import Arrival
from headway_samples.demo.measures import RunRecord
from headway_samples.sample import Driven, Job

Progress = Callable[[int], None]
"""Told how many runs have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What an arm is put under. `rate` is runs a wall second; deadlines are emulated seconds.

    The first `skip` runs leave no record; after `cut_s` wall seconds (None:
    never) what still runs is cancelled.
    """

    arrivals: Sequence[Arrival]
    rate: float
    speedup: float
    deadlines: dict[str, float]
    cut_s: float | None = None
    skip: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All runs of an arm: the records, what raised, and how long cut runs had been there.

    `spacing_s` is emulated seconds between two ends, on average.
    """

    records: list[RunRecord]
    errors: list[str]
    cut_ages_s: list[float]
    spacing_s: float
    wall_s: float


async def drive(arm: Arm, load: Load, *, progress: Progress | None = None) -> Outcome:
    """Run all arrivals on `arm`; ends when the last run has ended or was cut."""
    started = time.perf_counter()
    ended = 0

    async def one(arrival: Arrival) -> Driven:
        nonlocal ended
        await asyncio.sleep(started + arrival.at_s(load.rate) - time.perf_counter())
        driven = await _one_run(arm, arrival, load)
        ended += 1
        if progress is not None:
            progress(ended)
        return driven

    tasks = [asyncio.create_task(one(arrival)) for arrival in load.arrivals]
    late: set[asyncio.Task[Driven]] = set(tasks)
    try:
        _, late = await asyncio.wait(tasks, timeout=load.cut_s)
    finally:
        # Also when the demo itself is being stopped: no run outlives its pool.
        cut_at = time.perf_counter() - started
        for task in late:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    records, errors, ages = [], [], []
    for arrival, task, result in zip(load.arrivals, tasks, results, strict=True):
        if isinstance(result, Exception):
            errors.append(f"{arrival.sample} {arrival.number}: {result!r}")
        if arrival.number < load.skip:
            continue
        if task in late:
            ages.append(max(0.0, cut_at - arrival.at_s(load.rate)) * load.speedup)
            continue
        records.append(_record(arrival, result, load))
    return Outcome(
        records=records,
        errors=errors,
        cut_ages_s=ages,
        spacing_s=cut_at * load.speedup / max(1, ended),
        wall_s=time.perf_counter() - started,
    )


def run_id(arm: str, number: int) -> UUID:
    """The id under which an arm runs that arrival, if its sample is one invocation."""
    return uuid5(NAMESPACE_URL, f"headway-demo:{arm}:{number}")


async def _one_run(arm: Arm, arrival: Arrival, load: Load) -> Driven:
    sample = SAMPLES[arrival.sample]
    metadata = {
        "headway_class": sample.service_class,
        "headway_deadline_s": load.deadlines[arrival.sample] / load.speedup,
    }
    job = Job(
        task=arrival.task,
        variant=arrival.number,
        thread=f"{arm.name}-{arrival.number}",
        metadata=metadata,
        run=run_id(arm.name, arrival.number),
    )

    async def pause(seconds: float) -> None:
        await asyncio.sleep(seconds / load.speedup)

    return await sample.drive(arm.graphs[arrival.sample], job, pause)


def _record(arrival: Arrival, result: Driven | BaseException, load: Load) -> RunRecord:
    went = result if isinstance(result, Driven) else None
    return RunRecord(
        number=arrival.number,
        sample=arrival.sample,
        completion_s=went.busy_s * load.speedup if went is not None else None,
        solved=went is not None and went.solved,
        deadline_s=load.deadlines[arrival.sample],
        attempts=went.state.get("attempt", 1) if went is not None else 1,
    )

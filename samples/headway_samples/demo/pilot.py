"""The pilot: idle times, deadlines and the knee, all measured before any arm runs.

It knows only two baselines: ``large-only`` for the deadlines and
``least-busy`` for the knee, so that what is compared later is compared at a
load that Headway had no part in choosing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headway.sim.knee import KneeSearch, Sureness
from headway_samples.demo.arms import SAMPLES, baseline
from headway_samples.demo.arrivals import Share, draw_arrivals
from headway_samples.demo.driver import Load, Outcome, drive
from headway_samples.demo.stage import Stage
from headway_samples.pool import SamplePool

DEADLINE_FACTOR = {"interactive": 3.0, "batch": 6.0}
LONGEST_S = 59.0
WINDOW_S = 17.0
DRAIN_S = 4.0
WARM_UP = 0.2
"""Share of a probe's arrivals that is not counted: they find an empty pool."""
MARGIN_S = 0.5
IDLE_GAP_S = 0.4
PILOT_SEED = 7_000
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What the pilot found: rates in runs a wall second, the rest in emulated seconds."""

    idle_s: float
    deadlines: dict[str, float]
    knee: float
    sureness: Sureness
    probes: tuple[tuple[float, float], ...]
    wall_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the pilot looks: the arrivals of the arms, a first `guess`, and how long it may take.

    `guess` is runs a wall second; `window_s` and `longest_s` are wall seconds.
    """

    mix: Sequence[Share]
    variation: float
    seed: int
    guess: float
    idle_runs: int = 15
    window_s: float = WINDOW_S
    longest_s: float = LONGEST_S


async def find_load(
    pool: SamplePool, how: Search, *, stage: Stage, folder: Path, say: Say
) -> Pilot:
    """Measure idle times, then search the knee until it is bracketed well or time is up."""
    started = time.perf_counter()
    say("pilot: idle times of large-only and least-busy")
    on_large, balanced = await _idle(pool, how, stage=stage, folder=folder)
    deadlines = deadlines_of(on_large)
    idle_s = mean_completion(balanced)
    probes: list[tuple[float, float]] = []

    async def probe(rate: float) -> float:
        load = _load(rate, how, deadlines=deadlines, speedup=pool.speedup)
        outcome = await drive(
            baseline("least-busy", pool, seed=len(probes), chats=stage.chats), load
        )
        ratio = mean_completion(outcome) / idle_s
        probes.append((rate, ratio))
        say(f"pilot: at {rate:.2f} runs/s least-busy takes {ratio:.2f}x its idle time")
        return ratio

    async with stage.running(pool, folder):
        search = await search_knee(probe, how, passed_s=lambda: time.perf_counter() - started)
    return Pilot(
        idle_s=idle_s,
        deadlines=deadlines,
        knee=search.knee(),
        sureness=search.sureness,
        probes=tuple(probes),
        wall_s=time.perf_counter() - started,
    )


async def search_knee(
    probe: Callable[[float], Awaitable[float]], how: Search, *, passed_s: Callable[[], float]
) -> KneeSearch:
    """The knee as far as the probes tell that fit into ``how.longest_s``; they may be none.

    `probe` measures at a rate how many times its idle value the mean completion
    is; `passed_s` tells the wall seconds since the pilot began.
    """
    search = KneeSearch(how.guess)
    while passed_s() + how.window_s + DRAIN_S + MARGIN_S <= how.longest_s:
        rate = search.next_rate()
        search.tell(rate, await probe(rate))
    return search


def deadlines_of(on_large: Outcome) -> dict[str, float]:
    """Each sample's deadline, from its idle time on the largest model."""
    return {
        name: DEADLINE_FACTOR[sample.service_class] * mean_completion(on_large, name)
        for name, sample in SAMPLES.items()
    }


def _load(rate: float, how: Search, *, deadlines: dict[str, float], speedup: float) -> Load:
    arrivals = draw_arrivals(
        seed=how.seed, count=round(rate * how.window_s), mix=how.mix, variation=how.variation
    )
    return Load(
        arrivals=arrivals,
        rate=rate,
        speedup=speedup,
        deadlines=deadlines,
        cut_s=how.window_s + DRAIN_S,
        skip=round(WARM_UP * len(arrivals)),
    )


async def _idle(
    pool: SamplePool, how: Search, *, stage: Stage, folder: Path
) -> tuple[Outcome, Outcome]:
    """A few runs of each arm, slowly one after the other: on this pool nothing ever waits."""
    arrivals = draw_arrivals(seed=PILOT_SEED - 1, count=how.idle_runs, mix=how.mix, variation=0.3)
    load = Load(
        arrivals=arrivals,
        rate=1.0 / IDLE_GAP_S,
        speedup=pool.speedup,
        deadlines=dict.fromkeys(SAMPLES, float("inf")),
    )
    async with stage.running(pool, folder):
        large, balanced = await asyncio.gather(
            drive(baseline("large-only", pool, seed=0, chats=stage.chats), load),
            drive(baseline("least-busy", pool, seed=0, chats=stage.chats), load),
        )
    return large, balanced


def mean_completion(outcome: Outcome, sample: str = "") -> float:
    """Mean completion. What was cut is taken to drain at the rate at which runs had ended.

    Raises RuntimeError, with the first error, if a run failed: a pilot of
    failing runs would fix a meaningless load.
    """
    if outcome.errors:
        raise RuntimeError(f"a run of the pilot failed: {outcome.errors[0]}")
    times = [
        record.completion_s
        for record in outcome.records
        if record.completion_s is not None and (not sample or record.sample == sample)
    ]
    if not times:
        raise RuntimeError("no run of the pilot ended")
    if not sample and outcome.cut_ages_s:
        drained_s = len(outcome.cut_ages_s) * outcome.spacing_s
        times += [age + drained_s / 2 for age in outcome.cut_ages_s]
    return sum(times) / len(times)

"""Made-up results for the report's tests: many policies, three loads, a sweep, an example."""

import random

import numpy as np

from headway.sim.intervals import cell_row, compare, pooled_row
from headway.sim.outcomes import CallOutcome, CellOutcome, EndpointOutcome, RunOutcome
from headway.sim.results import Comparison, Example, Knee, Place, Pooled, Results, Workload
from headway.sim.tally import Tally, tally

POLICIES = {
    "headway": 1.0,
    "fcfs": 2.4,
    "cascade": 0.95,
    "chimera": 1.5,
    "clairvoyant-lengths": 0.8,
}


def call(run: str, node: str, endpoint: str, at: float, seconds: float) -> CallOutcome:
    return CallOutcome(
        run=run,
        node=node,
        endpoint=endpoint,
        model=endpoint,
        ready_s=at,
        released_s=at + 0.2 * seconds,
        first_token_s=at + 0.3 * seconds,
        ended_s=at + seconds,
        prompt_tokens=400,
        hit_tokens=100,
        output_tokens=100,
        reference_tokens=120,
        reserved_tokens=150,
        max_tokens=1000,
    )


def run_of(name: str, arrived: float, seconds: float, *, ok: bool = True) -> RunOutcome:
    step = seconds / 3
    return RunOutcome(
        id=name,
        graph="solve",
        arrived_s=arrived,
        ended_s=arrived + seconds,
        alone_s=4.0,
        deadline_s=12.0,
        ok=ok,
        tenant="a" if ok else "b",
        cost=0.01,
        calls=tuple(
            call(name, node, endpoint, arrived + place * step, step)
            for place, (node, endpoint) in enumerate(
                (("plan", "small"), ("solve <1>", "large"), ("check", "small"))
            )
        ),
    )


def made_tally(
    factor: float, load: float, seed: int, runs: int, *, skill: float | None = None
) -> Tally:
    chance = 0.8 - 0.05 * factor if skill is None else skill
    draw = random.Random(seed)
    done = tuple(
        run_of(
            f"r{place}",
            place * 0.5,
            4 + draw.expovariate(1.0) * factor * 4 * (0.1 + load) ** 2,
            ok=draw.random() < chance,
        )
        for place in range(runs)
    )
    endpoints = tuple(
        EndpointOutcome(
            id=name,
            model=name,
            busy_s=0.4 * runs,
            calls=runs,
            prompt_tokens=1,
            hit_tokens=0,
            output_tokens=1,
        )
        for name in ("small", "large")
    )
    return tally(
        CellOutcome(runs=done, endpoints=endpoints, span_s=0.6 * runs, planner_s=(0.001, 0.002))
    )


def made_results(
    policies: dict[str, float] = POLICIES,
    *,
    runs: int = 40,
    seeds: tuple[int, ...] = (1, 2),
    traces: tuple[str, ...] = ("chatdev <composed>", "tau"),
) -> Results:
    generator = np.random.default_rng(1)
    cells, pooled = [], []
    comparisons: list[Comparison] = []
    for trace in traces:
        for load in (0.0, 0.8, 1.0, 1.3):
            place = Place(trace=trace, load=load, pool="three", world="rho=0.5 v=1")
            known = {
                name: {seed: made_tally(factor, load, seed, runs) for seed in seeds}
                for name, factor in policies.items()
            }
            for name, tallies in known.items():
                cells += [
                    cell_row(place, policy=name, seed=seed, tally=each, rate=load)
                    for seed, each in tallies.items()
                ]
                pooled.append(
                    pooled_row(
                        place,
                        policy=name,
                        tallies=tallies,
                        generator=generator,
                        draws=50,
                        rate=load,
                    )
                )
            if load == 1.0:
                pooled += _sweep(place, seeds, runs, generator)
            comparisons.append(
                compare(
                    place,
                    policy=("headway", known["headway"]),
                    baseline=("fcfs", known["fcfs"]),
                    measure="mean_s",
                    generator=generator,
                    draws=50,
                )
            )
    return Results(
        suite="made-up",
        commit="0123abc",
        data_digest="sha256:1f",
        command="headway simulate made-up --out out",
        started="2026-01-02T03:04:05+00:00",
        versions={"headway": "0.1.0", "python": "3.11.7"},
        seeds=seeds,
        pools={"three": ("small: 2 x A6000", "large: 4 x A6000 & more")},
        cells=tuple(cells),
        pooled=tuple(pooled),
        knees=(Knee(trace="tau", pool="three", policy="fcfs", rate=2.0, idle_s=4.2),),
        comparisons=tuple(comparisons),
        workloads=(Workload(trace="tau", source="made", statistics={"runs": runs, "kind": "dag"}),),
        examples=(
            Example(
                trace="tau",
                load=1.0,
                policies=("headway", "fcfs"),
                runs=(run_of("r1", 3.0, 6.0), run_of("r1", 3.0, 14.0)),
            ),
        ),
        notes=("lengths are <made up>",),
    )


def _sweep(
    place: Place, seeds: tuple[int, ...], runs: int, generator: np.random.Generator
) -> list[Pooled]:
    return [
        pooled_row(
            place,
            policy=name,
            settings={"tau": knob},
            tallies={
                seed: made_tally(factor * knob, 1.0, seed, runs, skill=0.6 + 0.1 * knob)
                for seed in seeds
            },
            generator=generator,
            draws=50,
        )
        for name, factor in (("headway", 1.0), ("chimera", 1.5))
        for knob in (0.5, 2.0)
    ]

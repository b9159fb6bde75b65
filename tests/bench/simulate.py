"""The laboratory's own cost: processor time per simulated call, beside the engine model alone.

Generated chains arrive at a pool of three servers so fast that every seat is taken and calls
wait. `simulate_POLICY` plays them whole: loop, scheduler, policy, learning, engines. The ratio is
to the same requests handed to the engine model without any of that. The goals are 200 us with
FCFS (300,000 calls a minute, the loop's own cost) and 1,500 us with Headway's policy.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from headway.engine import PRESETS, Engine, Finished
from headway.policy import make_policy
from headway.predict.foresight import OnlineForesight
from headway.sim.families import generate
from headway.sim.luck import Luck
from headway.sim.plans import Planned, Rules
from headway.sim.pools import SimPool, Site
from headway.sim.poolspec import belief_pool
from headway.sim.world import play
from tests.bench.measure import Result, percentile, quartiles

GOALS_US = {"fcfs": 200.0, "headway": 1500.0}
ROUNDS = 5
RATE = 1.0
"""Runs a second: about what saturates three servers of 32 seats."""
SERVER = replace(PRESETS["qwen2.5-72b@a100"], seats=32)
POOL = SimPool(
    name="bench",
    sites=tuple(Site(id=f"e{number}", model="large", profile=SERVER) for number in range(3)),
    names={"agent": ("large",)},
    reference="large",
)


def chains(runs: int) -> tuple[Planned, ...]:
    """Generated runs, arriving by Poisson."""
    rng = random.Random(5)
    at, planned = 0.0, []
    for number, run in enumerate(generate("chain", runs=runs, seed=1).runs):
        at += rng.expovariate(RATE)
        planned.append(Planned(id=f"r{number}", run=run, arrival_s=at, alone_s=1.0))
    return tuple(planned)


def whole(planned: Sequence[Planned], policy: str) -> tuple[float, int]:
    """Microseconds of processor time per call, and how many calls were played."""
    foresight, luck = OnlineForesight({}), Luck({}, seed=1, rho=0.5)
    belief = belief_pool(POOL, 0.0, 0)
    began = time.process_time()
    cell = play(
        planned,
        pool=POOL,
        belief=belief,
        policy=make_policy(policy),
        foresight=foresight,
        luck=luck,
        rules=Rules(),
    )
    spent = time.process_time() - began
    calls = sum(len(run.calls) for run in cell.runs)
    return spent / calls * 1e6, calls


def engine_alone(planned: Sequence[Planned]) -> float:
    """Microseconds per call of the same sizes in one engine, every seat taken."""
    sizes = [
        (node.prompt_tokens, node.output_tokens) for plan in planned for node in plan.run.nodes
    ]
    engine, sent = Engine(SERVER), 0
    began = time.process_time()
    while sent < min(len(sizes), SERVER.seats):
        engine.submit(str(sent), prompt_tokens=sizes[sent][0], output_tokens=sizes[sent][1], at=0.0)
        sent += 1
    while (due := engine.next_at()) is not None:
        for happened in engine.advance(due):
            if isinstance(happened, Finished) and sent < len(sizes):
                prompt, output = sizes[sent]
                engine.submit(str(sent), prompt_tokens=prompt, output_tokens=output, at=due)
                sent += 1
    return (time.process_time() - began) / len(sizes) * 1e6


def measure(*, runs: int, step: Callable[[], None]) -> list[Result]:
    """Microseconds of processor time per simulated call; `runs` a round."""
    planned = chains(runs)
    spent: dict[str, list[float]] = {policy: [] for policy in GOALS_US}
    alone, calls = [], 0
    gc.disable()  # as the laboratory's workers do
    try:
        for _ in range(ROUNDS):
            alone.append(engine_alone(planned))
            step()
            for policy, found in spent.items():
                microseconds, calls = whole(planned, policy)
                found.append(microseconds)
                gc.collect()
                step()
    finally:
        gc.enable()
    return [
        Result(
            name=f"simulate_{policy}",
            value=percentile(found, 50),
            unit="us",
            ratio_to="engine_alone",
            ratio=percentile(found, 50) / percentile(alone, 50),
            n=calls * ROUNDS,
            spread=quartiles(found),
            goal=GOALS_US[policy],
            goal_of="value",
        )
        for policy, found in spent.items()
    ]

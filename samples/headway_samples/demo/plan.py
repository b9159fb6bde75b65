"""What the demo is made of: mix, burstiness, sizes, the time it may take. One place for numbers."""

from dataclasses import dataclass

from headway_samples.demo.arms import ARMS, HEADWAY, SAMPLES
from headway_samples.demo.arrivals import Share

WEIGHTS = {"code_generation": 0.4, "deep_research": 0.2, "support_chat": 0.4}
VARIATION = 2.5
"""Coefficient of variation of the gaps between arrivals: 1 would be Poisson."""
LOAD_SHARE = 0.8
"""The load of every arm, as a share of the knee of least-busy."""
TOKENS_PER_RUN = 1100
"""Output tokens of a mean run, roughly: only to guess where the search for the knee begins."""
GUESS_SHARE = 1.0
"""Share of the pool's token rate at which that guess puts the knee."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One demo. Runs arrive for `window_s` wall seconds in each arm, `probe_s` in each probe.

    At least two full probes must fit into `pilot_s`, or the knee cannot be bracketed.
    """

    speedup: float
    window_s: float
    pilot_s: float
    probe_s: float
    idle_runs: int
    arms: tuple[str, ...]
    seed: int


def full_plan(seed: int) -> Plan:
    """Every arm, under five minutes on two cores."""
    return Plan(
        speedup=16.0, window_s=26.0, pilot_s=59.0, probe_s=17.0, idle_runs=15, arms=ARMS, seed=seed
    )


def quick_plan(seed: int) -> Plan:
    """One short pair of arms for CI, under a minute: too few runs to compare anything."""
    arms = ("least-busy", HEADWAY)
    return Plan(
        speedup=16.0, window_s=5.0, pilot_s=20.0, probe_s=5.0, idle_runs=6, arms=arms, seed=seed
    )


def mix() -> tuple[Share, ...]:
    """The samples' shares of the arrivals."""
    return tuple(
        Share(sample=name, weight=weight, tasks=SAMPLES[name].tasks)
        for name, weight in WEIGHTS.items()
    )

"""What the demo is made of: mix, burstiness, sizes, the time it may take. One place for numbers."""

from dataclasses import dataclass, replace

from headway_samples.demo.arms import ARMS, HEADWAY, PROXY_ARMS, SAMPLES
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
    `speedup` is of the arms, `pilot_speedup` of the pilot: what it finds is in emulated time.
    """

    speedup: float
    pilot_speedup: float
    window_s: float
    pilot_s: float
    probe_s: float
    idle_runs: int
    arms: tuple[str, ...]
    seed: int


SPEEDUP = 16.0
"""Emulated seconds in a wall second, as far as the clients call the endpoints themselves."""

PROXY_SPEEDUP = 4.0
"""LiteLLM's proxy spends some 20 ms of one core on a call: more calls a second would fill it."""

PROXY_WINDOW_SHARE = 0.4
"""How many of the runs of an ordinary arm a proxy's arm gets: it may take a minute, not two."""

QUICK_ARMS = ("least-busy", HEADWAY)


def full_plan(seed: int, arms: tuple[str, ...] = ARMS) -> Plan:
    """The usual four arms in under five minutes on two cores, all seven in eight."""
    return Plan(
        speedup=SPEEDUP,
        pilot_speedup=SPEEDUP,
        window_s=26.0,
        pilot_s=59.0,
        probe_s=17.0,
        idle_runs=15,
        arms=arms,
        seed=seed,
    )


def quick_plan(seed: int, arms: tuple[str, ...] = QUICK_ARMS) -> Plan:
    """Short arms for CI, the usual pair in under a minute: too few runs to compare anything."""
    return Plan(
        speedup=SPEEDUP,
        pilot_speedup=SPEEDUP,
        window_s=5.0,
        pilot_s=20.0,
        probe_s=5.0,
        idle_runs=6,
        arms=arms,
        seed=seed,
    )


def through_proxy(plan: Plan) -> Plan:
    """`plan` with the two arms through LiteLLM's proxy, slower and for longer, with fewer runs.

    They need a minute each, with the proxy's start and the last runs.
    """
    slower = plan.speedup / PROXY_SPEEDUP
    return replace(
        plan,
        speedup=PROXY_SPEEDUP,
        window_s=plan.window_s * slower * PROXY_WINDOW_SHARE,
        arms=PROXY_ARMS,
    )


def mix() -> tuple[Share, ...]:
    """The samples' shares of the arrivals."""
    return tuple(
        Share(sample=name, weight=weight, tasks=SAMPLES[name].tasks)
        for name, weight in WEIGHTS.items()
    )

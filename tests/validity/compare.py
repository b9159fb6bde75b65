"""The same runs in both worlds, and how far apart mean and P95 of completion are.

The virtual world is charged what the live one was measured to spend on things that are not the
engine's: a decision (wall time times the speed-up) and a request's way there and back. A busy
pool is chaotic: runs that come a few milliseconds later move the P95 of a hundred runs by
5 to 10 %, in virtual time alone. So the virtual side is the median of plays whose arrivals
differ by so little, and the verdict the median over repetitions with seeds of their own.
"""

import asyncio
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from headway.core.types import Seconds
from headway.policy import make_policy
from headway.predict.foresight import OnlineForesight
from headway.sim.outcomes import CellOutcome
from headway.sim.pools import SimPool
from headway.sim.poolspec import belief_pool
from headway.sim.statistics import percentile
from headway.sim.workload import Workload
from headway.sim.world import Rules, play
from tests.validity.live import Lived, play_live
from tests.validity.setting import MAX_TOKENS, make_pool, make_workload

POLICIES = ("headway", "least-busy", "fcfs+release")
MOST_LATENESS = 0.05
"""P95 of how late the emulator's answers may leave, as a share of their own duration."""
WITHIN = 0.10
VIRTUAL_PLAYS = 5
JITTER_S: Seconds = 0.05
"""Runs of a virtual play arrive up to so much later: a millisecond or three of this machine's."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is played. `load` is a share of what the pool bears with cold caches.

    `speedups` are tried from the first on, until the emulator keeps up.
    """

    runs: int = 120
    load: float = 0.75
    policies: tuple[str, ...] = POLICIES
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    speedups: tuple[float, ...] = (20.0, 15.0, 10.0, 7.0, 5.0)


QUICK = Sizes(runs=20, seeds=(1,))


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and P95 of completion in emulated seconds."""

    mean_s: Seconds
    p95_s: Seconds


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on one seed, live and virtual.

    `uncharged` is the virtual world without any charge, `flutter` the largest distance of two
    virtual plays' P95, as a share. `decision_s` and `transport_s` were measured live, in
    emulated seconds; `hits` are the prompts' cached tokens in both worlds.
    """

    policy: str
    seed: int
    speedup: float
    live: Times
    virtual: Times
    uncharged: Times
    flutter: float
    decision_s: Seconds
    transport_s: Seconds
    lateness: float
    cpu: float
    hits: tuple[int, int]

    @property
    def green(self) -> bool:
        """Whether the emulator kept up."""
        return self.lateness <= MOST_LATENESS


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Live over virtual for one policy: medians over the repetitions, lowest and highest."""

    policy: str
    mean: float
    mean_spread: tuple[float, float]
    p95: float
    p95_spread: tuple[float, float]
    green: bool

    def agrees(self, within: float = WITHIN) -> bool:
        """Whether both medians are within that share of 1."""
        return max(abs(self.mean - 1.0), abs(self.p95 - 1.0)) <= within


def compare(sizes: Sizes, step: Callable[[Pair], None] = lambda _: None) -> tuple[Pair, ...]:
    """One pair a policy and seed, the policies in both orders.

    `step` is told of each, and of those that were played again as the emulator was late.
    """
    pool = make_pool()
    pairs: list[Pair] = []
    speedups = list(sizes.speedups)
    for turn, seed in enumerate(sizes.seeds):
        workload = make_workload(pool, runs=sizes.runs, load=sizes.load, seed=seed)
        for policy in sizes.policies[:: -1 if turn % 2 else 1]:
            pair = _pair(workload, pool=pool, policy=policy, seed=seed, speedup=speedups[0])
            step(pair)
            while not pair.green and len(speedups) > 1:
                del speedups[0]
                pair = _pair(workload, pool=pool, policy=policy, seed=seed, speedup=speedups[0])
                step(pair)
            pairs.append(pair)
    return tuple(pairs)


def verdicts(pairs: Sequence[Pair]) -> tuple[Verdict, ...]:
    """One for each policy, in the order of their first pairs."""
    found = []
    for policy in dict.fromkeys(pair.policy for pair in pairs):
        own = [pair for pair in pairs if pair.policy == policy]
        means = [pair.live.mean_s / pair.virtual.mean_s for pair in own]
        tails = [pair.live.p95_s / pair.virtual.p95_s for pair in own]
        found.append(
            Verdict(
                policy=policy,
                mean=statistics.median(means),
                mean_spread=(min(means), max(means)),
                p95=statistics.median(tails),
                p95_spread=(min(tails), max(tails)),
                green=all(pair.green for pair in own),
            )
        )
    return tuple(found)


def _pair(workload: Workload, *, pool: SimPool, policy: str, seed: int, speedup: float) -> Pair:
    lived = asyncio.run(play_live(workload, pool=pool, policy=policy, speedup=speedup, seed=seed))

    def virtual(number: int, *, charged: bool = True) -> CellOutcome:
        moved = moved_a_little(workload, f"validity/{seed}/{number}", JITTER_S if number else 0.0)
        return _play_virtual(moved, pool, policy, seed, lived if charged else None)

    plays = [virtual(number) for number in range(VIRTUAL_PLAYS)]
    bare = [_times(_completion(virtual(number, charged=False))) for number in range(VIRTUAL_PLAYS)]
    times = [_times(_completion(outcome)) for outcome in plays]
    tails = [one.p95_s for one in times]
    return Pair(
        policy=policy,
        seed=seed,
        speedup=speedup,
        live=_times(list(lived.completion_s.values())),
        virtual=_median(times),
        uncharged=_median(bare),
        flutter=max(tails) / min(tails) - 1.0,
        decision_s=lived.decision_s,
        transport_s=lived.transport_s,
        lateness=lived.lateness,
        cpu=lived.cpu,
        hits=(
            sum(call.cached_tokens for call in lived.calls),
            sum(site.hit_tokens for site in plays[0].endpoints),
        ),
    )


def moved_a_little(workload: Workload, name: str, most_s: Seconds) -> Workload:
    """The same runs, each up to `most_s` later, as is drawn by `name`."""
    rng = Random(name)
    planned = tuple(
        msgspec.structs.replace(plan, arrival_s=plan.arrival_s + rng.uniform(0.0, most_s))
        for plan in workload.planned
    )
    return dataclasses.replace(workload, planned=planned)


def _play_virtual(
    workload: Workload, pool: SimPool, policy: str, seed: int, lived: Lived | None
) -> CellOutcome:
    """Charged what was `lived`, if anything; what is believed of the pool knows nothing of it."""
    trip_s = 0.0 if lived is None else lived.transport_s
    decision_s = 0.0 if lived is None else lived.decision_s
    sites = tuple(msgspec.structs.replace(site, rtt_s=trip_s) for site in pool.sites)
    return play(
        workload.planned,
        pool=msgspec.structs.replace(pool, sites=sites),
        belief=belief_pool(pool),
        policy=make_policy(policy),
        foresight=OnlineForesight(pool.quality),
        luck=workload.luck,
        rules=Rules(decision_s=decision_s, max_tokens=MAX_TOKENS, seed=seed),
    )


def _median(times: Sequence[Times]) -> Times:
    return Times(
        mean_s=statistics.median(one.mean_s for one in times),
        p95_s=statistics.median(one.p95_s for one in times),
    )


def _completion(outcome: CellOutcome) -> list[Seconds]:
    return [run.ended_s - run.arrived_s for run in outcome.runs if run.ended_s is not None]


def _times(completion_s: Sequence[Seconds]) -> Times:
    return Times(
        mean_s=statistics.fmean(completion_s), p95_s=percentile(sorted(completion_s), 0.95)
    )

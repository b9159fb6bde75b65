"""The same cell in virtual time, and how far it is from what was lived."""

import statistics
from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np

from headway.core.types import Seconds
from headway.policy import make_policy
from headway.predict.foresight import OnlineForesight
from headway.sim.knee import find_knee
from headway.sim.statistics import percentile
from headway.sim.suite import TraceSpec
from headway.sim.workload import Material, Workload
from headway.sim.world import Rules, play
from tests.validity.compare import moved_a_little
from tests.vllm.gate.lagging import least_busy
from tests.vllm.gate.living import Beside, Lived
from tests.vllm.gate.profiled import Profiled
from tests.vllm.gate.setting import LITELLM, MAX_TOKENS, workload

MOST_MEAN_ERROR, MOST_P99_ERROR = 0.06, 0.08
"""Of a cell: what the simulator may be off by (AgentServeSim, arXiv 2606.09613: 5.5 and 7.1 %)."""
MOST_SLIPPED = 0.02
"""Servers that were later than that were not the ones that were profiled."""
VIRTUAL_PLAYS = 8
JITTER_S: Seconds = 0.02
"""Runs of each play come up to so much later: a busy pool is chaotic, one play is a draw."""
STEADY, WILD = 0.05, 0.10
"""Spreads of the P99 between virtual plays above which a cell is lived twice, and three times."""
DRAWS, LEVEL = 1000, 0.95


class Virtual(msgspec.Struct, frozen=True, kw_only=True):
    """A cell in virtual time: all plays together, the range of each play's own, and their spread.

    `mean_s` and `p95_s` are of run completions, `p99_s` of call latencies; `p99_spread` is the
    standard deviation of the plays' P99s, as a share.
    """

    mean_s: Seconds
    p95_s: Seconds
    p99_s: Seconds
    mean_range: tuple[Seconds, Seconds]
    p99_range: tuple[Seconds, Seconds]
    p99_spread: float
    calls_on: dict[str, int]

    @property
    def live_plays(self) -> int:
        """How often the cell is lived: decided before, by the virtual plays alone."""
        return 1 + (self.p99_spread > STEADY) + (self.p99_spread > WILD)


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One cell under one policy, all live plays together.

    `p99_interval` is of the live calls, by bootstrap; `slipped` of the latest play. `lived_at` and
    `virtual_at` are the commits of the two sides.
    """

    cell: str
    about: str
    load: float
    rate: float
    policy: str
    plays: int
    runs: int
    calls: int
    live_mean_s: Seconds
    live_p95_s: Seconds
    live_p99_s: Seconds
    p99_interval: tuple[Seconds, Seconds]
    virtual: Virtual
    charged_s: Seconds
    heard_late_s: Seconds
    slipped: float
    cpu: float
    calls_on: dict[str, int]
    lived_at: str
    virtual_at: str

    @property
    def mean_error(self) -> float:
        """Of the mean run completion: virtual over live, less 1."""
        return self.virtual.mean_s / self.live_mean_s - 1.0

    @property
    def p99_error(self) -> float:
        """Of the P99 call latency."""
        return self.virtual.p99_s / self.live_p99_s - 1.0

    @property
    def usual(self) -> tuple[bool, bool]:
        """Whether mean and P99 lived are among those of the virtual plays: no farther from them
        than they are from one another.
        """
        (low, high), (least, most) = self.virtual.mean_range, self.virtual.p99_range
        return low <= self.live_mean_s <= high, least <= self.live_p99_s <= most

    @property
    def green(self) -> bool:
        """Whether the servers kept their pace."""
        return self.slipped <= MOST_SLIPPED

    @property
    def passes(self) -> bool:
        """Whether both errors are within their bounds."""
        return abs(self.mean_error) <= MOST_MEAN_ERROR and abs(self.p99_error) <= MOST_P99_ERROR


def virtual(
    planned: Workload, known: Profiled, *, policy: str, beside: Beside, seed: int
) -> Virtual:
    """Some plays whose arrivals differ by a few milliseconds."""
    completions: list[list[Seconds]] = []
    latencies: list[list[Seconds]] = []
    served: dict[str, int] = {}
    for number in range(VIRTUAL_PLAYS):
        moved = moved_a_little(planned, f"gate/{seed}/{number}", JITTER_S)
        completion_s, latencies_s, on = _play(moved, known, policy, beside, seed)
        completions.append(completion_s)
        latencies.append(latencies_s)
        served = served or on
    means = [statistics.fmean(one) for one in completions]
    tails = [percentile(sorted(one), 0.99) for one in latencies]
    return Virtual(
        mean_s=statistics.fmean(means),
        p95_s=percentile(sorted(chain.from_iterable(completions)), 0.95),
        p99_s=percentile(sorted(chain.from_iterable(latencies)), 0.99),
        mean_range=(min(means), max(means)),
        p99_range=(min(tails), max(tails)),
        p99_spread=statistics.stdev(tails) / statistics.fmean(tails),
        calls_on=served,
    )


def knee_of(
    trace: TraceSpec, material: Material, known: Profiled, *, runs: int, guess: float
) -> float:
    """Runs a second at which LiteLLM's least-busy takes three times what it takes when idle."""

    def mean_at(rate: float) -> Seconds:
        planned = workload(trace, known.sim, material, runs=runs, rate=rate, seed=99)
        return statistics.fmean(_play(planned, known, LITELLM, Beside(charged_s=0.0), 99)[0])

    return find_knee(mean_at, idle_s=mean_at(0.0), guess=guess).rate


def pair_of(
    plays: Sequence[Lived],
    planned: Workload,
    simulated: Virtual,
    *,
    cell: str,
    about: str,
    load: float,
    policy: str,
    beside: Beside,
    at: str,
) -> Pair:
    """Both sides together, of the commit `at`."""
    completion_s = [one for lived in plays for one in lived.completion_s.values()]
    latencies_s = [one for lived in plays for one in lived.latencies_s]
    return Pair(
        cell=cell,
        about=about,
        load=load,
        rate=planned.rate,
        policy=policy,
        plays=len(plays),
        runs=len(completion_s),
        calls=len(latencies_s),
        live_mean_s=statistics.fmean(completion_s),
        live_p95_s=percentile(sorted(completion_s), 0.95),
        live_p99_s=percentile(sorted(latencies_s), 0.99),
        p99_interval=_interval(latencies_s),
        virtual=simulated,
        charged_s=beside.charged_s,
        heard_late_s=beside.heard_late_s,
        slipped=max(lived.slipped for lived in plays),
        cpu=statistics.fmean(lived.cpu for lived in plays),
        calls_on=plays[0].calls_on,
        lived_at=at,
        virtual_at=at,
    )


def _interval(latencies_s: Sequence[Seconds]) -> tuple[Seconds, Seconds]:
    """Of the P99, by drawing the calls again."""
    generator = np.random.default_rng(7)
    values = np.array(latencies_s)
    drawn = [float(np.percentile(generator.choice(values, len(values)), 99)) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def _play(
    planned: Workload, known: Profiled, policy: str, beside: Beside, seed: int
) -> tuple[list[Seconds], list[Seconds], dict[str, int]]:
    """Seconds of runs and of calls, calls by endpoint."""
    # what a call takes beside its engine is charged as a whole
    sites = tuple(msgspec.structs.replace(site, rtt_s=0.0) for site in known.sim.sites)
    outcome = play(
        planned.planned,
        pool=msgspec.structs.replace(known.sim, sites=sites),
        belief=known.belief,
        policy=least_busy(beside.heard_late_s) if policy == LITELLM else make_policy(policy),
        foresight=OnlineForesight(known.sim.quality),
        luck=planned.luck,
        rules=Rules(decision_s=beside.charged_s, max_tokens=MAX_TOKENS, seed=seed),
    )
    completion_s = [run.ended_s - run.arrived_s for run in outcome.runs if run.ended_s is not None]
    latencies_s = [call.ended_s - call.ready_s for run in outcome.runs for call in run.calls]
    return completion_s, latencies_s, {site.id: site.calls for site in outcome.endpoints}

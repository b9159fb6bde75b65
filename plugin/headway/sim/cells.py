"""Cells: one policy on one workload at one load under one seed, as a pure function of plain data.

A `CellSpec` holds all that decides the outcome, so that it can be computed in any process and
found again by its digest. A `Bench` keeps, per process, what many cells share.
"""

from collections.abc import Callable

import msgspec

from headway.core.errors import ConfigError
from headway.core.pool import Pool
from headway.core.protocols import Foresight, Policy
from headway.core.types import Seconds
from headway.policy import make_policy
from headway.predict.foresight import OnlineForesight
from headway.sim.alone import Alone, capacity
from headway.sim.cellstore import spec_digest
from headway.sim.confidence import make_confidence, parse_confidence
from headway.sim.knee import FoundKnee, NoKnee, find_knee
from headway.sim.luck import Luck
from headway.sim.measures import measure
from headway.sim.oracle import BOUNDS, clairvoyant
from headway.sim.outcomes import CellOutcome, RunOutcome
from headway.sim.pools import SimPool
from headway.sim.poolspec import POOL_NAME, belief_pool
from headway.sim.sources import Sources
from headway.sim.suite import DeadlineSpec, Knob, TraceSpec, WorldSpec
from headway.sim.tally import Tally, tally
from headway.sim.trace import TraceRun
from headway.sim.workload import Draw, Material, Workload, history_of, plan, prepare
from headway.sim.world import Rules

MORE_RUNS = (1, 4, 16)
"""Times the runs of a knee's play, one after the other, until the knee is found."""
IDLE_RUNS = 400
"""Runs that tell the idle value: they do not meet."""
Play = Callable[..., CellOutcome]
"""`world.play`, or a stand-in with its arguments."""
Rehearse = Callable[..., dict[str, object]]
"""`world.rehearse`, or a stand-in with its arguments."""


class CellSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides a cell. `rate` is in runs/s (0: idle), `load` what that is of the knee.

    `belief` None: the scheduler believes the truth, its speeds off by `belief_error`.
    `data_digest` and `code` are those of the data and of Headway's own source.
    """

    trace: TraceSpec
    pool: SimPool
    belief: Pool | None = None
    data_digest: str
    code: str
    policy: str
    params: dict[str, Knob] = {}
    load: float
    rate: float
    world: WorldSpec
    confidence: str
    belief_error: float = 0.0
    seed: int
    runs: int
    history: int
    deadlines: DeadlineSpec
    skip_first: float
    skip_last: float
    max_tokens: int
    decision_s: Seconds

    def __str__(self) -> str:
        knobs = " ".join(f"{key}={self.params[key]}" for key in sorted(self.params))
        return (
            f"trace {self.trace.name} on {self.pool.name}, policy {self.policy}"
            f"{f' ({knobs})' if knobs else ''}, load {self.load:g} ({self.rate:.4g} runs/s), "
            f"{self.world}, confidence {self.confidence}, belief error {self.belief_error:g}, "
            f"seed {self.seed}, {self.runs} runs"
        )


class Bench:
    """What the cells of a process share: data that was read, materials, what was learned.

    `clock` times the policies' decisions; it decides nothing.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        play: Play,
        rehearse: Rehearse,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.sources = sources
        self._play = play
        self._clock = clock
        self._rehearse = rehearse
        self._materials: dict[str, Material] = {}
        self._alone: dict[str, Alone] = {}
        self._learned: dict[str, dict[str, object] | None] = {}

    def material(self, trace: TraceSpec, pool: SimPool, *, max_tokens: int) -> Material:
        """The material of a trace on a pool."""
        key = spec_digest([trace, pool, max_tokens])
        found = self._materials.get(key)
        if found is None:
            found = prepare(trace, pool, self.sources, max_tokens=max_tokens)
            self._materials[key] = found
        return found

    def workload(self, spec: CellSpec) -> Workload:
        """The runs of a cell."""
        material = self.material(spec.trace, spec.pool, max_tokens=spec.max_tokens)
        key = spec_digest([spec.pool, spec.max_tokens])
        alone = self._alone.setdefault(key, Alone(spec.pool, max_tokens=spec.max_tokens))
        wanted = Draw(
            runs=spec.runs,
            rate=spec.rate,
            seed=spec.seed,
            rho=spec.world.rho,
            verifier=spec.world.verifier,
        )
        return plan(material, spec.trace, wanted, alone=alone, deadlines=spec.deadlines)

    def outcome(self, spec: CellSpec) -> CellOutcome:
        """Play the cell."""
        workload = self.workload(spec)
        belief = _belief(spec)
        policy, foresight = _minds(spec, workload)
        return self._play(
            workload.planned,
            pool=spec.pool,
            belief=belief,
            policy=policy,
            foresight=foresight,
            luck=workload.luck,
            rules=_rules(spec),
            learned=self._learned_for(spec, belief),
            clock=self._clock,
        )

    def tally(self, spec: CellSpec) -> Tally:
        """Play the cell and boil it down; a burst counts whole."""
        first, last = (0.0, 0.0) if spec.trace.burst else (spec.skip_first, spec.skip_last)
        return tally(self.outcome(spec), skip_first=first, skip_last=last)

    def knee(self, spec: CellSpec, plays: int) -> FoundKnee:
        """The knee of the cell's policy; the spec's own load and rate do not count.

        Where so few runs never fill the pool, it is looked for with more.
        """
        told: NoKnee | None = None
        for times in MORE_RUNS:
            wider = msgspec.structs.replace(spec, runs=times * spec.runs)
            try:
                return self._knee(wider, plays)
            except NoKnee as error:
                told = error
        raise ConfigError(
            f"trace {spec.trace.name} on {spec.pool.name}, knee of {spec.policy}: {told}"
        ) from told

    def _knee(self, spec: CellSpec, plays: int) -> FoundKnee:
        idle = msgspec.structs.replace(spec, rate=0.0, load=0.0, runs=min(spec.runs, IDLE_RUNS))
        return find_knee(
            lambda rate: self._mean_s(msgspec.structs.replace(spec, rate=rate)),
            idle_s=self._mean_s(idle),
            guess=0.7 * self.capacity(spec),
            plays=plays,
        )

    def example(self, specs: tuple[CellSpec, CellSpec]) -> tuple[RunOutcome, RunOutcome]:
        """One run under two policies: that with the P90 of completion under the first."""
        one, other = (self.outcome(spec) for spec in specs)
        ended = [run for run in one.runs if run.ended_s is not None]
        if not ended:
            raise ConfigError(f"no run ended: {specs[0]}")
        ended.sort(key=lambda run: ((run.ended_s or 0.0) - run.arrived_s - run.paused_s, run.id))
        chosen = ended[int(0.9 * (len(ended) - 1))]
        return chosen, next(run for run in other.runs if run.id == chosen.id)

    def _mean_s(self, spec: CellSpec) -> Seconds:
        first, last = (0.0, 0.0) if spec.trace.burst else (spec.skip_first, spec.skip_last)
        found = measure(self.outcome(spec), skip_first=first, skip_last=last)
        return float("inf") if found.failed or found.mean_s is None else found.mean_s

    def capacity(self, spec: CellSpec) -> float:
        """Runs a second that the cell's pool bears, roughly."""
        planned = self.workload(spec).planned
        calls: list[tuple[int, int]] = []
        for one in planned:
            if one.run.nodes:
                calls += [(n.prompt_tokens, n.output_tokens) for n in one.run.nodes]
            elif one.run.question is not None:
                asked = one.run.question
                calls.append((asked.prompt_tokens, asked.labels[spec.pool.reference].output_tokens))
        made = [call for call in calls if call[0]]
        return capacity(made, len(planned), spec.pool)

    def _learned_for(self, spec: CellSpec, belief: Pool) -> dict[str, object] | None:
        """What is known beforehand: the history, run by run, once for all policies.

        A policy that heeds what happens has seen the history itself.
        """
        if not spec.history:
            return None
        heeding = _heeding(spec)
        rules = msgspec.structs.replace(_rules(spec), seed=0)  # all seeds know the same
        key = spec_digest(
            [
                [spec.trace, spec.pool, belief, spec.world, spec.confidence, spec.history, rules],
                [spec.policy, spec.params] if heeding is not None else None,
            ]
        )
        if key not in self._learned:
            material = self.material(spec.trace, spec.pool, max_tokens=spec.max_tokens)
            history = history_of(material, spec.history)
            self._learned[key] = self._rehearsed(
                spec, material, history, belief=belief, heeds=heeding, rules=rules
            )
        return self._learned[key]

    def _rehearsed(
        self,
        spec: CellSpec,
        material: Material,
        history: tuple[TraceRun, ...],
        *,
        belief: Pool,
        heeds: Policy | None,
        rules: Rules,
    ) -> dict[str, object] | None:
        if not history:
            return None
        luck = Luck(
            {
                f"history/{number}": run.question
                for number, run in enumerate(history)
                if run.question is not None
            },
            seed=0,
            rho=spec.world.rho,
            verifier=spec.world.verifier,
            kinds=material.kinds,
        )
        return self._rehearse(
            history,
            pool=spec.pool,
            belief=belief,
            foresight=_foresight(spec, luck),
            luck=luck,
            rules=rules,
            attempts=spec.trace.attempts,
            heeds=heeds,
        )


def _belief(spec: CellSpec) -> Pool:
    if spec.belief is not None:
        return spec.belief
    # without an error the seed must not make two beliefs of one
    return belief_pool(spec.pool, spec.belief_error, spec.seed if spec.belief_error else 0)


def _rules(spec: CellSpec) -> Rules:
    return Rules(
        pool_name=POOL_NAME,
        decision_s=spec.decision_s,
        max_tokens=spec.max_tokens,
        seed=spec.seed,
    )


def _heeding(spec: CellSpec) -> Policy | None:
    """A fresh policy of the cell if it learns by itself what it can take to another cell."""
    if spec.policy in BOUNDS:
        return None
    policy = make_policy(spec.policy, dict(spec.params))
    learns = all(getattr(policy, method, None) for method in ("heed", "snapshot", "restore"))
    return policy if learns else None


def _foresight(spec: CellSpec, luck: Luck) -> OnlineForesight:
    quality = dict(spec.pool.quality)
    foresight = OnlineForesight(quality)
    source = make_confidence(parse_confidence(spec.confidence), quality=quality, luck=luck)
    foresight.confidence = source
    return foresight


def _minds(spec: CellSpec, workload: Workload) -> tuple[Policy, Foresight]:
    foresight = _foresight(spec, workload.luck)
    if spec.policy not in BOUNDS:
        return make_policy(spec.policy, dict(spec.params)), foresight
    return clairvoyant(
        spec.policy,
        planned={one.id: one for one in workload.planned},
        pool=spec.pool,
        luck=workload.luck,
        confidence=foresight.confidence,
    )

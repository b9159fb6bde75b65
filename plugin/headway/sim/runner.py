"""Runs a suite: knees first, then every cell, on all cores; what is finished is kept.

Cells are enumerated in a fixed order and are pure functions of their specs, so results do not
depend on the number of workers. Finished cells and knees lie in the out folder by a digest of
all that decides them (Headway's own source included): an interrupted suite goes on where it was.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from headway.core.errors import ConfigError
from headway.core.pool import Pool
from headway.sim import world
from headway.sim.cast import cast, check_policy
from headway.sim.cells import Bench, CellSpec, Play, Rehearse
from headway.sim.cellstore import CellStore
from headway.sim.gather import Finished, cell_rows, comparisons, grouped, pooled_rows
from headway.sim.knee import FoundKnee
from headway.sim.kneestore import KneeStore
from headway.sim.pools import SimPool
from headway.sim.poolspec import pool_lines, sim_pool
from headway.sim.provenance import (
    Stage,
    by_label,
    code_digest,
    commit,
    digest_of,
    notes,
    versions,
    workload_told,
)
from headway.sim.results import Example, Knee, Results
from headway.sim.suite import (
    ArrivalsSpec,
    PolicySpec,
    SizeName,
    SizeSpec,
    Suite,
    WorldSpec,
    check_load,
)
from headway.sim.workers import Job, Shop, work
from headway.sim.workload import number_of_bodies

KNEES_NAME = "knees.jsonl"


class Watch(Protocol):
    """Who is told how it goes."""

    def begin(self, what: str, total: int) -> None:
        """A stage with `total` jobs begins."""
        ...

    def advance(self, calls: int) -> None:
        """One job is done; it played so many calls."""
        ...

    def say(self, text: str) -> None:
        """Something that a user wants to know."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says. Empty or None: as the suite has it.

    `pool` stands in for every pool of the suite, with what is believed of it: a user's own.
    """

    out: Path
    size: SizeName = "default"
    data: Path | None = None
    base: Path | None = None
    policies: tuple[str, ...] = ()
    seeds: int | None = None
    runs: int | None = None
    loads: tuple[float, ...] = ()
    workers: int = 1
    fresh: bool = False
    pool: tuple[SimPool, Pool] | None = None
    command: str = ""
    started: str = ""
    play: Play = world.play
    rehearse: Rehearse = world.rehearse


def run_suite(suite: Suite, options: Options, watch: Watch) -> Results:
    """Play the suite. Raises `ConfigError` for what cannot be played, naming what to change."""
    size = _size(suite, options)
    policies = cast(suite, size, options.policies)
    check_policy(suite.knee_policy, f"suite {suite.name}: knee_policy")
    shop = Shop(
        workers=options.workers,
        data=options.data,
        base=options.base,
        play=options.play,
        rehearse=options.rehearse,
    )
    bench = shop.bench()
    stages = tuple(_stages(suite, size, options, bench))
    folder = options.out
    if options.fresh:
        for name in ("cells.jsonl", KNEES_NAME):
            (folder / name).unlink(missing_ok=True)
    store = CellStore(folder)
    common = _Common(suite=suite, size=size, code=code_digest())
    knees = _knees(stages, common, shop, bench, folder, watch)
    cells = _cells(stages, policies, common, knees, shop, bench, store, watch)
    groups = grouped(cells)
    return Results(
        suite=suite.name,
        commit=commit(),
        data_digest=digest_of([stage.material.digest for stage in stages]),
        command=options.command,
        started=options.started,
        versions=versions(),
        seeds=tuple(range(1, size.seeds + 1)),
        pools={stage.pool.name: pool_lines(stage.pool) for stage in stages},
        cells=cell_rows(cells),
        pooled=pooled_rows(groups),
        knees=tuple(
            Knee(
                trace=stage.material.label,
                pool=stage.pool.name,
                policy=suite.knee_policy,
                rate=knee.rate,
                idle_s=knee.idle_s,
            )
            for stage, knee in zip(stages, knees, strict=True)
            if knee.probes
        ),
        comparisons=comparisons(groups),
        workloads=tuple(workload_told(stage, size.seeds) for stage in by_label(stages)),
        examples=_examples(cells, suite, shop, bench, watch),
        notes=(*suite.deviations, *notes(stages, size)),
    )


class _Common(msgspec.Struct, frozen=True, kw_only=True):
    suite: Suite
    size: SizeSpec
    code: str

    def spec(
        self, stage: Stage, policy: PolicySpec, *, load: float, rate: float, **rest: Any
    ) -> CellSpec:
        """A cell of this suite. Raises `ConfigError` for a load that no rate was found for."""
        if load and not rate:
            raise ConfigError(
                f"trace {stage.material.label} on {stage.pool.name}: load {load:g} has no rate: "
                "its knee was not found"
            )
        runs = stage.runs if load else max(2, round(stage.runs * self.size.idle_share))
        return CellSpec(
            trace=stage.trace,
            pool=stage.pool,
            belief=stage.belief,
            data_digest=stage.material.digest,
            code=self.code,
            policy=policy.id,
            params=dict(policy.params),
            load=load,
            rate=rate,
            runs=runs,
            history=self.size.history,
            deadlines=self.suite.deadlines,
            skip_first=self.suite.skip_first,
            skip_last=self.suite.skip_last,
            max_tokens=self.suite.max_tokens,
            decision_s=self.suite.decision_s,
            **rest,
        )


def _size(suite: Suite, options: Options) -> SizeSpec:
    size = suite.size(options.size)
    for load in options.loads:
        check_load(load, "--load", of_knee=options.pool is None)
    changed: dict[str, Any] = {}
    if options.loads:
        changed["loads"] = changed["error_loads"] = tuple(dict.fromkeys(options.loads))
    if options.seeds is not None:
        changed["seeds"] = options.seeds
    if options.runs is not None:
        changed["runs"] = options.runs
    return msgspec.structs.replace(size, **changed)


def _stages(suite: Suite, size: SizeSpec, options: Options, bench: Bench) -> Iterator[Stage]:
    for trace in suite.traces:
        if size.traces and trace.name not in size.traces:
            continue
        for name in trace.pools if options.pool is None else ("",):
            if size.pools and name and name not in size.pools:
                continue
            pool, belief = options.pool or (sim_pool(suite.pool(name)), None)
            material = bench.material(trace, pool, max_tokens=suite.max_tokens)
            asked = options.runs or max(2, round(size.runs * trace.runs_share))
            everything = trace.bodies[0].journal and options.runs is None
            yield Stage(
                trace=trace,
                pool=pool,
                belief=belief,
                material=material,
                runs=number_of_bodies(material) if everything else asked,
                asks=material.asks,
            )


# -- knees -----------------------------------------------------------------------------------------


def _knees(
    stages: Sequence[Stage],
    common: _Common,
    shop: Shop,
    bench: Bench,
    folder: Path,
    watch: Watch,
) -> list[FoundKnee]:
    """The knee of every stage, from the folder where it is known."""
    found: dict[int, FoundKnee] = {}
    jobs: list[tuple[int, Job]] = []
    kept = KneeStore(folder / KNEES_NAME)
    idle_only = not any(load for _, load in _errors_and_loads(common.size))
    for place, stage in enumerate(stages):
        if stage.trace.base_rate or stage.trace.bodies[0].journal or idle_only:
            rate = stage.trace.base_rate or (0.0 if idle_only else stage.material.rate)
            found[place] = FoundKnee(rate=rate, idle_s=0.0, probes=())
            continue
        spec = _knee_spec(stage, common)
        plays = common.size.knee_plays
        known = kept.get(spec, plays)
        if not plays:
            found[place] = FoundKnee(rate=bench.capacity(spec), idle_s=0.0, probes=())
        elif known is not None:
            found[place] = known
        else:
            jobs.append((place, Job(kind="knee", specs=(spec,), plays=plays)))
    if jobs:
        watch.begin("looking for knees", len(jobs))
    for number, knee in work(shop, bench, [job for _, job in jobs]):
        place, job = jobs[number]
        kept.add(job.specs[0], job.plays, knee)
        found[place] = knee
        watch.advance(0)
    return [found[place] for place in range(len(stages))]


def _knee_spec(stage: Stage, common: _Common) -> CellSpec:
    """The cell whose rate is varied: the suite's first world and confidence, seed 1.

    A burst has no steady state, so no knee: its load is a multiple of that of Poisson arrivals.
    """
    trace, share = stage.trace, stage.trace.runs_share
    if trace.burst:
        trace = msgspec.structs.replace(trace, arrivals=ArrivalsSpec(), burst=False)
        share = 1.0
    spec = common.spec(
        stage,
        PolicySpec(id=common.suite.knee_policy),
        load=0.0,  # the search varies the rate
        rate=0.0,
        world=common.size.worlds[0],
        confidence=common.size.confidence[0] if stage.asks else "base-rate",
        seed=1,
    )
    runs = max(2, round(common.size.knee_runs * share))
    return msgspec.structs.replace(spec, runs=runs, trace=trace)


# -- cells -----------------------------------------------------------------------------------------


def _cells(
    stages: Sequence[Stage],
    policies: Sequence[PolicySpec],
    common: _Common,
    knees: Sequence[FoundKnee],
    shop: Shop,
    bench: Bench,
    store: CellStore,
    watch: Watch,
) -> list[Finished]:
    """Every cell, in the order of enumeration, from the store where it is finished."""
    wanted = [
        (stage, spec)
        for stage, knee in zip(stages, knees, strict=True)
        for spec in _enumerated(stage, policies, common, knee)
    ]
    missing = [spec for _, spec in wanted if spec not in store]
    if kept := len(wanted) - len(missing):
        watch.say(f"{kept} of {len(wanted)} cells are finished already")
    if missing:
        watch.begin("playing", len(missing))
    jobs = [Job(kind="tally", specs=(spec,)) for spec in missing]
    for place, tally in work(shop, bench, jobs):
        store.add(missing[place], tally)
        watch.advance(tally.calls.calls)
    finished = []
    for stage, spec in wanted:
        tally = store.get(spec)
        if tally is None:
            raise ConfigError(f"a finished cell is gone from the folder: {spec}: run again")
        label = str(spec.world) if stage.asks else ""
        finished.append(Finished(spec=spec, label=stage.material.label, world=label, tally=tally))
    return finished


def _errors_and_loads(size: SizeSpec) -> tuple[tuple[float, float], ...]:
    """(error of belief, load) of all cells: every load without an error, then those with one."""
    error_loads = size.error_loads if 0.0 in size.belief_errors else size.loads
    errors = [error for error in size.belief_errors if error]
    return (
        *((0.0, load) for load in size.loads),
        *((error, load) for error in errors for load in error_loads),
    )


def _enumerated(
    stage: Stage, policies: Sequence[PolicySpec], common: _Common, knee: FoundKnee
) -> Iterator[CellSpec]:
    """The cells of a stage; errors of belief only in the first world, at their own loads."""
    size = common.size
    worlds: tuple[WorldSpec, ...] = size.worlds if stage.asks else size.worlds[:1]
    sources = size.confidence if stage.asks else ("base-rate",)
    wanted = _errors_and_loads(size)
    places = [(w, c, 0.0, load) for w in worlds for c in sources for e, load in wanted if not e]
    places += [(worlds[0], sources[0], error, load) for error, load in wanted if error]
    plain = {policy.id: policy for policy in reversed(policies)}  # the first of each is no sweep's
    for one, source, error, load in places:
        for seed in range(1, size.seeds + 1):
            for policy in policies:
                if error and policy is not plain[policy.id]:
                    continue
                yield common.spec(
                    stage,
                    policy,
                    load=load,
                    rate=load * knee.rate,
                    world=one,
                    confidence=source,
                    belief_error=error,
                    seed=seed,
                )


def _examples(
    cells: Sequence[Finished], suite: Suite, shop: Shop, bench: Bench, watch: Watch
) -> tuple[Example, ...]:
    """One run under the knee's policy (or the first baseline) and under Headway, at the knee."""
    loaded = [c for c in cells if c.spec.load and c.spec.seed == 1 and not c.spec.belief_error]
    if not loaded:
        return ()
    nearest_load = min(loaded, key=lambda cell: abs(cell.spec.load - 1.0)).spec.load
    place = next(cell.place for cell in loaded if cell.spec.load == nearest_load)
    here = [cell for cell in loaded if cell.place == place]
    ours = [cell for cell in here if cell.spec.policy == "headway"]
    rivals = [cell for cell in here if cell.spec.policy != "headway"]
    rivals.sort(key=lambda cell: cell.spec.policy != suite.knee_policy)
    if not ours or not rivals:
        return ()
    pair = (rivals[0].spec, ours[0].spec)
    watch.begin("playing one run for the chart", 1)
    for _, runs in work(shop, bench, [Job(kind="example", specs=pair)]):
        watch.advance(0)
        return (
            Example(
                trace=rivals[0].label,
                load=nearest_load,
                policies=(pair[0].policy, pair[1].policy),
                runs=runs,
            ),
        )
    return ()

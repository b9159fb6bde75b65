"""Rows of the results: measures with bootstrap intervals, policies compared run by run.

The runs of all seeds are resampled together (a resample of runs, not of seeds: the spread
over seeds is told beside it). A comparison pairs each run with itself under the other policy.
"""

import math
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from headway.core.errors import ConfigError
from headway.sim.measures import P99_RUNS, Measures, measures_of
from headway.sim.results import Cell, Comparison, Place, Pooled, Setting
from headway.sim.statistics import (
    DRAWS,
    LEVEL,
    Places,
    Reduce,
    Vector,
    bounds,
    means,
    paired_difference,
    paired_ratio,
    percentile,
    percentiles,
    reached_each,
    resamples,
)
from headway.sim.tally import RunVectors, Tally, join

Draw = Callable[["Columns", Places], Vector]

CDF_POINTS = 101
"""Quantiles that a row keeps of its distributions: one a percent."""


class Columns:
    """A tally's runs as arrays; NaN where a run does not count for a column."""

    def __init__(self, runs: RunVectors) -> None:
        self.completion = np.array(runs.completion_s(), dtype=np.float64)
        self.slowdown = np.array(runs.slowdown(), dtype=np.float64)
        self.ended = np.where(np.isfinite(self.completion), self.completion, np.nan)
        self.per_token = self.ended / _positive(runs.output_tokens)
        self.per_reference_token = self.ended / _positive(runs.reference_tokens)
        self.met = _flags(runs.met)
        self.right = _flags(
            tuple(
                None if ok is None else ok and not failed
                for ok, failed in zip(runs.ok, runs.failed, strict=True)
            )
        )
        self.spent = np.array(
            [math.inf if each is None else each for each in runs.spent_s], dtype=np.float64
        )
        self.cost = np.array(runs.cost, dtype=np.float64)


def intervals(
    known: Tally, *, generator: np.random.Generator, draws: int = DRAWS, level: float = LEVEL
) -> dict[str, tuple[float, float]]:
    """The interval of every run measure of a tally that has a value, by the measure's name."""
    columns = Columns(known.runs)
    n = len(columns.completion)
    if not n:
        return {}
    values = measures_of(known)
    names = [name for name in _DRAWN if getattr(values, name) is not None]
    drawn: dict[str, list[Vector]] = {name: [] for name in names}
    for at in resamples(n, draws=draws, generator=generator):
        for name in names:
            drawn[name].append(_DRAWN[name](columns, at))
    result = {}
    for name in names:
        every = np.concatenate(drawn[name])
        every = every[~np.isnan(every)]  # a resample without any run that counts
        if len(every):
            result[name] = bounds(every, level=level)
    return result


def cell_row(
    place: Place,
    *,
    policy: str,
    seed: int,
    tally: Tally,
    settings: Mapping[str, Setting] | None = None,
    rate: float | None = None,
) -> Cell:
    """The results' row of one finished cell."""
    measures = measures_of(tally)
    return Cell(
        **msgspec.structs.asdict(place),
        policy=policy,
        seed=seed,
        runs=measures.runs,
        measures=measures,
        settings=dict(settings or {}),
        rate=rate,
    )


def pooled_row(
    place: Place,
    *,
    policy: str,
    tallies: Mapping[int, Tally],
    generator: np.random.Generator,
    settings: Mapping[str, Setting] | None = None,
    rate: float | None = None,
    draws: int = DRAWS,
) -> Pooled:
    """The results' row of a policy's finished cells, by seed, all runs together."""
    known = join(tallies)
    measures = measures_of(known)
    return Pooled(
        **msgspec.structs.asdict(place),
        policy=policy,
        seeds=len(tallies),
        runs=measures.runs,
        measures=measures,
        settings=dict(settings or {}),
        rate=rate,
        intervals=dict(intervals(known, generator=generator, draws=draws)),
        spread=spread({seed: measures_of(each) for seed, each in tallies.items()}),
        completion_cdf=_quantiles(known.runs.completion_s()),
        slowdown_cdf=_quantiles(known.runs.slowdown()),
    )


def spread(by_seed: Mapping[int, Measures]) -> dict[str, float]:
    """Standard deviation over seeds of every measure that is finite under each of them."""
    if len(by_seed) < 2:
        return {}
    found = {}
    for name in (*_DRAWN, "goodput", "kv_output_saved", "kv_saved", "kv_overflow"):
        each = [getattr(by_seed[seed], name) for seed in sorted(by_seed)]
        if all(value is not None and math.isfinite(value) for value in each):
            found[name] = float(np.std(np.array(each, dtype=np.float64), ddof=1))
    return found


def compare(
    place: Place,
    *,
    policy: tuple[str, Mapping[int, Tally]],
    baseline: tuple[str, Mapping[int, Tally]],
    measure: str,
    generator: np.random.Generator,
    draws: int = DRAWS,
) -> Comparison:
    """A measure of a policy over the baseline's (below 1: less), on the runs that both had.

    Both are (id, cells by seed); only seeds that both have count. Means pair the runs that
    ended under both. Raises `ConfigError` for a measure that is not one of a run, and if
    the two share no run.
    """
    if measure not in _COLUMNS:
        raise ConfigError(f"measure {measure!r} is not compared run by run: {', '.join(_COLUMNS)}")
    seeds = sorted(set(policy[1]) & set(baseline[1]))
    ours, theirs = _paired(policy, baseline, seeds, measure)
    if measure in ("p99_s", "req99") and len(ours) < P99_RUNS:
        raise ConfigError(f"{measure} needs {P99_RUNS} runs in all seeds, there are {len(ours)}")
    reduce = _REDUCED.get(measure, means)
    found = paired_ratio(ours, theirs, reduce, generator=generator, draws=draws)
    known = not math.isnan(found.value)
    gaps = [
        tuple(
            float(reduce(each[None, :])[0]) for each in _paired(policy, baseline, [seed], measure)
        )
        for seed in seeds
    ]
    finite = all(math.isfinite(value) for pair in gaps for value in pair)
    gap = paired_difference([a for a, _ in gaps], [b for _, b in gaps]) if finite else None
    return Comparison(
        trace=place.trace,
        load=place.load,
        pool=place.pool,
        world=place.world,
        belief_error=place.belief_error,
        confidence=place.confidence,
        baseline=baseline[0],
        policy=policy[0],
        measure=measure,
        ratio=found.value if known else None,
        low=found.low if known else None,
        high=found.high if known else None,
        seeds=len(seeds),
        runs=len(ours),
        difference=gap.mean if gap else None,
        difference_sd=gap.sd if gap and len(seeds) > 1 else None,
    )


def _paired(
    policy: tuple[str, Mapping[int, Tally]],
    baseline: tuple[str, Mapping[int, Tally]],
    seeds: list[int],
    measure: str,
) -> tuple[Vector, Vector]:
    """The measure's column under both policies, place i the same run."""
    if not seeds:
        raise ConfigError(f"{policy[0]} and {baseline[0]} have no seed in common to compare")
    one = join({seed: policy[1][seed] for seed in seeds}).runs
    other = join({seed: baseline[1][seed] for seed in seeds}).runs
    if len(set(one.ids)) != len(one.ids) or len(set(other.ids)) != len(other.ids):
        raise ConfigError(f"{policy[0]} against {baseline[0]}: run ids are not unique in a cell")
    where = {each: i for i, each in enumerate(other.ids)}
    pairs = [(i, where[each]) for i, each in enumerate(one.ids) if each in where]
    column = _COLUMNS[measure]
    ours = column(Columns(one))[[i for i, _ in pairs]]
    theirs = column(Columns(other))[[i for _, i in pairs]]
    counted = ~(np.isnan(ours) | np.isnan(theirs))
    if not counted.any():
        raise ConfigError(f"{policy[0]} and {baseline[0]} have no run in common to compare")
    return ours[counted], theirs[counted]


def _quantiles(values: tuple[float, ...]) -> tuple[float, ...]:
    """`CDF_POINTS` percentiles, evenly spaced, least to most."""
    ordered = sorted(values)
    shares = [place / (CDF_POINTS - 1) for place in range(CDF_POINTS)] if ordered else []
    return tuple(percentile(ordered, share) for share in shares)


def _flags(values: tuple[bool | None, ...]) -> Vector:
    return np.array([math.nan if each is None else float(each) for each in values])


def _positive(counts: tuple[int, ...]) -> Vector:
    return np.array([float(each) if each > 0 else math.nan for each in counts], dtype=np.float64)


def _known_means(rows: Vector) -> Vector:
    """The mean of each row without its NaN; NaN for a row of nothing else."""
    counted = ~np.isnan(rows)
    totals = np.where(counted, rows, 0.0).sum(axis=1)
    counts = counted.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Vector = totals / counts
    return result


def _time_to_success(columns: Columns, at: Places) -> Vector:
    successes = np.nansum(columns.right[at], axis=1)
    with np.errstate(divide="ignore"):
        result: Vector = columns.spent[at].sum(axis=1) / successes
    return result


_COLUMNS: dict[str, Callable[[Columns], Vector]] = {
    "mean_s": lambda columns: columns.ended,
    "p50_s": lambda columns: columns.completion,
    "p95_s": lambda columns: columns.completion,
    "p99_s": lambda columns: columns.completion,
    "slowdown_mean": lambda columns: columns.slowdown,
    "s_per_token": lambda columns: columns.per_token,
    "s_per_reference_token": lambda columns: columns.per_reference_token,
    "req95": lambda columns: columns.slowdown,
    "req99": lambda columns: columns.slowdown,
}
"""What each measure that two policies can be compared in run by run is computed from."""

_REDUCED: dict[str, Reduce] = {
    "p50_s": lambda rows: percentiles(rows, 0.50),
    "p95_s": lambda rows: percentiles(rows, 0.95),
    "p99_s": lambda rows: percentiles(rows, 0.99),
    "req95": lambda rows: reached_each(rows, 0.95),
    "req99": lambda rows: reached_each(rows, 0.99),
}

_DRAWN: dict[str, Draw] = {
    "mean_s": lambda c, at: _known_means(c.ended[at]),
    "p50_s": lambda c, at: percentiles(c.completion[at], 0.50),
    "p95_s": lambda c, at: percentiles(c.completion[at], 0.95),
    "p99_s": lambda c, at: percentiles(c.completion[at], 0.99),
    "slowdown_mean": lambda c, at: means(c.slowdown[at]),
    "s_per_token": lambda c, at: _known_means(c.per_token[at]),
    "s_per_reference_token": lambda c, at: _known_means(c.per_reference_token[at]),
    "req95": lambda c, at: reached_each(c.slowdown[at], 0.95),
    "req99": lambda c, at: reached_each(c.slowdown[at], 0.99),
    "attainment": lambda c, at: _known_means(c.met[at]),
    "success": lambda c, at: _known_means(c.right[at]),
    "time_to_success_s": _time_to_success,
    "cost": lambda c, at: means(c.cost[at]),
}

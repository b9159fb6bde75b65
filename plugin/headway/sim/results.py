"""The results file: what a suite found, as `results.json`. Its schema is stable.

JSON has no infinity: an infinite measure is written as null and named in its row's `infinite`,
so null without that means "not known". In an interval, null is an infinite end.
"""

import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from headway.core.errors import ConfigError
from headway.sim.measures import Measures
from headway.sim.outcomes import RunOutcome

RESULTS_FORMAT = 1
RESULTS_NAME = "results.json"

Setting = str | int | float | bool
Ends = tuple[float | None, float | None]
AnyRow = TypeVar("AnyRow", bound="Row")


class Place(Struct, frozen=True, kw_only=True, order=True):
    """Where policies meet on equal terms: all that is the same for every policy of a table."""

    trace: Annotated[str, Meta(description="the workload; 'composed' and 'synthetic' are in it")]
    load: Annotated[float, Meta(description="multiple of the knee's arrival rate; 0 is idle")]
    pool: Annotated[str, Meta(description="which of `pools` served it")] = ""
    world: Annotated[
        str, Meta(description="how repeated attempts and verdicts go, as 'rho=0.5 v=1'")
    ] = ""
    belief_error: Annotated[
        float, Meta(description="by how much the scheduler's profiles are off, 0.2 is 20 %")
    ] = 0.0
    confidence: Annotated[
        str, Meta(description="source of the confidence, shared by all policies")
    ] = ""


class Row(Place, frozen=True, kw_only=True):
    """One policy at one place, with its measures."""

    policy: Annotated[str, Meta(description="the policy's identifier")]
    runs: Annotated[int, Meta(description="runs that count")]
    measures: Annotated[Measures, Meta(description="what was measured")]
    settings: Annotated[
        dict[str, Setting],
        Meta(description="the policy's knobs where they are not its defaults (a sweep's points)"),
    ] = {}
    rate: Annotated[float | None, Meta(description="runs a second that arrived")] = None
    infinite: Annotated[
        tuple[str, ...], Meta(description="measures that are null because they are infinite")
    ] = ()

    @property
    def place(self) -> Place:
        """Where this row may be compared with others."""
        return Place(**{name: getattr(self, name) for name in Place.__struct_fields__})

    @property
    def label(self) -> str:
        """The policy, with its settings where they are not the defaults."""
        if not self.settings:
            return self.policy
        return f"{self.policy} ({settings_text(self.settings)})"


class Cell(Row, frozen=True, kw_only=True):
    """One policy at one place under one seed."""

    seed: Annotated[int, Meta(description="of arrivals, run order and every other draw")]


class Pooled(Row, frozen=True, kw_only=True):
    """One policy at one place, the runs of all seeds together."""

    seeds: Annotated[int, Meta(description="how many seeds are pooled")]
    intervals: Annotated[
        dict[str, Ends],
        Meta(description="95 % bootstrap interval over runs, by measure; a null end is infinite"),
    ] = {}
    spread: Annotated[
        dict[str, float], Meta(description="standard deviation over seeds, by measure")
    ] = {}
    completion_cdf: Annotated[
        tuple[float | None, ...],
        Meta(
            description="evenly spaced quantiles of completion, least to most; null is infinite. "
            "They draw a curve: those above 0.95 are no P99 where there are fewer than 2,000 runs"
        ),
    ] = ()
    slowdown_cdf: Annotated[
        tuple[float | None, ...],
        Meta(description="the same of slowdown: evenly spaced quantiles"),
    ] = ()


class Knee(Struct, frozen=True, kw_only=True):
    """The load that 1 stands for: where the named policy takes three times its idle time."""

    trace: Annotated[str, Meta(description="the workload")]
    pool: Annotated[str, Meta(description="the pool")]
    policy: Annotated[str, Meta(description="the policy whose knee it is")]
    rate: Annotated[float, Meta(description="runs a second at the knee")]
    idle_s: Annotated[float, Meta(description="that policy's mean completion on the idle pool")]


class Comparison(Place, frozen=True, kw_only=True):
    """A policy against a baseline, paired by run: `ratio` below 1 is less than the baseline."""

    baseline: Annotated[str, Meta(description="what is compared with")]
    policy: Annotated[str, Meta(description="what is compared")]
    measure: Annotated[str, Meta(description="name of the measure")]
    ratio: Annotated[float | None, Meta(description="policy over baseline; null: not known")]
    low: Annotated[float | None, Meta(description="low end of the 95 % bootstrap interval")]
    high: Annotated[
        float | None, Meta(description="high end; null beside a known ratio is infinite")
    ]
    seeds: Annotated[int, Meta(description="seeds that both have")]
    runs: Annotated[int, Meta(description="runs paired")] = 0
    difference: Annotated[
        float | None, Meta(description="mean over seeds of policy less baseline")
    ] = None
    difference_sd: Annotated[
        float | None, Meta(description="standard deviation over seeds of that difference")
    ] = None
    at_equal_success: Annotated[
        bool, Meta(description="both knobs swept, completion read at the baseline's success")
    ] = False


class Workload(Struct, frozen=True, kw_only=True):
    """What a trace is made of."""

    trace: Annotated[str, Meta(description="the workload")]
    statistics: Annotated[
        dict[str, Setting], Meta(description="runs, calls, tokens and the like, by name")
    ]
    source: Annotated[str, Meta(description="where its numbers come from")] = ""


class Example(Struct, frozen=True, kw_only=True):
    """The same run under two policies, call by call, for the report's Gantt chart."""

    trace: Annotated[str, Meta(description="the workload")]
    load: Annotated[float, Meta(description="multiple of the knee")]
    policies: Annotated[tuple[str, str], Meta(description="the two policies")]
    runs: Annotated[tuple[RunOutcome, RunOutcome], Meta(description="the run under each")]


class Results(Struct, frozen=True, kw_only=True):
    """All that a suite found."""

    format: Annotated[int, Meta(description="version of this schema")] = RESULTS_FORMAT
    suite: Annotated[str, Meta(description="name of the suite")]
    commit: Annotated[str, Meta(description="of Headway's code")]
    data_digest: Annotated[str, Meta(description="over all data files that were read")]
    command: Annotated[str, Meta(description="what regenerates this file")] = ""
    started: Annotated[str, Meta(description="when, ISO 8601")] = ""
    versions: Annotated[
        dict[str, str], Meta(description="of Headway, Python and the libraries, by name")
    ] = {}
    seeds: Annotated[tuple[int, ...], Meta(description="all seeds")] = ()
    pools: Annotated[
        dict[str, tuple[str, ...]], Meta(description="one line an endpoint, by the pool's name")
    ] = {}
    cells: Annotated[tuple[Cell, ...], Meta(description="a row a policy, place and seed")] = ()
    pooled: Annotated[tuple[Pooled, ...], Meta(description="the same over all seeds")] = ()
    knees: Annotated[tuple[Knee, ...], Meta(description="what load 1 means")] = ()
    comparisons: Annotated[
        tuple[Comparison, ...], Meta(description="policies against baselines, paired")
    ] = ()
    workloads: Annotated[tuple[Workload, ...], Meta(description="the traces")] = ()
    examples: Annotated[tuple[Example, ...], Meta(description="single runs to look at")] = ()
    notes: Annotated[
        tuple[str, ...], Meta(description="deviations from the papers' settings, and warnings")
    ] = ()


def settings_text(settings: dict[str, Setting]) -> str:
    """Knobs in a fixed order, as ``delta=0.2 tau=1``."""
    return " ".join(f"{name}={settings[name]}" for name in sorted(settings))


def check_unique(rows: Iterable[Row]) -> None:
    """Raises `ConfigError` if two rows are the same policy, settings, place and seed."""
    keys = Counter(
        (row.place, row.policy, settings_text(row.settings), getattr(row, "seed", None))
        for row in rows
    )
    for (place, policy, settings, seed), count in sorted(keys.items(), key=repr):
        if count > 1:
            where = ", ".join(f"{n}={getattr(place, n)!r}" for n in place.__struct_fields__)
            with_settings = f" with {settings}" if settings else ""
            raise ConfigError(
                f"{count} rows for policy {policy!r}{with_settings} at {where}, seed {seed}: "
                "a suite may name each combination once"
            )


def write_results(results: Results, path: Path) -> None:
    """Write the file in one step: it is either the old or the whole new one.

    Raises `ConfigError` for two rows with one key, `OSError` if it cannot be written.
    """
    check_unique(results.cells)
    check_unique(results.pooled)
    named = msgspec.structs.replace(
        results,
        cells=tuple(_named(each) for each in results.cells),
        pooled=tuple(_named(each) for each in results.pooled),
    )
    text = msgspec.json.format(msgspec.json.encode(named), indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def read_results(path: Path) -> Results:
    """The file as it was written. Raises `ConfigError` if it cannot be read or is not one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        results = msgspec.json.decode(data, type=Results)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{path}: not a results file: {error}; run `headway simulate` again"
        ) from error
    if results.format != RESULTS_FORMAT:
        raise ConfigError(
            f"{path}: results of format {results.format}, this Headway reads {RESULTS_FORMAT}; "
            "run `headway simulate` again"
        )
    check_unique(results.cells)
    check_unique(results.pooled)
    return msgspec.structs.replace(
        results,
        cells=tuple(_restored(each) for each in results.cells),
        pooled=tuple(_restored_pooled(each) for each in results.pooled),
        comparisons=tuple(_restored_comparison(each) for each in results.comparisons),
    )


def results_schema() -> dict[str, Any]:
    """The JSON schema of the file, with a description of every field."""
    return msgspec.json.schema(Results)


def _infinite(measures: Measures) -> tuple[str, ...]:
    """Names of the measures that are infinite; a part of a measure as ``fairness.worst``."""
    names = [
        name
        for name in Measures.__struct_fields__
        if isinstance(value := getattr(measures, name), float) and math.isinf(value)
    ]
    if measures.fairness and measures.fairness.worst == math.inf:
        names.append("fairness.worst")
    return tuple(names)


def _named(row: AnyRow) -> AnyRow:
    """The row with its infinite measures named, as JSON makes null of them."""
    return msgspec.structs.replace(row, infinite=_infinite(row.measures))


def _restored(row: AnyRow) -> AnyRow:
    measures = row.measures
    if "fairness.worst" in row.infinite and measures.fairness:
        fairness = msgspec.structs.replace(measures.fairness, worst=math.inf)
        measures = msgspec.structs.replace(measures, fairness=fairness)
    whole = {name: math.inf for name in row.infinite if "." not in name}
    return msgspec.structs.replace(row, measures=msgspec.structs.replace(measures, **whole))


def _restored_pooled(row: Pooled) -> Pooled:
    return msgspec.structs.replace(
        _restored(row),
        intervals={name: (_end(low), _end(high)) for name, (low, high) in row.intervals.items()},
        completion_cdf=tuple(_end(each) for each in row.completion_cdf),
        slowdown_cdf=tuple(_end(each) for each in row.slowdown_cdf),
    )


def _restored_comparison(row: Comparison) -> Comparison:
    if row.ratio is None:
        return row
    return msgspec.structs.replace(row, high=_end(row.high))


def _end(value: float | None) -> float:
    return math.inf if value is None else value

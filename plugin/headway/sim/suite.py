"""Suites: which pools, workloads, policies and loads are played, as a YAML file says.

The file is strict: an unknown key is an error that names file, line and the nearest known
one. `SUITES` are those that Headway ships; a path names one of the user's own.
"""

import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from headway.core.errors import ConfigError, nearest
from headway.sim.arrivals import Arrivals
from headway.sim.confidence import parse_confidence
from headway.sim.sitespec import PoolSpec, Positive, model_of
from headway.sim.strict import parse_strict, read_strict

SUITES = ("agentic", "chimera", "hexagent", "light", "maestro", "prefix")
"""The shipped ones."""

SizeName = Literal["quick", "default", "full"]
Knob = str | int | float | bool
LARGEST_LOAD = 5.0
"""No pool's capacity is that far above its knee: such a load is a slip of the pen."""


class BodiesSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where runs come from: exactly one of `data`, `family`, `file` and `journal`."""

    data: Annotated[str, Meta(description="name of a data set in the folder of --data")] = ""
    where: Annotated[
        dict[str, str], Meta(description="rows of the set whose fields equal these values")
    ] = {}
    family: Annotated[str, Meta(description="a generated family: synthetic")] = ""
    file: Annotated[str, Meta(description="a trace file, relative to the suite's")] = ""
    journal: Annotated[str, Meta(description="a journal of Headway, relative to the suite's")] = ""
    speedup: Annotated[
        float, Meta(description="a journal's times are that many times as long as recorded", gt=0)
    ] = 1.0
    bodies: Annotated[
        int, Meta(description="how many bodies a family makes; runs repeat them", ge=2)
    ] = 400
    seed: Annotated[int, Meta(description="seed of the family")] = 1
    share: Annotated[
        float, Meta(description="share of the runs where several bodies are mixed", gt=0)
    ] = 1.0


class LabelsSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Questions whose labels judge the last answers of recorded DAGs: composed."""

    data: str
    where: dict[str, str] = {}


class ClassesSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs are batch; all others are interactive.

    By `share`: that share of the runs, drawn. By `graph` or `role`: runs of these graphs, or
    with a node of these names.
    """

    by: Literal["share", "graph", "role"]
    batch_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    batch: tuple[str, ...] = ()


class TenantSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant and its share of the runs (shares are relative)."""

    name: str
    share: Annotated[float, Meta(gt=0)] = 1.0


class ArrivalsSpec(Arrivals, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An arrival process, as strict as the rest of the file."""


class TraceSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload: bodies x arrivals x labels, on one or more pools of the suite."""

    name: str
    pools: Annotated[tuple[str, ...], Meta(min_length=1)]
    bodies: Annotated[tuple[BodiesSpec, ...], Meta(min_length=1)]
    arrivals: ArrivalsSpec = ArrivalsSpec()
    labels: LabelsSpec | None = None
    models: Annotated[
        dict[str, str],
        Meta(description="the pool's name of each model that the data names; others are dropped"),
    ] = {}
    attempts: Annotated[int, Meta(description="most attempts at a question", ge=1)] = 4
    pause_s: Annotated[
        float, Meta(description="seconds between a verdict and the next attempt", ge=0)
    ] = 0.3
    classes: ClassesSpec | None = None
    tenants: tuple[TenantSpec, ...] = ()
    keep_models: Annotated[
        bool, Meta(description="nodes stay bound to the model that was recorded")
    ] = False
    max_prompt_tokens: Annotated[
        Positive | None,
        Meta(description="runs with a longer prompt are left out, and counted in the report"),
    ] = None
    runs_share: Annotated[
        float,
        Meta(description="times the size's runs: less where a run has many calls", gt=0),
    ] = 1.0
    history_share: Annotated[
        float,
        Meta(description="share of the groups that only teach the predictors", ge=0, lt=1),
    ] = 0.5
    burst: Annotated[bool, Meta(description="burst and drain: no run is left out as warm-up")] = (
        False
    )
    base_rate: Annotated[
        float, Meta(description="runs/s that load 1 stands for; 0: the knee is looked for", ge=0)
    ] = 0.0


class WorldSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How repeated attempts and verdicts go (see `luck`)."""

    rho: Annotated[float, Meta(description="share of repeats that are fresh draws")] = 0.5
    verifier: Annotated[float, Meta(description="chance that a verdict is right")] = 1.0

    def __str__(self) -> str:
        return f"rho={self.rho:g} v={self.verifier:g}"


class PolicySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy with its knobs; `sweep`: with every set of its own SWEEP besides."""

    id: str
    params: dict[str, Knob] = {}
    sweep: bool = False


class SizeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is played. Empty `traces`, `pools`, `policies` or `swept`: all of the suite."""

    seeds: Annotated[int, Meta(description="seeds 1 to this", ge=1)] = 5
    runs: Annotated[
        int, Meta(description="runs of a cell (warm-up included), times runs_share", ge=2)
    ] = 480
    loads: Annotated[tuple[float, ...], Meta(min_length=1)] = (0.0, 0.8, 1.0, 1.3)
    idle_share: Annotated[
        float, Meta(description="times the runs at load 0, where nothing queues", gt=0, le=1)
    ] = 1.0
    traces: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    worlds: Annotated[tuple[WorldSpec, ...], Meta(min_length=1)] = (WorldSpec(),)
    confidence: Annotated[tuple[str, ...], Meta(min_length=1)] = ("base-rate",)
    belief_errors: Annotated[
        tuple[float, ...], Meta(description="by how much profiles are believed wrong")
    ] = (0.0,)
    error_loads: Annotated[
        tuple[float, ...], Meta(description="loads at which wrong profiles are played")
    ] = (1.0,)
    sweeps: Annotated[bool, Meta(description="play the sweeps of policies with `sweep`")] = True
    swept: Annotated[
        tuple[str, ...], Meta(description="the only ones of them whose sweeps are played")
    ] = ()
    sweep_settings: Annotated[
        int, Meta(description="most settings of a sweep, its coarsest; 0: all", ge=0)
    ] = 0
    history: Annotated[
        int, Meta(description="most runs that teach the predictors beforehand", ge=0)
    ] = 300
    knee_plays: Annotated[
        int,
        Meta(description="plays a search for a knee may take; 0: load 1 is a capacity estimate"),
    ] = 14
    knee_runs: Annotated[
        int,
        Meta(description="runs of such a play, times runs_share (bursts: not); few never queue"),
    ] = 1500


class Sizes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The three sizes of a suite."""

    quick: SizeSpec = SizeSpec(
        seeds=1, runs=80, loads=(0.8,), sweeps=False, history=60, knee_plays=0
    )
    default: SizeSpec = SizeSpec()
    full: SizeSpec = SizeSpec()


class DeadlineSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deadlines as multiples of the stand-alone time, by class."""

    interactive: Annotated[float, Meta(gt=0)] = 3.0
    batch: Annotated[float, Meta(gt=0)] = 10.0


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A suite as its file says."""

    name: str
    about: Annotated[str, Meta(description="one line for the list of suites")]
    pools: Annotated[tuple[PoolSpec, ...], Meta(min_length=1)]
    traces: Annotated[tuple[TraceSpec, ...], Meta(min_length=1)]
    policies: Annotated[tuple[str | PolicySpec, ...], Meta(min_length=1)]
    knee_policy: Annotated[str, Meta(description="the policy whose knee is load 1")]
    sizes: Sizes = Sizes()
    deadlines: DeadlineSpec = DeadlineSpec()
    skip_first: Annotated[
        float, Meta(description="share of the runs left out as warm-up", ge=0, lt=1)
    ] = 0.10
    skip_last: Annotated[
        float, Meta(description="share left out at the end, as the pool drains", ge=0, lt=1)
    ] = 0.05
    max_tokens: Annotated[
        int, Meta(description="output limit of calls that have none of their own", ge=1)
    ] = 4096
    decision_s: Annotated[
        float, Meta(description="seconds charged a decision (measured on the daemon)", ge=0)
    ] = 0.001
    deviations: Annotated[
        tuple[str, ...], Meta(description="where this differs from the papers; in the report")
    ] = ()

    def size(self, name: SizeName) -> SizeSpec:
        """One of the three sizes."""
        size: SizeSpec = getattr(self.sizes, name)
        return size

    def pool(self, name: str, where: str = "") -> PoolSpec:
        """The pool of that name. Raises `ConfigError`, with `where` it was asked for."""
        return _named(name, self.pools, "pool", where or self.name)

    def policy_specs(self) -> tuple[PolicySpec, ...]:
        """Every policy as a spec."""
        return tuple(PolicySpec(id=one) if isinstance(one, str) else one for one in self.policies)


_Named = TypeVar("_Named", PoolSpec, TraceSpec)


def load_suite(name: str) -> tuple[Suite, Path | None]:
    """A shipped suite, or one in a file (anything with a slash or ``.yaml``), and its folder.

    Raises `ConfigError`: no such suite, or what is wrong in the file, with its line.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        return checked(read_strict(path, Suite), str(path)), path.parent
    if name not in SUITES:
        raise ConfigError(
            f"no suite {name!r}{nearest(name, SUITES)} (or a path such as ./my-suite.yaml)"
        )
    text = resources.files("headway.sim").joinpath("suites", f"{name}.yaml").read_text("utf-8")
    return checked(parse_strict(text, Suite, f"suite {name}"), f"suite {name}"), None


def checked(suite: Suite, where: str) -> Suite:
    """`suite` if its parts fit together. Raises `ConfigError`."""
    for what, names in (
        ("pools", [pool.name for pool in suite.pools]),
        ("traces", [trace.name for trace in suite.traces]),
        ("policies", [_shown(each) for each in suite.policy_specs()]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{where}: {what}: {', '.join(twice)} is given twice")
    for pool in suite.pools:
        served = {model_of(site) for site in pool.sites}
        if pool.reference not in served:
            hint = nearest(pool.reference, served)
            raise ConfigError(f"{where}: pool {pool.name}: reference: no {pool.reference!r}{hint}")
        for model, chance in sorted(pool.quality.items()):
            if model not in served:
                hint = nearest(model, served)
                raise ConfigError(f"{where}: pool {pool.name}: quality: no {model!r}{hint}")
            if not 0.0 < chance < 1.0:
                raise ConfigError(
                    f"{where}: pool {pool.name}: quality of {model}: above 0 and below 1"
                )
    for trace in suite.traces:
        _check_trace(trace, suite, where)
    for name in ("quick", "default", "full"):
        _check_size(getattr(suite.sizes, name), suite, f"{where}: sizes.{name}")
    return suite


def check_load(load: float, where: str, *, of_knee: bool = True) -> None:
    """Raises `ConfigError` for a load that no cell can be played at.

    One that is not `of_knee` is a multiple of a recorded rate, which may be far below capacity.
    """
    if not 0.0 <= load < math.inf:
        raise ConfigError(f"{where}: a load is 0 (idle) or a multiple of the knee, not {load:g}")
    if of_knee and load > LARGEST_LOAD:
        raise ConfigError(
            f"{where}: load {load:g} is far beyond capacity: the knee is load 1, and above it "
            f"every completion only tells how many runs came; at most {LARGEST_LOAD:g}"
        )


def _shown(policy: PolicySpec) -> str:
    return f"{policy.id} {sorted(policy.params.items())}" if policy.params else policy.id


def _check_trace(trace: TraceSpec, suite: Suite, where: str) -> None:
    for pool in trace.pools:
        suite.pool(pool, f"{where}: trace {trace.name}")
    for bodies in trace.bodies:
        given = [key for key in ("data", "family", "file", "journal") if getattr(bodies, key)]
        if len(given) != 1:
            raise ConfigError(
                f"{where}: trace {trace.name}: bodies come from one of data, family, file and "
                f"journal, not from {' and '.join(given) or 'nowhere'}"
            )


def _check_size(size: SizeSpec, suite: Suite, where: str) -> None:
    for load in (*size.loads, *size.error_loads):
        check_load(load, f"{where}.loads")
    _check_choice(size, suite, where)
    for text in size.confidence:
        try:
            parse_confidence(text)
        except ConfigError as error:
            raise ConfigError(f"{where}.{error}") from error
    for world in size.worlds:
        if not 0.0 <= world.rho <= 1.0 or not 0.5 <= world.verifier <= 1.0:
            raise ConfigError(f"{where}.worlds: rho is from 0 to 1, verifier from 0.5 to 1")
    for error_share in size.belief_errors:
        if not 0.0 <= error_share < 1.0:
            raise ConfigError(f"{where}.belief_errors: from 0 to below 1, not {error_share:g}")


def _check_choice(size: SizeSpec, suite: Suite, where: str) -> None:
    """What a size takes of its suite must be there."""
    for name in size.pools:
        suite.pool(name, where)
    for name in size.traces:
        _named(name, suite.traces, "trace", where)
    known = sorted({each.id for each in suite.policy_specs()})
    for key, names in (("policies", size.policies), ("swept", size.swept)):
        for name in names:
            if name not in known:
                raise ConfigError(f"{where}.{key}: no policy {name!r}{nearest(name, known)}")


def _named(name: str, among: Sequence[_Named], what: str, where: str) -> _Named:
    for one in among:
        if one.name == name:
            return one
    raise ConfigError(f"{where}: no {what} {name!r}{nearest(name, [one.name for one in among])}")

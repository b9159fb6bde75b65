"""Workloads: a suite's trace on a pool, and from it the runs of a cell.

`Material` is what all cells of a (trace, pool) share: bodies split by task group into history
(what the predictors learn from) and test (what is played). `plan` draws a cell's runs, with
repetition, their arrivals, promises and stand-alone times: from seeds only, so every policy of
a cell gets the very same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.types import Seconds
from headway.sim.alone import Alone, check_room
from headway.sim.arrivals import Arrivals, Client, draw
from headway.sim.cellstore import spec_digest
from headway.sim.luck import Kinds, Luck, unit_draw
from headway.sim.pools import SimPool
from headway.sim.sources import Sources
from headway.sim.suite import ClassesSpec, DeadlineSpec, TraceSpec
from headway.sim.trace import Question, Trace, TraceRun
from headway.sim.world import Planned

IDLE_GAP = 3.0
"""Idle arrivals come this many times the longest stand-alone time apart."""
GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it, taken modulo 1, lie evenly apart however many there are."""
INTERACTIVE = "interactive"
BATCH = "batch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The bodies of one source, split; `share` of the runs are drawn from it."""

    share: float
    history: tuple[TraceRun, ...]
    test: tuple[TraceRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A trace made ready for a pool. `label` is its name in the report."""

    label: str
    source: str
    digest: str
    parts: tuple[Part, ...]
    questions: tuple[Question, ...]
    kinds: Kinds
    left_out: int
    instants: tuple[Seconds, ...]
    clients: tuple[Client, ...]

    @property
    def asks(self) -> bool:
        """Whether its runs have questions, so that worlds and confidence matter."""
        runs = (run for part in self.parts for run in part.test)
        return bool(self.questions) or any(run.question is not None for run in runs)

    @property
    def rate(self) -> float:
        """Runs a second as recorded. Raises `ConfigError` if nobody recorded arrivals."""
        if len(self.instants) < 2 or self.instants[-1] <= self.instants[0]:
            raise ConfigError(f"trace {self.label}: at least two recorded arrivals are needed")
        return (len(self.instants) - 1) / (self.instants[-1] - self.instants[0])


def prepare(spec: TraceSpec, pool: SimPool, sources: Sources, *, max_tokens: int) -> Material:
    """The material of a trace on a pool. Raises `ConfigError` for data that do not fit it."""
    why = f"trace {spec.name}"
    models = frozenset(site.model for site in pool.sites)
    if spec.models and not models & set(spec.models.values()):
        first = next(iter(spec.models.values()))
        raise ConfigError(f"{why}: models: no {first!r} in the pool{nearest(first, models)}")
    traces = [sources.trace(bodies, why=why) for bodies in spec.bodies]
    labels = sources.questions(spec.labels, why=why) if spec.labels is not None else None
    questions = _questions(labels, spec, models)
    parts: list[Part] = []
    left_out = 0
    for bodies, trace in zip(spec.bodies, traces, strict=True):
        fitted = [_fitted(run, spec, models) for run in trace.runs]
        kept = tuple(run for run in fitted if run is not None)
        left_out += len(fitted) - len(kept)
        if not kept:
            raise ConfigError(f"{why}: none of the {len(fitted)} runs is of use{_hint(trace)}")
        check_room(kept, pool, max_tokens=max_tokens, trace=spec.name)
        if spec.arrivals.kind == "recorded":
            kept = _by_arrival(kept, why)
        parts.append(_split(kept, bodies.share, spec))
    kinds = questions or tuple(
        run.question
        for part in parts
        for run in (*part.history, *part.test)
        if run.question is not None
    )
    instants = _instants(spec, parts, sources)
    clients = sources.servegen(why=why) if spec.arrivals.kind == "servegen" else ()
    return Material(
        label=_label(spec),
        source="; ".join(dict.fromkeys([each.source for each in (*traces, *_some(labels))])),
        digest="+".join(
            [
                *(each.digest for each in (*traces, *_some(labels))),
                spec_digest([instants, [(client.id, client.windows) for client in clients]]),
            ]
        ),
        parts=tuple(parts),
        questions=questions,
        kinds=Kinds(kinds),
        left_out=left_out,
        instants=instants,
        clients=clients,
    )


def _some(trace: Trace | None) -> tuple[Trace, ...]:
    return () if trace is None else (trace,)


def _label(spec: TraceSpec) -> str:
    """The name; 'composed' if bodies, arrivals and labels are not of one recording."""
    if all(bodies.family for bodies in spec.bodies):
        return f"{spec.name} (synthetic)"
    recorded = spec.arrivals.kind == "recorded" and len(spec.bodies) == 1 and spec.labels is None
    return spec.name if recorded else f"{spec.name} (composed)"


def _hint(trace: Trace) -> str:
    names = sorted({m for r in trace.runs if r.question is not None for m in r.question.labels})
    return f": its labels are of {', '.join(names[:40])}" if names else ""


def _questions(
    labels: Trace | None, spec: TraceSpec, models: frozenset[str]
) -> tuple[Question, ...]:
    if labels is None:
        return ()
    asked = [_question(run.question, spec, models) for run in labels.runs if run.question]
    found = tuple(one for one in asked if one is not None)
    if not found:
        raise ConfigError(
            f"trace {spec.name}: no question has labels of all models of the pool"
            f" ({', '.join(sorted(models))}): see `models:`{_hint(labels)}"
        )
    return found


def _question(question: Question, spec: TraceSpec, models: frozenset[str]) -> Question | None:
    """With the pool's names of models; None if one of the pool's models has no label."""
    labels = {
        spec.models.get(model, model): label
        for model, label in question.labels.items()
        if not spec.models or model in spec.models
    }
    kept = {model: labels[model] for model in sorted(models) if model in labels}
    return msgspec.structs.replace(question, labels=kept) if len(kept) == len(models) else None


def _fitted(run: TraceRun, spec: TraceSpec, models: frozenset[str]) -> TraceRun | None:
    """The run in the pool's terms; None if it cannot be played."""
    question = run.question
    if question is not None:
        question = _question(question, spec, models)
        if question is None and not run.nodes:
            return None
    limit = spec.max_prompt_tokens
    longest = max((node.prompt_tokens for node in run.nodes), default=0)
    if limit is not None and max(longest, question.prompt_tokens if question else 0) > limit:
        return None
    if run.nodes and not longest:
        return None  # nothing to schedule
    nodes = []
    for node in run.nodes:
        model = spec.models.get(node.model, node.model) if spec.keep_models else ""
        outputs = {spec.models.get(name, name): count for name, count in node.outputs.items()}
        nodes.append(
            msgspec.structs.replace(
                node,
                model=model if model in models else "",
                outputs={name: outputs[name] for name in sorted(outputs) if name in models},
            )
        )
    return msgspec.structs.replace(run, nodes=tuple(nodes), question=question)


def _split(runs: tuple[TraceRun, ...], share: float, spec: TraceSpec) -> Part:
    """History and test by group: whole groups, in the order of a hash of their names."""
    groups = sorted(
        {run.group for run in runs}, key=lambda name: (unit_draw("split", spec.name, name), name)
    )
    taught = frozenset(groups[: int(len(groups) * spec.history_share)])
    return Part(
        share=share,
        history=tuple(run for run in runs if run.group in taught),
        test=tuple(run for run in runs if run.group not in taught),
    )


def _instants(spec: TraceSpec, parts: Sequence[Part], sources: Sources) -> tuple[Seconds, ...]:
    if spec.arrivals.kind == "azure":
        return sources.azure(spec.arrivals.service, why=f"trace {spec.name}")
    if spec.arrivals.kind != "recorded":
        return ()
    if len(parts) > 1:
        raise ConfigError(f"trace {spec.name}: recorded arrivals are those of one source")
    return tuple(run.arrival_s for run in parts[0].test if run.arrival_s is not None)


def _by_arrival(runs: tuple[TraceRun, ...], why: str) -> tuple[TraceRun, ...]:
    """As they came. Raises `ConfigError` for a run whose arrival nobody recorded."""
    timed = [(run.arrival_s, run.id, run) for run in runs if run.arrival_s is not None]
    if len(timed) < len(runs):
        first = next(run.id for run in runs if run.arrival_s is None)
        raise ConfigError(
            f"{why}: {len(runs) - len(timed)} of its {len(runs)} runs have no recorded arrival "
            f"(run {first!r} is the first): take another kind of arrivals"
        )
    return tuple(run for _, _, run in sorted(timed, key=lambda each: each[:2]))


def number_of_bodies(material: Material) -> int:
    """How many different runs can be played."""
    return sum(len(part.test) for part in material.parts)


def distinct_runs(material: Material, spec: TraceSpec, *, runs: int, seeds: int) -> int:
    """How many different runs the cells of seeds 1 to `seeds` play, `runs` each."""
    drawn = [_drawn(material, spec, runs, seed) for seed in range(1, seeds + 1)]
    return len({(run.graph, run.id) for cell in drawn for run in cell})


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What a cell plays, and the luck that its runs meet."""

    planned: tuple[Planned, ...]
    luck: Luck
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What is drawn: `rate` in runs/s (0: idle), a world, a seed."""

    runs: int
    rate: float
    seed: int
    rho: float
    verifier: float


def plan(
    material: Material,
    spec: TraceSpec,
    wanted: Draw,
    *,
    alone: Alone,
    deadlines: DeadlineSpec,
) -> Workload:
    """The runs of a cell. Same arguments, same runs."""
    runs = _drawn(material, spec, wanted.runs, wanted.seed)
    ids = [f"r{number:05d}" for number in range(len(runs))]
    asked = {
        name: run.question for name, run in zip(ids, runs, strict=True) if run.question is not None
    }
    luck = Luck(
        asked,
        seed=wanted.seed,
        rho=wanted.rho,
        verifier=wanted.verifier,
        kinds=material.kinds if asked else None,
    )
    alone_s = [
        alone.dag_s(run)
        if run.nodes
        else alone.question_s(name, luck=luck, attempts=spec.attempts, pause_s=spec.pause_s)
        for name, run in zip(ids, runs, strict=True)
    ]
    arrivals, rate = _arrivals(material, spec, wanted, runs, alone_s)
    planned = []
    for name, run, at, lasts in zip(ids, runs, arrivals, alone_s, strict=True):
        service_class = run.service_class or _class_of(run, name, spec.classes, wanted.seed)
        factor = deadlines.batch if service_class == BATCH else deadlines.interactive
        planned.append(
            Planned(
                id=name,
                run=run,
                arrival_s=at,
                alone_s=lasts,
                deadline_s=factor * lasts if run.deadline_s is None else run.deadline_s,
                service_class=service_class,
                tenant=run.tenant or _tenant_of(name, spec, wanted.seed),
                attempts=spec.attempts,
                pause_s=spec.pause_s,
            )
        )
    return Workload(planned=tuple(planned), luck=luck, rate=rate)


def history_of(material: Material, limit: int) -> tuple[TraceRun, ...]:
    """At most `limit` runs of the history, each part by its share, evenly over its runs."""
    total = sum(part.share for part in material.parts)
    taken: list[TraceRun] = []
    for part in material.parts:
        count = min(len(part.history), round(limit * part.share / total))
        taken += [part.history[place * len(part.history) // count] for place in range(count)]
    rng = Random(f"history/{material.label}")
    rng.shuffle(taken)
    return tuple(_with_question(run, material, rng) for run in taken)


def _drawn(material: Material, spec: TraceSpec, count: int, seed: int) -> list[TraceRun]:
    rng = Random(f"workload/{spec.name}/{seed}")
    if spec.arrivals.kind == "recorded":  # the nth run came at the nth instant
        test = material.parts[0].test
        places = range(start := _start(seed, len(test)), start + count)
        return [_with_question(test[place % len(test)], material, rng) for place in places]
    shares = [part.share for part in material.parts]
    runs = []
    for _ in range(count):
        part = rng.choices(material.parts, shares)[0]
        runs.append(_with_question(rng.choice(part.test), material, rng))
    return runs


def _start(seed: int, length: int) -> int:
    """Where in a recording a seed begins: the first at its start, all others evenly apart."""
    return int((seed - 1) * GOLDEN % 1.0 * length)


def _instants_from(instants: Sequence[Seconds], start: int) -> tuple[Seconds, ...]:
    """The recording from its `start`-th instant on, then its beginning, a mean gap after."""
    if not start:
        return tuple(instants)
    length = instants[-1] - instants[0]
    period_s = length + length / (len(instants) - 1)
    return (*instants[start:], *(at + period_s for at in instants[:start]))


def _with_question(run: TraceRun, material: Material, rng: Random) -> TraceRun:
    if not material.questions:
        return run
    return msgspec.structs.replace(run, question=rng.choice(material.questions))


def _arrivals(
    material: Material,
    spec: TraceSpec,
    wanted: Draw,
    runs: Sequence[TraceRun],
    alone_s: Sequence[Seconds],
) -> tuple[tuple[Seconds, ...], float]:
    if not wanted.rate:
        thought_s = max(sum(node.think_s for node in run.nodes) for run in runs)
        gap_s = IDLE_GAP * (max(alone_s) + thought_s)
        arrivals, rate = Arrivals(kind="spaced"), 1.0 / gap_s
    else:
        arrivals, rate = spec.arrivals, wanted.rate
    instants = material.instants
    if arrivals.kind == "recorded":
        instants = _instants_from(instants, _start(wanted.seed, len(instants)))
    return draw(
        arrivals,
        count=len(runs),
        rate=rate,
        seed=wanted.seed,
        instants=instants,
        clients=material.clients,
    ), rate


def _class_of(run: TraceRun, name: str, spec: ClassesSpec | None, seed: int) -> str:
    if spec is None:
        return INTERACTIVE
    if spec.by == "share":
        return BATCH if unit_draw("class", seed, name) < spec.batch_share else INTERACTIVE
    names = (run.graph,) if spec.by == "graph" else tuple(node.name for node in run.nodes)
    return BATCH if any(each in spec.batch for each in names) else INTERACTIVE


def _tenant_of(name: str, spec: TraceSpec, seed: int) -> str:
    place = unit_draw("tenant", seed, name) * sum(tenant.share for tenant in spec.tenants)
    for tenant in spec.tenants:
        place -= tenant.share
        if place < 0:
            return tenant.name
    return spec.tenants[-1].name if spec.tenants else ""

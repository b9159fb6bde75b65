"""What journals amount to: runs, waits, models, endpoints, errors, predictions, other choices.

Reads rotated files together, in order. Pure arithmetic: what is printed, and
how, is the command line's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from headway.core.commands import Grant
from headway.core.facts import ModeSet
from headway.core.hindsight import by_place, hindsight
from headway.core.types import Seconds
from headway.daemon.findings import (
    CallsOfEndpoint,
    CallsOfModel,
    Counted,
    FileRead,
    OtherChoices,
    Prediction,
    Report,
    RunsOfGraph,
    ShadowChoice,
    Spread,
    WaitsOfPoolName,
)
from headway.daemon.retold import Retold
from headway.daemon.shell import Recipe, SchedulerLike, make_scheduler
from headway.daemon.tally import GraphRuns, Tally
from headway.predict.confidence import SOURCES
from headway.wire.journal import Entry, JournalReader, read_journal

Progress = Callable[[int, int], None]
"""Called now and then with bytes read and bytes in all."""
ENTRIES_A_STEP = 2_000


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of `ordered` lies, linear between neighbours."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def spread(values: Iterable[float]) -> Spread | None:
    """Mean and quantiles; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Spread(
        n=len(ordered),
        mean=fmean(ordered),
        p50=quantile(ordered, 0.5),
        p95=quantile(ordered, 0.95),
        p99=quantile(ordered, 0.99),
    )


def report(paths: Sequence[Path], *, against: str = "", progress: Progress | None = None) -> Report:
    """The report over journal files in order, compared with the policy `against` unless empty.

    Raises `JournalError` for a file that is none, `ConfigError` for a policy that does not exist.
    """
    reading = _Reading(against)
    done, total = 0, sum(path.stat().st_size for path in paths if path.exists())
    for path in paths:
        reader = read_journal(path)
        for number, _ in enumerate(reading.file(path, reader)):
            if progress is not None and number % ENTRIES_A_STEP == 0:
                progress(done + reader.read_to, total)
        done += reader.size
    if progress is not None:
        progress(total, total)
    return reading.report()


class _Reading:
    """Goes through the files; what was counted is in `tally`."""

    def __init__(self, against: str) -> None:
        self.tally = Tally()
        self._against = against
        self._files: list[FileRead] = []
        self._modes: dict[str, None] = {}
        self._notes: list[str] = []
        self._runs_open = 0

    def file(self, path: Path, reader: JournalReader) -> Iterable[Entry]:
        """Count one file, entry by entry."""
        header = reader.header
        retold = Retold(header)
        other = self._other(Recipe.of(header))
        if retold.starts_anew:
            self._notes.append(f"{path}: what was learned before it cannot be read by this version")
        self._modes[header.pool.mode] = None
        self.tally.has_endpoints(header.pool)
        first: Seconds | None = None
        last: Seconds = 0.0
        events = 0
        for entry in reader.entries():
            first = entry.event.at if first is None else first
            last = entry.event.at
            events += 1
            if isinstance(entry.event.fact, ModeSet):
                self._modes[entry.event.fact.mode] = None
            told = retold.tell(entry)
            if other is not None:
                self._ask(other, entry)
            self.tally.take(entry, told, retold.scheduler.pool)
            yield entry
        self.tally.file_ends(last)
        runs = retold.scheduler.books.runs.values()
        self._runs_open = sum(run.parent is None for run in runs)
        self._files.append(
            FileRead(
                path=str(path),
                headway=header.headway,
                policy=header.policy,
                events=events,
                span_s=last - first if first is not None else 0.0,
                cut_at=reader.cut_at,
                cut_why=reader.cut_why,
            )
        )

    def _other(self, recipe: Recipe) -> SchedulerLike | None:
        if not self._against:
            return None
        return make_scheduler(replace(recipe, policy=self._against, params={}))

    def _ask(self, other: SchedulerLike, entry: Entry) -> None:
        try:
            commands = other.handle(entry.event)
        except Exception:  # noqa: BLE001 - a defect there must not end the report
            commands = other.made()
        for command in commands:
            if isinstance(command, Grant):
                self.tally.would.setdefault((command.call, command.attempt), command)

    def report(self) -> Report:
        """What it amounts to."""
        tally = self.tally
        open_calls = len(tally.open)
        tally.finish()
        span_s = sum(one.span_s for one in self._files)
        return Report(
            files=tuple(self._files),
            events=sum(one.events for one in self._files),
            span_s=span_s,
            modes=tuple(self._modes),
            runs=_runs(tally.graphs),
            runs_open=self._runs_open,
            calls_by_decision=tally.decided,
            calls_alone=tally.alone,
            calls_dropped=tally.dropped,
            calls_open=open_calls,
            waits=_waits(tally),
            models=_models(tally),
            endpoints=_endpoints(tally, span_s),
            failures=_counted(tally.failures),
            notices=_counted(tally.notices),
            defects=_counted({(what, ""): count for what, count in tally.defects.items()}),
            predictions_all=hindsight(tally.foretold) if tally.foretold else None,
            predictions=tuple(
                Prediction(graph=graph, node=node, model=model, turned_out=found)
                for (graph, node, model), found in by_place(tally.foretold)
            ),
            shadow=_shadow(tally),
            other_policy=self._against,
            otherwise=_otherwise(tally) if self._against else (),
            moves=_counted(tally.moves) if self._against else (),
            notes=tuple(self._notes),
        )


def _runs(graphs: dict[str, GraphRuns]) -> tuple[RunsOfGraph, ...]:
    return tuple(
        RunsOfGraph(
            graph=graph,
            outcomes=dict(sorted(runs.outcomes.items())),
            completion=spread(runs.completions),
            with_deadline=runs.with_deadline,
            met=runs.met,
        )
        for graph, runs in sorted(
            graphs.items(), key=lambda pair: (-pair[1].outcomes.total(), pair[0])
        )
    )


def _waits(tally: Tally) -> tuple[WaitsOfPoolName, ...]:
    names = sorted({*tally.held, *tally.refused})
    return tuple(
        WaitsOfPoolName(
            pool_name=name,
            held=spread(tally.held.get(name, ())),
            refused=tally.refused[name],
        )
        for name in names
    )


def judged(tally: Tally) -> dict[str, tuple[int, int]]:
    """By model: answers that were judged, and those that sufficed.

    Of the sources that judged a node's answers the most telling one counts that has seen a
    failure: a node that ends well says little where a loop judges.
    """
    places: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = {}
    for verdict, count in tally.verdicts.items():
        sources = places.setdefault((verdict.graph, verdict.node), {})
        good_bad = sources.setdefault(verdict.source, {}).setdefault(verdict.model, [0, 0])
        good_bad[0 if verdict.ok else 1] += count
    found: dict[str, tuple[int, int]] = {}
    for sources in places.values():
        known = [source for source in SOURCES if source in sources]
        failing = [one for one in known if any(bad for _, bad in sources[one].values())]
        for model, (good, bad) in sources[(failing or known)[0]].items():
            answers, sufficed = found.get(model, (0, 0))
            found[model] = (answers + good + bad, sufficed + good)
    return found


def _models(tally: Tally) -> tuple[CallsOfModel, ...]:
    verdicts = judged(tally)
    return tuple(
        CallsOfModel(
            model=model,
            outcomes=dict(sorted(served.outcomes.items())),
            prompt_tokens=served.prompt_tokens,
            output_tokens=served.output_tokens,
            judged=verdicts.get(model, (0, 0))[0],
            sufficed=verdicts.get(model, (0, 0))[1],
        )
        for model, served in sorted(
            tally.models.items(), key=lambda pair: (-pair[1].outcomes.total(), pair[0])
        )
    )


def _endpoints(tally: Tally, span_s: Seconds) -> tuple[CallsOfEndpoint, ...]:
    return tuple(
        CallsOfEndpoint(
            endpoint=name,
            outcomes=dict(sorted(served.outcomes.items())),
            prompt_tokens=served.prompt_tokens,
            output_tokens=served.output_tokens,
            busy_share=served.busy_s / span_s if span_s else 0.0,
            mean_running=served.call_s / span_s if span_s else 0.0,
        )
        for name, served in sorted(tally.endpoints.items())
    )


def _counted(counts: dict[tuple[str, str], Any]) -> tuple[Counted, ...]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(Counted(kind=kind, place=place, count=n) for (kind, place), n in ordered)


def _shadow(tally: Tally) -> tuple[ShadowChoice, ...]:
    ordered = sorted(tally.shadow.items(), key=lambda pair: (pair[0][0], -pair[1], pair[0]))
    return tuple(
        ShadowChoice(pool_name=name, went=went, would=would, calls=calls)
        for (name, went, would), calls in ordered
    )


def _otherwise(tally: Tally) -> tuple[OtherChoices, ...]:
    found = [
        OtherChoices(
            graph=graph,
            node=node,
            decisions=other.decisions,
            other_model=other.other_model,
            other_endpoint=other.other_endpoint,
            never=other.never,
        )
        for (graph, node), other in tally.others.items()
    ]
    return tuple(
        sorted(
            found,
            key=lambda one: (
                -(one.other_model + one.other_endpoint + one.never),
                one.graph,
                one.node,
            ),
        )
    )

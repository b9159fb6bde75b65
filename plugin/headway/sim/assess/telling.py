"""What ``headway assess`` found, as tables for terminals and for pages."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

import msgspec
from rich.console import Console
from rich.table import Table

from headway import __version__
from headway.sim.assess.confidence_tables import AssessedPair, pairs_markdown
from headway.sim.assess.measures import Scores
from headway.sim.provenance import commit

COLUMNS: dict[str, tuple[str, str]] = {
    "pairs": ("pairs in order", ".3f"),
    "same_role": ("of one role", ".3f"),
    "log_error": ("MAE of log", ".3f"),
    "pinball_50": ("pinball P50", ".1f"),
    "pinball_90": ("pinball P90", ".1f"),
    "covered": ("within P90", ".3f"),
    "width": ("P90 / P50", ".2f"),
    "forecast_us": ("us, P99", ".0f"),
}
"""By measure: its heading and how it is written."""


class Assessed(msgspec.Struct, frozen=True, kw_only=True):
    """Output length on one set: by predictor, the scores of every split."""

    set_name: str
    source: str
    runs: int
    calls: int
    scores: dict[str, tuple[Scores, ...]]


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """All that was assessed, and by which code."""

    headway_assessment: int = 1
    version: str
    commit: str
    splits: int
    lengths: tuple[Assessed, ...]
    confidences: tuple[AssessedPair, ...] = ()


def assessment(
    splits: int, *, lengths: Sequence[Assessed], confidences: Sequence[AssessedPair]
) -> Assessment:
    """All of it, by the code as it is."""
    return Assessment(
        version=__version__,
        commit=commit(),
        splits=splits,
        lengths=tuple(lengths),
        confidences=tuple(confidences),
    )


def show(console: Console, found: Assessed) -> None:
    """One table, means over the splits."""
    table = Table(title=f"{found.set_name}: output length, {found.runs} runs, {found.calls} calls")
    table.add_column("predictor")
    for title, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    for name, split in found.scores.items():
        table.add_row(name, *(_mean(split, key) for key in COLUMNS))
    console.print(table)


def markdown(found: Assessment) -> str:
    """The tables, with the spread over the splits."""
    return "\n".join(_lines(found)) + "\n"


def confidence_markdown(found: Assessment) -> str:
    """The tables about confidence, likewise."""
    return pairs_markdown(
        found.confidences, code=f"Headway {found.version} at commit {found.commit}"
    )


def _lines(found: Assessment) -> Iterator[str]:
    yield f"Headway {found.version} at commit {found.commit}; mean over {found.splits} splits"
    yield "by task (half to learn from, half to be judged on) ± their standard deviation."
    for one in found.lengths:
        yield f"\n### {one.set_name}\n"
        yield f"{one.runs} runs, {one.calls} calls. {one.source}.\n"
        yield "| predictor | " + " | ".join(title for title, _ in COLUMNS.values()) + " |"
        yield "| --- |" + " ---: |" * len(COLUMNS)
        for name, split in one.scores.items():
            shown = [f"{_mean(split, key)}{_spread(split, key)}" for key in COLUMNS]
            yield f"| {name} | " + " | ".join(shown) + " |"


def _mean(split: tuple[Scores, ...], key: str) -> str:
    return format(fmean(getattr(one, key) for one in split), COLUMNS[key][1])


def _spread(split: tuple[Scores, ...], key: str) -> str:
    if len(split) < 2 or key == "forecast_us":
        return ""
    return " ± " + format(stdev(getattr(one, key) for one in split), COLUMNS[key][1])

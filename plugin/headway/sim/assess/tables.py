"""Tables of scores over splits, for terminals and for pages: a mean and its spread, one way."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Protocol

from rich.table import Table

Columns = Mapping[str, tuple[str, str]]
"""By measure: its heading and how it is written."""
TIMES = ("forecast_us",)
"""Measures of the machine, whose spread over splits says nothing."""


class Judged(Protocol):
    """A table of a page: its heading, what it is about, scores by predictor and split."""

    @property
    def heading(self) -> str:
        """Of the table."""
        ...

    @property
    def about(self) -> str:
        """What it is of."""
        ...

    @property
    def source(self) -> str:
        """Where the runs come from."""
        ...

    @property
    def scores(self) -> Mapping[str, Sequence[Any]]:
        """By predictor, split after split."""
        ...


def page(head: str, columns: Columns, found: Iterable[Judged]) -> str:
    """The tables in Markdown, with the spread over the splits; `head` says how they were made."""
    lines = [head]
    for one in found:
        lines += [f"\n### {one.heading}\n", f"{one.about}. {one.source}.\n"]
        lines += _page_table(columns, one.scores)
    return "\n".join(lines) + "\n"


def terminal_table(title: str, columns: Columns, scores: Mapping[str, Sequence[Any]]) -> Table:
    """A row for each predictor, means over the splits."""
    table = Table(title=title)
    table.add_column("predictor")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right")
    for name, split in scores.items():
        table.add_row(name, *(_mean(split, key, form) for key, (_, form) in columns.items()))
    return table


def _page_table(columns: Columns, scores: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    yield "| predictor | " + " | ".join(heading for heading, _ in columns.values()) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for name, split in scores.items():
        shown = [
            f"{_mean(split, key, form)}{_spread(split, key, form)}"
            for key, (_, form) in columns.items()
        ]
        yield f"| {name} | " + " | ".join(shown) + " |"


def _mean(split: Sequence[Any], key: str, form: str) -> str:
    return format(fmean(getattr(one, key) for one in split), form)


def _spread(split: Sequence[Any], key: str, form: str) -> str:
    if len(split) < 2 or key in TIMES:
        return ""
    return " ± " + format(stdev(getattr(one, key) for one in split), form)

"""The report in the terminal: a table a place, and a line that judges."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from headway.sim.report.ranking import OURS, best, is_bound, place_text, places, value, verdict
from headway.sim.report.words import HEADINGS, shown
from headway.sim.results import Pooled, Results

COLUMNS = (
    *("mean_s", "p50_s", "p95_s", "p99_s", "slowdown_mean", "req95", "req99"),
    *("success", "attainment"),
)


def table(results: Results, console: Console) -> None:
    """Print one table a place, Headway's row first, the best of what can be run in bold."""
    for place, rows in places(results):
        console.print(_place_table(place_text(place), rows))
    console.print(Text(verdict(results)))


def _place_table(title: str, rows: tuple[Pooled, ...]) -> Table:
    drawn = Table(title=Text(title), title_justify="left", header_style="dim", box=SIMPLE_HEAD)
    drawn.add_column("policy", no_wrap=True)
    columns = [name for name in COLUMNS if any(value(row, name) is not None for row in rows)]
    for name in (*(HEADINGS[each] for each in columns), "failed", "n"):
        drawn.add_column(Text(name), justify="right")
    winners = {name: best(rows, name) for name in columns}
    for row in rows:
        style = "cyan" if row.policy == OURS else "dim italic" if is_bound(row) else ""
        cells = [
            Text(shown(name, value(row, name)), style="bold" if row in winners[name] else "")
            for name in columns
        ]
        counts = (Text(str(row.measures.failed)), Text(f"{row.runs:,}"))
        drawn.add_row(Text(row.label), *cells, *counts, style=style)
    return drawn

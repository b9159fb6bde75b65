"""Runs all measurements, shows them, and writes ``bench.json``.

The exit status says only whether it could be measured: how fast something is
depends on the machine, so goals are shown and never enforced.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.bench import decision, handle, imports, latency, plugin
from tests.bench.measure import Result, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    decisions: int = 20_000
    handled: int = 500
    node_pairs: int = 30
    calls: int = 200
    import_pairs: int = 15


QUICK = Sizes(decisions=1000, handled=50, node_pairs=2, calls=10, import_pairs=1)


def run(sizes: Sizes, progress: Progress) -> list[Result]:
    """Every measurement, one after the other."""
    results: list[Result] = []

    def part(name: str, total: int) -> Callable[[], None]:
        task = progress.add_task(name, total=total)
        return lambda: progress.advance(task)

    step = part("decisions over the socket", 2 * decision.ROUNDS)
    results += decision.measure(samples=sizes.decisions, step=step)
    echo_p50_us = results[0].value / results[0].ratio
    step = part("the scheduler alone", handle.BLOCKS * (1 + len(handle.POLICIES)))
    results += handle.measure(decisions=sizes.handled, echo_p50_us=echo_p50_us, step=step)
    step = part("a node with and without", 2 * sizes.node_pairs)
    results += plugin.measure(pairs=sizes.node_pairs, step=step)
    step = part("a call with and without", latency.STEPS * len(latency.WAYS))
    results += latency.measure(calls=sizes.calls, step=step)
    step = part("imports", sizes.import_pairs)
    results += imports.measure(pairs=sizes.import_pairs, step=step)
    return results


def table(results: list[Result]) -> Table:
    """All results; the spread (quartiles) is of what the goal is on."""
    shown = Table(title="What Headway costs (n samples; spread: quartiles over rounds or pairs)")
    for column in ("measure", "value", "beside", "ratio", "goal", "met", "spread", "n"):
        shown.add_column(column, justify="left" if column in ("measure", "beside") else "right")
    for one in results:
        by_value = one.goal_of == "value"
        unit = f" {one.unit}" if by_value else ""
        low, high = one.spread
        shown.add_row(
            one.name,
            f"{one.value:.2f} {one.unit}",
            one.ratio_to,
            f"{one.ratio:.3f}",
            "" if one.goal is None else f"<= {one.goal:g}{unit}",
            {None: "", True: "yes", False: "NO"}[one.met],
            f"{low:.3f} to {high:.3f}{unit}",
            str(one.n),
        )
    return shown


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    parser.add_argument("--quick", action="store_true", help="few samples: only shows that it runs")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        results = run(QUICK if arguments.quick else Sizes(), progress)
    arguments.json.write_bytes(to_json(results))
    console.print(table(results))
    missed = [one.name for one in results if one.met is False]
    console.print(f"goals missed: {', '.join(missed)}" if missed else "all goals met")


if __name__ == "__main__":
    main()

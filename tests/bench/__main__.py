"""Runs all measurements, or the sections named, shows them, and writes ``bench.json``.

The exit status says only whether it could be measured: how fast something is
depends on the machine, so goals are shown and never enforced.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from headway.core.errors import nearest
from tests.bench import (
    adapter,
    decision,
    engine,
    handle,
    imports,
    latency,
    memory,
    plugin,
    proxies,
    simulate,
    spans,
)
from tests.bench.measure import Result, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    decisions: int = 20_000
    handled: int = 500
    node_pairs: int = 30
    calls: int = 200
    import_pairs: int = 15
    traced_runs: int = 300
    engine_requests: int = 2000
    simulated_runs: int = 1500
    looks: int = 200
    taught_runs: int = 60


QUICK = Sizes(
    decisions=1000,
    handled=50,
    node_pairs=2,
    calls=10,
    import_pairs=1,
    traced_runs=5,
    engine_requests=100,
    simulated_runs=40,
    looks=5,
    taught_runs=2,
)


Part = Callable[[str, int], Callable[[], None]]
"""Shows a part of so many steps; gives what tells of one."""


def _decision(sizes: Sizes, part: Part) -> list[Result]:
    step = part("decisions over the socket", 2 * decision.ROUNDS)
    results = decision.measure(samples=sizes.decisions, step=step)
    echo_p50_us = results[0].value / results[0].ratio
    step = part("the scheduler alone", handle.BLOCKS * (1 + len(handle.POLICIES)))
    return results + handle.measure(decisions=sizes.handled, echo_p50_us=echo_p50_us, step=step)


def _node(sizes: Sizes, part: Part) -> list[Result]:
    step = part("a node with and without", 2 * sizes.node_pairs)
    return plugin.measure(pairs=sizes.node_pairs, step=step)


def _latency(sizes: Sizes, part: Part) -> list[Result]:
    step = part("a call with and without", latency.STEPS * len(latency.WAYS))
    return latency.measure(calls=sizes.calls, step=step)


def _litellm(sizes: Sizes, part: Part) -> list[Result]:
    step = part("a call through LiteLLM", latency.STEPS * len(latency.LITELLM_WAYS))
    return latency.measure(calls=sizes.calls, step=step, kind="litellm")


def _proxy(sizes: Sizes, part: Part) -> list[Result]:
    step = part("a call through its proxy", proxies.STEPS * proxies.PARTS)
    return proxies.measure(calls=sizes.calls, step=step)


def _imports(sizes: Sizes, part: Part) -> list[Result]:
    return imports.measure(pairs=sizes.import_pairs, step=part("imports", sizes.import_pairs))


def _spans(sizes: Sizes, part: Part) -> list[Result]:
    step = part("spans", spans.ROUNDS + 1)
    return spans.measure(runs=sizes.traced_runs, step=step)


def _engine(sizes: Sizes, part: Part) -> list[Result]:
    step = part("the engine model", engine.ROUNDS * (1 + len(engine.SEATS)))
    return engine.measure(requests=sizes.engine_requests, step=step)


def _simulate(sizes: Sizes, part: Part) -> list[Result]:
    step = part("the laboratory", simulate.ROUNDS * (1 + len(simulate.GOALS_US)))
    return simulate.measure(runs=sizes.simulated_runs, step=step)


def _adapter(sizes: Sizes, part: Part) -> list[Result]:
    return adapter.measure(looks=sizes.looks, step=part("looks at vLLM", adapter.ROUNDS))


def _memory(sizes: Sizes, part: Part) -> list[Result]:
    step = part("what a daemon holds", sizes.taught_runs)
    return memory.measure(runs=sizes.taught_runs, step=step)


SECTIONS: dict[str, Callable[[Sizes, Part], list[Result]]] = {
    "decision": _decision,
    "node": _node,
    "latency": _latency,
    "litellm": _litellm,
    "proxy": _proxy,
    "imports": _imports,
    "spans": _spans,
    "engine": _engine,
    "simulate": _simulate,
    "adapter": _adapter,
    "memory": _memory,
}


def run(sizes: Sizes, progress: Progress, sections: Sequence[str]) -> list[Result]:
    """The measurements of `sections`, one after the other."""

    def part(name: str, total: int) -> Callable[[], None]:
        task = progress.add_task(name, total=total)
        return lambda: progress.advance(task)

    return [one for name in SECTIONS if name in sections for one in SECTIONS[name](sizes, part)]


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
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"what to measure (default: all): {', '.join(SECTIONS)}",
    )
    parser.add_argument("--json", type=Path, required=True, help="where the results go")
    parser.add_argument("--quick", action="store_true", help="few samples: only shows that it runs")
    arguments = parser.parse_args()
    for name in arguments.sections:
        if name not in SECTIONS:
            parser.error(f"no section `{name}`{nearest(name, SECTIONS)}")
    sections = arguments.sections or tuple(SECTIONS)
    console = Console(width=None if sys.stdout.isatty() else 150)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        results = run(QUICK if arguments.quick else Sizes(), progress, sections)
    arguments.json.write_bytes(to_json(results))
    console.print(table(results))
    missed = [one.name for one in results if one.met is False]
    console.print(f"goals missed: {', '.join(missed)}" if missed else "all goals met")


if __name__ == "__main__":
    main()

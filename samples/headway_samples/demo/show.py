"""What the demo shows: the table, the plot, and a loud word if the numbers are not valid."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from headway_samples.demo.measures import RunRecord, summarize

_COLUMNS = (
    ("mean", "mean_s"),
    ("P50", "p50_s"),
    ("P95", "p95_s"),
    ("P99", "p99_s"),
)


def table(report: dict[str, Any]) -> Table:
    """All arms over all samples, then each sample by itself; times in emulated seconds."""
    # No frame, and a sample's name in a row of its own: it must fit into 80 columns.
    made = Table(
        title="Completion in emulated seconds (without the person's pauses)",
        title_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=0,
    )
    made.add_column("", no_wrap=True)
    for title in (*(name for name, _ in _COLUMNS), "success", "attainment", "n", "failed"):
        made.add_column(title, justify="right", no_wrap=True)
    groups = {"all samples": report["arms"], **report["samples"]}
    for group, arms in groups.items():
        made.add_row(f"[bold]{group}[/bold]")
        for arm, values in arms.items():
            made.add_row(
                arm,
                *(_seconds(values[key]) for _, key in _COLUMNS),
                f"{values['success']:.1%}",
                f"{values['attainment']:.1%}",
                str(values["runs"]),
                str(values["failed"]),
            )
        made.add_row()
    return made


def plot(arms: dict[str, list[RunRecord]], path: Path) -> None:
    """Completion of each arm as a cumulative share of runs, beside bars of success (PNG)."""
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 4.5), width_ratios=(2, 1), layout="constrained"
    )
    for arm, records in arms.items():
        times = sorted(each.completion_s for each in records if each.completion_s is not None)
        shares = [(place + 1) / len(records) for place in range(len(times))]
        left.step(times, shares, where="post", label=arm)
    left.set_xscale("log")
    left.set_xlabel("completion, emulated seconds")
    left.set_ylabel("share of runs")
    left.set_ylim(0, 1)
    left.legend()
    left.grid(alpha=0.3)
    success = [100 * summarize(records).success for records in arms.values()]
    bars = right.bar(list(arms), success, color=[f"C{place}" for place in range(len(arms))])
    right.bar_label(bars, fmt="%.0f")
    right.set_ylabel("success, % of runs")
    right.set_ylim(0, 105)
    plt.setp(right.get_xticklabels(), rotation=35, ha="right", rotation_mode="anchor")
    figure.savefig(path, dpi=120, format="png")
    plt.close(figure)


ENOUGH_RUNS = 200
"""In an arm; with fewer a single bad run moves the mean."""


def verdict(console: Console, complaints: Sequence[str], *, runs: int) -> None:
    """Say whether the numbers count; `runs` is how many there were in an arm."""
    if not complaints:
        console.print("[green]valid[/green]: the machine kept up with the emulation")
        if runs < ENOUGH_RUNS:
            console.print(
                f"{runs} runs an arm show that it works, not which arm is better: make demo"
            )
        return
    console.rule("[bold red]NOT VALID", style="red")
    for each in complaints:
        console.print(f"[bold red]{each}[/bold red]")
    console.print("Do not use these numbers: run the demo again on a quieter machine.")
    console.rule(style="red")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"

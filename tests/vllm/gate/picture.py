"""The two pictures of docs/validity.md."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vllm.gate.comparing import MOST_MEAN_ERROR, MOST_P99_ERROR, Pair
from tests.vllm.gate.page import NAMES
from tests.vllm.gate.results import Results

COLOURS = dict(zip(NAMES, ("#0b6e4f", "#e08e0b", "#7a7a7a"), strict=True))
MARKS = ("o", "s", "^", "D", "v", "P")


def draw_scatter(results: Results, path: Path) -> None:
    """Live against virtual, with the band that the gate allows."""
    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8))
    _scatter(
        left,
        results,
        lambda pair: (pair.live_mean_s, pair.virtual.mean_s),
        within=MOST_MEAN_ERROR,
        title="mean completion of runs, s",
    )
    _scatter(
        right,
        results,
        lambda pair: (pair.live_p99_s, pair.virtual.p99_s),
        within=MOST_P99_ERROR,
        title="P99 latency of calls, s",
        intervals=True,
    )
    left.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=140)
    plt.close(figure)


def draw_release(results: Results, path: Path) -> None:
    """Bars are live, marks virtual."""
    plt = _pyplot()
    cells = results.cells
    figure, axes = plt.subplots(figsize=(10, 4.2))
    width = 0.8 / len(NAMES)
    for number, (policy, name) in enumerate(NAMES.items()):
        at = [place + (number - 1) * width for place in range(len(cells))]
        pairs = [by_policy[policy] for by_policy in cells.values()]
        axes.bar(at, [pair.live_mean_s for pair in pairs], width, color=COLOURS[policy], label=name)
        virtual = [pair.virtual.mean_s for pair in pairs]
        label = "in virtual time" if not number else None
        axes.plot(at, virtual, "kx", markersize=6, label=label)
    axes.set_xticks(range(len(cells)), list(cells), fontsize=8)
    axes.set_ylabel("mean completion of runs, s (live)")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=140)
    plt.close(figure)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _scatter(
    axes: Any,
    results: Results,
    values: Callable[[Pair], tuple[float, float]],
    *,
    within: float,
    title: str,
    intervals: bool = False,
) -> None:
    found = [values(pair) for pair in results.pairs]
    low = 0.8 * min(min(one) for one in found)
    high = 1.25 * max(max(one) for one in found)
    axes.fill_between(
        [low, high],
        [low * (1 - within), high * (1 - within)],
        [low * (1 + within), high * (1 + within)],
        color="#dddddd",
        label=f"within {within:.0%}",
    )
    axes.plot([low, high], [low, high], color="#999999", linewidth=0.8)
    for mark, (cell, by_policy) in zip(MARKS, results.cells.items(), strict=False):
        for policy, pair in by_policy.items():
            live, virtual = values(pair)
            if intervals:
                axes.plot(pair.p99_interval, [virtual] * 2, color=COLOURS[policy], linewidth=0.8)
            axes.plot(
                [live], [virtual], mark, color=COLOURS[policy], label=f"{cell}: {NAMES[policy]}"
            )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=title)
    axes.set(xlabel="live, on real vLLM", ylabel="in virtual time")

"""Draws one run: a lane for each node, its calls in their endpoint's colour, waits hatched.

Thin arrows go from the nodes that a node waited for to it.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from headway_samples.trace_file import Node, Run, Span

FAMILIES = ("Blues", "Oranges", "Greens", "Purples", "Reds")
"""A family of colours for each model, a shade of it for each endpoint."""
BAR = 0.62
"""The height of a node in its lane, which is 1."""
INK, PALE, FAINT = "#333333", "#e9e9e9", "#8a8a8a"
TOOL = "#222222"


def draw(run: Run, path: Path) -> None:
    """Draw `run` into `path` (PNG, PDF or SVG by its ending). Raises `OSError`."""
    colours = colours_of(run)
    height = 1.7 + 0.36 * max(4, len(run.nodes))
    figure, axes = plt.subplots(figsize=(11.0, height), layout="constrained")
    start_s, length_s = run.span.start_s, run.span.end_s - run.span.start_s
    for lane, node in enumerate(run.nodes):
        _draw_node(axes, node, lane, colours, start_s=start_s, length_s=length_s)
    _draw_arrows(axes, run, start_s=start_s)
    axes.set_ylim(len(run.nodes) - 0.4, -0.6)
    axes.set_xlim(0.0, length_s * 1.01)
    axes.set_yticks(range(len(run.nodes)), [node.label for node in run.nodes])
    axes.set_xlabel("seconds since the run's start")
    axes.set_title(_title(run), loc="left", fontsize=11, color=INK)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    figure.legend(
        handles=_legend(run, colours),
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        handlelength=1.6,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def colours_of(run: Run) -> dict[str, Any]:
    """A colour for each endpoint of the run's calls, by model."""
    models: dict[str, set[str]] = {}
    for node in run.nodes:
        for call in node.calls:
            models.setdefault(call.text("gen_ai.request.model"), set()).add(_endpoint(call))
    colours: dict[str, Any] = {}
    for place, model in enumerate(sorted(models, key=_by_size)):
        family = mpl.colormaps[FAMILIES[place % len(FAMILIES)]]
        endpoints = sorted(models[model])
        for number, endpoint in enumerate(endpoints):
            colours[endpoint] = family(0.42 + 0.4 * (number + 1) / (len(endpoints) + 1))
    return colours


def _draw_node(
    axes: Axes,
    node: Node,
    lane: int,
    colours: dict[str, Any],
    *,
    start_s: float,
    length_s: float,
) -> None:
    span = node.span
    at = span.start_s - start_s
    least = length_s * 0.002  # a node without calls would be too thin to be seen
    axes.barh(
        lane,
        max(span.end_s - span.start_s, least),
        left=at,
        height=BAR,
        color=PALE if span.end_s - span.start_s > least else FAINT,
        zorder=2,
    )
    rows = stacked(node.calls)
    thick = BAR / (max(rows, default=0) + 1)
    for call, row in zip(node.calls, rows, strict=True):
        middle = lane - BAR / 2 + thick * (row + 0.5)
        _draw_call(axes, call, middle, thick, colours, start_s=start_s, length_s=length_s)
    for tool in node.tools:
        wide = max(tool.end_s - tool.start_s, least)
        axes.barh(lane, wide, left=tool.start_s - start_s, height=BAR, color=TOOL, zorder=5)


def _draw_call(
    axes: Axes,
    call: Span,
    middle: float,
    thick: float,
    colours: dict[str, Any],
    *,
    start_s: float,
    length_s: float,
) -> None:
    at, wait_s = call.start_s - start_s, call.number("headway.wait_s")
    wait_s = min(wait_s, call.end_s - call.start_s)
    if wait_s > length_s * 0.001:
        axes.barh(
            middle, wait_s, left=at, height=thick, color="white", edgecolor=FAINT, hatch="/////",
            linewidth=0.0, zorder=3,
        )  # fmt: skip
    served_s = call.end_s - call.start_s - wait_s
    failed = "error.type" in call.attributes
    axes.barh(
        middle, served_s, left=at + wait_s, height=thick, color=colours[_endpoint(call)],
        edgecolor="#c00000" if failed else "white", linewidth=1.2 if failed else 0.6, zorder=4,
    )  # fmt: skip
    tokens = call.attributes.get("gen_ai.usage.output_tokens")
    if tokens is not None and served_s > length_s * 0.035 and thick > BAR * 0.6:
        axes.text(
            at + wait_s + served_s / 2, middle, f"{tokens}", ha="center", va="center",
            fontsize=7.5, color=INK, zorder=6,
        )  # fmt: skip


def _draw_arrows(axes: Axes, run: Run, *, start_s: float) -> None:
    for lane, node in enumerate(run.nodes):
        for parent in node.parents:
            before = run.nodes[parent].span
            axes.annotate(
                "",
                xy=(node.span.start_s - start_s, lane - BAR / 2),
                xytext=(before.end_s - start_s, parent + BAR / 2),
                arrowprops={"arrowstyle": "-|>", "color": FAINT, "linewidth": 0.6,
                            "mutation_scale": 6, "shrinkA": 0, "shrinkB": 0},
                zorder=1.5,
            )  # fmt: skip


def stacked(calls: list[Span]) -> list[int]:
    """A row for each call (by start), so that calls at the same time do not cover each other."""
    ends: list[float] = []
    rows = []
    for call in calls:
        row = next((n for n, end in enumerate(ends) if end <= call.start_s), len(ends))
        ends[row : row + 1] = [call.end_s]
        rows.append(row)
    return rows


def _legend(run: Run, colours: dict[str, Any]) -> list[Patch]:
    shown = [Patch(color=colour, label=endpoint) for endpoint, colour in colours.items()]
    shown.append(
        Patch(facecolor="white", edgecolor=FAINT, hatch="/////", label="waits for release")
    )
    if any(node.tools for node in run.nodes):
        shown.append(Patch(color=TOOL, label="tool"))
    shown.append(Patch(color=PALE, label="node"))
    return shown


def _title(run: Run) -> str:
    calls = [call for node in run.nodes for call in node.calls]
    length_s = run.span.end_s - run.span.start_s
    return (
        f"{run.graph}: {len(run.nodes)} nodes, {len(calls)} calls in {length_s:.1f} s, "
        f"which waited {run.waited_s:.1f} s together   (numbers: output tokens)"
    )


def _endpoint(call: Span) -> str:
    return call.text("headway.decision.endpoint") or call.text("server.address") or "undecided"


def _by_size(model: str) -> tuple[int, str]:
    """Models by the number in their name, so that 7b comes before 32b."""
    digits = "".join(each for each in model if each.isdigit())
    return int(digits or 0), model

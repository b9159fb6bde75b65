"""Figures as inline SVG whose colours are the page's, so that light and dark both read well.

Matplotlib draws with stand-in colours; in the SVG each becomes a CSS variable of the page.
"""

import io
import re
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

INK, FAINT, GRID, OURS_COLOUR = "#010101", "#020202", "#030303", "#040404"
RIVALS = ("#050505", "#060606", "#070707", "#080808", "#090909")
_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--grid",
    OURS_COLOUR: "--ours",
    **{colour: f"--rival{place}" for place, colour in enumerate(RIVALS, start=1)},
}
MARKERS = ("s", "^", "D", "v", "P")

SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headway",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "text.color": INK,
}
"""What to draw under, for `matplotlib.rc_context`: text stays text, the same ids each time."""


def figure(
    *, panels: int = 1, width: float = 5.0, height: float = 3.6
) -> tuple[Figure, list[Axes]]:
    """An empty figure with panels side by side; sizes in inches, `width` a panel's."""
    drawn = Figure(figsize=(width * panels, height), layout="constrained")
    drawn.patch.set_alpha(0)
    axes = [drawn.add_subplot(1, panels, place + 1) for place in range(panels)]
    for each in axes:
        each.patch.set_alpha(0)
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(GRID)
        each.tick_params(which="both", colors=FAINT, length=3, labelcolor=FAINT)
        each.grid(True, color=GRID, linewidth=0.6)
        each.set_axisbelow(True)
        for text in (each.xaxis.label, each.yaxis.label):
            text.set_color(INK)
    return drawn, axes


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers at 1, 2 and 5."""
    if which == "x":
        axes.set_xscale("log")
    else:
        axes.set_yscale("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def svg(drawn: Figure, name: str, title: str) -> str:
    """The figure as an SVG element; `name` keeps its ids apart from other figures'."""
    out = io.StringIO()
    with matplotlib.rc_context(SETTINGS):
        FigureCanvasSVG(drawn)
        drawn.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def spaced(wanted: Sequence[float], gap: float) -> list[float]:
    """Places near those wanted, in their order, no two nearer than `gap`."""
    order = sorted(range(len(wanted)), key=lambda place: (wanted[place], place))
    placed = [0.0] * len(wanted)
    blocks: list[list[int]] = []
    for index in order:
        blocks.append([index])
        while len(blocks) > 1 and _top(blocks[-2], wanted, gap) + gap > _bottom(
            blocks[-1], wanted, gap
        ):
            last = blocks.pop()
            blocks[-1].extend(last)
    for block in blocks:
        start = _bottom(block, wanted, gap)
        for step, index in enumerate(block):
            placed[index] = start + step * gap
    return placed


def _bottom(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    middle = sum(wanted[index] for index in block) / len(block)
    return middle - gap * (len(block) - 1) / 2


def _top(block: Sequence[int], wanted: Sequence[float], gap: float) -> float:
    return _bottom(block, wanted, gap) + gap * (len(block) - 1)

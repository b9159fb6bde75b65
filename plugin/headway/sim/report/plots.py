"""The plots of a report, each an SVG: latency against load, frontier, CDFs, Req bars, Gantt."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes

from headway.sim.outcomes import CallOutcome, RunOutcome
from headway.sim.report.drawing import (
    FAINT,
    GRID,
    INK,
    MARKERS,
    OURS_COLOUR,
    RIVALS,
    SETTINGS,
    figure,
    log_scale,
    spaced,
    svg,
)
from headway.sim.report.ranking import OURS, main_rows, value
from headway.sim.results import Example, Pooled
from headway.sim.statistics import Point, frontier

Line = tuple[str, Sequence[float], Sequence[float]]
"""A policy with its abscissae and ordinates."""


class Plots:
    """Draws the figures of one report; `named` are the rivals that get a colour and a name."""

    def __init__(self, named: Sequence[str]) -> None:
        self._named = tuple(named)
        self._drawn = 0

    def load(self, title: str, rows: Sequence[Pooled]) -> str:
        """Mean and P95 completion against load, one line a policy, log scale."""

        def draw(panels: list[Axes]) -> None:
            for axes, measure, name in zip(
                panels, ("mean_s", "p95_s"), ("mean", "P95"), strict=True
            ):
                log_scale(axes, "y")
                axes.set_title(f"{name} completion", loc="left")
                axes.set_xlabel("load (multiple of the knee)")
                axes.set_ylabel("seconds")
                self._lines(axes, _against_load(rows, measure))

        return self._figure(title, draw, panels=2)

    def cdf(self, title: str, rows: Sequence[Pooled]) -> str:
        """Share of runs within a completion, and within a slowdown."""

        def draw(panels: list[Axes]) -> None:
            for axes, column in zip(panels, ("completion_cdf", "slowdown_cdf"), strict=True):
                log_scale(axes, "x")
                axes.set_ylim(0, 1.02)
                axes.set_title(column.removesuffix("_cdf"), loc="left")
                axes.set_xlabel("seconds" if column == "completion_cdf" else "times stand-alone")
                axes.set_ylabel("share of runs")
                self._lines(axes, _distributions(rows, column), label=False)
            self._legend(panels[0], [row.policy for row in main_rows(rows)])

        return self._figure(title, draw, panels=2)

    def sweep(self, title: str, rows: Sequence[Pooled]) -> str:
        """Mean completion against success: a point a setting, a line along each frontier."""

        def draw(panels: list[Axes]) -> None:
            axes = panels[0]
            log_scale(axes, "y")
            axes.set_xlabel("success (share of runs)")
            axes.set_ylabel("mean completion, seconds")
            axes.set_title("better: lower right", loc="left")
            swept = [row.policy for row in rows if row.settings]
            self._lines(axes, _frontiers(rows), also=swept)
            for row in rows:
                success, mean = value(row, "success"), value(row, "mean_s")
                if success is not None and mean is not None:
                    colour = self._style(row.policy)["color"]
                    axes.plot([success], [mean], "o", color=colour, markersize=3.2, alpha=0.75)

        return self._figure(title, draw, width=7.2, height=4.4)

    def requirements(self, title: str, rows: Sequence[Pooled]) -> str:
        """Req95 as bars with their intervals, Req99 as ticks, shortest first."""
        shown = [row for row in main_rows(rows) if math.isfinite(_known(row, "req95"))]
        shown.sort(key=lambda row: (-_known(row, "req95"), row.policy))

        def draw(panels: list[Axes]) -> None:
            axes = panels[0]
            axes.grid(False, axis="y")
            axes.set_xlabel("slowdown that 95 % of runs stay within (tick: 99 %)")
            for place, row in enumerate(shown):
                req95, style = _known(row, "req95"), self._style(row.policy)
                hollow = row.policy.startswith("clairvoyant")
                axes.barh(
                    place,
                    req95,
                    height=0.68,
                    color="none" if hollow else style["color"],
                    edgecolor=style["color"],
                    linestyle="--" if hollow else "-",
                    alpha=1.0 if hollow or style["zorder"] > 2 else 0.55,
                )
                low, high = row.intervals.get("req95", (None, None))
                if low is not None and high is not None and math.isfinite(high):
                    axes.plot([low, high], [place, place], color=INK, linewidth=1.0)
                req99 = _known(row, "req99")
                if math.isfinite(req99):
                    axes.plot([req99], [place], "|", color=INK, markersize=8, markeredgewidth=1.6)
            axes.set_yticks(range(len(shown)), [row.policy for row in shown])
            for tick, row in zip(axes.get_yticklabels(), shown, strict=True):
                tick.set_color(INK)
                tick.set_fontweight("bold" if row.policy == OURS else "normal")
            axes.set_xlim(left=0)

        return self._figure(title, draw, width=7.2, height=1.0 + 0.21 * len(shown))

    def gantt(self, title: str, example: Example) -> str:
        """One run under two policies: rows are nodes, bars wait, prefill and decode."""
        endpoints = sorted({call.endpoint for run in example.runs for call in run.calls})
        rows = max((len(_nodes(run)) for run in example.runs), default=1)
        ends = [run.ended_s - run.arrived_s for run in example.runs if run.ended_s is not None]

        def draw(panels: list[Axes]) -> None:
            for axes, policy, run in zip(panels, example.policies, example.runs, strict=True):
                _draw_run(axes, run, endpoints)
                axes.set_title(policy, loc="left")
                axes.set_xlabel("seconds from arrival")
                if ends:
                    axes.set_xlim(0, 1.02 * max(ends))
            for place, endpoint in enumerate(endpoints):
                panels[0].plot([], [], "s", color=_endpoint_colour(place), label=endpoint)
            panels[0].plot([], [], "s", color=GRID, label="waiting")
            panels[0].plot([], [], "s", color=FAINT, alpha=0.45, label="prefill (pale)")
            panels[0].figure.legend(
                loc="outside lower center", ncols=6, frameon=False, labelcolor=INK, fontsize=8
            )

        return self._figure(title, draw, panels=2, height=1.5 + 0.24 * rows)

    def _figure(
        self,
        title: str,
        draw: Callable[[list[Axes]], None],
        *,
        panels: int = 1,
        width: float = 5.0,
        height: float = 3.6,
    ) -> str:
        self._drawn += 1
        with matplotlib.rc_context(SETTINGS):
            drawn, axes = figure(panels=panels, width=width, height=height)
            draw(axes)
            return svg(drawn, f"f{self._drawn}", title)

    def _style(self, policy: str) -> dict[str, Any]:
        if policy == OURS:
            return {"color": OURS_COLOUR, "linewidth": 2.6, "marker": "o", "zorder": 5}
        if policy.startswith("clairvoyant"):
            return {"color": INK, "linewidth": 1.1, "linestyle": "--", "zorder": 3}
        if policy in self._named:
            place = self._named.index(policy)
            colour, marker = RIVALS[place], MARKERS[place]
            return {"color": colour, "linewidth": 1.5, "marker": marker, "zorder": 4}
        return {"color": FAINT, "linewidth": 0.7, "alpha": 0.45, "zorder": 2}

    def _lines(
        self, axes: Axes, lines: Sequence[Line], *, label: bool = True, also: Sequence[str] = ()
    ) -> None:
        """Draw the lines; with `label`, name the policies that have a colour, and `also`."""
        for policy, across, up in lines:
            style = self._style(policy)
            if not label:
                style.pop("marker", None)
            axes.plot(across, up, markersize=4, markeredgewidth=0, **style)
        if label:
            self._label_ends(
                axes, [line for line in lines if self._is_named(line[0]) or line[0] in also]
            )

    def _label_ends(self, axes: Axes, wanted: Sequence[Line]) -> None:
        """Names beside the lines' ends, moved apart where they would lie on each other."""
        if not wanted:
            return
        low, high = (math.log(each) for each in axes.get_ylim())
        heights = [(math.log(up[-1]) - low) / (high - low) for _, _, up in wanted]
        for (policy, across, up), height in zip(wanted, spaced(heights, 0.058), strict=True):
            axes.annotate(
                policy,
                xy=(across[-1], up[-1]),
                xytext=(1.03, height),
                textcoords="axes fraction",
                va="center",
                fontsize=8,
                color=OURS_COLOUR if policy == OURS else INK,
                fontweight="bold" if policy == OURS else "normal",
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "relpos": (0.0, 0.5),
                    "color": self._style(policy)["color"],
                    "linewidth": 0.6,
                    "alpha": 0.7,
                },
            )

    def _legend(self, axes: Axes, policies: Sequence[str]) -> None:
        for policy in policies:
            if self._is_named(policy):
                style = self._style(policy)
                style.pop("marker", None)
                axes.plot([], [], label=policy, **style)
        axes.plot([], [], label="others", color=FAINT, linewidth=0.7, alpha=0.6)
        axes.figure.legend(
            loc="outside lower center", ncols=5, frameon=False, labelcolor=INK, fontsize=8
        )

    def _is_named(self, policy: str) -> bool:
        return policy == OURS or policy in self._named or policy.startswith("clairvoyant")


def _known(row: Pooled, measure: str) -> float:
    found = value(row, measure)
    return math.inf if found is None else found


def _against_load(rows: Sequence[Pooled], measure: str) -> list[Line]:
    points: dict[str, list[tuple[float, float]]] = {}
    for load in sorted({row.load for row in rows}):
        for row in main_rows([each for each in rows if each.load == load]):
            if 0 < _known(row, measure) < math.inf:
                points.setdefault(row.policy, []).append((load, _known(row, measure)))
    return [(name, *_columns(points[name])) for name in sorted(points)]


def _distributions(rows: Sequence[Pooled], column: str) -> list[Line]:
    lines: list[Line] = []
    for row in main_rows(rows):
        every: tuple[float | None, ...] = getattr(row, column)
        last = max(1, len(every) - 1)
        points = [
            (each, place / last)
            for place, each in enumerate(every)
            if each is not None and 0 < each < math.inf
        ]
        if points:
            lines.append((row.policy, *_columns(points)))
    return lines


def _frontiers(rows: Sequence[Pooled]) -> list[Line]:
    lines: list[Line] = []
    for policy in dict.fromkeys(row.policy for row in rows):
        points = frontier(
            Point(success=success, completion_s=mean)
            for row in rows
            if row.policy == policy
            and (success := value(row, "success")) is not None
            and (mean := value(row, "mean_s")) is not None
            and mean > 0
        )
        if points:
            lines.append((policy, *_columns([(p.success, p.completion_s) for p in points])))
    return lines


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]


def _nodes(run: RunOutcome) -> tuple[str, ...]:
    """Nodes with calls, by their first call."""
    ordered = sorted(run.calls, key=lambda call: (call.ready_s, call.node))
    return tuple(dict.fromkeys(call.node for call in ordered))


def _endpoint_colour(place: int) -> str:
    return (OURS_COLOUR, *RIVALS)[place % (1 + len(RIVALS))]


def _draw_run(axes: Axes, run: RunOutcome, endpoints: Sequence[str]) -> None:
    nodes = _nodes(run)
    for call in sorted(run.calls, key=lambda call: (call.ready_s, call.node)):
        _draw_call(axes, call, nodes.index(call.node), run.arrived_s, endpoints)
    axes.set_yticks(range(len(nodes)), nodes)
    axes.invert_yaxis()
    axes.grid(False, axis="y")


def _draw_call(
    axes: Axes, call: CallOutcome, row: int, origin_s: float, endpoints: Sequence[str]
) -> None:
    colour = _endpoint_colour(endpoints.index(call.endpoint))
    for start, end, fill, alpha in (
        (call.ready_s, call.released_s, GRID, 1.0),
        (call.released_s, call.first_token_s, colour, 0.45),
        (call.first_token_s, call.ended_s, colour, 1.0),
    ):
        axes.barh(row, end - start, left=start - origin_s, height=0.6, color=fill, alpha=alpha)

"""The pictures of a prediction page: our forecasters beside the simple ones, set by set.

Marks are means over the splits, lines reach from the lowest split to the highest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from headway.sim.assess.confidence_tables import AssessedPair
from headway.sim.assess.ends import AssessedHorizon
from headway.sim.assess.judging import ENCODED
from headway.sim.assess.telling import Assessed

STYLES: dict[str, tuple[str, str]] = {
    "role": ("#7a7a7a", "s"),
    "role + position": ("#1d6996", "D"),
    "tf-idf": ("#1d6996", "D"),
    "headway": ("#0b6e4f", "o"),
    ENCODED: ("#e08e0b", "^"),
}
"""Colour and mark of a forecaster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One measure of some sets: by forecaster, for each set its values by split (none: empty)."""

    title: str
    sets: Sequence[str]
    values: dict[str, list[list[float]]]
    line: float | None = None


def draw_lengths(found: Sequence[Assessed], path: Path) -> None:
    """How often two calls are put in the right order, and whether P90 is one."""
    sets = [one.set_name for one in found]

    def values(measure: str, names: Sequence[str]) -> dict[str, list[list[float]]]:
        return {
            name: [[getattr(split, measure) for split in one.scores[name]] for one in found]
            for name in names
        }

    simple = ("role", "role + position", "headway")
    _draw(
        (
            Panel(
                title="pairs of calls in the right order",
                sets=sets,
                values=values("pairs", simple),
                line=0.5,
            ),
            Panel(
                title="pairs of one role in the right order",
                sets=sets,
                values=values("same_role", simple),
                line=0.5,
            ),
            Panel(
                title="answers within P90 (0.9 is right)",
                sets=sets,
                values=values("covered", simple),
                line=0.9,
            ),
        ),
        path,
    )


def draw_horizons(found: Sequence[AssessedHorizon], path: Path) -> None:
    """Errors of what is left, as shares of those of role + position."""
    panels = []
    for quantity in dict.fromkeys(one.quantity for one in found):
        some = [one for one in found if one.quantity == quantity]
        usual = [
            sum(split.mae for split in one.scores["role + position"]) / len(one.scores["headway"])
            or 1.0
            for one in some
        ]
        panels.append(
            Panel(
                title=f"{quantity} left: error over that of role + position",
                sets=[one.set_name for one in some],
                values={
                    name: [
                        [split.mae / base for split in one.scores[name]]
                        for one, base in zip(some, usual, strict=True)
                    ]
                    for name in ("role", "headway")
                },
                line=1.0,
            )
        )
    _draw(panels, path)


def draw_confidence(found: Sequence[AssessedPair], path: Path) -> None:
    """What a text says of right answers: order, and how far forecasts are off."""
    names = ("tf-idf", "headway", ENCODED)
    panels = []
    for outcome, measure, title, line in (
        ("large", "auc", "is the large model right? AUC", 0.5),
        ("after failure", "auc", "... after the small one failed: AUC", 0.5),
        ("after failure", "ece", "... calibration error (goal 0.05)", 0.05),
    ):
        values = {
            name: [
                [
                    getattr(split.scores[name][outcome], measure)
                    for split in one.splits
                    if outcome in split.scores.get(name, {})
                ]
                for one in found
            ]
            for name in names
        }
        panels.append(
            Panel(title=title, sets=[one.set_name for one in found], values=values, line=line)
        )
    _draw(panels, path)


def _draw(panels: Sequence[Panel], path: Path) -> None:
    sets = max(len(panel.sets) for panel in panels)
    figure = Figure(figsize=(4.2 * len(panels), 1.4 + 0.5 * sets), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel)
    axes[0].legend(fontsize=7, loc="best")
    figure.savefig(path, dpi=130)


def _draw_panel(axis: Any, panel: Panel) -> None:
    if panel.line is not None:
        axis.axvline(panel.line, color="#bbbbbb", linewidth=0.8)
    step = 0.6 / max(len(panel.values), 1)
    for number, (name, by_set) in enumerate(panel.values.items()):
        colour, mark = STYLES[name]
        shown = False
        for row, values in enumerate(by_set):
            if not values:
                continue
            height = row + (number - (len(panel.values) - 1) / 2) * step
            axis.plot([min(values), max(values)], [height] * 2, color=colour, linewidth=1.2)
            mean = sum(values) / len(values)
            label = None if shown else name
            axis.plot([mean], [height], mark, color=colour, markersize=5, label=label)
            shown = True
    axis.set_yticks(range(len(panel.sets)), panel.sets, fontsize=8)
    axis.set_ylim(len(panel.sets) - 0.5, -0.5)
    axis.set_title(panel.title, fontsize=9)
    axis.tick_params(axis="x", labelsize=8)

"""Writes what a demo measured into a README: ``python -m headway_samples.demo.readme JSON README``.

The block between the markers is made from the demo's JSON alone, losses
included, so that nobody has to copy, round or choose.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from headway_samples.demo.arms import ALL_ARMS, ARMS, HEADWAY, OURS, PROXY_ARMS

BEGIN = "<!-- demo:"
END = "<!-- demo end -->"
PLOT = "docs/results/demo.png"
Values = dict[str, Any]
"""The measures of one arm."""

Group: TypeAlias = tuple[str, dict[str, Values], tuple["Column", ...]]


READING = "Completion is in emulated seconds, without the person's pauses: lower is better."


class NoMarkers(ValueError):
    """The README lacks the markers; its message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A measure: its heading, its key in the JSON, its unit, and whether more of it is better."""

    title: str
    key: str
    share: bool = False

    def text(self, values: Values) -> str:
        """The value as the tables show it: seconds with one decimal, shares in percent."""
        value = values[self.key]
        if value is None:
            return "-"
        return f"{value:.1%}" if self.share else f"{value:.1f}"

    def worse(self, ours: Values, theirs: Values) -> bool:
        """Whether `ours` is worse, to the digit that is shown. No value is worse than any."""
        mine, other = ours[self.key], theirs[self.key]
        if mine is None or other is None:
            return mine is None and other is not None
        digits = 3 if self.share else 1
        gap: float = round(mine, digits) - round(other, digits)
        return gap < 0 if self.share else gap > 0


MEAN = Column(title="mean", key="mean_s")
P95 = Column(title="P95", key="p95_s")
SUCCESS = Column(title="success", key="success", share=True)
OVERALL = (
    MEAN,
    Column(title="P50", key="p50_s"),
    P95,
    Column(title="P99", key="p99_s"),
    SUCCESS,
    Column(title="attainment", key="attainment", share=True),
)
PER_SAMPLE = (MEAN, P95, SUCCESS)


def block(report: dict[str, Any], *, plot: str = PLOT) -> str:
    """The Markdown of a demo's JSON; `plot` is the image's path as seen from the README."""
    parts = [
        _verdict(report),
        _overall(report["arms"]),
        " ".join((READING, *_readings(report["arms"]))),
        f"![Completion and success of every arm]({plot})",
        _samples(report["samples"]),
        *(_worse(report, arm) for arm in report["arms"] if arm in OURS),
        _setting(report.get("setting"), tuple(report["arms"])),
    ]
    return "\n\n".join(part for part in parts if part)


def rewritten(readme: str, text: str) -> str:
    """`readme` with `text` between the markers. Raises `NoMarkers`."""
    lines = readme.splitlines()
    begins = [place for place, line in enumerate(lines) if line.startswith(BEGIN)]
    ends = [place for place, line in enumerate(lines) if line.strip() == END]
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise NoMarkers(f"the README needs one line `{BEGIN} ... -->` and after it one `{END}`")
    kept = [*lines[: begins[0] + 1], "", *text.splitlines(), "", *lines[ends[0] :]]
    return "\n".join(kept) + "\n"


def losses(report: dict[str, Any], ours_name: str = HEADWAY) -> Iterator[str]:
    """Each cell of the tables in which that arm of Headway's is worse than one without it."""
    groups: list[Group] = [("all", report["arms"], OVERALL)]
    groups += [(name, arms, PER_SAMPLE) for name, arms in report["samples"].items()]
    for group, arms, columns in groups:
        ours = arms[ours_name]
        for column in columns:
            better = [
                f"{column.text(theirs)} of `{arm}`"
                for arm, theirs in arms.items()
                if arm not in OURS and column.worse(ours, theirs)
            ]
            if better:
                yield f"{group}, {column.title}: {column.text(ours)} against {', '.join(better)}"


def _verdict(report: dict[str, Any]) -> str:
    if report["valid"]:
        return ""
    why = "; ".join(report.get("setting", {}).get("complaints", ()))
    return f"**Not valid, do not use these numbers**: {why or 'the machine was too slow'}."


def _overall(arms: dict[str, Values]) -> str:
    rows = [
        [
            _name(arm),
            *(column.text(values) for column in OVERALL),
            str(values["runs"]),
            str(values["failed"]),
        ]
        for arm, values in arms.items()
    ]
    return _table(["arm", *(column.title for column in OVERALL), "n", "failed"], rows, left=1)


def _samples(samples: dict[str, dict[str, Values]]) -> str:
    rows = [
        [sample if place == 0 else "", _name(arm), *(column.text(each) for column in PER_SAMPLE)]
        for sample, arms in samples.items()
        for place, (arm, each) in enumerate(arms.items())
    ]
    return _table(["sample", "arm", *(column.title for column in PER_SAMPLE)], rows, left=2)


def _readings(arms: dict[str, Values]) -> Iterator[str]:
    """A sentence for each arm of Headway's: its mean and success beside those without it."""
    for ours_name, ours in arms.items():
        told = [
            f"{_compared(ours['mean_s'], theirs['mean_s'])} than `{arm}`'s at "
            f"{100 * (ours['success'] - theirs['success']):+.1f} points of success"
            for arm, theirs in arms.items()
            if arm not in OURS
        ]
        if ours_name in OURS and told:
            yield f"{_whose(ours_name)} mean is {'; '.join(told)}."


def _whose(arm: str) -> str:
    return "Headway's" if arm == HEADWAY else f"`{arm}`'s"


def _compared(ours: float | None, theirs: float | None) -> str:
    if not ours or not theirs:
        return "not comparable"
    change = ours / theirs - 1
    return f"{abs(change):.0%} {'higher' if change > 0 else 'lower'}"


def _worse(report: dict[str, Any], arm: str) -> str:
    found = list(losses(report, arm))
    name = "Headway" if arm == HEADWAY else f"`{arm}`"
    if not found:
        return f"{name} is worse than no other arm in any cell of these tables."
    told = "\n".join(f"- {each}" for each in found)
    return f"Where {name} is worse than another arm:\n\n{told}"


def _made_by(arms: tuple[str, ...]) -> str:
    if arms == ARMS:
        return "make demo"
    if arms == PROXY_ARMS:
        return "make demo-proxy"
    return "make demo-all" if arms == ALL_ARMS else f"headway demo --arms {','.join(arms)}"


def _setting(setting: dict[str, Any] | None, arms: tuple[str, ...]) -> str:
    if setting is None:
        return f"Made by one `{_made_by(arms)}`."
    deadlines = ", ".join(f"{name} {limit:.0f} s" for name, limit in setting["deadlines_s"].items())
    known = "" if setting["knee"] == "bracketed" else f" ({setting['knee']} that)"
    cpu = max(each["cpu"] for each in setting["strain"].values())
    late = max(each["lateness_p95"] for each in setting["strain"].values())
    return (
        f"Made by one `{_made_by(arms)}` (Headway {setting['version']}, seed {setting['seed']}, "
        f"{setting['runs_per_arm']} runs an arm, the same for all). "
        f"Load: {setting['load_runs_per_s']:.3f} runs arrive in an emulated second, "
        f"{setting['load_share']:g} of the knee of `least-busy`{known}. Pool: {setting['pool']}; "
        f"{setting['speedup']:g} emulated seconds pass in one. Deadlines: {deadlines}. "
        f"Host CPU at most {cpu:.0%}, emulator at most {late:.1%} late at P95."
    )


def _name(arm: str) -> str:
    return f"**`{arm}`**" if arm in OURS else f"`{arm}`"


def _table(heads: list[str], rows: list[list[str]], *, left: int) -> str:
    """A Markdown table whose first `left` columns are words and the others numbers."""
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *rows])


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the README. 1, with a message, if it has no place for the block."""
    parser = argparse.ArgumentParser(prog="python -m headway_samples.demo.readme")
    parser.add_argument("json", type=Path, help="what `headway demo --json` wrote")
    parser.add_argument("readme", type=Path, nargs="?", default=Path("README.md"))
    parser.add_argument("--plot", default=PLOT, help="the picture, as seen from the README")
    options = parser.parse_args(arguments)
    report = json.loads(options.json.read_text())
    try:
        options.readme.write_text(
            rewritten(options.readme.read_text(), block(report, plot=options.plot))
        )
    except NoMarkers as error:
        print(f"{options.readme}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

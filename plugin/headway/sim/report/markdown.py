"""Results as Markdown, for pages that quote them.

``python -m headway.sim.report.markdown PAGE RESULTS...`` writes the tables of each
`results.json` into the page, between the lines ``<!-- SUITE: ... -->`` and
``<!-- SUITE end -->``; what stands there is never typed by hand.
"""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from headway.core.errors import ConfigError
from headway.sim.report.marked import rewritten
from headway.sim.report.papers import compared
from headway.sim.report.ranking import OURS, best, is_bound, losses, main_rows, places, value
from headway.sim.report.words import HEADINGS, shown
from headway.sim.results import Comparison, Place, Pooled, Results, read_results

SHOWN = ("p95_s", "p99_s", "slowdown_mean", "req95", "req99", "success", "attainment")
"""Beside mean completion, at the knee (or the load nearest to it)."""
MIN_SEEDS = 3
"""With fewer the t-interval over seeds is as wide as everything."""
USAGE = "usage: python -m headway.sim.report.markdown PAGE RESULTS.json..."


def markdown(results: Results) -> str:
    """Every workload's table, comparisons at equal success, and where Headway loses."""
    parts = [_made(results)]
    groups: dict[Place, dict[float, tuple[Pooled, ...]]] = {}
    for place, rows in places(results):
        groups.setdefault(_without_load(place), {})[place.load] = rows
    for group, by_load in groups.items():
        parts.append(_table(group, by_load))
    if equal := [one for one in results.comparisons if one.at_equal_success]:
        parts.append(_equal_success(equal))
    parts += [*_papers(results), _losses(results)]
    return "\n\n".join(parts) + "\n"


def _without_load(place: Place) -> Place:
    return Place(
        trace=place.trace,
        load=0.0,
        pool=place.pool,
        world=place.world,
        belief_error=place.belief_error,
        confidence=place.confidence,
    )


def _made(results: Results) -> str:
    knees = "; ".join(
        f"{one.trace} on {one.pool}: {one.rate:.3g} runs/s ({one.policy}, idle {one.idle_s:.3g} s)"
        for one in results.knees
    )
    counts = Counter(cell.runs for cell in results.cells)
    runs = ", ".join(str(count) for count in sorted(counts))
    return (
        f"{len(results.cells)} cells, {len(results.seeds)} seeds, runs a cell that count: {runs}. "
        f"Headway {results.versions.get('headway', '?')} at commit {results.commit[:12]}, data "
        f"digest {results.data_digest[:12] or 'none'}. Load 1 (the knee) is: {knees or 'given'}."
    )


def _table(group: Place, by_load: dict[float, tuple[Pooled, ...]]) -> str:
    """Mean completion at every load, and the other measures at the knee; default knobs only."""
    loads = sorted(by_load)
    knee = min(loads, key=lambda load: abs(load - 1.0))
    rows = main_rows(by_load[knee])
    others = [name for name in SHOWN if any(value(row, name) is not None for row in rows)]
    heads = ["policy", *(f"mean s, {_load(load)}" for load in loads)]
    heads += [HEADINGS[name] for name in others]
    title = ", ".join(part for part in (group.trace, group.pool, group.world) if part)
    if group.confidence:
        title += f", confidence {group.confidence}"
    if group.belief_error:
        title += f", belief off by {100 * group.belief_error:g} %"
    lines = [f"**{title}** ({', '.join(HEADINGS[name] for name in others)} at {_load(knee)})", ""]
    lines += ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    means = {load: {row.policy: row for row in main_rows(by_load[load])} for load in loads}
    tops = {load: best(tuple(means[load].values()), "mean_s") for load in loads}
    winners = {name: best(rows, name) for name in others}
    for row in rows:
        cells = [f"`{row.policy}`" if row.policy != OURS else f"**`{OURS}`**"]
        for load in loads:
            there = means[load].get(row.policy)
            cells.append(_cell(there, "mean_s", there in tops[load]))
        cells += [_cell(row, name, row in winners[name]) for name in others]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _load(load: float) -> str:
    return "idle" if load == 0 else f"load {load:g}"


def _cell(row: Pooled | None, name: str, top: bool) -> str:
    if row is None:
        return "-"
    text = shown(name, value(row, name))
    return f"*{text}*" if is_bound(row) else f"**{text}**" if top else text


def _equal_success(comparisons: Sequence[Comparison]) -> str:
    """At the load nearest to the knee; an interval over two seeds says nothing and is left out."""
    nearest = min({one.load for one in comparisons}, key=lambda load: abs(load - 1.0))
    lines = [
        "Mean completion of Headway over a baseline's at the baseline's success, both knobs swept, "
        f"at {_load(nearest)} (below 1: Headway is faster; 95 % interval over seeds, from three "
        "on; all loads are in the report):",
        "",
        "| workload | baseline | ratio | interval | seeds |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for one in comparisons:
        if one.load != nearest or one.ratio is None or one.baseline.startswith("clairvoyant"):
            continue
        where = ", ".join(part for part in (one.trace, one.pool, one.world) if part)
        high = math.inf if one.high is None else one.high
        interval = f"{one.low or 0.0:.2f} to {high:.2f}" if one.seeds >= MIN_SEEDS else "-"
        lines.append(f"| {where} | `{one.baseline}` | {one.ratio:.2f} | {interval} | {one.seeds} |")
    return "\n".join(lines)


def _papers(results: Results) -> list[str]:
    """What the papers print of their systems, beside what comes out here."""
    found = compared(results)
    parts = []
    for source, printed in dict.fromkeys((each.source, each.printed) for each in found):
        here = [each for each in found if (each.source, each.printed) == (source, printed)]
        agree = sum(each.agrees for each in here)
        lines = [
            f"{source} prints: {printed}. Here, the sign is as printed at {agree} of {len(here)} "
            "places:",
            "",
            "| workload | load | here |",
            "| --- | ---: | --- |",
        ]
        for each in here:
            where = ", ".join(p for p in (each.place.trace, each.place.pool) if p)
            mark = "" if each.agrees else " (**otherwise than printed**)"
            lines.append(f"| {where} | {each.place.load:g} | {each.found}{mark} |")
        parts.append("\n".join(lines))
    return parts


def _losses(results: Results) -> str:
    """How often Headway loses, by measure, and the worst of each."""
    found = losses(results)
    total = len({place for place, _ in places(results)})
    if not found:
        return f"Headway is behind no runnable policy in any measure at any of {total} places."
    lines = [
        f"Where another policy that can be run is better than Headway, of {total} places:",
        "",
        "| measure | places | clearly | worst | against | where |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    for name in dict.fromkeys(loss.measure for loss in found):
        here = [loss for loss in found if loss.measure == name]
        worst = max(here, key=lambda loss: loss.factor)
        clear = sum(loss.clear for loss in here)
        where = f"{worst.place.trace}, {_load(worst.place.load)}"
        lines.append(
            f"| {HEADINGS.get(name, name)} | {len(here)} | {clear} | {worst.factor:.2f}x "
            f"| `{worst.rival}` | {where} |"
        )
    return "\n".join(lines)


def put_into(page: str, results: Results) -> str:
    """The page with the suite's part made anew. Raises `ConfigError` if it has no place for it."""
    return rewritten(page, results.suite, markdown(results))


def main() -> None:
    """The command line."""
    if len(sys.argv) < 3:
        raise SystemExit(USAGE)
    path = Path(sys.argv[1])
    page = path.read_text(encoding="utf-8")
    try:
        for each in sys.argv[2:]:
            page = put_into(page, read_results(Path(each)))
    except ConfigError as error:
        raise SystemExit(f"{path}: {error}") from error
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()

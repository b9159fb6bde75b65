"""The HTML page of a suite: one file that needs no network, made from `results.json` alone."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from headway.core.errors import ConfigError
from headway.sim.measures import BETTER
from headway.sim.report.assets import SCRIPT, STYLE
from headway.sim.report.papers import compared
from headway.sim.report.plots import Plots
from headway.sim.report.ranking import (
    OURS,
    best,
    is_bound,
    losses,
    named_policies,
    place_text,
    places,
    value,
    verdict,
)
from headway.sim.report.words import HEADINGS, number, shown
from headway.sim.results import Place, Pooled, Results

PAGE_NAME = "report.html"
Placed = tuple[tuple[Place, tuple[Pooled, ...]], ...]


def write_report(results: Results, folder: Path) -> Path:
    """Write `report.html` into `folder` and say where it is.

    Raises `ConfigError` if there is nothing to report, `OSError` if it cannot be written.
    """
    path = folder / PAGE_NAME
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(page(results), encoding="utf-8")
    return path


def page(results: Results) -> str:
    """The whole page. Raises `ConfigError` if the results have no pooled rows."""
    if not results.pooled:
        raise ConfigError(f"suite {results.suite!r} has no finished rows to report")
    known = places(results)
    sections = {
        "losses": ("Where Headway loses", _losses(results)),
        "plots": ("Plots", _plots(results, known)),
        "tables": ("Tables", _tables(known)),
        "comparisons": ("Paired comparisons", _comparisons(results)),
        "papers": ("What papers print", _papers(results)),
        "endpoints": ("Endpoints", _endpoints(known)),
        "workloads": ("Workloads and loads", _workloads(results)),
        "notes": ("Deviations and notes", _notes(results)),
        "how": ("How this was made", _how(results)),
    }
    links = "".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in sections.items())
    body = "".join(
        f'<section id="{name}"><h2>{title}</h2>{text}</section>'
        for name, (title, text) in sections.items()
    )
    policies = len({row.policy for row in results.pooled})
    subtitle = f"{policies} policies · {len(known)} places · seeds {_seeds(results)}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Headway: {escape(results.suite)}</title><style>{STYLE}</style></head><body>"
        f'<h1>Suite {escape(results.suite)}</h1><p class="quiet">{escape(subtitle)}</p>'
        f'<p class="verdict">{escape(verdict(results))}</p><nav>{links}</nav>{body}'
        f"<script>{SCRIPT}</script></body></html>\n"
    )


_WORDS = (
    *("place", "measure", "best rival", "clear", "against", "how"),
    *("endpoint", "pool", "source", "knee of", "printed", "here", "as printed"),
)
"""Headings of columns of words, which stand left."""


def _table(heads: Sequence[str], rows: Iterable[str]) -> str:
    top = "".join(
        f'<th scope="col"{_LEFT if each in _WORDS else ""}>{escape(each)}</th>' for each in heads
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


_LEFT = ' class="text"'


def _text(text: str) -> str:
    return f'<td class="text">{escape(text)}</td>'


def _cell(text: str, sort: float | None, *, best: bool = False, title: str = "") -> str:
    key = "" if sort is None or math.isnan(sort) else f"{sort:.9g}".replace("inf", "1e300")
    marks = (' class="best"' if best else "") + (f' title="{escape(title)}"' if title else "")
    return f'<td data-v="{key}"{marks}>{escape(text)}</td>'


def _tables(known: Placed) -> str:
    """A table a place, folded by trace where there are several traces."""
    intro = (
        "<p>One table for each workload, load and world. The best of what can be run is bold and "
        "underlined; clairvoyant bounds, in italics, do not compete. Means are over the runs that "
        "did not fail; quantiles and slowdowns take a failed run as infinite. A dash: not known "
        "(a P99 needs 2,000 runs). Point at a number for its 95 % interval; click a heading to "
        "sort.</p>"
    )
    parts = []
    for trace, group in groupby(known, key=lambda each: each[0].trace):
        inside = "".join(
            f"<h3>{escape(place_text(place))}</h3>{_place_table(rows)}" for place, rows in group
        )
        parts.append(f"<details open><summary>{escape(trace)}</summary>{inside}</details>")
    return intro + "".join(parts)


def _place_table(rows: Sequence[Pooled]) -> str:
    names = [name for name in HEADINGS if any(value(row, name) is not None for row in rows)]
    winners = {name: best(rows, name) if name in BETTER else () for name in names}
    lines = []
    for row in rows:
        kind = "ours" if row.policy == OURS else "bound" if is_bound(row) else ""
        cells = "".join(
            _cell(
                shown(name, value(row, name)),
                value(row, name),
                best=row in winners[name],
                title=_interval(row, name),
            )
            for name in names
        )
        fair = row.measures.fairness
        tail = (
            _cell(number(fair.jain if fair else None), fair.jain if fair else None)
            + _cell(str(row.measures.failed), row.measures.failed)
            + _cell(f"{row.runs:,}", row.runs)
        )
        lines.append(f'<tr class="{kind}"><td>{escape(row.label)}</td>{cells}{tail}</tr>')
    heads = ["policy", *(HEADINGS[name] for name in names), "fairness", "failed", "n"]
    return _table(heads, lines)


def _interval(row: Pooled, measure: str) -> str:
    if measure not in row.intervals:
        return ""
    low, high = row.intervals[measure]
    text = f"{shown(measure, low)} to {shown(measure, math.inf if high is None else high)}"
    if measure in row.spread:
        text += f"; sd over {row.seeds} seeds {shown(measure, row.spread[measure])}"
    return text


def _losses(results: Results) -> str:
    found = losses(results)
    if not any(row.policy == OURS for row in results.pooled):
        return f"<p>No policy <code>{OURS}</code> in this suite.</p>"
    if not found:
        return "<p>Nowhere: no policy that can be run is better in any measure at any place.</p>"
    rows = [
        "<tr>"
        + _text(place_text(loss.place))
        + _text(HEADINGS[loss.measure])
        + _text(loss.rival)
        + _cell(shown(loss.measure, loss.ours), loss.ours)
        + _cell(shown(loss.measure, loss.theirs), loss.theirs)
        + _cell(f"{number(loss.factor)}x", loss.factor)
        + _text("yes" if loss.clear else "within noise")
        + "</tr>"
        for loss in sorted(found, key=lambda loss: (-loss.factor, loss.place, loss.measure))
    ]
    clear = sum(loss.clear for loss in found)
    heads = ("place", "measure", "best rival", "headway", "rival", "factor", "clear")
    return (
        f"<p>Every measure at every place where another policy, clairvoyant bounds apart, is "
        f"better: {len(found)}, of which {clear} are clear (the two 95 % intervals do not meet). "
        "A rival may be faster by succeeding less often, or cheaper by small models only: see its "
        f"row.</p><details open><summary>{len(found)} losses</summary>{_table(heads, rows)}"
        "</details>"
    )


def _plots(results: Results, known: Placed) -> str:
    """Plots by (trace, pool, world, belief): over loads, and at the knee or the highest load."""
    plots = Plots(named_policies(results))
    parts: list[str] = []
    for _, group in groupby(known, key=lambda each: _without_load(each[0])):
        every = tuple(group)
        place, rows = min(every, key=lambda each: (abs(each[0].load - 1), -each[0].load))
        where = escape(place_text(place))
        name = place_text(place).replace(
            f" · {'idle' if place.load == 0 else f'load {place.load:g}'}", ""
        )
        drawn = []
        if len(every) > 1:
            drawn.append(
                _figure(
                    plots.load(
                        f"Latency against load, {where}", [r for _, rs in every for r in rs]
                    ),
                    "Completion against load. Blue: Headway; dashed: clairvoyant bounds; grey: "
                    "all other policies.",
                )
            )
        if any(row.completion_cdf for row in rows):
            text = f"Distribution of completion and slowdown over runs, {where}."
            drawn.append(_figure(plots.cdf(text, rows), text))
        if any(value(row, "req95") is not None for row in rows):
            text = f"Req95 with its 95 % interval, and Req99, {where}."
            drawn.append(_figure(plots.requirements(text, rows), text))
        if any(value(row, "success") is not None for row in rows):
            text = f"Mean completion against success, a point a setting of the knobs, {where}."
            drawn.append(_figure(plots.sweep(text, rows), text))
        folded = "" if parts else " open"
        parts.append(
            f"<details{folded}><summary>{escape(name)}</summary>{''.join(drawn)}</details>"
        )
    for example in results.examples:
        text = escape(
            f"Run {example.runs[0].id} of {example.trace} at load {example.load:g} under "
            f"{example.policies[0]} and {example.policies[1]}: grey waits, pale prefill, "
            "full decode."
        )
        parts.append(_figure(plots.gantt(text, example), text))
    return "".join(parts)


def _all(known: Placed) -> tuple[Pooled, ...]:
    return tuple(row for _, rows in known for row in rows)


def _without_load(place: Place) -> tuple[str, str, str, float, str]:
    return (place.trace, place.pool, place.world, place.belief_error, place.confidence)


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _comparisons(results: Results) -> str:
    if not results.comparisons:
        return "<p>None were asked for.</p>"
    rows = []
    for each in results.comparisons:
        place = Place(**{name: getattr(each, name) for name in Place.__struct_fields__})
        known = each.ratio is not None
        high = math.inf if known and each.high is None else each.high
        rows.append(
            f"<tr><td>{escape(each.policy)}</td>"
            + _text(each.baseline)
            + _text(place_text(place))
            + _text(HEADINGS.get(each.measure, each.measure))
            + _cell(number(each.ratio), each.ratio)
            + _cell(f"{number(each.low)} to {number(high)}" if known else "-", each.low)
            + _cell(number(each.difference), each.difference)
            + _cell(number(each.difference_sd), each.difference_sd)
            + _text("at equal success" if each.at_equal_success else "run by run")
            + f"<td>{each.seeds}</td></tr>"
        )
    heads = ("policy", "against", "place", "measure", "ratio", "95 % interval")
    more = ("difference", "sd over seeds", "how", "seeds")
    return "<p>A ratio below 1: less than the baseline.</p>" + _table((*heads, *more), rows)


def _papers(results: Results) -> str:
    found = compared(results)
    if not found:
        return "<p>No paper's claim is about these policies at these loads.</p>"
    rows = [
        "<tr>"
        + _text(each.source)
        + _text(each.printed)
        + _text(place_text(each.place))
        + _text(each.found)
        + _text("yes" if each.agrees else "no: see the deviations")
        + "</tr>"
        for each in found
    ]
    return _table(("source", "printed", "place", "here", "as printed"), rows)


def _endpoints(known: Placed) -> str:
    """Utilisation and requests a second of each endpoint, Headway's and the others'."""
    rows = [
        f'<tr class="{"ours" if row.policy == OURS else ""}"><td>{escape(row.label)}</td>'
        + _text(place_text(place))
        + _text(name)
        + _cell(f"{100 * busy:.1f}%", busy)
        + _cell(
            number(row.measures.requests_per_s.get(name)), row.measures.requests_per_s.get(name)
        )
        + _cell(number(row.rate), row.rate)
        + "</tr>"
        for place, each in known
        for row in each
        for name, busy in sorted(row.measures.endpoint_utilisation.items())
    ]
    heads = ("policy", "place", "endpoint", "utilisation", "requests/s", "runs/s")
    return f"<details><summary>{len(rows)} rows</summary>{_table(heads, rows)}</details>"


def _workloads(results: Results) -> str:
    parts = []
    if results.workloads:
        names = sorted({name for each in results.workloads for name in each.statistics})
        rows = [
            f"<tr><td>{escape(each.trace)}</td>"
            + "".join(_statistic(each.statistics.get(name)) for name in names)
            + _text(each.source)
            + "</tr>"
            for each in results.workloads
        ]
        parts.append(_table(("trace", *names, "source"), rows))
    if results.knees:
        rows = [
            f"<tr><td>{escape(knee.trace)}</td>"
            + _text(knee.pool)
            + _text(knee.policy)
            + _cell(number(knee.rate), knee.rate)
            + _cell(number(knee.idle_s), knee.idle_s)
            + "</tr>"
            for knee in results.knees
        ]
        parts.append("<p>Load 1 is the knee: the rate at which the named policy's mean completion")
        parts.append(" is three times its idle value.</p>")
        parts.append(_table(("trace", "pool", "knee of", "runs/s", "idle mean s"), rows))
    for name, lines in sorted(results.pools.items()):
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        parts.append(f"<h3>Pool {escape(name)}</h3><ul>{items}</ul>")
    return "".join(parts) or "<p>Not described.</p>"


def _statistic(found: str | float | bool | None) -> str:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return _cell(number(found), found)
    return _text("-" if found is None else str(found))


def _notes(results: Results) -> str:
    if not results.notes:
        return "<p>None.</p>"
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in results.notes) + "</ul>"


def _how(results: Results) -> str:
    versions = ", ".join(f"{name} {results.versions[name]}" for name in sorted(results.versions))
    facts = {
        "suite": escape(results.suite),
        "regenerate": f"<code>{escape(results.command)}</code>" if results.command else "-",
        "seeds": escape(_seeds(results)),
        "commit": escape(results.commit),
        "data": escape(results.data_digest),
        "started": escape(results.started),
        "versions": escape(versions),
    }
    return "<dl>" + "".join(f"<dt>{k}</dt><dd>{v or '-'}</dd>" for k, v in facts.items()) + "</dl>"


def _seeds(results: Results) -> str:
    return ", ".join(str(seed) for seed in results.seeds) or "-"

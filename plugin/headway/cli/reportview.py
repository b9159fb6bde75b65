"""What ``headway report`` prints."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.cli.tell import count_told, one_line, ratio_told, seconds_told, share_told, tenth_told
from headway.core.hindsight import Hindsight
from headway.daemon.findings import Counted, FileRead, Report, Spread

ROWS = 20
"""Rows of each table; --json has all."""
OUTCOMES = ("ok", "error", "cancelled", "interrupted")
NOT_TOLD = "(not told)"


def show_report(report: Report, console: Console) -> None:
    """The whole report, table by table; what is empty is left out."""
    _show_files(report, console)
    _show_runs(report, console)
    _show_waits(report, console)
    _show_models(report, console)
    _show_endpoints(report, console)
    _show_counted("errors of calls", ("error", "endpoint"), report.failures, console)
    _show_counted("notices", ("notice", "about"), report.notices, console)
    _show_counted("facts that made the scheduler fail", ("error", ""), report.defects, console)
    _show_predictions(report, console)
    _show_shadow(report, console)
    _show_otherwise(report, console)


def _show_files(report: Report, console: Console) -> None:
    policies = ", ".join(dict.fromkeys(one.policy for one in report.files))
    console.print(
        f"[bold]{len(report.files)} journal file{'s' * (len(report.files) != 1)}[/bold], "
        f"{count_told(report.events)} events in {seconds_told(report.span_s)}, "
        f"policy {escape(policies)}, mode {', '.join(report.modes)}"
    )
    for one in report.files:
        console.print(f"  {escape(one.path)}{escape(_cut(one))}", soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {escape(note)}", soft_wrap=True)


def _cut(one: FileRead) -> str:
    if one.cut_at is None:
        return ""
    return f": cut at byte {one.cut_at} ({one.cut_why}); read up to there"


def _show_runs(report: Report, console: Console) -> None:
    open_told = f"{report.runs_open} still open" if report.runs_open else ""
    if not report.runs:
        console.print(f"\nno run has ended{f', {open_told}' if open_told else ''}")
        return
    outcomes = _present(one.outcomes for one in report.runs)
    rows = [
        (
            one_line(one.graph),
            count_told(sum(one.outcomes.values())),
            *(count_told(one.outcomes.get(outcome, 0)) for outcome in outcomes),
            *_seconds_of(one.completion, p99=True),
            f"{share_told(one.met / one.with_deadline)} of {one.with_deadline}"
            if one.with_deadline
            else "-",
        )
        for one in report.runs
    ]
    titles = ("graph", "runs", *outcomes, "mean", "P50", "P95", "P99", "in time")
    _table(console, "runs, completion of those that ended ok", titles, rows, extra=open_told)


def _show_waits(report: Report, console: Console) -> None:
    if not report.waits:
        return
    rows = [
        (
            one_line(one.pool_name),
            count_told(one.held.n if one.held else 0),
            *_seconds_of(one.held, p99=False),
            count_told(one.refused),
        )
        for one in report.waits
    ]
    titles = ("pool name", "released", "mean", "P50", "P95", "no endpoint")
    _table(console, "waits for release", titles, rows)


def _show_models(report: Report, console: Console) -> None:
    if not report.models:
        console.print("\nno call has ended")
        return
    outcomes = _present(one.outcomes for one in report.models)
    rows = [
        (
            one_line(one.model) or NOT_TOLD,
            count_told(sum(one.outcomes.values())),
            *(count_told(one.outcomes.get(outcome, 0)) for outcome in outcomes),
            count_told(one.prompt_tokens),
            count_told(one.output_tokens),
            count_told(one.judged),
            share_told(one.sufficed / one.judged) if one.judged else "-",
        )
        for one in report.models
    ]
    titles = ("model", "calls", *outcomes, "tokens in", "out", "judged", "sufficed")
    _table(console, "calls by model", titles, rows)
    parts = [
        f"{count_told(report.calls_by_decision)} by decision",
        f"{count_told(report.calls_alone)} sent by the client alone" if report.calls_alone else "",
        f"{count_told(report.calls_dropped)} dropped while they waited"
        if report.calls_dropped
        else "",
        f"{count_told(report.calls_open)} still open" if report.calls_open else "",
    ]
    console.print(f"calls: {', '.join(filter(None, parts))}", soft_wrap=True)


def _show_endpoints(report: Report, console: Console) -> None:
    rows = [
        (
            one_line(one.endpoint),
            count_told(sum(one.outcomes.values())),
            count_told(one.prompt_tokens),
            count_told(one.output_tokens),
            share_told(one.busy_share),
            ratio_told(one.mean_running),
        )
        for one in report.endpoints
    ]
    titles = ("endpoint", "calls", "tokens in", "out", "busy", "calls at once")
    _table(console, "endpoints", titles, rows)


def _show_counted(
    title: str, names: tuple[str, str], counted: Sequence[Counted], console: Console
) -> None:
    if counted:
        rows = [(one_line(one.kind), one_line(one.place), count_told(one.count)) for one in counted]
        _table(console, title, (*names, "count"), rows, left=2)


def _show_predictions(report: Report, console: Console) -> None:
    if report.predictions_all is None:
        return
    rows = [("all", "", "", *_turned_out(report.predictions_all))]
    rows += [
        (
            one_line(one.graph),
            one_line(one.node),
            one_line(one.model),
            *_turned_out(one.turned_out),
        )
        for one in report.predictions
    ]
    titles = (
        "graph",
        "node",
        "model",
        "calls",
        "tokens",
        "ratio",
        "<= P90",
        "seconds",
        "ratio",
    )
    _table(console, "prediction / outcome, medians", titles, rows, left=3)


def _turned_out(found: Hindsight) -> tuple[str, ...]:
    return (
        count_told(found.calls),
        f"{count_told(found.predicted_tokens)} / {count_told(found.real_tokens)}",
        ratio_told(found.token_ratio),
        share_told(found.p90_coverage),
        f"{tenth_told(found.predicted_s)} / {tenth_told(found.real_s)}",
        ratio_told(found.seconds_ratio),
    )


def _show_shadow(report: Report, console: Console) -> None:
    if not report.shadow:
        return
    asked = {one.pool_name: 0 for one in report.shadow}
    for one in report.shadow:
        asked[one.pool_name] += one.calls
    rows = [
        (
            one_line(one.pool_name),
            one_line(one.went or "(not told)"),
            one_line(one.would or "(still held)"),
            count_told(one.calls),
            share_told(one.calls / asked[one.pool_name]),
        )
        for one in report.shadow
    ]
    titles = ("asked for", "went to", "shadow mode chose", "calls", "share")
    _table(console, "where calls went in shadow mode", titles, rows, left=3)
    known = [one for one in report.shadow if one.went]
    other = sum(one.calls for one in known if one.would != one.went)
    console.print(
        f"{count_told(other)} of {count_told(sum(one.calls for one in known))} calls of which is "
        "told where they went would have gone elsewhere, or later"
    )


def _show_otherwise(report: Report, console: Console) -> None:
    decisions = sum(one.decisions for one in report.otherwise)
    if not decisions:
        return
    differ = sum(one.other_model + one.other_endpoint + one.never for one in report.otherwise)
    rows = [
        (
            one_line(one.graph),
            one_line(one.node),
            count_told(one.decisions),
            count_told(one.other_model),
            count_told(one.other_endpoint),
            count_told(one.never),
        )
        for one in report.otherwise
    ]
    titles = ("graph", "node", "decisions", "other model", "other endpoint", "not released")
    title = (
        f"where {report.other_policy} decides otherwise: "
        f"{differ} of {decisions} decisions ({share_told(differ / decisions)})"
    )
    _table(console, title, titles, rows, left=2)
    moves = [
        f"{one_line(one.kind)} -> {one_line(one.place)} {one.count}" for one in report.moves[:5]
    ]
    if moves:
        console.print(escape(f"most often: {', '.join(moves)}"), soft_wrap=True)
    console.print("(a judgement of choices: it was told what happened under the recorded ones)")


def _present(counts: Iterable[Mapping[str, int]]) -> list[str]:
    """The outcomes that occur, in their usual order."""
    found = {outcome for one in counts for outcome in one}
    return [outcome for outcome in OUTCOMES if outcome in found]


def _seconds_of(spread: Spread | None, *, p99: bool) -> tuple[str, ...]:
    if spread is None:
        return ("-",) * (4 if p99 else 3)
    values = [spread.mean, spread.p50, spread.p95, *([spread.p99] if p99 else [])]
    return tuple(seconds_told(value) for value in values)


def _table(
    console: Console,
    title: str,
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    left: int = 1,
    extra: str = "",
) -> None:
    """A table with its title; the first `left` columns hold names."""
    hidden = f"the first {ROWS} of {len(rows)}" if len(rows) > ROWS else ""
    after = ", ".join(filter(None, (extra, hidden)))
    console.print(f"\n[bold]{escape(title)}[/bold]{f' ({escape(after)})' if after else ''}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(titles):
        table.add_column(
            escape(name),
            justify="left" if number < left else "right",
            header_style="dim",
            overflow="fold",
        )
    for row in rows[:ROWS]:
        table.add_row(*map(escape, row))
    console.print(table)

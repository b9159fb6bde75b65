"""What ``headway status`` and ``headway explain`` print.

Tolerant: a daemon of another version may leave out or add what it likes.
"""

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headway.cli.tell import seconds_told

Body = dict[str, Any]

MODES = {
    "on": "on: decisions are applied",
    "shadow": "shadow: decisions are made and recorded, not applied (headway mode on)",
    "off": "off: no decisions are made (headway mode on)",
}


def show_status(body: Body, console: Console) -> None:
    """Is it on, the pool with its load, what is covered, what passes untouched and why."""
    daemon = _dict(body, "daemon")
    mode = str(body.get("mode", "?"))
    console.print(f"[bold]headway {escape(MODES.get(mode, mode))}[/bold]")
    console.print(
        f"daemon {daemon.get('version', '?')}, pid {daemon.get('pid', '?')}, "
        f"up {seconds_told(daemon.get('uptime_s'))}, "
        f"{daemon.get('clients', '?')} connections with this one, "
        f"policy {escape(str(body.get('policy', '?')))}"
    )
    console.print(f"socket  {escape(str(daemon.get('socket', '?')))}", soft_wrap=True)
    if daemon.get("pool_from"):
        console.print(f"pool    from the {escape(str(daemon['pool_from']))}", soft_wrap=True)
    journal = daemon.get("journal") or daemon.get("journal_error") or "none"
    console.print(f"journal {escape(str(journal))}", soft_wrap=True)
    for note in daemon.get("notes", ()):
        console.print(f"note: {escape(str(note))}", soft_wrap=True)
    if daemon.get("errors"):
        console.print(
            f"[red]{daemon['errors']} facts made the scheduler fail: see the daemon's log[/red]"
        )
    _show_endpoints(body, console)
    for name, models in sorted(_dict(body, "pool_names").items()):
        console.print(f"pool name {escape(name)}: {escape(_plain(models))}")
    console.print(
        f"calls: {_plain(body.get('running', '?'))} running, "
        f"waiting for a release: {escape(_plain(body.get('waiting', '?')))}"
    )
    console.print(
        f"runs: {_plain(body.get('runs_open', '?'))} open, "
        f"{_plain(body.get('runs_interrupted', '?'))} wait for a person"
    )
    _show_forecasts(body, console)
    _show_coverage(body, console)


ENDPOINT_COLUMNS = {
    "id": "endpoint",
    "model": "model",
    "up": "up",
    "running": "running",
    "foreign": "foreign",
    "seats": "seats",
    "predicted_tokens": "tokens to come",
    "speed": "speed",
    "served": "served",
    "version": "version",
}
"""Keys of an endpoint's status that the table shows, in this order, and their headings."""


def _show_endpoints(body: Body, console: Console) -> None:
    rows = [entry for entry in body.get("endpoints") or [] if isinstance(entry, dict)]
    if not rows:
        return
    columns = [key for key in ENDPOINT_COLUMNS if any(row.get(key, "") != "" for row in rows)]
    table = Table(box=None, pad_edge=False)
    for key in columns:
        numeric = all(isinstance(row.get(key, 0), int | float | None) for row in rows)
        table.add_column(ENDPOINT_COLUMNS[key], justify="right" if numeric else "left")
    for row in rows:
        style = None if row.get("up", True) else "red"
        table.add_row(*(escape(_plain(row.get(key))) for key in columns), style=style)
    console.print(table)
    if drained := [str(row.get("id", "?")) for row in rows if row.get("drain")]:
        console.print(f"being drained (no new calls): {escape(', '.join(drained))}", soft_wrap=True)
    if heedless := [str(row.get("id", "?")) for row in rows if row.get("heeds_urgency") is False]:
        names = escape(", ".join(heedless))
        console.print(f"serve their queue by arrival, not by urgency: {names}", soft_wrap=True)
    for row in rows:
        if row.get("trouble"):
            place = f"{row.get('id', '?')} ({row.get('url', '?')})"
            console.print(f"{escape(place)}: {escape(str(row['trouble']))}", soft_wrap=True)


def _show_forecasts(body: Body, console: Console) -> None:
    """How many outcomes each predictor has been held against, and which are not used."""
    rows = [row for row in body.get("forecasts") or [] if isinstance(row, dict)]
    told = [
        f"{row.get('predictor', '?')} {_plain(row['judged'])}"
        + ("" if row.get("trusted", True) else " (errs too much: not used)")
        for row in rows
        if row.get("judged")
    ]
    console.print(
        f"forecasts held against outcomes: {escape(', '.join(told)) or 'none yet'}", soft_wrap=True
    )


UNCOVERED = (
    "is a graph decorated with headway_langgraph, is headway_litellm.install() called, or does the "
    "LiteLLM proxy have the callback headway_litellm.callback?"
)


def _show_coverage(body: Body, console: Console) -> None:
    covered = _dict(body, "covered")
    if covered:
        ways = ", ".join(f"{way} {count}" for way, count in sorted(covered.items()))
        console.print(f"covered calls: {escape(ways)}")
    else:
        console.print(f"covered calls: none yet ({UNCOVERED})", soft_wrap=True)
    passed = [entry for entry in body.get("passed") or [] if isinstance(entry, dict)]
    for entry in passed:
        target = f" to {entry['target']}" if entry.get("target") else ""
        console.print(
            f"untouched: {entry.get('count', '?')} calls{escape(str(target))}: "
            f"{escape(str(entry.get('why', '?')))}",
            soft_wrap=True,
        )


OBJECTIVES = {"service_class": "class", "tenant": "tenant", "tags": "tags", "models": "models"}
"""Keys of a run's story that say what was asked for it, and how they are named."""


def show_run(body: Body, console: Console) -> None:
    """One run, call by call: the candidates with their scores, the choice, why, and the end."""
    console.print(
        f"[bold]run {escape(str(body.get('run', '?')))}[/bold] of graph "
        f"{escape(str(body.get('graph', '?')))}: {escape(_run_state(body))}"
    )
    asked = [f"{title} {_plain(body[key])}" for key, title in OBJECTIVES.items() if body.get(key)]
    if asked:
        console.print(escape(", ".join(asked)), soft_wrap=True)
    calls = [entry for entry in body.get("calls") or [] if isinstance(entry, dict)]
    if not calls:
        console.print("no calls yet")
    for call in calls:
        _show_call(call, console)


def _run_state(body: Body) -> str:
    """``ended ok after 12.0 s, deadline 20.0 s, 3.0 s of it waiting for a person``."""
    text = str(body.get("state", "?"))
    if body.get("outcome"):
        text += f" {body['outcome']}"
    if body.get("age_s") is not None:
        text += f" after {seconds_told(body['age_s'])}"
    if body.get("deadline_s") is not None:
        text += f", deadline {seconds_told(body['deadline_s'])}"
    if body.get("paused_s"):
        text += f", {seconds_told(body['paused_s'])} of waiting for a person apart"
    return text


def _show_call(call: Body, console: Console) -> None:
    title = f"{call.get('node', '?')}"
    if call.get("visit", 1) != 1:
        title += f" (visit {call['visit']})"
    title += f"  call {call.get('call', '?')}"
    if call.get("attempt", 1) not in (0, 1):
        title += f" attempt {call['attempt']}"
    console.print()
    console.print(
        f"[bold]{escape(title)}[/bold], asked for {escape(str(call.get('pool_name', '?')))}"
    )
    endpoint = call.get("endpoint")
    how = f"held {seconds_told(call.get('held_s'))}, urgency {_plain(call.get('urgency', '?'))}"
    if call.get("shadow"):
        _show_shadow(call, how, console)
    elif endpoint:
        console.print(
            f"  -> [green]{escape(str(endpoint))}[/green] ({escape(str(call.get('model', '?')))}), "
            f"{how}",
            soft_wrap=True,
        )
    elif call.get("outcome"):
        console.print("  -> no endpoint was chosen")
    else:
        console.print(f"  {escape(str(call.get('state', 'waiting')))}")
    if call.get("why"):
        console.print(f"  why: {escape(str(call['why']))}", soft_wrap=True)
    _show_scores(call, console)
    for reason, names in _by_reason(_dict(call, "excluded")).items():
        console.print(f"  not {escape(', '.join(names))}: {escape(reason)}", soft_wrap=True)
    if call.get("outcome"):
        error = f" ({call['error']})" if call.get("error") else ""
        console.print(
            f"  {escape(str(call['outcome']) + error)} "
            f"after {seconds_told(call.get('duration_s'))}, "
            f"{_plain(call.get('prompt_tokens'))} tokens in, "
            f"{_plain(call.get('output_tokens'))} out"
        )


def _show_shadow(call: Body, how: str, console: Console) -> None:
    """Where a call really went in shadow mode, and what would have been decided."""
    went = f"went to {call['endpoint']}" if call.get("endpoint") else "went"
    console.print(f"  -> {escape(went)} as its client sent it: shadow mode", soft_wrap=True)
    chosen = call.get("chosen")
    if chosen:
        console.print(
            f"  would have gone to [green]{escape(str(chosen))}[/green], {how}", soft_wrap=True
        )
    else:
        console.print("  would have been held: nothing was free for it")


def _show_scores(call: Body, console: Console) -> None:
    scores = [entry for entry in call.get("scores") or [] if isinstance(entry, dict)]
    if not scores:
        return
    parts = list(dict.fromkeys(part for score in scores for part in _dict(score, "parts")))
    table = Table(box=None, pad_edge=False)
    table.add_column("    candidate")
    table.add_column("cost", justify="right")
    for part in parts:
        table.add_column(escape(part.replace("_", " ")), justify="right")
    for score in scores:
        chosen = score.get("endpoint") == (call.get("chosen") or call.get("endpoint"))
        name = f"  {'*' if chosen else ' '} {score.get('endpoint', '?')}"
        values = _dict(score, "parts")
        table.add_row(
            escape(name),
            _plain(score.get("cost_s", "?")),
            *(_plain(values.get(part, "")) for part in parts),
            style="green" if chosen else None,
        )
    console.print(table)


def _by_reason(excluded: Body) -> dict[str, list[str]]:
    """Endpoints that were left out, under the reason that they share."""
    found: dict[str, list[str]] = {}
    for name, reason in sorted(excluded.items()):
        found.setdefault(str(reason), []).append(str(name))
    return found


def _dict(body: Body, key: str) -> Body:
    value = body.get(key)
    if isinstance(value, dict):
        return value
    if isinstance(value, list):  # pairs, as msgpack gives tuples of tuples
        return {
            str(pair[0]): pair[1] for pair in value if isinstance(pair, list) and len(pair) == 2
        }
    return {}


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value) or "none"
    return str(value)

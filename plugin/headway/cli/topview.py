"""What ``headway top`` draws: one frame of a daemon's answer, cut to the terminal.

Tolerant: a daemon of another version may leave out or add what it likes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from headway.cli.tell import count_told, one_line, ratio_told, seconds_told, share_told, tenth_told

Body = dict[str, Any]
BAR_CELLS = 10
TITLE_LINES = 2
UNCUT_ROWS = 20
"""Rows of each table where there is no screen to fit into."""
WIDE = 120
"""From so many cells on a run's whole id fits beside the rest."""
RUN_TAIL = 8
"""How many characters of its end tell a run in less. Ids that begin with the time, as LangGraph's
do, all begin alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, shown from a width of `wide` cells on."""

    title: str
    cell: Callable[[Body], str | Text]
    wide: int = 0
    right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table with its title; `total` counts the rows that there are, shown or not."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Body]
    total: int
    empty: str

    @property
    def lines(self) -> int:
        """Lines that it would take to show every row."""
        return TITLE_LINES + (1 + len(self.rows) if self.rows else 0)


def frame(body: Body, console: Console, *, note: str = "") -> Group:
    """The whole picture; `note` is a line about the connection, shown on top."""
    width, height = console.size if console.is_terminal else (console.width, 0)
    head = _header(body, note)
    parts: list[RenderableType] = list(head)
    sections = _sections(body, _bar_of(console), width)
    lines = [one.lines for one in sections]
    if height:
        lines = _lines_that_fit(lines, height - len(head))
    else:
        lines = [min(count, TITLE_LINES + 1 + UNCUT_ROWS) for count in lines]
    for section, count in zip(sections, lines, strict=True):
        parts += _drawn(section, count, width)
    return Group(*parts)


def alone(why: str) -> Group:
    """The picture before any daemon has answered."""
    title = Text("headway: no daemon, trying again", style="bold red")
    return Group(title, Text(why))


def shared_out(needs: Sequence[int], room: int) -> list[int]:
    """`room` lines over sections that need so many: small needs in full, the others alike."""
    given = [0] * len(needs)
    left = max(room, 0)
    while left > 0 and (hungry := [n for n, need in enumerate(needs) if given[n] < need]):
        each = max(left // len(hungry), 1)
        for place in hungry:
            more = min(each, needs[place] - given[place], left)
            given[place] += more
            left -= more
    return given


def _lines_that_fit(lines: Sequence[int], room: int) -> list[int]:
    """Lines of each section; the first (the endpoints) before all others."""
    first = max(min(lines[0], room), 0)
    return [first, *shared_out(lines[1:], room - first)]


def _header(body: Body, note: str) -> list[RenderableType]:
    told = body.get("daemon")
    daemon = told if isinstance(told, dict) else {}
    mode = str(body.get("mode", "?"))
    style = {"on": "bold green", "shadow": "bold yellow"}.get(mode, "bold red")
    line = Text.assemble(
        ("headway ", "bold"),
        (mode, style),
        f"  policy {body.get('policy', '?')}  up {seconds_told(daemon.get('uptime_s'))}"
        f"  {count_told(daemon.get('events'))} events  {daemon.get('clients', '?')} clients"
        f"  {count_told(body.get('running'))} calls running",
        no_wrap=True,
        overflow="ellipsis",
    )
    lines: list[RenderableType] = [line]
    troubles = [note, str(daemon.get("journal_error") or "")]
    if daemon.get("errors"):
        troubles.append(f"{daemon['errors']} facts made the scheduler fail: see the daemon's log")
    for trouble in filter(None, troubles):
        lines.append(Text(trouble, style="red", no_wrap=True, overflow="ellipsis"))
    return lines


def _sections(body: Body, bar: Callable[[Body], Text], width: int) -> list[Section]:
    endpoints, queue = _rows(body, "endpoints"), _rows(body, "queue")
    runs, predictions = _rows(body, "runs"), _rows(body, "predictions")
    if width < WIDE:
        for one in (*queue, *runs):
            one["run"] = _short(_name(one, "run"))
    waiting = body.get("waiting_for") or {}
    for one in endpoints:
        one["waiting"] = waiting.get(one.get("id"), 0)
    persons = body.get("runs_interrupted") or 0
    overall = body.get("predictions_all")
    return [
        Section(
            title="endpoints",
            columns=_endpoint_columns(endpoints, bar),
            rows=endpoints,
            total=len(endpoints),
            empty="none",
        ),
        Section(
            title="queue, oldest first",
            columns=QUEUE,
            rows=queue,
            total=int(body.get("queue_total") or len(queue)),
            empty="no call waits",
        ),
        Section(
            title=f"open runs{f' ({persons} more wait for a person)' if persons else ''}",
            columns=RUNS,
            rows=runs,
            total=int(body.get("runs_total") or len(runs)),
            empty="none",
        ),
        Section(
            title="prediction against outcome, the latest calls",
            columns=PREDICTIONS,
            rows=[{"node": "all", **overall}, *predictions] if overall else predictions,
            total=len(predictions) + bool(overall),
            empty="no call has been answered yet"
            if body.get("mode") != "shadow"
            else "nothing to compare, shadow mode does not apply its decisions",
        ),
    ]


def _drawn(section: Section, lines: int, width: int) -> list[RenderableType]:
    """The section in at most so many lines: a blank one, its title, the heads, the rows."""
    if lines < TITLE_LINES:
        return []
    title = Text(section.title, style="bold", no_wrap=True, overflow="ellipsis")
    count = min(max(lines - TITLE_LINES - 1, 0), len(section.rows))
    hidden = section.total - count
    if not section.rows:
        return [Text(), title.append(f": {section.empty}", style="not bold")]
    if count == 0:
        return [Text(), title.append(f": {section.total}", style="not bold")]
    if hidden > 0:
        title.append(f", {hidden} more", style="not bold")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    columns = [column for column in section.columns if width >= column.wide]
    for column in columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            header_style="dim",
        )
    for row in section.rows[:count]:
        style = "red" if row.get("up") is False or _late(row) else None
        table.add_row(*(_text(column.cell(row)) for column in columns), style=style)
    return [Text(), title, table]


def _bar_of(console: Console) -> Callable[[Body], Text]:
    full, free = ("#", ".") if console.options.ascii_only else ("█", "░")

    def bar(row: Body) -> Text:
        """Seats taken by our calls; without a known limit only their number."""
        running, seats = row.get("running") or 0, row.get("seats")
        if not seats:
            return Text(f"{running}/?")
        cells = min(round(BAR_CELLS * running / seats), BAR_CELLS)
        cells = max(cells, 1) if running else 0
        return Text(f"{full * cells}{free * (BAR_CELLS - cells)} {running}/{seats}")

    return bar


def _endpoint_columns(rows: Sequence[Body], bar: Callable[[Body], Text]) -> list[Column]:
    columns = [
        Column(title="endpoint", cell=lambda row: _name(row, "id")),
        Column(title="model", cell=lambda row: _name(row, "model"), wide=90),
        Column(title="up", cell=lambda row: _up(row), wide=30),
        Column(title="running/seats", cell=bar),
        Column(
            title="foreign", cell=lambda row: count_told(row.get("foreign")), wide=80, right=True
        ),
        Column(
            title="waiting", cell=lambda row: count_told(row.get("waiting")), wide=60, right=True
        ),
        Column(
            title="tokens to come",
            cell=lambda row: count_told(row.get("predicted_tokens")),
            wide=80,
            right=True,
        ),
        Column(title="speed", cell=lambda row: ratio_told(row.get("speed")), wide=100, right=True),
        Column(title="served", cell=lambda row: count_told(row.get("served")), wide=50, right=True),
    ]
    if any(row.get("trouble") for row in rows):
        columns.append(Column(title="trouble", cell=lambda row: _name(row, "trouble"), wide=100))
    return columns


QUEUE = [
    Column(title="waited", cell=lambda row: seconds_told(row.get("waited_s")), right=True),
    Column(title="graph", cell=lambda row: _name(row, "graph"), wide=50),
    Column(title="node", cell=lambda row: _name(row, "node")),
    Column(title="pool name", cell=lambda row: _name(row, "pool_name"), wide=60),
    Column(title="deadline in", cell=lambda row: _left(row), wide=80, right=True),
    Column(title="run", cell=lambda row: _name(row, "run")),
]
RUNS = [
    Column(title="age", cell=lambda row: seconds_told(row.get("age_s")), right=True),
    Column(title="graph", cell=lambda row: _name(row, "graph")),
    Column(title="at node", cell=lambda row: _nodes(row)),
    Column(title="calls", cell=lambda row: _calls(row)),
    Column(title="deadline in", cell=lambda row: _left(row), wide=60, right=True),
    Column(
        title="predicted rest",
        cell=lambda row: seconds_told(row["rest_s"]) if row.get("rest_s") is not None else "-",
        wide=90,
        right=True,
    ),
    Column(
        title="calls to come",
        cell=lambda row: f"{row['rest_calls']:.0f}" if row.get("rest_calls") is not None else "-",
        wide=140,
        right=True,
    ),
    Column(
        title="back in",
        cell=lambda row: seconds_told(row["back_s"]) if row.get("back_s") is not None else "-",
        wide=130,
        right=True,
    ),
    Column(title="run", cell=lambda row: _name(row, "run"), wide=80),
]
PREDICTIONS = [
    Column(title="graph", cell=lambda row: _name(row, "graph"), wide=70),
    Column(title="node", cell=lambda row: _name(row, "node")),
    Column(title="model", cell=lambda row: _name(row, "model"), wide=50),
    Column(title="calls", cell=lambda row: count_told(row.get("calls")), right=True),
    Column(
        title="tokens",
        cell=lambda row: (
            f"{count_told(row.get('predicted_tokens'))} / {count_told(row.get('real_tokens'))}"
        ),
        wide=80,
        right=True,
    ),
    Column(title="ratio", cell=lambda row: ratio_told(row.get("token_ratio")), right=True),
    Column(title="<= P90", cell=lambda row: share_told(row.get("p90_coverage")), right=True),
    Column(
        title="seconds",
        cell=lambda row: f"{tenth_told(row.get('predicted_s'))} / {tenth_told(row.get('real_s'))}",
        wide=100,
        right=True,
    ),
    Column(
        title="ratio", cell=lambda row: ratio_told(row.get("seconds_ratio")), wide=80, right=True
    ),
]
"""Medians, predicted / real; a ratio is predicted over real."""


def _rows(body: Body, key: str) -> list[Body]:
    return [dict(row) for row in body.get(key) or [] if isinstance(row, dict)]


def _text(cell: str | Text) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _name(row: Body, key: str) -> str:
    return one_line(row.get(key) or "")


def _short(run: str) -> str:
    return run if len(run) <= RUN_TAIL + 2 else f"..{run[-RUN_TAIL:]}"


def _up(row: Body) -> str:
    if not row.get("up", True):
        return "no"
    return "drains" if row.get("drain") else "yes"


def _nodes(row: Body) -> str:
    names = [one_line(node) for node in row.get("nodes") or []]
    more = int(row.get("nodes_total") or len(names)) - len(names)
    return ", ".join(names) + (f" and {more} more" if more > 0 else "") or "-"


def _calls(row: Body) -> str:
    waiting = f", {count_told(row['waiting'])} waiting" if row.get("waiting") else ""
    return f"{count_told(row.get('running'))}{waiting}"


def _late(row: Body) -> bool:
    left = row.get("deadline_left_s")
    return isinstance(left, int | float) and left < 0


def _left(row: Body) -> str:
    left = row.get("deadline_left_s")
    if not isinstance(left, int | float):
        return "-"
    return f"late {seconds_told(-left)}" if left < 0 else seconds_told(left)

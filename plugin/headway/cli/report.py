"""``headway report``: what journals amount to, in numbers.

Which files are read and where the answer goes; what it looks like is in reportview.py.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from headway.cli.ask import Where, ask
from headway.cli.options import SocketOption, TcpOption, TokenOption, where
from headway.cli.reportview import show_report
from headway.cli.tell import wide_console
from headway.core.errors import ConfigError, DaemonUnreachable, HeadwayError
from headway.daemon.files import journal_folder
from headway.daemon.findings import Report
from headway.daemon.report import report as report_over
from headway.policy import POLICIES
from headway.wire.journal import journals_in, read_journal

NOBODY = "none"
RIVALS = ("least-busy", "headway")
"""Whom decisions are compared with, unless told: the first that has not made them."""

JournalsArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[JOURNAL]...",
        help="Journal files, or folders of them, in order.",
        show_default="those of the daemon",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help=f"The policy whose choices are compared ({', '.join(sorted(POLICIES))}), or none.",
        show_default="one that did not decide",
    ),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE|-", help="Write the report as JSON (-: print it)."),
]


def report(
    journals: JournalsArgument = None,
    policy: PolicyOption = None,
    as_json: JsonOption = None,
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
) -> None:
    """Tell from the journal how runs, waits, calls, endpoints and predictions went."""
    if policy is not None and policy != NOBODY and policy not in POLICIES:
        known = ", ".join([*sorted(POLICIES), NOBODY])
        raise ConfigError(f"--policy: no policy {policy!r}; known: {known}")
    paths = _given(journals) if journals else _of_daemon(where(socket, tcp, token_file))
    against = policy if policy is not None else _rival(paths[0])
    found = _read(paths, "" if against == NOBODY else against)
    if as_json is None:
        show_report(found, wide_console())
        return
    text = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    if as_json == "-":
        print(text)
        return
    try:
        Path(as_json).write_text(f"{text}\n")
    except OSError as error:
        raise HeadwayError(f"--json: cannot write {as_json}: {error.strerror}") from error


def _given(journals: list[Path]) -> list[Path]:
    """The files that were named, once each; a folder stands for the journals in it."""
    found: dict[Path, None] = {}
    for one in journals:
        inside = journals_in(one)
        if one.is_dir() and not inside:
            raise HeadwayError(f"no journal in {one}: `headway up` writes headway-NNNNNN.journal")
        for path in inside or [one]:
            found[path] = None
    return _in_order(list(found))


def _in_order(paths: list[Path]) -> list[Path]:
    """Rotated files of one folder by their numbers; any others as they were given."""
    if len({path.parent for path in paths}) == 1:
        numbered = journals_in(paths[0].parent)
        if all(path in numbered for path in paths):
            return [path for path in numbered if path in paths]
    return paths


def _of_daemon(daemon: Where) -> list[Path]:
    """The journal of the running daemon; without one, what it left beside its socket."""
    try:
        told: dict[str, Any] = ask(daemon, "journal")
    except DaemonUnreachable:
        if daemon.tcp is not None:
            raise
        folder = journal_folder(daemon.socket)
        missing = f"no daemon runs on {daemon.socket}, and no journal lies in {folder}"
    else:
        folder = Path(str(told.get("path", ""))).parent
        missing = f"the journal of the daemon on {daemon} is not on this machine, in {folder}"
    if found := journals_in(folder):
        return found
    raise HeadwayError(f"{missing}: name a file, headway report JOURNAL")


def _rival(first: Path) -> str:
    recorded = read_journal(first).header.policy
    return next(name for name in RIVALS if name != recorded)


def _read(paths: list[Path], against: str) -> Report:
    """The report, with progress on a terminal: a long journal takes a while."""
    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task("reading", total=None)

        def moved(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return report_over(paths, against=against, progress=moved)

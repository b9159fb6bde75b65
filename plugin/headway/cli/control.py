"""Commands that ask or order a running daemon, and ``replay``, which needs none."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from headway.cli.ask import ask
from headway.cli.options import SocketOption, TcpOption, TokenOption, where
from headway.cli.show import show_run, show_status
from headway.core.commands import AnyCommand, Grant, Notice
from headway.daemon.replay import Compared, Difference, compare, replay
from headway.daemon.training import journal_files

UNWRAPPED = 10_000
"""Width where there is no terminal: what reads a pipe wants whole lines."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")]


def status(
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show whether it is on, the pool and its load, and which calls are covered."""
    body = ask(where(socket, tcp, token_file), "status")
    _print(body, as_json, show_status)


def explain(
    run: Annotated[
        str, typer.Argument(help="A run's id, its beginning or end, or `last`.")
    ] = "last",
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was decided for each call of a run, and why."""
    body = ask(where(socket, tcp, token_file), "explain", run=run)
    _print(body, as_json, show_run)


def mode(
    to: Annotated[Literal["on", "shadow", "off"], typer.Argument(metavar="on|shadow|off")],
    socket: SocketOption = None,
    tcp: TcpOption = None,
    token_file: TokenOption = None,
) -> None:
    """Apply decisions (on), only make and record them (shadow), or make none (off)."""
    body = ask(where(socket, tcp, token_file), "mode", mode=to)
    print(f"headway: the mode is {body.get('mode', to)}")


def reload(
    socket: SocketOption = None, tcp: TcpOption = None, token_file: TokenOption = None
) -> None:
    """Read the configuration again; if it is wrong, all stays as it is."""
    body = ask(where(socket, tcp, token_file), "reload")
    print(f"headway: {body.get('changed', '?')} changed, {body.get('endpoints', '?')} endpoints")
    for note in body.get("notes", ()):
        print(f"headway: {note}")


def replay_command(
    journal: Annotated[Path, typer.Argument(help="A journal, or a folder: its newest.")],
    policy: Annotated[
        str | None, typer.Option(help="Ask another policy what it would have chosen.")
    ] = None,
) -> None:
    """Decide a recorded journal again, and report the first difference."""
    journal = journal_files(journal)[-1]
    if policy is not None:
        _print_compared(compare(journal, policy))
        return
    result = replay(journal)
    _print_cut(result.cut_at, result.cut_why)
    if result.difference is not None:
        _print_difference(result.difference)
        raise typer.Exit(1)
    print(f"headway: {result.events} events, {result.decisions} decisions: all the same")


def _print(body: dict[str, Any], as_json: bool, show: Any) -> None:
    if as_json:
        print(json.dumps(body, indent=2, default=str))
    else:
        console = Console()
        show(body, console if console.is_terminal else Console(width=UNWRAPPED))


def _print_cut(cut_at: int | None, why: str) -> None:
    if cut_at is not None:
        print(f"headway: the journal is cut at byte {cut_at} ({why}); read up to there")


def _print_difference(difference: Difference) -> None:
    event = difference.entry.event
    print(f"headway: event {difference.number} is decided differently")
    print(f"  event: {event.fact} at {event.at:.6f} of {event.client or 'the daemon'}")
    if difference.entry.error:
        print(f"  recorded: raised {difference.entry.error}")
    _print_commands("recorded", difference.recorded)
    if difference.error:
        print(f"  now: raised {difference.error}")
    _print_commands("now", difference.redecided)
    if difference.only_scores:
        print("  only the candidates' scores differ; those recorded are kept as a digest")


def _print_commands(title: str, commands: tuple[AnyCommand, ...]) -> None:
    print(f"  {title}: {len(commands)} commands")
    for command in commands:
        print(f"    {_command_line(command)}")


def _command_line(command: AnyCommand) -> str:
    if isinstance(command, Grant):
        return (
            f"grant {command.call}#{command.attempt} -> {command.endpoint or '(fallback)'} "
            f"urgency {command.urgency:g}, held {command.held_s:.3f} s: {command.why}"
        )
    if isinstance(command, Notice):
        return f"notice {command.kind} {command.subject}: {command.message}"
    return f"set timer {command.timer} at {command.at:.6f}"


def _print_compared(result: Compared) -> None:
    _print_cut(result.cut_at, result.cut_why)
    differ = result.other_endpoint + result.never
    share = differ / result.decisions if result.decisions else 0.0
    print(
        f"headway: {differ} of {result.decisions} decisions ({share:.0%}) differ under "
        f"{result.policy}: {result.other_endpoint} go elsewhere, {result.never} are not released "
        f"in the recorded time ({result.events} events)"
    )
    if result.first is not None:
        number, old, new = result.first
        print(f"  first, at event {number}:")
        print(f"    recorded: {_command_line(old)}")
        print(f"    {result.policy}: {_command_line(new)}")

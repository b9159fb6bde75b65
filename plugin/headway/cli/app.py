"""The command line: which commands there are, and what becomes of their errors."""

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated

import typer

from headway import __version__
from headway.cli import control
from headway.cli.assess import assess
from headway.cli.metrics import metrics
from headway.cli.report import report
from headway.cli.simulate import simulate
from headway.cli.top import top
from headway.cli.train import train
from headway.cli.up import up
from headway.core.errors import ConfigError, HeadwayError

GROUP = "headway.commands"


def build() -> typer.Typer:
    """The application, with the commands of other packages (entry points of `GROUP`)."""
    app = typer.Typer(
        name="headway",
        help="Schedules agent workflows over a pool of language models.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version.", callback=_version)
        ] = False,
    ) -> None:
        """Schedules agent workflows over a pool of language models."""

    app.command("up")(up)
    app.command("status")(control.status)
    app.command("top")(top)
    app.command("metrics")(metrics)
    app.command("explain")(control.explain)
    app.command("report")(report)
    app.command("mode")(control.mode)
    app.command("reload")(control.reload)
    app.command("replay")(control.replay_command)
    app.command("simulate")(simulate)
    app.command("assess")(assess)
    app.command("train")(train)
    _register(app, "emulate", _emulate)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        _register(app, point.name, _loader(point))
    return app


def run() -> None:
    """Run; an error of ours is one clear message, never a traceback."""
    try:
        build()()
    except ConfigError as error:
        print(f"headway: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except HeadwayError as error:
        print(f"headway: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"headway {__version__}")
        raise typer.Exit


def _emulate() -> Callable[[typer.Typer], None]:
    from headway.emulate.command import register

    return register


def _loader(point: EntryPoint) -> Callable[[], Callable[[typer.Typer], None]]:
    return point.load


def _register(
    app: typer.Typer, name: str, load: Callable[[], Callable[[typer.Typer], None]]
) -> None:
    """Add a command of another package, or in its place one that says what it lacks."""
    try:
        load()(app)
    except (ImportError, AttributeError) as error:
        lacking = str(error)

        @app.command(name, hidden=True, context_settings={"ignore_unknown_options": True})
        def unavailable(
            rest: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
        ) -> None:
            """Say what is missing."""
            raise ConfigError(f"`{name}` needs more than is installed: {lacking}")

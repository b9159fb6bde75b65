"""``headway demo``: the command line of the demo."""

import contextlib
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headway.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from headway_samples.demo.plan import Plan
    from headway_samples.demo.play import Played

DEFAULT_PLOT = Path("demo.png")
SHOWN_ERRORS = 5
NEEDED = ("langchain_openai", "langgraph", "matplotlib", "psutil")
"""Of the extra ``samples``; looked for before anything that imports them."""


def register(app: typer.Typer) -> None:
    """Add ``demo`` to Headway's command line."""
    app.command("demo")(demo)


def demo(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the measures here.", metavar="FILE")
    ] = None,
    plot_file: Annotated[
        Path, typer.Option("--plot", help="Write the plot (PNG) here.", metavar="FILE")
    ] = DEFAULT_PLOT,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Which arms, with commas between them, or `all` (eight minutes).",
            metavar="ARM,...",
            show_default="least-busy,static,large-only,headway",
        ),
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="Through a LiteLLM proxy, with and without Headway.")
    ] = False,
    quick: Annotated[
        bool, typer.Option(help="One baseline and Headway, shortened to a minute: for CI.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of arrivals and tasks.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(help="Keep the pool file and logs here.", metavar="DIR")
    ] = None,
) -> None:
    """Compare Headway with other ways of balancing, on an emulated pool.

    Three baselines in under five minutes; --quick and --proxy have one, --arms chooses.
    """
    check_installed()
    # The samples import LangGraph, which other commands should not wait for.
    from rich.console import Console

    plan = plan_of(arms, proxy=proxy, quick=quick, seed=seed)

    from headway_samples.demo.play import play
    from headway_samples.stopping import Stopped, run_stoppable

    console = Console()
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headway-")))
        else:
            keep.mkdir(parents=True, exist_ok=True)
            folder = keep
        try:
            played = run_stoppable(play(plan, folder=folder, console=console))
        except Stopped as stopped:
            console.print(f"{stopped}: emulator and daemon are ended, nothing was written")
            raise typer.Exit(stopped.status) from None
    raise typer.Exit(finish(console, played, json_file=json_file, plot_file=plot_file))


def check_installed() -> None:
    """Raise `ConfigError` if what the samples import is not there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} not installed: headway demo needs pip install 'headway[samples]'"
        )


def plan_of(arms: str | None, *, proxy: bool, quick: bool, seed: int) -> "Plan":
    """The demo that the options ask for. Raises `ConfigError` if it cannot be played here."""
    from headway_samples.demo import plan, proxies, routers
    from headway_samples.demo.arms import parse_arms

    make = plan.quick_plan if quick else plan.full_plan
    if proxy:
        if arms is not None:
            raise ConfigError("--proxy has two arms of its own: leave out --arms")
        proxies.check_installed()
        return plan.through_proxy(make(seed))
    if arms is None:
        return make(seed)
    chosen = parse_arms(arms)
    routers.check_installed(chosen)
    return make(seed, chosen)


def finish(console: "Console", played: "Played", *, json_file: Path | None, plot_file: Path) -> int:
    """Show and write what was measured. The exit status: 1 if any run raised, else 0."""
    from headway_samples.demo import show

    report = played.as_dict()
    console.print(show.table(report))
    show.plot(played.arms, plot_file)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    _say(console, played, plot_file)
    show.verdict(console, played.complaints, runs=min(map(len, played.arms.values())))
    return 1 if played.failed else 0


def _say(console: "Console", played: "Played", plot_file: Path) -> None:
    for strain in played.strains:
        proxy = "" if strain.proxy is None else f", the proxy {strain.proxy:.0%} of its core"
        console.print(
            f"{strain.arm}: host CPU {strain.cpu:.0%}, "
            f"emulator late by {strain.lateness:.1%} (P95){proxy}"
        )
    for arm, errors in played.errors.items():
        for error in errors[:SHOWN_ERRORS]:
            console.print(f"FAILED in {arm}: {error}", markup=False, soft_wrap=True)
    console.print(f"plot: {plot_file}")
    if played.explained:
        console.print("\nOne run under Headway, call by call, as `headway explain RUN` tells it:\n")
        console.print(played.explained, markup=False, highlight=False, soft_wrap=True)

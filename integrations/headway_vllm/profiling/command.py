"""``headway profile URL``: what the command line means, and what is shown."""

import asyncio
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headway.cli.tell import wide_console
from headway.core.errors import ConfigError
from headway.daemon.schema import base_url

if TYPE_CHECKING:
    from headway_vllm.profiling.measuring import Measured

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

UrlArgument = Annotated[str, typer.Argument(metavar="URL", help="A server's base URL, with /v1.")]
ModelOption = Annotated[
    str, typer.Option("--model", help="The model to ask for.", show_default="the only one there")
]
PoolOption = Annotated[
    Path | None, typer.Option("--pool", help="Write the profile into this headway.yaml.")
]
KeyOption = Annotated[
    str, typer.Option("--api-key", metavar="NAME", help="Environment variable with its key.")
]
SeatsOption = Annotated[
    int | None,
    typer.Option("--seats", min=1, help="Sequences at once.", show_default="told, or found out"),
]
StepOption = Annotated[
    int | None,
    typer.Option(
        "--step-tokens",
        min=1,
        help="Tokens of one step (max-num-batched-tokens).",
        show_default="told, or 2048",
    ),
]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Draw fit against points (PNG).")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Points and fit as JSON.")]
OrderOption = Annotated[
    bool,
    typer.Option("--order/--no-order", help="Prove by order whether priorities are heeded."),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("profile")(profile)


def profile(  # noqa: PLR0913  # one parameter an option
    url: UrlArgument,
    model: ModelOption = "",
    pool: PoolOption = None,
    api_key: KeyOption = "",
    seats: SeatsOption = None,
    step_tokens: StepOption = None,
    plot: PlotOption = None,
    json_file: JsonOption = None,
    order: OrderOption = True,
) -> None:
    """Measure a live server: how fast it is by prompt, batch and context, and how much it holds.

    Loads the server meanwhile: one that others use now is refused.
    """
    console = wide_console()
    try:
        # only here: other commands should not wait for them, and they are of the extra
        from headway_vllm.profiling.picture import draw
        from headway_vllm.profiling.poolfile import PoolFile
        from headway_vllm.profiling.showing import as_data, show
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: headway profile needs pip install 'headway[vllm]'"
        ) from None
    url = _checked_url(url)
    file = PoolFile(pool, url) if pool is not None else None
    key = _key(api_key or (file.api_key if file is not None else ""))
    model = model or (file.model if file is not None else "")
    if file is not None and model:
        file.check(model)
    measuring = _measured(url, model, key, seats=seats, step_tokens=step_tokens, prove=order)
    measured = asyncio.run(measuring)
    show(console, measured)
    if file is not None:
        ids = file.write(measured)
        console.print(f"{pool}: profile written for {', '.join(ids)}; headway reload takes it over")
    try:
        if json_file is not None:
            text = json.dumps(as_data(measured), indent=1)
            json_file.write_text(text + "\n", encoding="utf-8")
        if plot is not None:
            draw(measured, plot)
            console.print(f"fit against points: {plot}")
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None


def _checked_url(url: str) -> str:
    try:
        return base_url(url)
    except ValueError as error:
        raise ConfigError(f"{url!r} {error}") from None


def _key(name: str) -> str:
    """The key that an environment variable holds. What is no name of one is never shown."""
    if not name:
        return ""
    name = name.removeprefix("os.environ/")
    if not VARIABLE.fullmatch(name):
        raise ConfigError("--api-key takes the NAME of an environment variable, not the key itself")
    found = os.environ.get(name)
    if found is None:
        raise ConfigError(f"--api-key {name}: that environment variable is not set")
    return found


async def _measured(
    url: str,
    model: str,
    key: str,
    *,
    seats: int | None,
    step_tokens: int | None,
    prove: bool,
) -> "Measured":
    from headway_vllm.profiling.asking import Asker
    from headway_vllm.profiling.measuring import choose_model, found_limits, measure

    async with Asker(url, model, key=key) as asker:
        told = await found_limits(asker, await choose_model(asker))
        limits = replace(
            told, seats=seats or told.seats, step_tokens=step_tokens or told.step_tokens
        )
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("asking", total=None)

            def tell(what: str, done: int, total: int) -> None:
                progress.update(task, description=what, completed=done, total=total)

            return await measure(asker, limits=limits, prove=prove, told=tell)

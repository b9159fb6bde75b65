"""``headway emulate POOL``: serve the emulated endpoints of a pool file until told to stop."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from headway.core.errors import ConfigError
from headway.emulate.config import EmulateConfig, load_config
from headway.emulate.server import EmulatedPool


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command(name="emulate")
    def emulate(
        pool: Annotated[Path, typer.Argument(help="The pool file, as for `headway up`.")],
        speedup: Annotated[
            float | None,
            typer.Option(help="Emulated seconds per second; overrides emulate.speedup."),
        ] = None,
    ) -> None:
        """Serve the pool's endpoints with `engine: emulated`.

        OpenAI's API (chat, completions, responses without a memory) and vLLM's metrics.
        """
        # A console script does not look here by itself, and users' answers often lie here.
        sys.path.insert(0, str(Path.cwd()))
        try:
            asyncio.run(_serve(load_config(pool, speedup=speedup)))
        except ConfigError as error:
            typer.echo(f"headway emulate: {error}", err=True)
            raise typer.Exit(2) from error


async def _serve(config: EmulateConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with EmulatedPool(config) as pool:
        for spec in config.endpoints:
            typer.echo(
                f"{spec.id} ready at {pool.urls[spec.id]} "
                f"(model {spec.model}, {spec.profile.seats} seats, {config.speedup:g}x)"
            )
        await stop.wait()

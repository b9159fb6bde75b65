"""``headway up``: runs the daemon in the foreground until a signal or ``shutdown``."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import Annotated

import typer

from headway.cli.options import SocketOption, TokenOption, socket_path, tcp_address
from headway.core.errors import ConfigError, HeadwayError
from headway.daemon.config import DEFAULT_FILE, Config, load_config
from headway.daemon.files import journal_folder
from headway.daemon.litellm_config import load_litellm
from headway.daemon.modelfile import read_model
from headway.daemon.queries import answer
from headway.daemon.server import Daemon, Options

log = logging.getLogger("headway.daemon")

TCP_HELP = (
    "Listen on HOST:PORT too, for commands such as `headway status --tcp`. "
    "Agents reach the daemon by its socket only."
)

LITELLM_HELP = "Take the pool from a LiteLLM proxy's config.yaml instead."


def up(  # noqa: PLR0913  # one parameter an option
    config: Annotated[
        Path | None, typer.Option(help="The configuration.", show_default=DEFAULT_FILE)
    ] = None,
    litellm: Annotated[Path | None, typer.Option(help=LITELLM_HELP)] = None,
    socket: SocketOption = None,
    tcp: Annotated[str | None, typer.Option("--tcp", help=TCP_HELP, metavar="HOST:PORT")] = None,
    token_file: TokenOption = None,
    journal: Annotated[
        Path | None, typer.Option(help="The journal's folder.", show_default="beside the socket")
    ] = None,
    no_journal: Annotated[bool, typer.Option("--no-journal", help="Keep no journal.")] = False,
    learned: Annotated[
        Path | None,
        typer.Option("--learned", help="Start with what `headway train` wrote, if nothing better."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Run the scheduler daemon for one pool."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    if journal is not None and no_journal:
        raise ConfigError("--journal and --no-journal exclude each other")
    address, token = tcp_address(tcp, token_file)
    path = socket_path(socket)
    folder = None if no_journal else journal or journal_folder(path)
    start = read_model(learned) if learned is not None else None
    options = Options(socket=path, tcp=address, token=token, journal=folder, learned=start)
    asyncio.run(_run(_configuration(config, litellm), options))


def _configuration(config: Path | None, litellm: Path | None) -> Config:
    if litellm is None:
        return load_config(config or Path(DEFAULT_FILE))
    if config is not None:
        raise ConfigError(
            "--config and --litellm exclude each other: with --litellm, what headway.yaml would "
            "say stands in a `headway:` section of the same file"
        )
    return load_litellm(litellm)


async def _run(config: Config, options: Options) -> None:
    daemon = Daemon(config, options)
    await daemon.start()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.request_stop)
    reloads: set[asyncio.Task[None]] = set()

    def reload_soon() -> None:
        task = asyncio.create_task(_reload(daemon))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload_soon)
    print(ready_line(daemon), flush=True)
    try:
        await daemon.until_stopped()
    finally:
        await daemon.stop()
    print("headway: stopped", flush=True)


async def _reload(daemon: Daemon) -> None:
    try:
        await answer(daemon, "reload", {})
    except HeadwayError as error:
        log.error("the configuration stays as it was: %s", error)


def ready_line(daemon: Daemon) -> str:
    """The line that scripts wait for."""
    pool = daemon.shell.pool
    tcp = f" and {daemon.tcp_address[0]}:{daemon.tcp_address[1]}" if daemon.tcp_address else ""
    learned = ", with what was learned before" if daemon.shell.recipe.learned is not None else ""
    return (
        f"headway: ready on {daemon.options.socket}{tcp} "
        f"({len(pool.endpoints)} endpoints from {daemon.config.path}, "
        f"policy {daemon.shell.recipe.policy}, mode {daemon.mode}{learned})"
    )

"""The emulator and the daemon as processes of their own, so that their CPU is not the client's.

Both run as a user would start them (``headway emulate FILE``, ``headway up``),
write what they say to a log, and are ended when their block is left.
"""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import aiohttp

from headway_samples.pool import SamplePool

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
LOOK_EVERY_S = 0.05


class NotStarted(RuntimeError):
    """A process ended or said nothing in time. Its message holds the end of its log."""


@contextlib.asynccontextmanager
async def emulator(pool: SamplePool, *, folder: Path) -> AsyncIterator[None]:
    """The pool's endpoints, up and answering inside the block."""
    file = pool.write(folder / "pool.yaml")
    command = headway_command("emulate", str(file))
    async with process(command, folder / "emulator.log", lambda: _answers(pool)):
        yield


@contextlib.asynccontextmanager
async def daemon(
    pool: SamplePool, *, folder: Path, home: Path | None = None, litellm: Path | None = None
) -> AsyncIterator[Path]:
    """A fresh daemon over `pool`, with nothing learned: yields its socket.

    Socket, journal and what it learns lie in `home`, an empty folder that only
    this user may enter; by default in a new one. With `litellm` the pool is what
    that configuration of LiteLLM's proxy says.
    """
    if litellm is None:
        config = ("--config", str(pool.write(folder / "pool.yaml")))
    else:
        config = ("--litellm", str(litellm))
    path = (home or Path(tempfile.mkdtemp(prefix="daemon-", dir=folder))) / "headway.sock"
    command = headway_command("up", *config, "--socket", str(path))

    async with process(command, folder / "daemon.log", lambda: listens(path)):
        yield path


async def listens(socket: Path) -> bool:
    """Whether a daemon answers there."""
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True


async def explain(socket: Path, run: str = "last", *, as_json: bool = False) -> str:
    """What ``headway explain RUN [--json]`` prints."""
    process = await asyncio.create_subprocess_exec(
        *headway_command("explain", run, "--socket", str(socket), *(["--json"] if as_json else [])),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "120"},
    )
    printed, _ = await process.communicate()
    return printed.decode(errors="replace")


def headway_command(*arguments: str) -> tuple[str, ...]:
    """``headway ARGUMENTS``, in this Python."""
    return (sys.executable, "-m", "headway.cli.main", *arguments)


@contextlib.asynccontextmanager
async def process(
    command: tuple[str, ...],
    log: Path,
    ready: Callable[[], Awaitable[bool]],
    *,
    env: Mapping[str, str] | None = None,
    limit_s: float = START_LIMIT_S,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that runs inside the block. Raises `NotStarted` if it is not `ready` in time.

    `env` is all of its environment; without, it has this process's.
    """
    with log.open("ab") as said:
        started = await asyncio.create_subprocess_exec(
            *command,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=env,
        )
    try:
        await _until_ready(started, " ".join(command), log, ready, limit_s=limit_s)
        yield started
    finally:
        await stop(started)


async def _until_ready(
    started: asyncio.subprocess.Process,
    name: str,
    log: Path,
    ready: Callable[[], Awaitable[bool]],
    *,
    limit_s: float,
) -> None:
    try:
        async with asyncio.timeout(limit_s):
            while not await ready():
                if started.returncode is not None:
                    raise NotStarted(f"`{name}` ended at once:\n{_end_of(log)}")
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NotStarted(f"`{name}` did not answer within {limit_s:g} s:\n{_end_of(log)}") from None


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process: by SIGTERM, and by SIGKILL if it takes too long or the wait is cancelled."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        await _kill(process)
    except asyncio.CancelledError:  # a second signal: there is no time left to be polite
        await _kill(process)
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


async def _answers(pool: SamplePool) -> bool:
    """Whether every endpoint lists its models."""
    try:
        async with aiohttp.ClientSession() as session:
            for each in pool.endpoints:
                async with session.get(f"{each.url}/models") as response:
                    if response.status != 200:
                        return False
    except aiohttp.ClientError:
        return False
    return True


async def lateness(pool: SamplePool) -> list[float]:
    """How late the emulator's answers left, as shares of their time: all requests it remembers."""
    ratios: list[float] = []
    async with aiohttp.ClientSession() as session:
        for each in pool.endpoints:
            root = each.url.removesuffix("/v1")
            async with session.get(f"{root}/_emulate/lateness") as response:
                ratios += (await response.json())["ratios"]
    return ratios


def _end_of(log: Path, chars: int = 2000) -> str:
    return log.read_text(errors="replace")[-chars:]

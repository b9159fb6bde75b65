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
from collections.abc import AsyncIterator, Awaitable, Callable
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
    command = ("emulate", str(file))
    async with _process(command, folder / "emulator.log", lambda: _answers(pool)):
        yield


@contextlib.asynccontextmanager
async def daemon(pool: SamplePool, *, folder: Path) -> AsyncIterator[Path]:
    """A fresh daemon over `pool`, with nothing learned: yields its socket.

    Socket, journal and what it learns lie in a new folder of its own, which
    only this user may enter.
    """
    file = pool.write(folder / "pool.yaml")
    path = Path(tempfile.mkdtemp(prefix="daemon-", dir=folder)) / "headway.sock"
    command = ("up", "--config", str(file), "--socket", str(path))

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(path))
        except OSError:
            return False
        writer.close()
        return True

    async with _process(command, folder / "daemon.log", listens):
        yield path


async def explain(socket: Path, run: str = "last", *, as_json: bool = False) -> str:
    """What ``headway explain RUN [--json]`` prints."""
    process = await asyncio.create_subprocess_exec(
        *_headway("explain", run, "--socket", str(socket), *(["--json"] if as_json else [])),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "120"},
    )
    printed, _ = await process.communicate()
    return printed.decode(errors="replace")


def _headway(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "headway.cli.main", *arguments)


@contextlib.asynccontextmanager
async def _process(
    arguments: tuple[str, ...], log: Path, ready: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *_headway(*arguments), stdout=said, stderr=said, start_new_session=True
        )
    try:
        await _until_ready(process, " ".join(arguments), log, ready)
        yield
    finally:
        await stop(process)


async def _until_ready(
    process: asyncio.subprocess.Process,
    name: str,
    log: Path,
    ready: Callable[[], Awaitable[bool]],
) -> None:
    try:
        async with asyncio.timeout(START_LIMIT_S):
            while not await ready():
                if process.returncode is not None:
                    raise NotStarted(f"`headway {name}` ended at once:\n{_end_of(log)}")
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        raise NotStarted(
            f"`headway {name}` did not answer within {START_LIMIT_S:g} s:\n{_end_of(log)}"
        ) from None


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

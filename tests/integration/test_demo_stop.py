"""A demo or a sample that is told to stop leaves no emulator and no daemon behind."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from headway_samples.processes import stop
from headway_samples.runner import URL_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PATIENCE_S = 60.0


@contextlib.asynccontextmanager
async def _running(*arguments: str, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program of its own, in `folder`; killed with its children if the test fails."""
    env = {
        key: value
        for key, value in os.environ.items()
        if key != URL_VARIABLE and not key.startswith("HEADWAY_")
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**env, "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            for child in _children(process):
                child.kill()
            process.kill()
            await process.wait()


def _children(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def _commands(children: list[psutil.Process]) -> set[str]:
    """Which of Headway's own commands run: ``emulate``, ``up``."""
    found = set()
    for child in children:
        with contextlib.suppress(psutil.Error):
            found |= {"emulate", "up"} & set(child.cmdline())
    return found


def _alive(children: list[psutil.Process]) -> list[psutil.Process]:
    return [
        each for each in children if each.is_running() and each.status() != psutil.STATUS_ZOMBIE
    ]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.05)


async def _until_said(process: asyncio.subprocess.Process, words: str) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        while words not in (line := (await process.stdout.readline()).decode()):
            assert line, f"it ended without saying {words!r}"


async def test_sigterm_in_the_first_arm_of_the_demo(tmp_path: Path) -> None:
    arguments = ("-m", "headway.cli.main", "demo", "--quick", "--json", "demo.json")
    async with _running(*arguments, folder=tmp_path) as demo:
        await _until_said(demo, "knee of least-busy")
        await _until(lambda: _commands(_children(demo)) == {"emulate"})
        children = _children(demo)
        demo.send_signal(signal.SIGTERM)
        said, _ = await asyncio.wait_for(demo.communicate(), PATIENCE_S)
        assert demo.returncode == 128 + signal.SIGTERM, said.decode()
        assert b"stopped by SIGTERM" in said
        assert b"Traceback" not in said
        assert _alive(children) == []
        assert not list(tmp_path.iterdir())  # no JSON, and no folder of logs left


async def test_ctrl_c_while_a_daemon_is_up(tmp_path: Path) -> None:
    arguments = ("-m", "headway_samples.support_chat", "--runs", "20")
    async with _running(*arguments, folder=tmp_path) as sample:
        await _until(lambda: _commands(_children(sample)) == {"emulate", "up"})
        children = _children(sample)
        sample.send_signal(signal.SIGINT)
        said, _ = await asyncio.wait_for(sample.communicate(), PATIENCE_S)
        assert sample.returncode == 128 + signal.SIGINT, said.decode()
        assert b"stopped by SIGINT" in said
        assert b"Traceback" not in said
        assert _alive(children) == []


STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
print("up", flush=True)
while True:
    time.sleep(1)
"""


async def test_a_second_signal_kills_a_child_that_does_not_end() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", STUBBORN, stdout=asyncio.subprocess.PIPE
    )
    await _until_said(child, "up")
    stopping = asyncio.create_task(stop(child))
    await _until_said(child, "no")
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert child.returncode == -signal.SIGKILL

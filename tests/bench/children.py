"""Fresh processes for measurements that must begin clean, and where their daemon lies."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tests.bench.facts import config
from tests.support.daemons import process

SOCKET = "HEADWAY_SOCKET"


@contextlib.contextmanager
def daemon(*urls: str) -> Iterator[Path]:
    """A daemon with two models of each URL's server; its socket."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with process(folder, config=config(seats=64, urls=urls)):
            yield folder / "run" / "headway.sock"


@contextlib.contextmanager
def no_daemon() -> Iterator[Path]:
    """A socket path at which nobody listens."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "nobody.sock"


def pairs_of(
    module: str, *arguments: str, socket: Path, step: Callable[[], None]
) -> dict[str, tuple[list[float], list[float]]]:
    """Run ``python -m MODULE``; per name what it measured, bare and scheduled.

    It prints a line for every step, and the result as its last line.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, SOCKET: str(socket)},
    )
    last = ""
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            last = line
            if line.startswith("."):
                step()
    if child.wait() != 0:
        raise RuntimeError(f"{module} ended with status {child.returncode}")
    return msgspec.json.decode(last, type=dict[str, tuple[list[float], list[float]]])


def tell_step() -> None:
    """In the child: one step is done."""
    print(".", flush=True)


def tell_result(found: dict[str, tuple[list[float], list[float]]]) -> None:
    """In the child: all is done."""
    print(msgspec.json.encode(found).decode(), flush=True)

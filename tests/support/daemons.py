"""Runs real daemons for tests, in this process or in their own, and talks to them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from headway.core.facts import CallReady
from headway.core.types import CallId, NodeId, RunId
from headway.daemon.config import load_config
from headway.daemon.files import journal_folder
from headway.daemon.server import Daemon, Options
from headway.daemon.shell import MakeScheduler
from headway.wire.messages import (
    PROTOCOL_VERSION,
    DaemonMessage,
    FrameSplitter,
    Hello,
    Query,
    Reply,
    decode_daemon,
    encode_frame,
)
from tests.support.fake_scheduler import FakeScheduler

T = TypeVar("T")
DEADLINE_S = 10.0

CONFIG = """\
endpoints:
  - {id: a, url: "http://127.0.0.1:9/v1", model: small}
  - {id: b, url: "http://127.0.0.1:9/v1", model: large}
models:
  agent: [small, large]
policy: least-busy
"""


def write_config(folder: Path, text: str = CONFIG) -> Path:
    path = folder / "headway.yaml"
    path.write_text(text)
    return path


@contextlib.asynccontextmanager
async def running(
    folder: Path, *, make: MakeScheduler = FakeScheduler, config: str = CONFIG, **options: Any
) -> AsyncIterator[Daemon]:
    """A daemon in this process; its files lie in `folder`."""
    run = folder / "run"
    options.setdefault("socket", run / "headway.sock")
    options.setdefault("journal", journal_folder(options["socket"]))
    options.setdefault("scrape", False)
    daemon = Daemon(load_config(write_config(folder, config)), Options(**options), make=make)
    await daemon.start()
    try:
        yield daemon
    finally:
        await daemon.stop()


class Peer:
    """An async client of raw frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._splitter = FrameSplitter()
        self._bodies: list[bytes] = []

    @classmethod
    async def connect(cls, socket: Path) -> "Peer":
        return cls(*await asyncio.open_unix_connection(str(socket)))

    @classmethod
    async def hello(cls, socket: Path, name: str = "test") -> "Peer":
        peer = await cls.connect(socket)
        peer.send(Hello(version=PROTOCOL_VERSION, client=name))
        await peer.next()
        return peer

    def send(self, *messages: Any) -> None:
        self.writer.write(b"".join(encode_frame(message) for message in messages))

    async def next(self) -> DaemonMessage:
        """The next message; `EOFError` when the daemon has closed."""
        while not self._bodies:
            data = await asyncio.wait_for(self.reader.read(1 << 16), DEADLINE_S)
            if not data:
                raise EOFError
            self._bodies.extend(self._splitter.feed(data))
        return decode_daemon(self._bodies.pop(0))

    async def of(self, kind: type[T]) -> T:
        """The next message of one kind; others are dropped."""
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message

    async def query(self, what: str, **args: Any) -> Reply:
        self.send(Query(id=7, what=what, args=args))
        return await self.of(Reply)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def call(number: int = 1, *, graph: str = "g", **changes: Any) -> CallReady:
    """A call that is ready."""
    said: dict[str, Any] = {
        "call": CallId(f"c{number}"),
        "attempt": 1,
        "run": RunId(f"r{number}"),
        "graph": graph,
        "node": NodeId(f"n{number}"),
        "node_name": "write",
        "pool_name": "agent",
        "prompt_chars": 400,
    }
    return CallReady(**{**said, **changes})


async def until(condition: Callable[[], T], *, timeout_s: float = DEADLINE_S) -> T:
    """Wait for something true, at most `timeout_s`."""
    ends = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen in time"
        await asyncio.sleep(0.01)
    return found


HEADWAY = [sys.executable, "-m", "headway.cli.main"]


@contextlib.contextmanager
def process(folder: Path, *options: str, config: str = CONFIG) -> Iterator[subprocess.Popen[str]]:
    """``headway up`` as a process of its own, ready; its first line is `ready` on the object."""
    path = write_config(folder, config)
    socket = folder / "run" / "headway.sock"
    log = (folder / "daemon.log").open("a")
    daemon = subprocess.Popen(
        [*HEADWAY, "up", "--config", str(path), "--socket", str(socket), *options],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    try:
        assert daemon.stdout is not None
        line = daemon.stdout.readline()
        assert line.startswith("headway: ready on "), (line, (folder / "daemon.log").read_text())
        yield daemon
    finally:
        if daemon.poll() is None:
            daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        daemon.stdout.close()
        log.close()


def headway(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run one ``headway`` command to its end."""
    return subprocess.run(
        [*HEADWAY, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        check=False,
    )

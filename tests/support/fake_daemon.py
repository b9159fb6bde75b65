"""A small real server on a Unix socket that speaks the frames, well or badly, as a test asks.

It runs in threads, so that it also answers clients whose event loop is busy.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from headway.client import Client, Clocks, Route
from headway.client.paths import encode_pool_view, pool_view_path
from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.types import EndpointId
from headway.wire.messages import (
    PROTOCOL_VERSION,
    Ack,
    FrameSplitter,
    Granted,
    Hello,
    Ping,
    Pong,
    Refused,
    Welcome,
    decode_client,
    encode_frame,
)

Fact = TypeVar("Fact", bound=msgspec.Struct)

FAST = Clocks(
    ack_idle_s=0.05, ack_busy_s=0.1, hold_grace_s=0.05, spread_s=0.1, retry_s=0.1, pong_s=0.2
)
"""For tests in which clocks run out."""
PATIENT = Clocks(ack_idle_s=5.0, ack_busy_s=5.0, spread_s=0.1, retry_s=0.05)
"""For tests in which they must not, however busy the machine."""


def make_pool(**changes: object) -> Pool:
    """Two small endpoints and a large one behind the pool name ``agent``."""
    seats = Profile(seats=4)
    endpoints = (
        EndpointSpec(id=EndpointId("a1"), url="http://a1:1/v1", model="small", profile=seats),
        EndpointSpec(id=EndpointId("a2"), url="http://a2:1/v1", model="small", profile=seats),
        EndpointSpec(id=EndpointId("b1"), url="http://b1:1/v1", model="large", profile=seats),
    )
    pool = Pool(endpoints=endpoints, names=(PoolName(name="agent", models=("small", "large")),))
    return msgspec.structs.replace(pool, **changes)


def make_ask(call: str = "c1", **changes: object) -> CallReady:
    """The first attempt of a call for the pool name ``agent``."""
    fields: dict[str, object] = {
        "call": call,
        "attempt": 1,
        "run": "r1",
        "graph": "g",
        "node": "n1",
        "node_name": "write",
        "pool_name": "agent",
    }
    return CallReady(**(fields | changes))  # type: ignore[arg-type]


def write_pool_view(path: Path, pool: Pool) -> None:
    """The file that a daemon leaves beside its socket."""
    view = pool_view_path(path)
    view.write_bytes(encode_pool_view(pool))
    view.chmod(0o600)


def in_thread(client: Client, ask: CallReady) -> tuple[threading.Thread, list[Route]]:
    """Decide in a thread; the list holds the route when there is one."""
    routes: list[Route] = []
    thread = threading.Thread(target=lambda: routes.append(client.decide(ask)), daemon=True)
    thread.start()
    return thread, routes


def until(condition: Callable[[], bool], *, within_s: float = 5.0) -> None:
    """Wait for something that another thread does; fails when it does not happen."""
    deadline = monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert monotonic() < deadline, "it did not happen in time"
        pause.wait(0.001)


class FakeDaemon:
    """Accepts connections; what it answers is set by its attributes, at any time.

    `welcomes`, `acks`, `grants`, `pongs`: whether it answers at all. `raw_answer`: bytes
    sent instead of any answer to an ask. `reads`: set while it takes in what comes.
    `hangs_up`: closes the connection on an ask. `refuses`: answers
    `Hello` with this text. `received` holds (connection, message).
    """

    def __init__(self, path: Path, pool: Pool | None = None) -> None:
        self.path = path
        self.pool = pool or make_pool()
        self.welcomes = self.acks = self.grants = self.pongs = True
        self.hangs_up = False
        self.reads = threading.Event()
        self.reads.set()
        self.raw_answer = b""
        self.refuses = ""
        self.version = PROTOCOL_VERSION
        self.grant_to = "a1"
        self.received: list[tuple[int, msgspec.Struct]] = []
        self.connections: list[socket.socket] = []
        self._listener: socket.socket | None = None

    def start(self) -> "FakeDaemon":
        """Bind (a stale socket file is replaced) and accept."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Die as a killed process does: the socket file stays, nobody answers."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections."""
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def say(self, message: msgspec.Struct) -> None:
        """Send a message on the newest connection."""
        self.connections[-1].sendall(encode_frame(message))

    def grant(self, ask: CallReady, endpoint: str = "a1", *, apply: bool = True) -> None:
        """Grant a held call."""
        self.say(self._granted(ask, endpoint, apply=apply))

    def of(self, kind: type[Fact], *, connection: int | None = None) -> list[Fact]:
        """What it received of one kind, in order."""
        return [
            message
            for index, message in list(self.received)
            if isinstance(message, kind) and connection in (None, index)
        ]

    def wait_for(self, kind: type[Fact], count: int = 1) -> list[Fact]:
        """Wait until it has received `count` of a kind."""
        until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def _granted(self, ask: CallReady, endpoint: str, *, apply: bool = True) -> Granted:
        return Granted(
            call=ask.call,
            attempt=ask.attempt,
            endpoint=EndpointId(endpoint),
            model="small",
            urgency=2.5,
            held_s=0.0,
            why="because",
            apply=apply,
        )

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            index = len(self.connections) - 1
            threading.Thread(target=self._serve, args=(index, connection), daemon=True).start()

    def _serve(self, index: int, connection: socket.socket) -> None:
        splitter = FrameSplitter()
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.reads.wait(30)
                for body in splitter.feed(data):
                    message = decode_client(body)
                    self.received.append((index, message))
                    connection.sendall(self._answer(message))
                    if self.hangs_up and isinstance(message, CallReady):
                        connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, message: msgspec.Struct) -> bytes:
        if isinstance(message, Hello):
            if self.refuses:
                return encode_frame(Refused(error=self.refuses))
            if self.welcomes:
                return encode_frame(Welcome(version=self.version, pool=self.pool))
        elif isinstance(message, Ping) and self.pongs:
            return encode_frame(Pong(mode=self.pool.mode))
        elif isinstance(message, CallReady):
            if self.raw_answer:
                return self.raw_answer
            answer = b""
            if self.acks:
                answer += encode_frame(Ack(call=message.call, attempt=message.attempt))
            if self.grants:
                answer += encode_frame(self._granted(message, self.grant_to))
            return answer
        return b""

"""Asks a running daemon one question, synchronously."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from headway.core.errors import DaemonUnreachable, FrameError, HeadwayError
from headway.wire.messages import (
    PROTOCOL_VERSION,
    DaemonMessage,
    FrameSplitter,
    Hello,
    Query,
    Refused,
    Reply,
    Welcome,
    decode_daemon,
    encode_frame,
)

TIMEOUT_S = 10.0
READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """A daemon's address: its socket, or over TCP host, port and token."""

    socket: Path
    tcp: tuple[str, int] | None = None
    token: str = ""

    def __str__(self) -> str:
        return f"{self.tcp[0]}:{self.tcp[1]}" if self.tcp else str(self.socket)


def ask(where: Where, what: str, **args: Any) -> dict[str, Any]:
    """The daemon's answer.

    Raises `DaemonUnreachable` if there is none, `HeadwayError` if it says no.
    """
    with Connection(where) as connection:
        connection.send(Query(id=1, what=what, args=args))
        while True:
            message = connection.receive()
            if isinstance(message, Reply) and message.id == 1:
                if message.error:
                    raise HeadwayError(message.error)
                return message.body


class Connection:
    """A synchronous connection to the daemon, for people and tests; programs use the client."""

    def __init__(self, where: Where, *, timeout_s: float = TIMEOUT_S) -> None:
        self._where = where
        self._splitter = FrameSplitter()
        self._bodies: list[bytes] = []
        try:
            self._socket = self._connected(timeout_s)
        except OSError as error:
            raise DaemonUnreachable(
                f"no daemon answers on {where} ({error.strerror or error}): "
                "start one with `headway up`"
            ) from error
        try:
            self.send(
                Hello(version=PROTOCOL_VERSION, client="cli", pid=os.getpid(), token=where.token)
            )
            welcome = self.receive()
        except BaseException:
            self._socket.close()
            raise
        if not isinstance(welcome, Welcome):
            self._socket.close()
            raise HeadwayError(f"the daemon on {where} does not follow the protocol")
        self.welcome = welcome

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._where.tcp is not None:
            return socket.create_connection(self._where.tcp, timeout=timeout_s)
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(timeout_s)
            connected.connect(str(self._where.socket))
        except BaseException:
            connected.close()
            raise
        return connected

    def send(self, message: Any) -> None:
        """Send one message. Raises `DaemonUnreachable`."""
        try:
            self._socket.sendall(encode_frame(message))
        except OSError as error:
            raise DaemonUnreachable(f"the daemon on {self._where} hung up: {error}") from error

    def receive(self) -> DaemonMessage:
        """The next message. Raises `DaemonUnreachable`, or `HeadwayError` with a refusal."""
        while not self._bodies:
            try:
                data = self._socket.recv(READ_BYTES)
            except TimeoutError as error:
                raise DaemonUnreachable(
                    f"the daemon on {self._where} does not answer: is it stopped?"
                ) from error
            except OSError as error:
                raise DaemonUnreachable(f"the daemon on {self._where} hung up: {error}") from error
            if not data:
                raise DaemonUnreachable(f"the daemon on {self._where} closed the connection")
            try:
                self._bodies.extend(self._splitter.feed(data))
            except FrameError as error:
                raise HeadwayError(f"{self._where} is no daemon of Headway: {error}") from error
        message = decode_daemon(self._bodies.pop(0))
        if isinstance(message, Refused):
            raise HeadwayError(f"the daemon on {self._where} refused: {message.error}")
        return message

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

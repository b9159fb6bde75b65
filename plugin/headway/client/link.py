"""One connection to the daemon: a non-blocking Unix socket and its frames. No threads here."""

import os
import socket
import struct
from pathlib import Path

from headway.client import paths
from headway.core.errors import FrameError
from headway.wire.messages import DaemonMessage, FrameSplitter, decode_daemon

READ_BYTES = 1 << 16


class Link:
    """An open connection. Not thread-safe: the caller holds the client's lock."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._splitter = FrameSplitter()
        self.welcomed = False

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._sock.fileno()

    def send(self, data: bytes) -> int:
        """Bytes that the kernel took, 0 if it has no room. Raises `OSError`: the link is dead."""
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def receive(self) -> tuple[list[DaemonMessage], OSError | FrameError | None]:
        """Every whole message that has arrived, and what is wrong with the link, if anything.

        An `OSError` is the end of the connection, a `FrameError` what is not a frame of
        ours: either way the link is dead, though what came before it counts.
        """
        messages: list[DaemonMessage] = []
        try:
            while True:
                data = self._sock.recv(READ_BYTES)
                if not data:
                    return messages, ConnectionResetError("the daemon closed the connection")
                for body in self._splitter.feed(data):
                    messages.append(decode_daemon(body))
                if len(data) < READ_BYTES:
                    return messages, None
        except (BlockingIOError, InterruptedError):
            return messages, None
        except (OSError, FrameError) as error:
            return messages, error

    def close(self) -> None:
        """Close our end; a forked child closes only its copy."""
        self._sock.close()


def open_link(path: Path) -> Link:
    """Connect to the daemon's socket without ever waiting.

    Raises `OSError` if nothing answers there, and `PermissionError` if the socket
    or the process behind it is another user's.
    """
    if not paths.is_ours(os.stat(path)):  # noqa: PTH116 -- half the cost of Path.stat
        raise PermissionError(f"the socket {path} belongs to another user")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(str(path))
        if hasattr(socket, "SO_PEERCRED"):
            size = struct.calcsize("3i")
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            if struct.unpack("3i", credentials)[1] != paths.our_uid():
                raise PermissionError(f"another user's process answers on {path}")
    except BaseException:
        sock.close()
        raise
    return Link(sock)

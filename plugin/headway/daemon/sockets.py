"""The daemon's listening sockets: who may connect, and that there is only one daemon.

The Unix socket lies in a folder of mode 0700 and is itself 0600; the peer's
user id is checked as well. A lock file keeps a second daemon away even while
the first hangs; what a killed daemon left behind is taken over.
"""

import fcntl
import os
import socket
import stat
import struct
from pathlib import Path

from headway.core.errors import ConfigError, HeadwayError
from headway.daemon.files import PRIVATE_FILE, PRIVATE_FOLDER, lock_path

MAX_PATH_BYTES = 100
PROBE_S = 1.0


class SocketTaken(HeadwayError):
    """Another daemon serves this socket. Use that one, or another socket."""


def private_folder(folder: Path) -> None:
    """Make `folder` with mode 0700, or check that nobody else can enter it."""
    try:
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{folder} is not a folder")
    if status.st_uid != os.getuid():
        raise ConfigError(f"{folder} belongs to another user: choose another --socket")
    if status.st_mode & 0o077:
        raise ConfigError(
            f"{folder} can be entered by others (mode {status.st_mode & 0o777:o}): "
            f"chmod 700 {folder}, or give the socket a folder of its own with --socket"
        )


class Lock:
    """Held by the one daemon of a socket for as long as it lives; freed by the system."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        except OSError as error:
            raise ConfigError(
                f"cannot write {path}: {error.strerror}: choose a --socket in a folder of your own"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise SocketTaken(
                f"another daemon (pid {holder or 'unknown'}) has {path.with_suffix('')}: "
                "use it (headway status), stop it, or choose another --socket"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next daemon in. The file stays: removing it would race with that daemon."""
        os.close(self._descriptor)


def listen(path: Path) -> tuple[socket.socket, Lock]:
    """A listening Unix socket at `path` and the lock on it.

    Raises `SocketTaken` when somebody answers there, `ConfigError` when the
    path cannot be used.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigError(
            f"the socket's path is longer than {MAX_PATH_BYTES} bytes, which systems do not "
            f"allow: choose a shorter --socket than {path}"
        )
    private_folder(path.parent)
    lock = Lock(lock_path(path))
    try:
        _clear(path)
        return _bound(path), lock
    except BaseException:
        lock.release()
        raise


def _clear(path: Path) -> None:
    """Remove a socket that nobody serves."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"{path} is there and is not a socket: choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise SocketTaken(
                f"something holds {path} and does not answer ({error}): stop it, "
                "or choose another --socket"
            ) from error
    raise SocketTaken(f"another program answers on {path}: choose another --socket")


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(PRIVATE_FILE)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise ConfigError(f"cannot listen on {path}: {error.strerror}") from error
    return listening


def peer_uid(peer: socket.socket) -> int | None:
    """The user id at the other end of a Unix socket; None where the system cannot tell."""
    if hasattr(socket, "SO_PEERCRED"):  # Linux: struct ucred {pid, uid, gid}
        raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", raw)[1])
    local_peercred = getattr(socket, "LOCAL_PEERCRED", None)
    if local_peercred is not None:  # macOS: struct xucred {version, uid, ...}, SOL_LOCAL is 0
        raw = peer.getsockopt(0, local_peercred, 76)
        return int(struct.unpack_from("Ii", raw)[1])
    return None


def may_connect(uid: int | None) -> bool:
    """Only the daemon's own user (and root, who can do it anyway)."""
    return uid is None or uid in (os.getuid(), 0)


def read_token(path: Path) -> bytes:
    """The token of ``--token-file``. Raises `ConfigError`."""
    try:
        mode = path.stat().st_mode
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"cannot read the token file {path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"others can read the token file: chmod 600 {path}")
    if len(token) < 16:
        raise ConfigError(
            f"{path} should hold a secret of at least 16 characters: "
            f"python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}"
        )
    return token


def split_address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` in its parts. Raises `ConfigError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"{text!r} is not HOST:PORT")
    if int(port) > 65535:
        raise ConfigError(f"the port of {text!r} is wrong: it is a number up to 65535")
    return host.strip("[]") or "127.0.0.1", int(port)

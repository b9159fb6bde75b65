"""Where the daemon's socket and its pool view lie, and which of them may be trusted."""

import os
import stat
from pathlib import Path

import msgspec

from headway.core.pool import Pool

MAX_VIEW_BYTES = 4 << 20


def default_socket_path() -> Path:
    """``HEADWAY_SOCKET``, else below ``XDG_RUNTIME_DIR``, else below the home folder."""
    chosen = os.environ.get("HEADWAY_SOCKET")
    if chosen:
        return Path(chosen)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "headway" / "headway.sock"
    try:
        home = Path.home()
    except RuntimeError:  # no HOME and no entry in the user database, as in some containers
        home = Path("/tmp") / f"headway-{our_uid()}"
    return home / ".headway" / "run" / "headway.sock"


def pool_view_path(socket: Path) -> Path:
    """The file beside `socket` in which the daemon keeps its last pool view (msgpack)."""
    return socket.with_name(socket.name + ".pool")


def our_uid() -> int:
    """The user this process acts as."""
    return os.geteuid()


def is_ours(status: os.stat_result) -> bool:
    """Whether a file belongs to our user: what another user made may lead calls astray."""
    return status.st_uid == our_uid()


def encode_pool_view(pool: Pool) -> bytes:
    """The content of the pool view file."""
    return msgspec.msgpack.encode(pool)


def read_pool_view(path: Path) -> Pool:
    """The pool view in `path`.

    Raises `OSError` (missing or unreadable), `PermissionError` (another user's, or writable
    by others) and `msgspec.MsgspecError` (not a pool view): do without it.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not is_ours(status) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(f"{path} is not a file that only our user can write")
        return msgspec.msgpack.decode(file.read(MAX_VIEW_BYTES), type=Pool)

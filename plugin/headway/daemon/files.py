"""The daemon's own files: where they lie, and how they are written.

The socket's path names everything beside it; what clients read as well (the
socket, the pool view) is in `headway.client.paths`.
"""

import os
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def learned_path(socket: Path) -> Path:
    """Where the daemon keeps what was learned, over restarts."""
    return socket.with_name(f"{socket.name}.learned.sqlite")


def lock_path(socket: Path) -> Path:
    """What a running daemon holds a lock on."""
    return socket.with_name(f"{socket.name}.lock")


def journal_folder(socket: Path) -> Path:
    """The default folder of the journal: each socket's own, as rotation deletes what is old."""
    return socket.with_name(f"{socket.name}.journal")


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data` in one step, readable by its owner only. Raises `OSError`."""
    write_whole(path, data, mode=PRIVATE_FILE)


def write_whole(path: Path, data: bytes, *, mode: int) -> None:
    """Replace `path` by `data` in one step, with these permissions. Raises `OSError`."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise

"""The file that `headway train` writes and `headway up --learned` reads: one checked record.

msgpack with a version and a checksum, never a pickle: it may come from somebody else.
"""

import zlib
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.daemon.files import write_private

MODEL_FORMAT = 2


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A `Scheduler.snapshot()` as a file."""

    format: int
    checksum: int
    body: bytes


def write_model(path: Path, learned: dict[str, Any]) -> None:
    """Keep `learned` in `path`, readable by its owner only. Raises `OSError`."""
    body = msgspec.msgpack.encode(learned)
    stored = ModelFile(format=MODEL_FORMAT, checksum=zlib.crc32(body), body=body)
    write_private(path, msgspec.msgpack.encode(stored))


def read_model(path: Path) -> dict[str, Any]:
    """What the file that somebody named keeps. Raises `ConfigError` if that cannot be used."""
    try:
        stored = msgspec.msgpack.decode(path.read_bytes(), type=ModelFile)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigError(f"{path}: not made by `headway train`") from None
    if stored.format != MODEL_FORMAT:
        raise ConfigError(
            f"{path}: of format {stored.format}, this is {MODEL_FORMAT}: train it anew"
        )
    if zlib.crc32(stored.body) != stored.checksum:
        raise ConfigError(f"{path}: damaged: train it anew")
    return msgspec.msgpack.decode(stored.body, type=dict[str, Any])

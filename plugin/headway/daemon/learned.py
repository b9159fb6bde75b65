"""What the scheduler learned, over restarts of the daemon.

One file beside the socket, one checked record; written on a clean stop and
every few minutes. A file that is damaged is set aside: learning starts anew.
"""

import logging
import zlib
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError, JournalError
from headway.daemon.files import write_private
from headway.wire.journal import journals_in, read_journal

log = logging.getLogger("headway.daemon")

LEARNED_FORMAT = 1


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """A `Scheduler.snapshot()` as a file."""

    format: int
    checksum: int
    body: bytes


def save_learned(path: Path, learned: dict[str, Any]) -> None:
    """Keep `learned` in `path`, readable by its owner only. Raises `OSError`."""
    body = msgspec.msgpack.encode(learned)
    stored = Learned(format=LEARNED_FORMAT, checksum=zlib.crc32(body), body=body)
    write_private(path, msgspec.msgpack.encode(stored))


def read_learned(path: Path) -> dict[str, Any]:
    """What the file that somebody named keeps. Raises `ConfigError` if that cannot be used."""
    try:
        stored = msgspec.msgpack.decode(path.read_bytes(), type=Learned)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigError(f"{path}: not made by `headway train`") from None
    if stored.format != LEARNED_FORMAT:
        raise ConfigError(
            f"{path}: of format {stored.format}, this is {LEARNED_FORMAT}: train it anew"
        )
    if zlib.crc32(stored.body) != stored.checksum:
        raise ConfigError(f"{path}: damaged: train it anew")
    return msgspec.msgpack.decode(stored.body, type=dict[str, Any])


def load_learned(path: Path, journals: Path | None) -> dict[str, Any] | None:
    """What `path` keeps, else what the newest journal of the folder `journals` began with."""
    try:
        stored = msgspec.msgpack.decode(path.read_bytes(), type=Learned)
        if stored.format == LEARNED_FORMAT and zlib.crc32(stored.body) == stored.checksum:
            return msgspec.msgpack.decode(stored.body, type=dict[str, Any])
        log.warning("%s is damaged or of another version: not used", path)
    except FileNotFoundError:
        log.debug("nothing was learned before: no %s", path)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read (%s): not used", path, error)
    for journal in reversed(journals_in(journals) if journals is not None else []):
        try:
            header = read_journal(journal).header
        except JournalError as error:
            log.warning("%s", error)
            continue
        return header.learned
    return None

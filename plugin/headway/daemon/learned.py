"""What the scheduler learned, over restarts and kills of the daemon: one SQLite file.

It holds a snapshot and the lessons since. A file that cannot be used is set aside, never
overwritten. What may not live here: what is learned, and when it is kept.
"""

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headway.core.lessons import Lesson
from headway.daemon.files import PRIVATE_FILE

log = logging.getLogger("headway.daemon")

FORMAT = 1
"""Of the tables, in the file's `user_version`."""
_TABLES = f"""
BEGIN;
CREATE TABLE parts (name TEXT PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE lessons (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL);
PRAGMA user_version = {FORMAT};
COMMIT;
"""
_OF_THE_DISK = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    )
)
"""Errors that say nothing of what is in the file."""
_lesson = msgspec.msgpack.Decoder(Lesson)
_encode = msgspec.msgpack.Encoder().encode


class Kept(NamedTuple):
    """Parts of a snapshot of the scheduler, by name, and the lessons after it."""

    parts: dict[str, Any]
    lessons: tuple[Lesson, ...]


class _Unusable(Exception):
    """What is in the file is not what was kept."""


class LearnedStore:
    """The file at `path`, readable by its owner only; one daemon at a time has it open.

    Raises `sqlite3.Error` or `OSError` where the disk fails, here as in its methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = self._opened()

    def read(self) -> Kept:
        """What is there. A part that is damaged sets the file aside; a lesson, those after it."""
        try:
            rows = self._file.execute("SELECT name, body, checksum FROM parts ORDER BY name")
            parts = {name: msgspec.msgpack.decode(body) for name, body in _sound(rows)}
            rows = self._file.execute("SELECT number, body, checksum FROM lessons ORDER BY number")
            return Kept(parts, tuple(self._lessons(rows)))
        except (sqlite3.Error, _Unusable, msgspec.MsgspecError, UnicodeDecodeError) as error:
            if _is_of_the_disk(error):
                raise
            self.set_aside(f"damaged ({error})")
            return Kept({}, ())

    def keep(self, snapshot: Mapping[str, Any]) -> None:
        """Replace all that is there by a snapshot."""
        rows = _rows(snapshot)
        with self._file:
            self._file.execute("BEGIN")
            self._file.execute("DELETE FROM lessons")
            self._file.execute("DELETE FROM parts")
            self._keep_parts(rows)
        self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def add(self, lessons: Sequence[Lesson], parts: Mapping[str, Any]) -> None:
        """Keep lessons beyond the snapshot, and replace these parts of it."""
        new, rows = [_checked(lesson) for lesson in lessons], _rows(parts)
        with self._file:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT INTO lessons (body, checksum) VALUES (?, ?)", new)
            self._keep_parts(rows)

    def set_aside(self, why: str) -> None:
        """Begin a new file; the one that there was is kept under another name."""
        self.close()
        _move_aside(self._path, why)
        self._file = _open(self._path)

    def close(self) -> None:
        """Nothing is kept from now on."""
        self._file.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            return _open(self._path)
        except (sqlite3.Error, _Unusable) as error:
            if _is_of_the_disk(error):
                raise
            _move_aside(self._path, str(error))
            return _open(self._path)

    def _lessons(self, rows: Iterable[tuple[Any, Any, Any]]) -> Iterator[Lesson]:
        last = 0
        try:
            for number, body in _sound(rows):
                lesson = _lesson.decode(body)
                last = number
                yield lesson
        except (_Unusable, msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("%s: lessons after the %dth are lost (%s)", self._path, last, error)
            self._file.execute("DELETE FROM lessons WHERE number > ?", (last,))

    def _keep_parts(self, rows: Sequence[tuple[str, bytes, int]]) -> None:
        self._file.executemany(
            "INSERT OR REPLACE INTO parts (name, body, checksum) VALUES (?, ?, ?)", rows
        )


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    file = sqlite3.connect(path, isolation_level=None, timeout=0.0)  # decisions wait for nobody
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute("PRAGMA wal_autocheckpoint = 0")  # what waits for the disk comes with `keep`
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version not in (0, FORMAT):
            raise _Unusable(f"of another version ({version})")
        if not version:
            file.executescript(_TABLES)
    except BaseException:
        file.close()
        raise
    return file


def _move_aside(path: Path, why: str) -> None:
    aside = path.with_name(f"{path.name}.unused")
    log.warning("%s: %s: set aside as %s", path, why, aside.name)
    path.replace(aside)
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)


def _is_of_the_disk(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _OF_THE_DISK


def _sound(rows: Iterable[tuple[Any, Any, Any]]) -> Iterator[tuple[Any, bytes]]:
    for key, body, checksum in rows:
        if not isinstance(body, bytes) or zlib.crc32(body) != checksum:
            raise _Unusable(f"the checksum of {key!r} is wrong")
        yield key, body


def _rows(parts: Mapping[str, Any]) -> list[tuple[str, bytes, int]]:
    return [(name, *_checked(part)) for name, part in parts.items()]


def _checked(one: Any) -> tuple[bytes, int]:
    body = _encode(one)
    return body, zlib.crc32(body)

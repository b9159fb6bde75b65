"""What the scheduler learned, over restarts and kills of the daemon: one SQLite file.

It holds a snapshot, written on a clean stop and every few minutes, and the lessons since: a
daemon that was killed is taught them anew, and has forgotten no more than its last half second.
A damaged file is set aside. What may not live here: what is learned, and when it is kept.
"""

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headway.core.errors import JournalError
from headway.core.lessons import Lesson
from headway.daemon.files import PRIVATE_FILE
from headway.wire.journal import journals_in, read_journal

log = logging.getLogger("headway.daemon")

FORMAT = 1
"""Of the tables, in the file's `user_version`."""
_TABLES = """
BEGIN;
DROP TABLE IF EXISTS parts;
DROP TABLE IF EXISTS lessons;
CREATE TABLE parts (name TEXT PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE lessons (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, body BLOB NOT NULL);
"""
_lesson = msgspec.msgpack.Decoder(Lesson)
_encode = msgspec.msgpack.Encoder().encode


class Kept(NamedTuple):
    """A snapshot of the scheduler (None: there is none), and the lessons after it."""

    snapshot: dict[str, Any] | None
    lessons: tuple[Lesson, ...]


class LearnedStore:
    """The file at `path`, readable by its owner only; one daemon at a time has it open.

    What it held when it was opened is `found`. Raises `sqlite3.Error` or `OSError` where the disk
    fails, also from its methods.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self.found = self._opened()

    def keep(self, snapshot: Mapping[str, Any]) -> None:
        """Replace all that is there by a snapshot."""
        with self._file:
            self._file.execute("BEGIN")
            self._file.execute("DELETE FROM lessons")
            self._file.execute("DELETE FROM parts")
            self._keep_parts(snapshot)

    def add(self, lessons: Sequence[Lesson], observed: Mapping[str, Any]) -> None:
        """Keep lessons beyond the snapshot; parts of it that no lessons tell of are replaced."""
        with self._file:
            self._file.execute("BEGIN")
            self._file.executemany(
                "INSERT INTO lessons (checksum, body) VALUES (?, ?)", map(_row, lessons)
            )
            self._keep_parts(observed)

    def close(self) -> None:
        """Nothing is kept from now on."""
        self._file.close()

    def _keep_parts(self, parts: Mapping[str, Any]) -> None:
        self._file.executemany(
            "INSERT OR REPLACE INTO parts (name, checksum, body) VALUES (?, ?, ?)",
            [(name, *_row(part)) for name, part in parts.items()],
        )

    def _opened(self) -> tuple[sqlite3.Connection, Kept]:
        try:
            return _open(self._path)
        except (sqlite3.DatabaseError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # the disk, not what is on it
            aside = self._path.with_name(f"{self._path.name}.damaged")
            log.warning("%s is damaged (%s): set aside as %s", self._path, error, aside.name)
            self._path.replace(aside)
            for left in ("-wal", "-shm"):
                self._path.with_name(self._path.name + left).unlink(missing_ok=True)
            return _open(self._path)


def _open(path: Path) -> tuple[sqlite3.Connection, Kept]:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
    file = sqlite3.connect(path, isolation_level=None)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")  # survives the process; the machine, nearly
        (version,) = file.execute("PRAGMA user_version").fetchone()
        if version != FORMAT:
            if version:
                log.warning("%s is of another version: learning anew", path)
            file.executescript(f"{_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
        parts = file.execute("SELECT body, checksum, name FROM parts ORDER BY name")
        snapshot = {name: msgspec.msgpack.decode(body) for body, name in _checked(parts)}
        rows = file.execute("SELECT body, checksum, number FROM lessons ORDER BY number")
        lessons = tuple([_lesson.decode(body) for body, _ in _checked(rows)])
    except BaseException:
        file.close()
        raise
    return file, Kept(snapshot or None, lessons)


def _checked(rows: Iterable[tuple[bytes, int, Any]]) -> Iterator[tuple[bytes, Any]]:
    for body, checksum, key in rows:
        if zlib.crc32(body) != checksum:
            raise sqlite3.DatabaseError(f"the checksum of {key!r} is wrong")
        yield body, key


def _row(one: Any) -> tuple[int, bytes]:
    body = _encode(one)
    return zlib.crc32(body), body


def of_journals(folder: Path) -> dict[str, Any] | None:
    """What the newest journal of a folder that can be read began with."""
    for journal in reversed(journals_in(folder)):
        try:
            return read_journal(journal).header.learned
        except JournalError as error:
            log.warning("%s", error)
    return None

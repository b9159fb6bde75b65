"""The journal: what reached the scheduler and what it answered, for replay.

A file is a row of records, each a 4-byte little-endian length, a 4-byte
little-endian CRC-32 and a msgpack body. The first record is the `Header`: all
that a fresh scheduler needs to decide the same again. Every other record is
an `Entry`: an event, and what was commanded. A file that was cut (the machine
died) is read up to its last whole record.
"""

import os
import re
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from headway.core.commands import AnyCommand, Grant
from headway.core.errors import JournalError
from headway.core.facts import Event
from headway.core.pool import Pool

JOURNAL_FORMAT = 1
PREFIX_BYTES = 8
MAX_RECORD_BYTES = 1 << 28
MAX_BUFFER_BYTES = 1 << 20
DIGEST_BYTES = 8
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_NAME = re.compile(r"^headway-(\d{6,})\.journal$")


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header", tag_field="record"):
    """What a fresh scheduler is made of. `learned` is a `Scheduler.snapshot()`."""

    format: int
    headway: str
    pool: Pool
    policy: str
    params: dict[str, Any] = {}
    seed: int = 0
    learned: dict[str, Any] | None = None


class Entry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="entry",
    tag_field="record",
):
    """One event, a digest of everything it made the scheduler command, and the commands.

    `commands` are kept without the candidates' scores, which make up most of
    their size; the digest covers the scores too. `error` is what `handle`
    raised, if it did.
    """

    event: Event
    digest: bytes
    commands: tuple[AnyCommand, ...] = ()
    error: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header | Entry)


def digest_of(commands: tuple[AnyCommand, ...]) -> bytes:
    """Eight bytes that differ when the commands do; none for no commands."""
    if not commands:
        return b""
    return blake2b(_encoder.encode(commands), digest_size=DIGEST_BYTES).digest()


def without_scores(commands: tuple[AnyCommand, ...]) -> tuple[AnyCommand, ...]:
    """The commands as an `Entry` keeps them."""
    return tuple(
        msgspec.structs.replace(command, scores=()) if isinstance(command, Grant) else command
        for command in commands
    )


def encode_record(record: msgspec.Struct) -> bytes:
    """`record` with its length and checksum."""
    body = _encoder.encode(record)
    return len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little") + body


def encode_entry(event: Event, commands: tuple[AnyCommand, ...], error: str = "") -> bytes:
    """The record of one event and what it led to."""
    return encode_record(
        Entry(
            event=event,
            digest=digest_of(commands),
            commands=without_scores(commands),
            error=error,
        )
    )


class JournalReader:
    """Reads the records of one journal's bytes; sans-IO.

    While `entries` is read, `read_to` of `size` bytes are behind; then `cut_at` is the
    offset of the first byte that is not part of a whole record (None: the file is
    whole) and `cut_why` says what is wrong there.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.cut_at: int | None = None
        self.cut_why = ""
        self.header, self._start = self._read_header()
        self.size = len(data)
        self.read_to = self._start

    def entries(self) -> Iterator[Entry]:
        """Every whole entry in order."""
        at = self._start
        while at < len(self._data):
            try:
                record, end = self._record(at)
            except JournalError as error:
                self.cut_at, self.cut_why = at, str(error)
                return
            if not isinstance(record, Entry):
                self.cut_at, self.cut_why = at, "a second header"
                return
            self.read_to = end
            yield record
            at = end

    def _read_header(self) -> tuple[Header, int]:
        record, end = self._record(0)
        if not isinstance(record, Header):
            raise JournalError("its first record is not a header: not a journal of Headway")
        if record.format != JOURNAL_FORMAT:
            raise JournalError(
                f"its format is {record.format}, this Headway reads {JOURNAL_FORMAT}: "
                f"replay it with headway {record.headway}"
            )
        return record, end

    def _record(self, at: int) -> tuple[Header | Entry, int]:
        data = self._data
        start = at + PREFIX_BYTES
        size = int.from_bytes(data[at : at + 4], "little")
        if size > MAX_RECORD_BYTES:
            raise JournalError("no record begins here")
        end = start + size
        if len(data) < start or len(data) < end:
            raise JournalError(f"the record needs {end - at} bytes, {len(data) - at} are left")
        body = data[start:end]
        if zlib.crc32(body) != int.from_bytes(data[at + 4 : start], "little"):
            raise JournalError("the record's checksum is wrong")
        try:
            return _decoder.decode(body), end
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise JournalError(f"the record cannot be read: {error}") from error


def read_journal(path: Path) -> JournalReader:
    """The journal in the file `path`. Raises `JournalError` if not even its header is there."""
    try:
        return JournalReader(path.read_bytes())
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}") from error
    except JournalError as error:
        raise JournalError(f"{path} is not a journal that can be read: {error}") from error


def journals_in(folder: Path) -> list[Path]:
    """The journals of a folder, oldest first."""
    if not folder.is_dir():
        return []
    numbered = [
        (int(match.group(1)), path)
        for path in folder.iterdir()
        if (match := _NAME.match(path.name))
    ]
    return [path for _, path in sorted(numbered)]


class JournalWriter:
    """Writes numbered journal files into one folder and keeps the newest `keep`.

    Records are buffered; the shell calls `flush` at least each second. A
    write that fails (a full disk) raises `OSError`: the caller says so and
    goes on without a journal.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 64 << 20, keep: int = 4) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._keep = max(1, keep)
        self._descriptor: int | None = None
        self._buffer = bytearray()
        self._bytes = 0
        self._base = 0
        self.path: Path | None = None

    @property
    def full(self) -> bool:
        """Whether the file has grown to its size: time for `start` with a new header.

        A header is not counted: one that is larger than the limit must not rotate for ever.
        """
        return self._bytes - self._base >= self._max_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes of the current file, buffered ones included."""
        return self._bytes

    def start(self, header: Header) -> Path:
        """Close the current file and begin the next one; delete the oldest beyond `keep`."""
        self.close()
        self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        present = journals_in(self.folder)
        number = int(present[-1].stem.removeprefix("headway-")) + 1 if present else 1
        self.path = self.folder / f"headway-{number:06d}.journal"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._descriptor = os.open(self.path, flags, PRIVATE_FILE)
        for old in present[: max(0, len(present) + 1 - self._keep)]:
            old.unlink(missing_ok=True)
        record = encode_record(header)
        self._bytes = self._base = len(record)
        self._buffer += record
        self.flush()
        return self.path

    def append(self, event: Event, commands: tuple[AnyCommand, ...], error: str = "") -> None:
        """Buffer one event and what it led to."""
        record = encode_entry(event, commands, error)
        self._buffer += record
        self._bytes += len(record)
        if len(self._buffer) > MAX_BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the operating system."""
        if self._descriptor is None:
            return
        while self._buffer:
            written = os.write(self._descriptor, self._buffer)
            del self._buffer[:written]

    def close(self) -> None:
        """Flush and close; `start` begins anew."""
        if self._descriptor is None:
            return
        try:
            self.flush()
        finally:
            os.close(self._descriptor)
            self._descriptor = None
            self._buffer.clear()

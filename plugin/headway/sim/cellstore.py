"""Finished cells on disk, so that an interrupted suite resumes where it was.

One line a cell, appended and synced. A cell is found by a digest of its whole
specification, so a changed suite, trace or pool never meets the results of another. One
process writes a store; cells computed elsewhere are handed to it.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.sim.tally import Tally

STORE_NAME = "cells.jsonl"


class _Head(msgspec.Struct, frozen=True):
    """The part of a line that is read to find it again."""

    digest: str


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    spec: msgspec.Raw
    tally: Tally


def spec_digest(spec: Any) -> str:
    """A digest of all that decides what a cell's result is: any structs, dicts, numbers, text.

    Keys of dicts and members of sets count in sorted order.
    """
    return hashlib.sha256(msgspec.json.encode(spec, order="deterministic")).hexdigest()


class CellStore:
    """The cells of a folder. Raises `ConfigError` if a line in the middle cannot be read.

    The last line may be cut short (the process died while writing): it is dropped and that
    cell is computed again.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / STORE_NAME
        self._at: dict[str, int] = {}
        self._path.touch()
        self._drop_cut_line()
        self._index()

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, spec: Any) -> bool:
        return spec_digest(spec) in self._at

    def get(self, spec: Any) -> Tally | None:
        """The finished cell of this specification, or None."""
        begins = self._at.get(spec_digest(spec))
        if begins is None:
            return None
        with self._path.open("rb") as file:
            file.seek(begins)
            line = file.readline()
        try:
            return msgspec.json.decode(line, type=_Line).tally
        except msgspec.DecodeError as error:
            raise ConfigError(self._unreadable(line=None, why=error)) from error

    def add(self, spec: Any, tally: Tally) -> None:
        """Keep a finished cell. Once this returns it survives a crash."""
        digest = spec_digest(spec)
        raw = msgspec.Raw(msgspec.json.encode(spec, order="deterministic"))
        line = msgspec.json.encode(_Line(digest=digest, spec=raw, tally=tally)) + b"\n"
        with self._path.open("ab") as file:
            begins = file.tell()
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._at[digest] = begins

    def _drop_cut_line(self) -> None:
        with self._path.open("rb+") as file:
            whole = 0
            for line in file:
                whole += len(line) if line.endswith(b"\n") else 0
            file.truncate(whole)

    def _index(self) -> None:
        begins = 0
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    self._at[msgspec.json.decode(line, type=_Head).digest] = begins
                except msgspec.DecodeError as error:
                    raise ConfigError(self._unreadable(line=number, why=error)) from error
                begins += len(line)

    def _unreadable(self, *, line: int | None, why: Exception) -> str:
        place = f"{self._path}:{line}" if line else f"{self._path}"
        return f"{place}: not a finished cell: {why}; delete the file to compute all cells again"

"""Knees that were found, kept in the folder of a suite's results for when it is played again."""

from pathlib import Path

import msgspec

from headway.core.errors import ConfigError
from headway.sim.cells import CellSpec
from headway.sim.cellstore import spec_digest
from headway.sim.knee import FoundKnee


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    digest: str
    what: str
    knee: FoundKnee


class KneeStore:
    """Knees in a folder, by the digest of their cell and of how many plays were allowed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, FoundKnee] = {}
        lines = path.read_bytes().splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                kept = msgspec.json.decode(line, type=_Line)
            except msgspec.DecodeError as error:
                if number == len(lines):
                    break  # cut short as the process died: it is looked for again
                raise ConfigError(
                    f"{path}:{number}: not a knee: {error}; delete the file to look for all again"
                ) from error
            self._known[kept.digest] = kept.knee

    def get(self, spec: CellSpec, plays: int) -> FoundKnee | None:
        """The knee that was found for this cell with so many plays."""
        return self._known.get(spec_digest([spec, plays]))

    def add(self, spec: CellSpec, plays: int, knee: FoundKnee) -> None:
        """Keep a knee."""
        line = _Line(digest=spec_digest([spec, plays]), what=str(spec), knee=knee)
        cut = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        with self._path.open("ab") as file:
            file.write((b"\n" if cut else b"") + msgspec.json.encode(line) + b"\n")
        self._known[line.digest] = knee

"""The rows of a data set: found by name, decoded into typed structs, filtered, with their place.

A set is every file ``NAME.PART.jsonl`` or ``NAME.PART.jsonl.gz`` of a folder, whatever
its parts are called, one after the other by the name of the part.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import msgspec

from headway.core.errors import ConfigError, nearest, nearest_name
from headway.sim.tracefile import TraceError, digest_of_files, lines_of

Count = Annotated[int, msgspec.Meta(ge=0)]
"""Tokens, calls: never negative."""

Time = Annotated[float, msgspec.Meta(ge=0)]
"""Seconds, never negative."""

Progress = Callable[[int], None]
"""Is told how many rows have been read so far."""

PROGRESS_ROWS = 1000
VALUES_NAMED = 40
_FILE = re.compile(r"^([^.]+)\.([^.]+)\.jsonl(?:\.gz)?$")

T = TypeVar("T", bound=msgspec.Struct)


def files_of(name: str, folder: Path) -> tuple[Path, ...]:
    """The files of the set `name`, by part.

    Raises `ConfigError` if there are none, or two of one part.
    """
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder} to read the set `{name}` from")
    parts: dict[str, Path] = {}
    others: set[str] = set()
    for path in sorted(folder.iterdir()):
        found = _FILE.match(path.name)
        if found is None:
            continue
        if found.group(1) != name:
            others.add(found.group(1))
        elif (first := parts.get(found.group(2))) is not None:
            raise ConfigError(f"{folder} has both {first.name} and {path.name}: remove one of them")
        else:
            parts[found.group(2)] = path
    if not parts:
        hint = nearest(name, others) if others else "; it has no such file of any set"
        raise ConfigError(f"no file {name}.PART.jsonl or {name}.PART.jsonl.gz in {folder}{hint}")
    return tuple(path for _, path in sorted(parts.items()))


class Rows:
    """The rows of one set that `where` does not exclude; knows where it is reading.

    `where` names fields of the rows and the value that they must have, as text (``true``,
    ``false`` and ``null`` as in JSON); options of a loader are taken out of it by `option`.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        where: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.name = name
        self.place = str(folder)
        self.read = 0
        self._files = files_of(name, folder)
        self._where = dict(where or {})
        self._options: set[str] = set()
        self._seen: dict[str, set[str]] = {}
        self._progress = progress
        self._digest = digest_of_files()

    @property
    def digest(self) -> str:
        """The digest of the bytes read so far."""
        return self._digest.hexdigest()

    def option(self, name: str, choices: tuple[str, ...]) -> str:
        """What `where` says of an option that is no field of the rows; else the first choice."""
        value = self._where.pop(name, choices[0])
        self._options.add(name)
        if value not in choices:
            raise ConfigError(
                f"{self.name}: {name}={value!r} is not known{nearest(value, choices)}"
            )
        return value

    def of(self, kind: type[T], *, default: Mapping[str, str] | None = None) -> Iterator[T]:
        """Every row as a `kind`; fields of `default` that `where` does not name are filtered by it.

        Raises `TraceError` for a row that is not one, `ConfigError` for an unknown field.
        """
        wanted = {**(default or {}), **self._where}
        names = _fields(kind)
        for field in wanted:
            if field not in names:
                raise ConfigError(
                    f"{self.name}: no field `{field}` to select rows by"
                    f"{nearest(field, {*names, *self._options})}"
                )
        decoder = msgspec.json.Decoder(kind)
        self._seen = {field: set() for field in wanted}
        for path in self._files:
            for number, line in lines_of(path, self._digest):
                self.place = f"{path}:{number}"
                self.read += 1
                if self._progress is not None and self.read % PROGRESS_ROWS == 0:
                    self._progress(self.read)
                row = self._decoded(decoder, line)
                # every field is looked at, so that `nothing` can tell which one was never so
                fits = [self._is(row, names[field], field, wanted[field]) for field in wanted]
                if all(fits):
                    yield row
        if self._progress is not None:
            self._progress(self.read)

    def counted(self, field: str, told: int, there: int) -> None:
        """Refuse a row that has another number of calls than it says: it is cut."""
        if told != there:
            raise self.wrong(f"{field} is {told}, but {there} are there")

    def wrong(self, what: str) -> TraceError:
        """The error for the row that was read last."""
        return TraceError(f"{self.place}: {what}")

    def nothing(self) -> ConfigError:
        """The error for a selection that left no run."""
        for field, value in self._where.items():
            seen = self._seen.get(field, set())
            if seen and value not in seen:
                known = sorted(seen)[:VALUES_NAMED]
                close = nearest_name(value, known)
                hint = f"did you mean `{close}`?" if close else f"there are: {', '.join(known)}"
                return ConfigError(f"{self.name}: no row has {field}={value!r}; {hint}")
        return ConfigError(
            f"{self.name}: {self.read} rows in {', '.join(path.name for path in self._files)}, "
            f"but no run is left of them"
        )

    def _decoded(self, decoder: msgspec.json.Decoder[T], line: bytes) -> T:
        try:
            return decoder.decode(line)
        except msgspec.ValidationError as error:
            raise self.wrong(f"not a row of {self.name}: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.wrong(f"not JSON: {error}") from error

    def _is(self, row: msgspec.Struct, attribute: str, field: str, value: str) -> bool:
        found = _text(getattr(row, attribute))
        seen = self._seen[field]
        if len(seen) < VALUES_NAMED or found == value:
            seen.add(found)
        return found == value


def _fields(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Attribute by the name in the file, of the fields that hold one value."""
    return {
        field.encode_name: field.name
        for field in msgspec.structs.fields(kind)
        if get_origin(field.type) not in (tuple, dict)
    }


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def after(place: int) -> tuple[int, ...]:
    """The parents of the node at `place` of a chain."""
    return (place - 1,) if place else ()


def written(tokens: int) -> int:
    """Tokens that an engine made for an answer: its end is one, even if nothing was said."""
    return max(tokens, 1)


def between(ended_s: float | None, begun_s: float | None, *, cap_s: float) -> float:
    """Seconds from an end to the next beginning: from 0 to `cap_s`; 0 where a time is unknown."""
    if ended_s is None or begun_s is None:
        return 0.0
    return min(max(begun_s - ended_s, 0.0), cap_s)

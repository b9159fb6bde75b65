"""Reads a YAML file together with the line on which each of its keys stands.

So that a mistake can be shown where it is. A key that is given twice is an
error here: YAML parsers keep the last one silently.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headway.core.errors import ConfigError

KeyPath = tuple[str | int, ...]
_SECRET_USER = re.compile(r"(?<=:)//[^/]*@")
_SECRET_QUERY = re.compile(r"(?<=://)([^?#]*)[?#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Origin:
    """A place in a file that was read, with the lines of that file."""

    path: Path
    lines: Mapping[KeyPath, int]
    at: KeyPath = ()

    def below(self, *rest: str | int) -> "Origin":
        """The place of a key (of a key) of this one."""
        return Origin(self.path, self.lines, (*self.at, *rest))

    @property
    def file_and_line(self) -> str:
        """``FILE:LINE``, of the nearest key above if this one is not written down."""
        probe = self.at
        while probe and probe not in self.lines:
            probe = probe[:-1]
        return f"{self.path}:{self.lines[probe]}" if probe else str(self.path)

    def __str__(self) -> str:
        dotted = ".".join(_public(part) for part in self.at)
        return f"{self.file_and_line}: {dotted}" if dotted else self.file_and_line


def _public(part: str | int) -> str:
    """A key as a message may show it: one that is a URL without user, password and query."""
    return _SECRET_USER.sub("//", _SECRET_QUERY.sub(r"\1", str(part)))


@dataclass(frozen=True, slots=True)
class Places:
    """Where each part of a checked configuration was read; `moved` has the exceptions."""

    root: Origin
    moved: Mapping[KeyPath, Origin]

    def where(self, at: KeyPath) -> str:
        """Place and path of a key, for a message."""
        for cut in range(len(at), 0, -1):
            if at[:cut] in self.moved:
                return str(self.moved[at[:cut]].below(*at[cut:]))
        return str(self.root.below(*at))


MISSING = "write one (endpoints and models), or name yours with --config"


def read_yaml(path: Path, *, missing: str = MISSING) -> tuple[Any, dict[KeyPath, int]]:
    """The file's content and the line (from 1) of each path in it.

    Raises `ConfigError`; `missing` says what to do when there is no such file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {path}: {missing}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    lines: dict[KeyPath, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _walk(node, (), lines, path)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: 2024-13-45
        raise ConfigError(f"{path}: not valid YAML: {error}") from error


def _walk(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name = str(key.value)
            line = key.start_mark.line + 1
            if name in seen and name != "<<":
                raise ConfigError(
                    f"{path}:{line}: {name!r} is already given on line {seen[name]}: keep one"
                )
            seen[name] = line
            lines[(*at, name)] = line
            _walk(value, (*at, name), lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*at, number)] = item.start_mark.line + 1
            _walk(item, (*at, number), lines, path)

"""Strict YAML: a file becomes a struct, or one message with file, line and the nearest known key.

The struct must forbid unknown fields; its sections are structs and lists of them, so that
every mistake has a path.
"""

import re
import typing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from headway.core.errors import ConfigError, nearest

KeyPath = tuple[str | int, ...]
_AT = re.compile(r" - at `\$([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")

T = TypeVar("T")


def read_strict(path: Path, kind: type[T]) -> T:
    """The file as a `kind`. Raises `ConfigError` with ``FILE:LINE``."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not text: {error.reason}") from error
    return parse_strict(text, kind, str(path))


def parse_strict(text: str, kind: type[T], name: str) -> T:
    """The same for text that is already read; `name` stands for the file in messages."""
    lines: dict[KeyPath, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _walk(node, (), lines, name)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise ConfigError(f"{where}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: should hold keys such as `name:`, `pools:` and `traces:`")
    try:
        return msgspec.convert(content, kind, strict=True)
    except ConfigError as error:  # a section that checks itself does not know where it stands
        raise ConfigError(f"{name}: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(_told(str(error), kind, lines, name)) from error


def _told(message: str, kind: type[Any], lines: dict[KeyPath, int], name: str) -> str:
    found = _AT.search(message)
    at: KeyPath = ()
    if found is not None:
        at = tuple(key or int(place) for key, place in _PART.findall(found[1]))
        message = message[: found.start()]
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is not None:
        message = f"unknown key `{unknown[1]}`{nearest(unknown[1], _keys_at(kind, at))}"
        at = (*at, unknown[1])
    probe = at
    while probe and probe not in lines:
        probe = probe[:-1]
    line = f"{name}:{lines[probe]}" if probe in lines else name
    dotted = ".".join(map(str, at))
    return f"{line}: {dotted}: {message}" if dotted else f"{line}: {message}"


def _keys_at(kind: Any, at: KeyPath) -> tuple[str, ...]:
    """The keys of the struct that lies at a path of `kind`."""
    section = _struct_in(kind)
    for part in at:
        if isinstance(part, int) or section is None:
            continue
        section = _struct_in(typing.get_type_hints(section).get(part))
    return tuple(section.__struct_encode_fields__) if section is not None else ()


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    for inner in typing.get_args(annotation):
        if (found := _struct_in(inner)) is not None:
            return found
    return None


def _walk(node: yaml.Node, at: KeyPath, lines: dict[KeyPath, int], name: str) -> None:
    """Note the line of every key; a key that is given twice is an error, not the last one."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            line = key.start_mark.line + 1
            if place in lines and key.value != "<<":
                raise ConfigError(
                    f"{name}:{line}: {key.value!r} is already given on line {lines[place]}: "
                    "keep one"
                )
            lines[place] = line
            _walk(value, place, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*at, number)] = item.start_mark.line + 1
            _walk(item, (*at, number), lines, name)

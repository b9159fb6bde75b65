"""A LiteLLM proxy's config.yaml as LiteLLM would read it, with the place of each entry.

Includes are merged in LiteLLM's order (lists are extended, all else is
replaced) and `os.environ/NAME` is looked up. What an entry means for a pool
is in litellm_config.py.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.errors import ConfigError
from headway.daemon.yamllines import Origin, read_yaml

FROM_ENVIRONMENT = "os.environ/"
MISSING = "name your LiteLLM proxy's config.yaml with --litellm"


class Complaint(ValueError):
    """One mistake, told with its place. Collect it, and go on to the next entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One item of `model_list`, and the text of the file it stands in."""

    content: Mapping[str, Any]
    origin: Origin
    text: tuple[str, ...]

    @property
    def group(self) -> str:
        """The name that clients ask for."""
        return resolved(self.content.get("model_name"), self.origin.below("model_name"))

    @property
    def params(self) -> Mapping[str, Any]:
        """What LiteLLM sends, and where."""
        return _mapping(self.content.get("litellm_params"), self.origin.below("litellm_params"))

    @property
    def info(self) -> Mapping[str, Any]:
        """What is said about the deployment; the keys are free."""
        info = self.content.get("model_info")
        return {} if info is None else _mapping(info, self.origin.below("model_info"))

    def text_of(self, key: str) -> str:
        """A text of `litellm_params`; empty if there is none. Raises `Complaint`."""
        value = self.params.get(key)
        if value is None or value == "":
            return ""
        return resolved(value, self.origin.below("litellm_params", key))

    def indent_of(self, *at: str | int) -> int | None:
        """The column of a key of this entry; None if it is written in braces."""
        line = self.origin.lines.get((*self.origin.at, *at))
        if line is None:
            return None
        raw = self.text[line - 1]
        column = len(raw) - len(raw.lstrip(" -"))
        return column if raw[column:].lstrip("'\"").startswith(str(at[-1])) else None


@dataclass(frozen=True, slots=True)
class ProxyFile:
    """What of a proxy's configuration concerns a pool; the origins are for messages."""

    entries: tuple[Entry, ...]
    sections: Mapping[str, tuple[Any, Origin]]
    root: Origin

    def section(self, *keys: str) -> tuple[Any, Origin | None]:
        """A top-level section, or a key of it, and its place; None if it is not there."""
        value, origin = self.sections.get(keys[0], (None, None))
        origin = origin if value is not None else None
        for key in keys[1:]:
            value = value.get(key) if isinstance(value, Mapping) else None
            origin = origin.below(key) if origin is not None else None
        return value, origin


def read_proxy_file(path: Path) -> ProxyFile:
    """Read `path` and what it includes. Raises `ConfigError`."""
    entries: list[Entry] = []
    sections: dict[str, tuple[Any, Origin]] = {}
    read: set[Path] = set()
    pending: list[tuple[Path, Origin | None]] = [(path, None)]
    roots: list[Origin] = []
    while pending:
        file, named_at = pending.pop(0)
        if file.resolve() in read:
            continue
        read.add(file.resolve())
        missing = f"{named_at} includes it" if named_at is not None else MISSING
        content, lines = read_yaml(file, missing=missing)
        if not isinstance(content, dict):
            raise ConfigError(f"{file}: should hold keys such as `model_list:`")
        root = Origin(file, lines)
        roots.append(root)
        sections |= {key: (value, root.below(key)) for key, value in content.items()}
        entries += _entries(content.get("model_list"), root)
        pending += _includes(content.get("include"), root, path)
    if not entries:
        raise ConfigError(
            f"{path}: has no `model_list:`; models that LiteLLM keeps in its database are not "
            "read: list them in the file, or write a headway.yaml"
        )
    return ProxyFile(entries=tuple(entries), sections=sections, root=roots[0])


def _entries(model_list: Any, root: Origin) -> list[Entry]:
    if model_list is None:
        return []
    if not isinstance(model_list, list):
        raise ConfigError(f"{root.below('model_list')}: should be a list")
    text = tuple(root.path.read_text(encoding="utf-8").splitlines())
    found = []
    for number, item in enumerate(model_list):
        origin = root.below("model_list", number)
        if not isinstance(item, dict):
            raise ConfigError(f"{origin}: should hold `model_name` and `litellm_params`")
        found.append(Entry(content=item, origin=origin, text=text))
    return found


def _includes(include: Any, root: Origin, first: Path) -> list[tuple[Path, Origin | None]]:
    """The files that are included: beside the file that names them, else beside the first one."""
    if include is None:
        return []
    if not isinstance(include, list) or not all(map(_is_file_name, include)):
        raise ConfigError(f"{root.below('include')}: should be a list of file names")
    found: list[tuple[Path, Origin | None]] = []
    for number, name in enumerate(include):
        beside, beside_first = root.path.parent / name, first.parent / name
        usual = beside if beside.exists() or not beside_first.exists() else beside_first
        found.append((usual, root.below("include", number)))
    return found


def _is_file_name(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


def resolved(value: Any, origin: Origin) -> str:
    """A text, looked up in the environment where it says so. Raises `Complaint`."""
    if not isinstance(value, str) or not value.strip():
        raise Complaint(f"{origin}: should be a text" if value else f"{origin}: is missing")
    if not value.startswith(FROM_ENVIRONMENT):
        return value
    name = value.removeprefix(FROM_ENVIRONMENT)
    found = os.environ.get(name, "").strip()
    if not found:
        raise Complaint(
            f"{origin}: the environment variable {name} is not set where `headway up` runs: "
            "set it there as for the proxy"
        )
    return found


def _mapping(value: Any, origin: Origin) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Complaint(f"{origin}: should hold keys" if value else f"{origin}: is missing")
    return value


def suggested_id(group: str, taken: set[str]) -> str:
    """A free id for a deployment of `group`; it is taken from then on."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", group).strip("-") or "deployment"
    number = 1
    while f"{stem}-{number}" in taken:
        number += 1
    taken.add(f"{stem}-{number}")
    return f"{stem}-{number}"


def lines_for_id(entry: Entry, new_id: str) -> str:
    """The exact lines that give an entry its id, and where they go."""
    column = entry.indent_of("model_name")
    at = entry.origin.below("model_info")
    if at.at not in at.lines:
        if column is None:
            return f"write `model_info: {{id: {new_id}}}` inside its braces"
        pad = " " * column
        return f"add to this entry\n{pad}model_info:\n{pad}  id: {new_id}"
    below = [key for key in entry.info if at.lines.get((*at.at, key)) != at.lines[at.at]]
    if column is None or (entry.info and not below):
        return f"write `id: {new_id}` inside the braces of its `model_info`"
    inner = entry.indent_of("model_info", below[0]) if below else None
    pad = " " * (inner or column + 2)
    return f"add below `model_info:` (line {at.lines[at.at]})\n{pad}id: {new_id}"

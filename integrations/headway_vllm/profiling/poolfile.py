"""Writes a measured profile into headway.yaml, and leaves everything else as it was."""

import re
import stat
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from headway.client.poolview import normal_url
from headway.core.errors import ConfigError
from headway.daemon.files import write_whole
from headway_vllm.profiling.measuring import Measured

DIGITS = 4
THIS_MACHINE = re.compile(r"//(127\.0\.0\.1|\[::1\])(?=[:/]|$)")
DEEPER = re.compile(r"^\w[^:\n]*:[ ]*\n([ ]+)\w", re.MULTILINE)


def profile_of(measured: Measured) -> dict[str, Any]:
    """The keys of a pool file's `profile`; what could not be seen is left out."""
    fitted, limits = measured.fitted, measured.limits
    found: dict[str, Any] = {
        "prefill_s": _short(fitted.prefill_s),
        "step_s": _short(fitted.step_s),
        "seq_s": _short(fitted.seq_s),
        "context_s": _short(fitted.context_s),
    }
    if limits.seats is not None:
        found["seats"] = limits.seats
    if limits.kv_tokens is not None:
        found["kv_tokens"] = limits.kv_tokens
    return found


class PoolFile:
    """A pool file and its endpoints at one URL. Raises `ConfigError` if it cannot be read."""

    def __init__(self, path: Path, url: str) -> None:
        self.path = path.resolve()
        self._url = url
        self._yaml = YAML()
        self._yaml.preserve_quotes = True
        self._yaml.width = 1 << 16
        self._yaml.representer.add_representer(float, _written)
        try:
            text = self.path.read_text(encoding="utf-8")
            self._content = self._yaml.load(text)
            _, indent, offset = load_yaml_guess_indent(text)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except (YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: is no YAML: {error}") from None
        if indent is not None:
            self._yaml.indent(sequence=indent, offset=offset)
        if deeper := DEEPER.search(text):
            self._yaml.indent(mapping=len(deeper[1]))
        content = self._content
        endpoints = content.get("endpoints") if isinstance(content, dict) else None
        self._all = [one for one in endpoints or () if isinstance(one, CommentedMap)]
        self._here = [one for one in self._all if _same(str(one.get("url", "")), url)]

    @property
    def model(self) -> str:
        """The model of the endpoints there; empty if there are none, or several."""
        models = {str(one.get("model")) for one in self._here}
        return models.pop() if len(models) == 1 else ""

    @property
    def api_key(self) -> str:
        """The reference to the key of the endpoints there; empty if they have none, or several."""
        keys = {str(one.get("api_key") or "") for one in self._here}
        return keys.pop() if len(keys) == 1 else ""

    def check(self, model: str) -> list[CommentedMap]:
        """The endpoints of that model there. Raises `ConfigError` if a profile has no place."""
        wanted = [one for one in self._here if one.get("model") == model]
        if not wanted:
            known = ", ".join(f"{one.get('url')} ({one.get('model')})" for one in self._all)
            raise ConfigError(
                f"{self.path}: has no endpoint with url {self._url} and model {model}; it has: "
                f"{known or 'none'}"
            )
        for one in wanted:
            shared = [one, one.get("profile")]
            if any(isinstance(part, CommentedMap) and _is_shared(part) for part in shared):
                raise ConfigError(
                    f"{self.path}: endpoint {one.get('id')} shares its keys with others (an anchor "
                    "or <<): write it out, or leave out --pool and copy what is shown"
                )
        return wanted

    def write(self, measured: Measured) -> tuple[str, ...]:
        """Put it into every endpoint of that URL and model; the ids of these.

        Only measured keys change. Raises `ConfigError` as `check` does, or if it cannot write.
        """
        wanted = self.check(measured.model)
        for entry in wanted:
            if not isinstance(entry.get("profile"), CommentedMap):
                _put(entry, "profile", CommentedMap())
            for key, value in profile_of(measured).items():
                _put(entry["profile"], key, value)
            if measured.overhead_s > 0:
                _put(entry, "rtt", _short(measured.overhead_s))
            if measured.heeds_urgency is not None:
                _put(entry, "heeds_urgency", measured.heeds_urgency)
        text = StringIO()
        self._yaml.dump(self._content, text)
        try:
            mode = stat.S_IMODE(self.path.stat().st_mode)
            write_whole(self.path, text.getvalue().encode(), mode=mode)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written: {error.strerror}") from None
        return tuple(str(one.get("id")) for one in wanted)


def _put(entry: CommentedMap, key: str, value: Any) -> None:
    """Set a key; a new one goes before the last, whose comments may belong to what comes next."""
    if key in entry or not entry:
        entry[key] = value
    else:
        entry.insert(len(entry) - 1, key, value)


def _is_shared(part: CommentedMap) -> bool:
    """Whether other entries take keys of this one, or this one of others."""
    return part.yaml_anchor() is not None or bool(part.merge)


def _same(one: str, other: str) -> bool:
    """Whether two base URLs are the same, however this machine is written."""
    first, second = (THIS_MACHINE.sub("//localhost", normal_url(url)) for url in (one, other))
    return first == second


def _written(representer: Any, value: float) -> Any:
    """As people write it: 5e-07 would be a text to YAML."""
    return representer.represent_scalar("tag:yaml.org,2002:float", f"{Decimal(repr(value)):f}")


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")

"""Writes a measured profile into headway.yaml, and leaves everything else as it was."""

import os
import tempfile
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.util import load_yaml_guess_indent

from headway.core.errors import ConfigError
from headway_vllm.profiling.measuring import Measured

DIGITS = 4


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


def write_profile(path: Path, url: str, measured: Measured) -> tuple[str, ...]:
    """Put it into every endpoint of that URL and model; the ids of these.

    Comments and order stay. Raises `ConfigError` for a file that cannot be read or has none.
    """
    yaml, content, entries = _read(path)
    wanted = [one for one in entries if _serves(one, url, measured.model)]
    if not wanted:
        known = ", ".join(f"{one.get('url')} ({one.get('model')})" for one in entries) or "none"
        raise ConfigError(
            f"{path}: has no endpoint with url {url} and model {measured.model}; it has: {known}"
        )
    for entry in wanted:
        kept = entry.get("profile")
        wakes = kept.get("wake_s") if isinstance(kept, dict) else None
        entry["profile"] = profile_of(measured) | ({"wake_s": wakes} if wakes else {})
        if measured.overhead_s > 0:
            entry["rtt"] = _short(measured.overhead_s)
        if measured.heeds_urgency is not None:
            entry["heeds_urgency"] = measured.heeds_urgency
    text = StringIO()
    yaml.dump(content, text)
    _replace(path, text.getvalue())
    return tuple(str(one.get("id")) for one in wanted)


def model_at(path: Path, url: str) -> str:
    """The model of the pool's only endpoint at `url`; empty if there are none or several."""
    models = {
        str(one.get("model")) for one in _read(path)[2] if _same(str(one.get("url", "")), url)
    }
    return models.pop() if len(models) == 1 else ""


def _read(path: Path) -> tuple[YAML, Any, list[dict[str, Any]]]:
    """The file, to be written back, and its endpoints."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 16
    yaml.representer.add_representer(float, _written)
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text)
        _, indent, offset = load_yaml_guess_indent(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: is no YAML: {error}") from None
    if indent is not None:
        yaml.indent(sequence=indent, offset=offset)
    endpoints = content.get("endpoints") if isinstance(content, dict) else None
    entries = [one for one in endpoints or () if isinstance(one, dict)]
    return yaml, content, entries


def _serves(entry: dict[str, Any], url: str, model: str) -> bool:
    return _same(str(entry.get("url", "")), url) and entry.get("model") == model


def _same(one: str, other: str) -> bool:
    """Whether two base URLs are the same, however the host of this machine is written."""

    def parts(url: str) -> tuple[str, str, int | None, str]:
        split = urlsplit(url.rstrip("/"))
        host = (split.hostname or "").replace("127.0.0.1", "localhost")
        return split.scheme, host, split.port, split.path

    return parts(one) == parts(other)


def _written(representer: Any, value: float) -> Any:
    """As people write it: 5e-07 would be a text to YAML."""
    return representer.represent_scalar("tag:yaml.org,2002:float", f"{Decimal(repr(value)):f}")


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _replace(path: Path, text: str) -> None:
    """All or nothing, with the file's own permissions."""
    mode = path.stat().st_mode
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

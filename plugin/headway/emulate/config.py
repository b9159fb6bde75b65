"""Reads what `headway emulate` needs from the ``headway.yaml`` that the daemon reads too.

Only ``endpoints``, ``emulate`` and the pool names of ``models`` are looked at; the rest is
the daemon's.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from headway.core.errors import ConfigError, nearest, nearest_name
from headway.engine import EngineProfile, preset

DEFAULT_SPEEDUP = 1.0
DEFAULT_SKILL = 0.5

_PROFILE_KEYS = frozenset(EngineProfile.__dataclass_fields__)
_ENDPOINT_KEYS = _PROFILE_KEYS | {"preset", "skill"}
_OURS = ("emulate", "endpoints", "models")
_EMULATE_KEYS = frozenset({"speedup", "answers", "endpoints"})
_SPEC_KEYS = frozenset(
    {
        *("id", "url", "model", "engine", "api_key", "server", "profile"),
        *("context_tokens", "rpm", "tpm", "price", "rtt", "drain", "heeds_urgency", "kv_events"),
    }
)


class EmulatedSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One emulated endpoint: where it listens, what it serves, how fast and how skilled it is.

    Port 0 asks for any free port. Endpoints with the same `server` share one
    engine and one address. `aliases` are further names that it answers to: the
    pool names that list its model.
    """

    id: str
    host: str
    port: int
    path: str
    model: str
    server: str
    profile: EngineProfile
    skill: float = DEFAULT_SKILL
    context_tokens: int | None = None
    aliases: tuple[str, ...] = ()


class EmulateConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that an emulated pool needs. Emulated seconds = wall seconds x `speedup`."""

    endpoints: tuple[EmulatedSpec, ...]
    speedup: float = DEFAULT_SPEEDUP
    answers: str = ""


def check_keys(where: str, given: Iterable[Any], known: Iterable[str]) -> None:
    """Raises `ConfigError` for the first key that is not known, naming the nearest that is."""
    names = sorted(known)
    for key in given:
        if key not in names:
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(str(key), names)}")


def load_config(path: Path, *, speedup: float | None = None) -> EmulateConfig:
    """Read a pool file; `speedup` overrides the file's. Raises `ConfigError`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    config = parse_config(document, where=str(path))
    return config if speedup is None else _with_speedup(config, speedup, "--speedup")


def _with_speedup(config: EmulateConfig, speedup: float, where: str) -> EmulateConfig:
    if not 0 < speedup < float("inf"):
        raise ConfigError(f"{where}: the speed-up must be above 0, not {speedup}")
    return msgspec.structs.replace(config, speedup=speedup)


def parse_config(document: Any, *, where: str = "headway.yaml") -> EmulateConfig:
    """The emulated part of an already parsed pool file. Raises `ConfigError`."""
    top = _mapping(document, where)
    for key in top:
        # Other sections belong to the daemon; only what looks like ours is ours to refuse.
        if nearest_name(str(key), _OURS, alike=0.8) not in ("", key):
            raise ConfigError(f"{where}: unknown key {key!r}{nearest(str(key), _OURS)}")
    section = _mapping(top.get("emulate") or {}, f"{where}: emulate")
    check_keys(f"{where}: emulate", section, _EMULATE_KEYS)
    truths = _mapping(section.get("endpoints") or {}, f"{where}: emulate.endpoints")
    names = _pool_names(_mapping(top.get("models") or {}, f"{where}: models"), where)
    listed = top.get("endpoints") or []
    if not isinstance(listed, list):
        raise ConfigError(f"{where}: endpoints must be a list")
    specs = []
    for index, item in enumerate(listed):
        at = f"{where}: endpoints[{index}]"
        raw = _mapping(item, at)
        if raw.get("engine") == "emulated":
            check_keys(at, raw, _SPEC_KEYS)
            truth = truths.get(str(raw.get("id", "")))
            spec = _endpoint(raw, _mapping(truth or {}, f"{at}: emulate"), where, at)
            aliases = tuple(name for name, models in names.items() if spec.model in models)
            specs.append(msgspec.structs.replace(spec, aliases=aliases))
    if not specs:
        raise ConfigError(f"{where}: no endpoint has 'engine: emulated'; nothing to emulate")
    _check_addresses(specs, where)
    check_keys(f"{where}: emulate.endpoints", truths, {spec.id for spec in specs})
    config = EmulateConfig(
        endpoints=tuple(specs), answers=_typed(section, "answers", str, "", f"{where}: emulate")
    )
    speedup = _typed(section, "speedup", float, DEFAULT_SPEEDUP, f"{where}: emulate")
    return _with_speedup(config, speedup, f"{where}: emulate.speedup")


def _pool_names(section: Mapping[str, Any], where: str) -> dict[str, list[str]]:
    """The models of each pool name, in the file's order."""
    names = {}
    for name, entry in section.items():
        models = entry.get("any_of") if isinstance(entry, dict) else entry
        try:
            names[str(name)] = msgspec.convert(models, list[str])
        except msgspec.ValidationError as error:
            raise ConfigError(
                f"{where}: models.{name} must be a list of models, or hold one as any_of: {error}"
            ) from error
    return names


def _endpoint(
    raw: Mapping[str, Any], truth: Mapping[str, Any], where: str, at: str
) -> EmulatedSpec:
    for key in ("id", "url", "model"):
        if not isinstance(raw.get(key), str) or not raw[key]:
            raise ConfigError(f"{at}: {key} is missing or not text")
    name = raw["id"]
    at_truth = f"{where}: emulate.endpoints.{name}"
    check_keys(at_truth, truth, _ENDPOINT_KEYS)
    url = urlsplit(raw["url"])
    try:
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ConfigError(f"{at}: url {raw['url']!r}: {error}") from error
    if url.scheme != "http" or not host or port is None:
        raise ConfigError(
            f"{at}: url {raw['url']!r} of an emulated endpoint must be like "
            "http://127.0.0.1:8101/v1, with a port"
        )
    return EmulatedSpec(
        id=name,
        host=host,
        port=port,
        path=url.path.rstrip("/"),
        model=raw["model"],
        server=_typed(raw, "server", str, "", at) or name,
        profile=_profile(truth, at_truth),
        skill=_typed(truth, "skill", float, DEFAULT_SKILL, at_truth),
        context_tokens=_typed(raw, "context_tokens", int | None, None, at),
    )


def _profile(truth: Mapping[str, Any], at: str) -> EngineProfile:
    base: dict[str, Any] = {}
    name = truth.get("preset")
    if name is not None:
        try:
            known = preset(str(name))
        except ConfigError as error:
            raise ConfigError(f"{at}: {error}") from error
        base = {key: getattr(known, key) for key in _PROFILE_KEYS}
    base.update({key: value for key, value in truth.items() if key in _PROFILE_KEYS})
    try:
        return msgspec.convert(base, EngineProfile)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"{at}: {error}") from error


def read_truths(
    document: Any, *, where: str = "headway.yaml"
) -> tuple[dict[str, EngineProfile], float]:
    """The ``emulate:`` section alone: true profiles by endpoint, whatever its engine, and speed-up.

    For judging a pool of real servers by what is known of them. Raises `ConfigError`.
    """
    top = _mapping(document, where)
    section = _mapping(top.get("emulate") or {}, f"{where}: emulate")
    check_keys(f"{where}: emulate", section, _EMULATE_KEYS)
    truths = _mapping(section.get("endpoints") or {}, f"{where}: emulate.endpoints")
    ids = {str(one.get("id")) for one in top.get("endpoints") or [] if isinstance(one, dict)}
    check_keys(f"{where}: emulate.endpoints", truths, ids)
    profiles = {}
    for name, truth in truths.items():
        at = f"{where}: emulate.endpoints.{name}"
        given = _mapping(truth or {}, at)
        check_keys(at, given, _ENDPOINT_KEYS)
        profiles[str(name)] = _profile(given, at)
    speedup = _typed(section, "speedup", float, DEFAULT_SPEEDUP, f"{where}: emulate")
    if not 0 < speedup < float("inf"):
        raise ConfigError(f"{where}: emulate.speedup: must be above 0, not {speedup}")
    return profiles, speedup


def _check_addresses(specs: list[EmulatedSpec], where: str) -> None:
    seen_ids: set[str] = set()
    servers: dict[str, EmulatedSpec] = {}
    ports: dict[tuple[str, int], str] = {}
    for spec in specs:
        if spec.id in seen_ids:
            raise ConfigError(f"{where}: two endpoints have the id {spec.id!r}")
        seen_ids.add(spec.id)
        first = servers.setdefault(spec.server, spec)
        if (first.host, first.port, first.path) != (spec.host, spec.port, spec.path):
            raise ConfigError(
                f"{where}: {first.id!r} and {spec.id!r} share the server {spec.server!r} "
                "but not the url"
            )
        if first.profile != spec.profile:
            raise ConfigError(
                f"{where}: {first.id!r} and {spec.id!r} share the server {spec.server!r}, "
                "so emulate.endpoints must give both the same profile"
            )
        if spec.port and ports.setdefault((spec.host, spec.port), spec.server) != spec.server:
            raise ConfigError(
                f"{where}: {spec.id!r} listens on port {spec.port} like another endpoint; "
                "give each its own port, or the same 'server' if they share capacity"
            )


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a mapping of keys to values")
    return value


def _typed(source: Mapping[str, Any], key: str, kind: Any, default: Any, where: str) -> Any:
    try:
        return msgspec.convert(source.get(key, default), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}.{key}: {error}") from error

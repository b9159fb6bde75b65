"""headway.yaml, checked: from the file to a pool, a policy and what to say about it.

Every mistake is told with file, line, path and what to write instead; all of
them at once, so that a file is mended in one go.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from headway.client.engines import KNOWN_ENGINES
from headway.client.poolview import gateway_url
from headway.core.errors import ConfigError, nearest
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.types import EndpointId
from headway.daemon.schema import EndpointSection, FileSection
from headway.daemon.yamllines import KeyPath, Origin, Places, read_yaml
from headway.policy import make_policy

DEFAULT_FILE = "headway.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a configuration file says.

    `notes` tell what was read and does not act. `emulate` is left as it was
    read: the emulator checks it. `kind` names the file for people, `load`
    reads it again.
    """

    path: Path
    kind: str
    load: Callable[[Path], "Config"]
    pool: Pool
    policy: str
    params: dict[str, Any]
    seed: int
    emulate: Any
    notes: tuple[str, ...]
    encoder: Path | None = None

    @property
    def source(self) -> str:
        """Where the pool came from, for people."""
        return f"{self.kind} {self.path}"


def load_config(path: Path) -> Config:
    """Read and check `path`. Raises `ConfigError` that names all mistakes."""
    content, lines = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: should hold keys such as `endpoints:` and `models:`")
    if "model_list" in content and "endpoints" not in content:
        raise ConfigError(f"{path}: is a LiteLLM configuration: headway up --litellm {path}")
    file = checked(content, Places(Origin(path, lines), {}))
    return config_of(file, path=path, kind="configuration", load=load_config)


def checked(content: dict[str, Any], places: Places, *, context: str = "") -> FileSection:
    """`content`, of the shape of headway.yaml. Raises `ConfigError` that names all mistakes."""
    try:
        file = FileSection.model_validate(content, context=context)
    except ValidationError as error:
        problems = [_problem(item["loc"], item, places) for item in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None
    problems = [f"{places.where(at)}: {text}" for at, text in _contradictions(file)]
    if problems:
        raise ConfigError("\n".join(problems))
    return file


def config_of(
    file: FileSection,
    *,
    path: Path,
    kind: str,
    load: Callable[[Path], Config],
    notes: tuple[str, ...] = (),
) -> Config:
    """The configuration that a checked file means."""
    return Config(
        path=path,
        kind=kind,
        load=load,
        pool=_pool(file),
        policy=file.policy.name,
        params=dict(file.policy.model_extra or {}),
        seed=file.policy.seed,
        emulate=file.emulate,
        notes=(*notes, *_notes(file)),
        encoder=path.parent / Path(file.encoder).expanduser() if file.encoder else None,
    )


def _problem(loc: KeyPath, item: Any, places: Places) -> str:
    """One line for one of pydantic's findings."""
    at = tuple(part for part in loc if part != "[key]")
    if item["type"] == "extra_forbidden":
        known = _keys_at(at[:-1])
        return f"{places.where(at)}: unknown key `{at[-1]}`{nearest(str(at[-1]), known)}"
    if item["type"] == "missing":
        return f"{places.where(at[:-1])}: `{at[-1]}` is missing"
    message = str(item["msg"]).removeprefix("Value error, ")
    return f"{places.where(at)}: {message[0].lower()}{message[1:]}"


def _keys_at(at: KeyPath) -> tuple[str, ...]:
    """The keys that the section at a path knows."""
    section: type[BaseModel] | None = FileSection
    for part in at:
        field = section.model_fields.get(str(part)) if section is not None else None
        if field is None:  # an index or a name of the user's: the section stays
            continue
        section = _section_in(field.annotation)
    return tuple(section.model_fields) if section is not None else ()


def _section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _section_in(inner)
        if found is not None:
            return found
    return None


def _contradictions(file: FileSection) -> Iterable[tuple[KeyPath, str]]:
    """What is wrong although every key by itself is right."""
    first: dict[str, int] = {}
    for number, endpoint in enumerate(file.endpoints):
        if endpoint.id in first:
            yield (
                ("endpoints", number, "id"),
                f"`{endpoint.id}` is already the id of endpoint {first[endpoint.id]}: "
                "give each its own",
            )
        first.setdefault(endpoint.id, number)
    models = {endpoint.model for endpoint in file.endpoints}
    for name, entry in file.models.items():
        for model in entry.any_of:
            if model not in models:
                yield (
                    ("models", name),
                    f"no endpoint serves `{model}`{nearest(model, models)}",
                )
        if len(set(entry.any_of)) < len(entry.any_of):
            yield ("models", name), "lists a model twice"
        targets = models | set(first)
        if entry.fallback and entry.fallback not in targets:
            yield (
                ("models", name, "fallback"),
                f"no endpoint or model `{entry.fallback}`{nearest(entry.fallback, targets)}",
            )
    for key, section in (("capabilities", file.capabilities), ("quality", file.quality)):
        for model in section:
            if model not in models:
                yield (key, model), f"no endpoint serves `{model}`{nearest(model, models)}"
    yield from _gateway_contradictions(file)
    try:
        make_policy(file.policy.name, file.policy.model_extra)
    except ConfigError as error:
        yield ("policy",), str(error)


def _gateway_contradictions(file: FileSection) -> Iterable[tuple[KeyPath, str]]:
    endpoints = {gateway_url(one.url): one.id for one in file.endpoints if one.url}
    first: dict[str, str] = {}
    for url in file.gateways:
        normal = gateway_url(url)
        if normal in endpoints:
            yield (
                ("gateways", url),
                f"is the URL of endpoint `{endpoints[normal]}` too: a call either goes to an "
                "endpoint or through a gateway; remove one",
            )
        if normal in first:
            yield ("gateways", url), f"is the same gateway as {first[normal]}: keep one"
        first.setdefault(normal, url)


def _pool(file: FileSection) -> Pool:
    return Pool(
        endpoints=tuple(_endpoint(section) for section in file.endpoints),
        names=tuple(
            PoolName(
                name=name,
                models=tuple(entry.any_of),
                fallback=entry.fallback,
                switch_in_loop=entry.switch_in_loop,
                send_text=entry.send_text,
                encode=entry.send_text and bool(file.encoder),
                wait_for_confidence_s=entry.wait_for_confidence_ms / 1000.0,
                idle_grace_s=entry.idle_grace_s,
            )
            for name, entry in file.models.items()
        ),
        capabilities={model: tuple(needs) for model, needs in file.capabilities.items()},
        quality=dict(file.quality),
        gateways=dict(file.gateways),
        class_deadlines={
            name: section.deadline_s
            for name, section in file.classes.items()
            if section.deadline_s is not None
        },
    )


def _endpoint(section: EndpointSection) -> EndpointSpec:
    profile = section.profile
    return EndpointSpec(
        id=EndpointId(section.id),
        url=section.url,
        model=section.model,
        engine=section.engine,
        api_key=section.api_key,
        server=section.server,
        profile=Profile(**profile.model_dump()) if profile is not None else None,
        context_tokens=section.context_tokens,
        rpm=section.rpm,
        tpm=section.tpm,
        price=section.price,
        rtt_s=section.rtt,
        heeds_urgency=section.heeds_urgency,
        kv_events=section.kv_events,
        drain=section.drain,
    )


_IDLE_KEYS = {
    "endpoints": ("rpm", "tpm", "price"),
    "classes": ("weight", "least_share"),
}
"""Keys of a section that are read and kept but do not change a decision yet."""


def _notes(file: FileSection) -> tuple[str, ...]:
    return (*_idle(file), *_doubts(file))


def _doubts(file: FileSection) -> Iterable[str]:
    """What may be meant so, but more often is a slip."""
    bare = [one.id for one in file.endpoints if one.url and not urlsplit(one.url).path]
    if bare:
        yield (
            f"the URL of {', '.join(bare)} has no path: OpenAI-compatible servers usually serve "
            "http://HOST:PORT/v1"
        )
    known = ("openai", *KNOWN_ENGINES)
    strange: dict[str, list[str]] = {}
    for one in file.endpoints:
        if one.engine not in known:
            strange.setdefault(one.engine, []).append(one.id)
    for engine, ids in strange.items():
        yield (
            f"no engine `{engine}` is known: {', '.join(ids)} will be served like `openai`, and "
            f"told no urgency{nearest(engine, known)}"
        )

    told = [name for name, entry in file.models.items() if entry.send_text]
    if file.encoder and not told:
        yield "`encoder` reads nothing: no pool name says `send_text: true`"
    waiting = [name for name, entry in file.models.items() if entry.wait_for_confidence_ms]
    if vain := [name for name in waiting if not file.encoder or name not in told]:
        yield (
            f"`wait_for_confidence_ms` of {', '.join(vain)} waits for nothing: it takes an "
            "`encoder` and `send_text: true`"
        )


def _idle(file: FileSection) -> tuple[str, ...]:
    sections: dict[str, list[BaseModel]] = {
        "endpoints": list(file.endpoints),
        "classes": list(file.classes.values()),
    }
    idle = [
        f"{section}.{key}"
        for section, keys in _IDLE_KEYS.items()
        for key in keys
        if any(key in item.model_fields_set for item in sections[section])
    ]
    profiles = [endpoint.profile for endpoint in file.endpoints if endpoint.profile is not None]
    if any("wake_s" in profile.model_fields_set for profile in profiles):
        idle.append("endpoints.profile.wake_s")
    idle += ["tenants"] if file.tenants else []
    if not idle:
        return ()
    return (f"set in the configuration but not in effect yet: {', '.join(idle)}",)

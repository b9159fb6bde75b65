"""What a user says about a run or a node in LangGraph metadata: the flat ``headway_*`` keys.

Keys: ``headway_deadline_s`` (seconds from the run's start), ``headway_class``,
``headway_tenant``, ``headway_tags``, ``headway_models`` (names, or one string
with commas), ``headway_budget``, ``headway_off``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from headway.calling.guard import warn_once
from headway.context import Scope
from headway.core.errors import nearest, nearest_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A run's wishes; the defaults say nothing."""

    deadline_s: float | None = None
    service_class: str = ""
    tenant: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    budget: float | None = None
    off: bool = False


NOTHING = Settings()
KEYS = (
    "headway_deadline_s",
    "headway_class",
    "headway_tenant",
    "headway_tags",
    "headway_models",
    "headway_budget",
    "headway_off",
)
RUN_KEYS = tuple(key for key in KEYS if key not in ("headway_models", "headway_off"))


def read(metadata: Mapping[str, Any] | None) -> Settings:
    """The settings in `metadata`. A value that makes no sense is skipped with one warning."""
    warn_of_unknown(metadata)
    if not metadata or not any(key in metadata for key in KEYS):
        return NOTHING
    return Settings(
        deadline_s=_number(metadata, "headway_deadline_s"),
        service_class=_text(metadata, "headway_class"),
        tenant=_text(metadata, "headway_tenant"),
        tags=names(metadata.get("headway_tags"), key="headway_tags"),
        models=names(metadata.get("headway_models"), key="headway_models"),
        budget=_number(metadata, "headway_budget"),
        off=truth(metadata.get("headway_off")),
    )


def names(value: Any, *, key: str = "headway_models") -> tuple[str, ...]:
    """A tuple of names from a list or a string with commas; anything else counts as not said."""
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (list, tuple)):
        return tuple(str(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return tuple(sorted(str(item) for item in value))
    warn_once(key, "headway: %s should be a list of names, not %r; it is ignored", key, value)
    return ()


def truth(value: Any) -> bool:
    """Whether an off switch is set: true, a non-zero number, or a word such as ``yes``."""
    if value is None:
        return False
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes", "on")
    return bool(value)


def narrow(outer: tuple[str, ...], inner: tuple[str, ...]) -> tuple[str, ...]:
    """What a node leaves of its run's models; a pin outside them wins, as it is the closer one."""
    if not inner or inner == outer:
        return outer
    if not outer:
        return inner
    return tuple(model for model in inner if model in outer) or inner


def inherit(scope: Scope, tags: tuple[str, ...], own: Settings, now: float) -> Settings:
    """What holds for a run inside the node of `scope`: its `own` wishes, else the node's.

    The stricter deadline holds. `now` is when the run starts, on the clock of `scope`: its own
    clock starts then, so of the outer deadline it has what is left.
    """
    deadlines = [] if own.deadline_s is None else [own.deadline_s]
    if scope.deadline_s is not None:
        deadlines.append(max(0.0, scope.deadline_s - (now - scope.run_started)))
    return Settings(
        deadline_s=min(deadlines, default=None),
        service_class=own.service_class or scope.service_class,
        tenant=own.tenant or scope.tenant,
        tags=own.tags or tags,
        models=narrow(scope.models, own.models),
        off=scope.off or own.off,
    )


def warn_of_unknown(metadata: Mapping[str, Any] | None) -> None:
    """Warn once of each key that looks like ours and is none."""
    for key in metadata or ():
        if isinstance(key, str) and key.startswith("headway_") and key not in KEYS:
            warn_once(
                f"metadata {nearest_name(key, KEYS)}",
                "headway: the key %r in the metadata is not known and ignored%s",
                key,
                nearest(key, KEYS),
            )


def warn_of_node(node: str, metadata: Mapping[str, Any] | None) -> None:
    """Warn once of keys that are not known or hold for runs only, in a node's own metadata."""
    warn_of_unknown(metadata)
    for key in RUN_KEYS:
        if metadata and key in metadata:
            warn_once(
                f"{key} of a node",
                "headway: %s in the metadata of node %r is ignored for its calls: a node may say "
                "headway_models and headway_off, the rest is for config['metadata'] of a run",
                key,
                node,
            )


def _text(metadata: Mapping[str, Any], key: str) -> str:
    value = metadata.get(key)
    return "" if value is None else str(value)


def _number(metadata: Mapping[str, Any], key: str) -> float | None:
    value = metadata.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if number >= 0:
        return number
    warn_once(key, "headway: %s should be a number >= 0, not %r; it is ignored", key, value)
    return None


def said_of_node(scope: Scope, metadata: Mapping[str, Any]) -> Scope:
    """`scope` with what the node's own metadata pin or switch off."""
    pinned = metadata.get("headway_models")
    return replace(
        scope,
        models=narrow(scope.models, names(pinned)) if pinned else scope.models,
        off=scope.off or truth(metadata.get("headway_off")),
    )

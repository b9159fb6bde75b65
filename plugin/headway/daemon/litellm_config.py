"""A pool from a LiteLLM proxy's config.yaml: deployments become endpoints, groups pool names.

LiteLLM itself is never imported: its keys are read as its proxy reads them.
What Headway needs beyond them stands in the same file, which LiteLLM leaves
alone there: `model_info.headway` of a deployment, `headway:` at the top. The
result is checked by the rules of headway.yaml, so mistakes are told alike.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.client.poolview import normal_url
from headway.core.errors import ConfigError, nearest
from headway.core.pool import ASSUMED
from headway.daemon.adapters import shows_load
from headway.daemon.config import Config, checked, config_of
from headway.daemon.litellm_deployment import Deployment, deployment, why_left_out
from headway.daemon.litellm_file import (
    Complaint,
    Entry,
    ProxyFile,
    lines_for_id,
    read_proxy_file,
    suggested_id,
)
from headway.daemon.schema import URLS_MAY_BE_EMPTY, FileSection, PoolNameSection
from headway.daemon.yamllines import KeyPath, Origin, Places

KIND = "LiteLLM configuration"
CALLBACK = "headway_litellm.callback"

TOP_KEYS = tuple(key for key in FileSection.model_fields if key not in ("endpoints", "emulate"))
GROUP_KEYS = tuple(key for key in PoolNameSection.model_fields if key != "any_of")


@dataclass(slots=True)
class _Read:
    """What was found so far: deployments, groups in file order, mistakes, what was left out."""

    deployments: list[Deployment] = field(default_factory=list)
    groups: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    moved: dict[KeyPath, Origin] = field(default_factory=dict)


def load_litellm(path: Path) -> Config:
    """Read and check a proxy's `path`. Raises `ConfigError` that names all mistakes."""
    file = read_proxy_file(path)
    read = _deployments(file)
    content = _content(file, read)
    if read.problems:
        raise ConfigError("\n".join(dict.fromkeys(read.problems)))
    if not read.deployments:
        raise ConfigError(f"{path}: nothing in it can be scheduled: {'; '.join(_left_out(read))}")
    section = checked(content, Places(file.root, read.moved), context=URLS_MAY_BE_EMPTY)
    return config_of(
        section, path=path, kind=KIND, load=load_litellm, notes=tuple(_notes(file, read))
    )


# -- model_list ------------------------------------------------------------------------------------


def _deployments(file: ProxyFile) -> _Read:
    read = _Read()
    nameless: list[Entry] = []
    for entry in file.entries:
        try:
            if why := why_left_out(entry):
                read.left_out.setdefault(why, []).append(entry.group)
                continue
            one = deployment(entry)
        except Complaint as complaint:
            read.problems.append(str(complaint))
            continue
        if not one.id:
            nameless.append(entry)
        read.deployments.append(one)
        models = read.groups.setdefault(one.group, [])
        if one.model not in models:
            models.append(one.model)
    _complain_of_missing_ids(nameless, read)
    _complain_of_doubles(read)
    return read


def _complain_of_missing_ids(nameless: list[Entry], read: _Read) -> None:
    taken = {one.id for one in read.deployments}
    for entry in nameless:
        group = entry.group
        lines = lines_for_id(entry, suggested_id(group, taken))
        read.problems.append(
            f"{entry.origin.file_and_line}: this deployment of `{group}` has no `model_info.id`, "
            f"by which LiteLLM and Headway mean the same one; {lines}"
        )


def _complain_of_doubles(read: _Read) -> None:
    first_of_id: dict[str, Origin] = {}
    first_alike: dict[tuple[object, ...], Origin] = {}
    for one in read.deployments:
        origin = one.entry.origin
        alike = (one.group, *sorted(one.texts.items()))
        if one.id and one.id in first_of_id:
            read.problems.append(
                f"{origin.below('model_info', 'id').file_and_line}: the id `{one.id}` is already "
                f"that of {first_of_id[one.id].file_and_line}: give each deployment its own"
            )
        elif alike in first_alike:
            read.problems.append(
                f"{origin.file_and_line}: is the same deployment of `{one.group}` as "
                f"{first_alike[alike].file_and_line} (same model, api_base and credentials): "
                "remove one, or let LiteLLM's `weight` say that it should get more"
            )
        first_of_id.setdefault(one.id, origin.below("model_info", "id"))
        first_alike.setdefault(alike, origin)


# -- as headway.yaml -------------------------------------------------------------------------------


def _content(file: ProxyFile, read: _Read) -> dict[str, Any]:
    """The pool in the shape of headway.yaml; `read.moved` learns where its parts were read."""
    endpoints = []
    for number, one in enumerate(read.deployments):
        read.moved[("endpoints", number)] = one.entry.origin.below("model_info", "headway")
        read.moved |= {("endpoints", number, key): at for key, at in one.origins.items()}
        endpoints.append(dict(one.section))
    _share_servers(endpoints)
    content: dict[str, Any] = {
        "endpoints": endpoints,
        "capabilities": _capabilities(read.deployments),
    }
    own, at = file.section("headway")
    if own is not None and not isinstance(own, dict):
        read.problems.append(f"{at}: should hold keys such as `policy:`")
    own = own if isinstance(own, dict) else {}
    for key, value in own.items():
        if at is None or value is None:
            continue
        read.moved[(key,)] = at.below(key)
        if key not in TOP_KEYS:
            problem = f"{at.below(key)}: unknown key `{key}`{nearest(str(key), TOP_KEYS)}"
            read.problems.append(problem)
        elif key == "capabilities" and isinstance(value, dict):
            content[key] |= value
        else:
            content[key] = value
    content["models"] = _pool_names(file, read)
    return content


def _share_servers(endpoints: list[dict[str, Any]]) -> None:
    """One engine that is listed in several groups has its seats once, and counts its calls once."""
    alike = [one for one in endpoints if shows_load(str(one.get("engine"))) and one["url"]]
    count = Counter(normal_url(one["url"]) for one in alike)
    for one in alike:
        url = normal_url(one["url"])
        if count[url] > 1:
            one.setdefault("server", url)


def _capabilities(deployments: list[Deployment]) -> dict[str, list[str]]:
    """Per model what its deployments say: a `false` of one of them counts for all."""
    said: dict[str, dict[str, bool]] = {}
    for one in deployments:
        for need, able in one.abilities.items():
            of_model = said.setdefault(one.model, {})
            of_model[need] = of_model.get(need, True) and able
    return {
        model: [need for need in ASSUMED if flags.get(need, True)]
        + [need for need, able in flags.items() if able and need not in ASSUMED]
        for model, flags in said.items()
    }


def _pool_names(file: ProxyFile, read: _Read) -> dict[str, Any]:
    """Groups and their aliases with their options; an alias has its group's, and its own above."""
    names: dict[str, dict[str, Any]] = {
        group: {"any_of": list(models)} for group, models in read.groups.items()
    }
    aliases = _aliases(file, read)
    options = _options(file, read, {*names, *aliases})
    for group, entry in names.items():
        entry |= options.get(group, {})
    # as in LiteLLM, an alias goes before a group of the same name
    return names | {alias: names[to] | options.get(alias, {}) for alias, to in aliases.items()}


def _aliases(file: ProxyFile, read: _Read) -> dict[str, str]:
    """LiteLLM's second names for groups, and the groups they stand for."""
    said, at = file.section("router_settings", "model_group_alias")
    found: dict[str, str] = {}
    if not isinstance(said, Mapping) or at is None:
        return found
    for alias, entry in said.items():
        group = entry.get("model") if isinstance(entry, Mapping) else entry
        if not isinstance(group, str) or not group:
            read.problems.append(f"{at.below(str(alias))}: should name a group")
        elif group in read.groups:
            found[str(alias)] = group
        elif any(group in names for names in read.left_out.values()):
            read.left_out.setdefault("its group is left out", []).append(str(alias))
        else:
            problem = f"{at.below(str(alias))}: no group `{group}`"
            read.problems.append(problem + nearest(group, read.groups))
    return found


def _options(file: ProxyFile, read: _Read, known: set[str]) -> dict[str, dict[str, Any]]:
    """`headway.models`: options by group or alias."""
    said, at = file.section("headway", "models")
    if said is None or at is None:
        return {}
    if not isinstance(said, dict):
        read.problems.append(f"{at}: should hold options by group")
        return {}
    found: dict[str, dict[str, Any]] = {}
    for name, options in said.items():
        if name not in known:
            read.problems.append(
                f"{at.below(name)}: no group or alias `{name}`" + nearest(str(name), known)
            )
        elif not isinstance(options, dict):
            read.problems.append(f"{at.below(name)}: should hold options such as `fallback:`")
        else:
            found[name] = options
            read.problems += _unknown_options(options, at.below(name))
    return found


def _unknown_options(options: Mapping[str, Any], at: Origin) -> list[str]:
    found = []
    for key in options:
        if key == "any_of":
            found.append(f"{at.below(key)}: remove it: the models are those of the deployments")
        elif key not in GROUP_KEYS:
            found.append(f"{at.below(key)}: unknown key `{key}`{nearest(str(key), GROUP_KEYS)}")
    return found


# -- remarks ---------------------------------------------------------------------------------------


def _left_out(read: _Read) -> list[str]:
    return [
        f"left out of the pool: {', '.join(dict.fromkeys(names))}: {why}"
        for why, names in read.left_out.items()
    ]


def _notes(file: ProxyFile, read: _Read) -> list[str]:
    notes = _left_out(read)
    alone: dict[str, list[str]] = {}
    for one in read.deployments:
        if one.unreachable:
            alone.setdefault(one.unreachable, []).append(one.id)
    notes += [
        f"only LiteLLM can send to {', '.join(ids)}: {why}" for why, ids in sorted(alone.items())
    ]
    literal = [one.id for one in read.deployments if one.has_literal_key and not one.unreachable]
    if literal:
        notes.append(
            f"the literal api_key of {', '.join(literal)} is not taken over: clients other than "
            "LiteLLM send none there; write `api_key: os.environ/NAME`"
        )
    if file.section("general_settings", "store_model_in_db")[0]:
        notes.append("models in LiteLLM's database are not read (store_model_in_db)")
    if not _proxy_asks(file):
        notes.append(
            f"litellm_settings.callbacks does not name {CALLBACK}: the proxy will not ask: add "
            f'callbacks: ["{CALLBACK}"]'
        )
    return notes


def _proxy_asks(file: ProxyFile) -> bool:
    """Whether a proxy with this file asks, or need not: its clients decide (gateways)."""
    callbacks, _ = file.section("litellm_settings", "callbacks")
    gateways, _ = file.section("headway", "gateways")
    if isinstance(gateways, Mapping) and "litellm" in gateways.values():
        return True
    return callbacks == CALLBACK or (isinstance(callbacks, list) and CALLBACK in callbacks)

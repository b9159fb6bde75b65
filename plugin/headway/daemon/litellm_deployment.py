"""One entry of LiteLLM's `model_list` as an endpoint: which model, where, and what it can do.

Providers are read as LiteLLM reads them: the part of `model` before the first
slash, or `custom_llm_provider`. Whoever speaks OpenAI's protocol at a known
URL can be sent to by every client; to all others only LiteLLM can send.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headway.core.errors import nearest
from headway.core.types import Need
from headway.daemon.litellm_file import FROM_ENVIRONMENT, Complaint, Entry, resolved
from headway.daemon.schema import KEY_REFERENCE, EndpointSection
from headway.daemon.yamllines import Origin

ENGINES = {
    "hosted_vllm": "vllm",
    "openai": "openai",
    "custom_openai": "openai",
    "openai_like": "openai",
    "aiohttp_openai": "openai",
    "text-completion-openai": "openai",
    "litellm_proxy": "openai",
    "lm_studio": "openai",
    "llamafile": "openai",
    "xinference": "openai",
    "nvidia_nim": "openai",
    "docker_model_runner": "openai",
}
"""Providers whose `api_base` is what an OpenAI client takes as its base URL."""

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "os.environ/OPENAI_API_KEY"
OPENAI_NAMES = re.compile(r"^(gpt-|chatgpt-|o\d|ft:gpt-)")
"""Names that LiteLLM takes for OpenAI's own where no provider is said."""

MODES = (None, "", "chat", "completion", "responses")
ABILITIES: dict[str, Need] = {
    "supports_function_calling": "tools",
    "supports_response_schema": "response_format",
    "supports_vision": "vision",
    "supports_audio_input": "audio",
    "supports_reasoning": "reasoning",
}
TAKEN_OVER = {
    "id": "model_info.id",
    "model": "litellm_params.model",
    "url": "litellm_params.api_base",
    "api_key": "litellm_params.api_key",
}
OWN_KEYS = tuple(key for key in EndpointSection.model_fields if key not in TAKEN_OVER)


@dataclass(slots=True, kw_only=True)
class Deployment:
    """An endpoint to be; `section` has the keys of headway.yaml, `origins` where they stand.

    `texts` make it another deployment than one of the same model. `unreachable`
    says why only LiteLLM can send there (empty: every client can).
    """

    entry: Entry
    id: str
    group: str
    model: str
    section: dict[str, Any]
    origins: dict[str, Origin]
    texts: dict[str, str]
    abilities: dict[str, bool]
    unreachable: str
    has_literal_key: bool


def why_left_out(entry: Entry) -> str:
    """Why an entry is no endpoint that could be scheduled; empty if it is one."""
    if "*" in entry.group or "*" in entry.text_of("model"):
        return "a name with wildcards stands for models that nobody listed"
    if entry.text_of("model").startswith("auto_router/"):
        return "it is a router of LiteLLM's own"
    mode = entry.info.get("mode")
    return "" if mode in MODES else f"its mode is {mode}, and only chats and completions are calls"


def deployment(entry: Entry) -> Deployment:
    """What an entry means. Raises `Complaint`."""
    provider, model = _provider_and_model(entry)
    url, unreachable = _url(entry, provider)
    key, literal = _api_key(entry, provider, url)
    at = entry.origin
    info, params = entry.info, entry.params
    identity = _id(entry)
    section: dict[str, Any] = {
        "id": identity or "(none)",
        "url": url,
        "model": model,
        "engine": ENGINES.get(provider, "openai"),
        "api_key": key,
    }
    origins = {name: at.below(*path.split(".")) for name, path in TAKEN_OVER.items()}
    for name, value, place in (
        ("rpm", params.get("rpm"), at.below("litellm_params", "rpm")),
        ("tpm", params.get("tpm"), at.below("litellm_params", "tpm")),
        (
            "context_tokens",
            info.get("max_input_tokens"),
            at.below("model_info", "max_input_tokens"),
        ),
    ):
        if value is not None:
            section[name], origins[name] = value, place
    for name, value in _own_section(entry).items():
        section[name] = value
        origins[name] = at.below("model_info", "headway", name)
    return Deployment(
        entry=entry,
        id=identity,
        group=entry.group,
        model=model,
        section=section,
        origins=origins,
        texts={str(key): value for key, value in params.items() if isinstance(value, str)},
        abilities=_abilities(entry),
        unreachable=unreachable,
        has_literal_key=literal,
    )


def _id(entry: Entry) -> str:
    value = entry.info.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # as LiteLLM does
    if value is None or value == "":
        return ""
    return resolved(value, entry.origin.below("model_info", "id"))


def _provider_and_model(entry: Entry) -> tuple[str, str]:
    """The provider (empty: LiteLLM knows it by the name alone) and the name that it serves."""
    model = entry.text_of("model")
    if not model:
        raise Complaint(f"{entry.origin.below('litellm_params', 'model')}: is missing")
    prefix, slash, rest = model.partition("/")
    provider = entry.text_of("custom_llm_provider")
    if entry.params.get("use_litellm_proxy") is True:
        provider = "litellm_proxy"
    if provider:
        return provider, rest if slash and prefix == provider else model
    if slash and rest:
        return prefix, rest
    return "openai" if OPENAI_NAMES.match(model) else "", model


def _url(entry: Entry, provider: str) -> tuple[str, str]:
    """The base URL, or an empty one and why clients other than LiteLLM do not have it."""
    base = entry.text_of("api_base") or entry.text_of("base_url")
    if provider not in ENGINES:
        named = f"provider {provider}" if provider else "a provider that is not named"
        return "", f"{named} is not known to speak OpenAI's protocol"
    if base:
        return base, ""
    if provider == "openai":
        return OPENAI_URL, ""
    return "", f"{provider} deployments need an `api_base` for that"


def _api_key(entry: Entry, provider: str, url: str) -> tuple[str, bool]:
    """A reference to the key, and whether a literal one was left where it is."""
    key = entry.params.get("api_key")
    if key is None or key == "":
        # LiteLLM's own default, sent to no other host than the one it is for
        return OPENAI_KEY if provider == "openai" and url == OPENAI_URL else "", False
    if isinstance(key, str) and key.startswith(FROM_ENVIRONMENT) and KEY_REFERENCE.match(key):
        return key, False
    return "", True


def _abilities(entry: Entry) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for key, need in ABILITIES.items():
        able = entry.info.get(key)
        if able is None:
            continue
        if not isinstance(able, bool):
            raise Complaint(f"{entry.origin.below('model_info', key)}: should be true or false")
        found[need] = able
    return found


def _own_section(entry: Entry) -> Mapping[str, Any]:
    """`model_info.headway`: what headway.yaml would say of an endpoint and LiteLLM does not."""
    own = entry.info.get("headway")
    at = entry.origin.below("model_info", "headway")
    if own is None:
        return {}
    if not isinstance(own, dict):
        raise Complaint(f"{at}: should hold keys such as `server:`")
    for key in own:
        if key in TAKEN_OVER:
            raise Complaint(f"{at.below(key)}: is taken from `{TAKEN_OVER[key]}`: remove it")
        if key not in OWN_KEYS:
            raise Complaint(f"{at.below(key)}: unknown key `{key}`{nearest(str(key), OWN_KEYS)}")
    return own

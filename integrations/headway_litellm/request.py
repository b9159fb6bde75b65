"""Reading and changing the keyword arguments of a LiteLLM call. Nothing is changed in place.

A retry gets the same nested dictionaries, so what we set is always set in fresh ones.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headway.calling.apply import is_secret, origin, told_to_engine
from headway.calling.calls import Call
from headway.client import Route
from headway.client.credentials import api_key
from headway.client.engines import merged
from headway.core.pool import EndpointSpec

Kwargs = dict[str, Any]

SDK_PROVIDERS = ("openai", "custom_openai", "litellm_proxy")
"""What LiteLLM sends through the openai SDK."""
PROVIDERS = ("hosted_vllm", *SDK_PROVIDERS)
OURS = (
    *("model", "custom_llm_provider", "api_base", "base_url", "api_key", "organization"),
    *("extra_body", "extra_headers", "headers"),
)
"""What a decision may change; a retry begins with the caller's own again."""

NO_KEY = "none"
"""Sent where an endpoint has no credential: without one LiteLLM would look for the user's."""

_OPENAI_URL = "https://api.openai.com/v1"
_ACCOUNT = {
    "OpenAI-Organization": ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID"),
    "OpenAI-Project": ("OPENAI_PROJECT_ID",),
}


def named(
    args: tuple[Any, ...], kwargs: Kwargs, names: tuple[str, ...] = ("model", "messages")
) -> Kwargs:
    """The arguments by name, so that the model can be changed too."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def is_routers(kwargs: Mapping[str, Any]) -> bool:
    """Whether a Router makes this call, to a deployment that it has chosen."""
    for name in ("metadata", "litellm_metadata"):
        metadata = kwargs.get(name)
        if isinstance(metadata, Mapping) and "model_group" in metadata:
            return "model_info" in kwargs
    return False


def as_deployment(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment that a Router's call goes to, as far as its arguments tell."""
    return {"model_info": kwargs.get("model_info"), "litellm_params": kwargs}


def body_of(kwargs: Mapping[str, Any], pool_name: str) -> dict[str, Any]:
    """The request in OpenAI's form, for its sizes and needs."""
    extra = kwargs.get("extra_body")
    return {**kwargs, **(extra if isinstance(extra, dict) else {}), "model": pool_name}


def timeout_of(*candidates: Any) -> float | None:
    """The first time-out that is said, in seconds."""
    for one in candidates:
        read = getattr(one, "read", one)
        if isinstance(read, (int, float)) and not isinstance(read, bool):
            return float(read)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a call without a Router would go: what its model string and arguments mean.

    `prefix` is what stands before the model's name (empty: the provider is said apart).
    """

    base_url: str
    model: str
    prefix: str
    provider: str


def sdk_is_covered() -> bool:
    """Whether a patch of ours sees what goes through the openai SDK.

    It is nearer to the wire: it also asks before the SDK's own retries, which LiteLLM leaves
    to the SDK for calls without a Router.
    """
    module = sys.modules.get("openai._base_client")
    method = getattr(getattr(module, "AsyncAPIClient", None), "_prepare_options", None)
    return str(getattr(method, "__module__", "")).startswith("headway_")


def target_of(litellm: Any, kwargs: Mapping[str, Any]) -> Target | str:
    """Where the call would go; or, as text, why it must go out as it is."""
    model = kwargs.get("model")
    said = kwargs.get("custom_llm_provider")
    base = kwargs.get("base_url") or kwargs.get("api_base")
    if not isinstance(model, str) or not model:
        return "the call names no model"
    try:
        name, provider, _, found = litellm.get_llm_provider(
            model=model, custom_llm_provider=said, api_base=base, api_key=kwargs.get("api_key")
        )
    except litellm.exceptions.BadRequestError:
        return "LiteLLM knows no provider of the model"
    if provider not in PROVIDERS:
        return f"provider {provider}: not covered"
    base = base or found or litellm.api_base or _base_by_environment(provider)
    if "@" in urlsplit(base).netloc:
        return "the base URL holds a user name or password"
    for argument, why in (
        ("client", "the caller brings its own client"),
        ("shared_session", "the caller brings its own session"),
        ("litellm_credential_name", "the caller names a stored credential"),
        ("model_list", "the caller lists its own models"),
        ("extra_query", "the request has URL parameters, which may hold a key"),
        ("context_window_fallback_dict", "LiteLLM may exchange the model by the caller's name"),
    ):
        if kwargs.get(argument):
            return why
    return Target(
        base_url=base,
        model=name,
        prefix="" if said and not model.startswith(f"{provider}/") else f"{provider}/",
        provider=provider,
    )


def unseen_headers(litellm: Any, target: Target) -> str:
    """Why the call must go out as it is: where nothing of ours sees what the SDK adds to it."""
    if target.provider in SDK_PROVIDERS:
        if os.environ.get("OPENAI_CUSTOM_HEADERS"):
            return "OPENAI_CUSTOM_HEADERS adds headers, which may hold a key"
        if litellm.client_session or litellm.aclient_session:
            return "litellm's client_session adds headers, which may hold a key"
    return ""


def _base_by_environment(provider: str) -> str:
    if provider == "hosted_vllm":
        return os.environ.get("HOSTED_VLLM_API_BASE") or ""
    either = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE")
    return either or _OPENAI_URL


def readdressed(litellm: Any, kwargs: Kwargs, target: Target, endpoint: EndpointSpec) -> Kwargs:
    """The call as it goes to `endpoint`: on another host no credential of the caller is left."""
    new = {**kwargs, "api_base": endpoint.url, "model": target.prefix + endpoint.model}
    new.pop("base_url", None)
    if origin(target.base_url) == origin(endpoint.url):
        return new
    new["api_key"] = api_key(endpoint) or NO_KEY
    new.pop("organization", None)
    if "extra_headers" in new:
        new["extra_headers"] = _harmless(new["extra_headers"])
    common = litellm.headers
    if common or new.get("headers"):
        # LiteLLM would take its common headers in place of empty ones.
        new["headers"] = _harmless({**(common or {}), **(new.get("headers") or {})}) or {
            "Accept": "*/*"
        }
    if target.provider in SDK_PROVIDERS:
        blank = {name: "" for name, where in _ACCOUNT.items() if _account_set(litellm, where)}
        if blank:
            new["extra_headers"] = {**(new.get("extra_headers") or {}), **blank}
    return new


def _account_set(litellm: Any, variables: tuple[str, ...]) -> bool:
    """Whether the openai SDK would add the user's organisation or project by itself."""
    if "OPENAI_ORGANIZATION" in variables and litellm.organization:
        return True
    return any(os.environ.get(name) for name in variables)


def _harmless(headers: Any) -> dict[str, Any]:
    if not isinstance(headers, Mapping):
        return {}
    return {name: value for name, value in headers.items() if not is_secret(str(name))}


def with_urgency(kwargs: Kwargs, route: Route, call: Call) -> Kwargs:
    """The call with its urgency in its engine's terms, and with the watchers' headers.

    A ``priority`` of the caller's own that LiteLLM passes on is kept.
    """
    given = kwargs.get("extra_headers") or {}
    told = told_to_engine(
        route,
        call.asked,
        body=_own_fields(kwargs),
        headers={str(name).lower(): value for name, value in given.items()},
    )
    new = dict(kwargs)
    if told.body:
        new["extra_body"] = merged(kwargs.get("extra_body"), told.body)
    if told.headers:
        new["extra_headers"] = {**told.headers, **given}
    return with_headers(new, call)


def _own_fields(kwargs: Kwargs) -> Kwargs:
    """The fields of the request's body that the caller gave; LiteLLM takes them in two places."""
    given = {name: value for name, value in kwargs.items() if value is not None}
    extra = kwargs.get("extra_body")
    return {**given, **extra} if isinstance(extra, Mapping) else given


def with_headers(kwargs: Kwargs, call: Call) -> Kwargs:
    """The call with what watchers (tracing) want it to carry."""
    wanted = call.client.watchers.headers(call.asked)
    if not wanted:
        return kwargs
    return {**kwargs, "extra_headers": {**(kwargs.get("extra_headers") or {}), **wanted}}

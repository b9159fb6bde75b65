"""The shape of headway.yaml: every key, its unit, its default and why it is there.

Strict: an unknown key is an error. What needs more than one key to judge
(unknown models, two endpoints of one id) is checked in config.py.
"""

import re
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from headway.core.types import Need

KEY_REFERENCE = re.compile(r"^os\.environ/[A-Za-z_][A-Za-z0-9_]*$")


URLS_MAY_BE_EMPTY = "urls may be empty"
"""Validation context for pools with endpoints that only LiteLLM reaches."""

GATEWAYS = ("litellm", "headway")


def base_url(url: str) -> str:
    """`url` as a base URL, without a slash at its end. Raises `ValueError` with what to write."""
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            "is no base URL: write http://HOST:PORT/v1, as you would give it to a client"
        )
    if not _port_is_right(parts):
        raise ValueError("is no base URL: its port is wrong: write a number from 1 to 65535")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "holds a user, a query or a fragment: write only http://HOST:PORT/PATH, "
            "and the key as `api_key: os.environ/NAME`"
        )
    return url.rstrip("/")


def _port_is_right(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _endpoint_url(url: str, info: ValidationInfo) -> str:
    return "" if not url and info.context == URLS_MAY_BE_EMPTY else base_url(url)


def _gateway(kind: str) -> str:
    if kind not in GATEWAYS:
        raise ValueError(
            "is no kind of gateway: write `litellm` for a LiteLLM proxy without Headway's callback "
            "(the client asks and tells the proxy which deployment) or `headway` for one with "
            '`callbacks: ["headway_litellm.callback"]` (the client says which run it is, the proxy '
            "asks)"
        )
    return kind


def _key_reference(key: str) -> str:
    if key and not KEY_REFERENCE.match(key):
        raise ValueError(
            "is a literal key: write `api_key: os.environ/NAME` and set NAME in the environment "
            "of your programs"
        )
    return key


Name = Annotated[str, Field(min_length=1, max_length=200)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
StepTime = Annotated[float, Field(ge=1e-9, allow_inf_nan=False)]
"""Durations that are divided by, also after they were scaled."""
Count = Annotated[int, Field(gt=0)]
Chance = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversions, no input in messages."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class ProfileSection(Section):
    """How fast and how large an endpoint is believed to be; learned where it is not given."""

    prefill_s: NotNegative = 0.0002
    step_s: StepTime = 0.02
    seq_s: NotNegative = 0.0
    context_s: NotNegative = 0.0
    seats: Count | None = None
    kv_tokens: Count | None = None
    wake_s: NotNegative = 0.0


class EndpointSection(Section):
    """One (base URL, model)."""

    id: Name
    url: Annotated[str, AfterValidator(_endpoint_url)]
    model: Name
    engine: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = "openai"
    api_key: Annotated[str, AfterValidator(_key_reference)] = ""
    server: str = ""
    profile: ProfileSection | None = None
    context_tokens: Count | None = None
    rpm: Count | None = None
    tpm: Count | None = None
    price: NotNegative | None = None
    rtt: NotNegative = 0.0
    heeds_urgency: bool | None = None
    kv_events: Annotated[str, Field(pattern=r"^((tcp|ipc)://.+)?$")] = ""
    drain: bool = False


class PoolNameSection(Section):
    """A model name that clients ask for: who may answer it."""

    any_of: Annotated[list[Name], Field(min_length=1)]
    fallback: str = ""
    switch_in_loop: bool = False
    wait_for_confidence_ms: NotNegative = 0.0
    send_text: bool = False
    idle_grace_s: NotNegative = 2.0

    @model_validator(mode="before")
    @classmethod
    def _one_model_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(f"is a single name: write a list: [{value[:200]}]")
        return value


class ClassSection(Section):
    """A service class: the deadline of runs that name none, and its weight."""

    deadline_s: Positive | None = None
    weight: Positive = 1.0
    least_share: Chance = 0.0


class TenantSection(Section):
    """Who runs are for: its weight and least share of the pool."""

    weight: Positive = 1.0
    least_share: Chance = 0.0


class PolicySection(BaseModel):
    """The policy by name; every further key is a parameter of that policy."""

    model_config = ConfigDict(extra="allow", strict=True, hide_input_in_errors=True)

    name: Name = "headway"
    seed: int = 0


class FileSection(Section):
    """The whole file."""

    endpoints: Annotated[list[EndpointSection], Field(min_length=1)]
    models: dict[Name, PoolNameSection] = {}
    capabilities: dict[Name, list[Need]] = {}
    quality: dict[Name, Chance] = {}
    gateways: dict[
        Annotated[str, AfterValidator(base_url)], Annotated[str, AfterValidator(_gateway)]
    ] = {}
    classes: dict[Name, ClassSection] = {}
    tenants: dict[Name, TenantSection] = {}
    policy: PolicySection = PolicySection()
    encoder: str = ""
    emulate: Any = None

    @field_validator("models", mode="before")
    @classmethod
    def _list_is_short_for_any_of(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: {"any_of": entry} if isinstance(entry, list) else entry
            for name, entry in value.items()
        }

    @field_validator("policy", mode="before")
    @classmethod
    def _text_is_short_for_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="before")
    @classmethod
    def _empty_sections_are_defaults(cls, value: Any) -> Any:
        """``models:`` with nothing under it is YAML's null; the user means "none"."""
        if not isinstance(value, dict):
            return value
        return {key: entry for key, entry in value.items() if entry is not None}

"""Putting a decision on a request: address, model, urgency, and whose credential travels.

A request that changes its host loses every credential of the client and gets
the endpoint's own, or none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headway.calling.body import Body
from headway.calling.guard import warn_once
from headway.client import Route
from headway.client.credentials import authorization
from headway.client.engines import urgency_fields

_PORTS = {"http": 80, "https": 443}
_SECRET_WORDS = ("auth", "key", "token", "secret", "cookie", "password", "credential")
_ACCOUNT_HEADERS = ("openai-organization", "openai-project")
_HARMLESS = ("idempotency-key",)


def is_secret(header: str) -> bool:
    """Whether a header must not follow a request to another host."""
    name = header.lower()
    if name in _HARMLESS:
        return False
    return name in _ACCOUNT_HEADERS or any(word in name for word in _SECRET_WORDS)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what decides whether two URLs trust the same credential."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme)


def public_url(url: str) -> str:
    """`url` as it may be reported: without user, password, query and trailing slash."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """What changes on one request. `drop` names headers to leave out; `authorization` may be None.

    `foreign` says that the host changes; otherwise credentials stay as they are.
    """

    url: str
    json_data: dict[str, Any]
    extra_json: dict[str, Any] | None
    foreign: bool
    authorization: str | None
    drop: tuple[str, ...]


def rewrite(
    route: Route,
    *,
    base_url: str,
    path: str,
    json_data: Body,
    extra_json: Mapping[str, Any] | None,
    headers: Mapping[str, Any],
    want_usage: bool,
) -> Rewrite | None:
    """The changes that `route` asks for; None if the request goes out as it is.

    `want_usage` asks a streamed request for its token counts. That adds a last
    chunk without choices, so it is only for callers known to cope.
    """
    endpoint = route.endpoint
    if endpoint is None or route.source in ("shadow", "off", "none"):
        return None
    foreign = origin(base_url) != origin(endpoint.url)
    body = {**json_data, "model": endpoint.model}
    extra = {**(extra_json or {})}
    for name, value in urgency_fields(endpoint.engine, route.urgency).items():
        if name in body or name in extra:
            warn_once(
                "own urgency",
                "headway: a request brings its own %r, which is kept; without it the call would "
                "get the urgency of its run",
                name,
            )
        else:
            extra[name] = value
    if "model" in extra:
        extra["model"] = endpoint.model
    if want_usage and "stream_options" not in body and "stream_options" not in extra:
        body["stream_options"] = {"include_usage": True}
    return Rewrite(
        url=f"{endpoint.url.rstrip('/')}/{path}",
        json_data=body,
        extra_json=extra or None,
        foreign=foreign,
        authorization=authorization(endpoint) if foreign else None,
        drop=tuple(name for name in headers if is_secret(name)) if foreign else (),
    )

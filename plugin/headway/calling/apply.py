"""Putting a decision on a request: address, model, urgency, and whose credential travels.

A request that changes its host loses every credential of the client and gets
the endpoint's own, or none. A request to a gateway keeps its address and its credentials:
there the decision is said in the gateway's terms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from headway.calling.fields import Body
from headway.calling.guard import warn_once
from headway.calling.identity import DECISION_HEADER, PREFIX
from headway.client import Route
from headway.client.credentials import authorization
from headway.client.engines import Hints, hints, merged, own_urgency, without_urgency
from headway.core.facts import CallReady

_PORTS = {"http": 80, "https": 443}
_SECRET_WORDS = (
    *("auth", "key", "token", "secret", "cookie", "password", "credential"),
    *("bearer", "jwt", "signature"),
)
_ACCOUNT_HEADERS = ("openai-organization", "openai-project")
_HARMLESS = ("idempotency-key",)


def is_secret(header: str) -> bool:
    """Whether a header must not follow a request to another host: whatever may be a credential,
    and who asks, which is for a gateway of the user's own.
    """
    name = header.lower()
    if name in _HARMLESS:
        return False
    if name in _ACCOUNT_HEADERS or name.startswith(PREFIX):
        return True
    return any(word in name for word in _SECRET_WORDS)


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
    """What changes on one request; `headers` are set on it whatever it has of these names.

    `foreign` says that the host changes: then `authorization` (None: none) is the only
    credential that may travel. Otherwise credentials stay as they are.
    """

    url: str
    json_data: dict[str, Any]
    extra_json: dict[str, Any] | None
    headers: dict[str, str]
    foreign: bool = False
    authorization: str | None = None


def told_to_engine(
    route: Route, ask: CallReady, *, body: Body, headers: Mapping[str, Any]
) -> Hints:
    """What the route's engine is told of this attempt, less what the caller says himself.

    `body` and `headers` are the caller's, the latter with names in lower case.
    """
    assert route.endpoint is not None
    left_s = None if ask.deadline_s is None else ask.deadline_s - ask.run_age_s
    told = hints(
        route.endpoint.engine,
        route.urgency,
        run=ask.run,
        request=f"{ask.call}-{ask.attempt}",
        output_tokens=route.output_tokens,
        deadline_s=left_s,
        service_class=ask.service_class,
    )
    own = own_urgency(told, body, headers) if told != Hints() else ""
    if own:
        warn_once(
            "own urgency",
            "headway: a request brings its own %r, which is kept; without it the call would "
            "get the urgency of its run",
            own,
        )
        told = without_urgency(told)
    return Hints(
        body=told.body,
        headers={
            name: value for name, value in told.headers.items() if name.lower() not in headers
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as the caller made it: `url` is its path, `headers` have lower-case names."""

    url: str
    json_data: Body
    extra_json: Mapping[str, Any] | None
    headers: Mapping[str, Any]


def rewrite(
    route: Route,
    ask: CallReady,
    request: Outgoing,
    *,
    base_url: str,
    carried: Mapping[str, str],
    want_usage: bool,
) -> Rewrite | None:
    """The changes that `route` asks for; None if the request goes out as it is.

    `carried` are headers for others that see the request (``traceparent``). `want_usage` asks
    a streamed request for its token counts. That adds a last chunk without choices, so it is
    only for callers known to cope.
    """
    endpoint = route.endpoint
    if endpoint is None or not route.applies or not endpoint.url:
        return None
    foreign = origin(base_url) != origin(endpoint.url)
    body, extra = {**request.json_data}, {**(request.extra_json or {})}
    told = told_to_engine(route, ask, body={**body, **extra}, headers=request.headers)
    _add_fields(told.body, body, extra)
    _set_field("model", endpoint.model, body, extra)
    if want_usage:
        _ask_for_usage(body, extra)
    return Rewrite(
        url=f"{endpoint.url.rstrip('/')}/{request.url.strip('/')}",
        json_data=body,
        extra_json=extra or None,
        headers={**told.headers, **carried},
        foreign=foreign,
        authorization=authorization(endpoint) if foreign else None,
    )


def rewrite_for_litellm(
    route: Route,
    ask: CallReady,
    request: Outgoing,
    *,
    carried: Mapping[str, str],
    want_usage: bool,
) -> Rewrite | None:
    """The changes that `route` asks for at a LiteLLM proxy, which is sent deployments' ids.

    It takes only fields below its own ``extra_body`` on to the deployment, and no headers.
    None if nobody decided: the proxy then chooses by itself.
    """
    endpoint = route.endpoint
    if endpoint is None or route.source != "daemon":
        return None
    body, extra = {**request.json_data}, {**(request.extra_json or {})}
    whole = {**body, **extra}
    nested = whole.get("extra_body")
    callers = {**whole, **nested} if isinstance(nested, Mapping) else whole
    told = told_to_engine(route, ask, body=callers, headers=request.headers)
    if told.body:
        _add_fields({"extra_body": told.body}, body, extra)
    _set_field("model", endpoint.id, body, extra)
    if want_usage:
        _ask_for_usage(body, extra)
    return Rewrite(
        url=request.url,
        json_data=body,
        extra_json=extra or None,
        headers={DECISION_HEADER: endpoint.id, **carried},
    )


def _add_fields(ours: Mapping[str, Any], body: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put fields where the caller's are: `extra` is laid over `body`, at the top level only."""
    for name, value in ours.items():
        place = body if name in body and name not in extra else extra
        place[name] = merged(place.get(name), value) if isinstance(value, Mapping) else value


def _ask_for_usage(body: dict[str, Any], extra: Mapping[str, Any]) -> None:
    if "stream_options" not in body and "stream_options" not in extra:
        body["stream_options"] = {"include_usage": True}


def _set_field(name: str, value: str, body: dict[str, Any], extra: dict[str, Any]) -> None:
    body[name] = value
    if name in extra:
        extra[name] = value

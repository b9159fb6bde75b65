"""Reading the openai SDK's requests: what they ask for, and which must go out as they are."""

from typing import Any
from urllib.parse import urlsplit

from headway.calling.body import kept_by_server
from headway.calling.calls import Calls
from headway.calling.responses import continued
from headway.client import Scheduling
from headway.core.pool import EndpointSpec

PATHS = ("chat/completions", "completions", "responses")
FOREIGN_URL = "base URL is no endpoint of the pool; if it is a proxy, list it under `gateways:`"
_SIGNING = {"custom_auth", "_custom_auth", "_prepare_request", "_build_request"}
"""Where a client's own class may add a credential after all that is seen to here."""
SEALED = "responses api: the input holds reasoning that only the model that made it can read"


def path_of(options: Any) -> str:
    """The request's path below the base URL."""
    return str(options.url).strip("/")


def is_call(options: Any) -> bool:
    """Whether the request asks a model for an answer, in a form that can be scheduled."""
    return options.method.lower() == "post" and path_of(options) in PATHS


def body_of(options: Any) -> dict[str, Any]:
    """The JSON body as it will be sent."""
    body = options.json_data if isinstance(options.json_data, dict) else {}
    return {**body, **options.extra_json} if options.extra_json else body


def home_of(calls: Calls, client: Scheduling, options: Any) -> EndpointSpec | None:
    """The endpoint that keeps the answer which this request continues, if that is known."""
    if path_of(options) != "responses" or client.pool is None:
        return None
    home = calls.home_of(continued(body_of(options)))
    return next((spec for spec in client.pool.endpoints if spec.id == home), None)


def untouchable(
    client: Scheduling, sdk: Any, options: Any, *, home: EndpointSpec | None = None
) -> str:
    """Why this request must go out as it is; empty if it may be scheduled.

    One that has a `home` must go there, whatever else it asks for.
    """
    if any("Azure" in cls.__name__ for cls in type(sdk).__mro__):
        return "azure clients are not covered"
    if not isinstance(options.json_data, dict):
        return "the request has no JSON body"
    if home is None and (why := kept_by_server(body_of(options))):
        return why
    base_url = str(sdk.base_url)
    if client.gateway_for(base_url):
        return ""
    if "@" in urlsplit(base_url).netloc:
        return "the base URL holds a user name or password"
    if client.pool is not None and client.endpoint_for(base_url) is None:
        return FOREIGN_URL
    return _signed(sdk, options)


def _signed(sdk: Any, options: Any) -> str:
    """Why the request cannot change its host: it may bring a credential that stays with it."""
    if getattr(sdk, "_provider_runtime", None) or getattr(sdk, "workload_identity", None):
        return "the client signs its requests itself"
    for cls in type(sdk).__mro__:
        is_sdks = cls.__module__.partition(".")[0] == "openai"
        if not is_sdks and _SIGNING & vars(cls).keys():
            return "the client's class may sign its requests itself"
    http_client = getattr(sdk, "_client", None)
    if getattr(http_client, "auth", None) is not None:
        return "the client's HTTP client signs its requests itself"
    if (getattr(http_client, "event_hooks", None) or {}).get("request"):
        return "the client's HTTP client has hooks on requests, which may add a key"
    if sdk.default_query or given(options.params):
        return "the request has URL parameters, which may hold a key"
    return ""


def given(value: Any) -> dict[str, Any]:
    """A mapping of the SDK's options as a new dict; its "not given" marks count as empty."""
    return dict(value) if hasattr(value, "keys") else {}


def callers_headers(sdk: Any, options: Any) -> dict[str, Any]:
    """Headers that the program set on its HTTP client, its client or this request, by their
    names in lower case.
    """
    found: dict[str, Any] = {}
    for headers in (
        getattr(getattr(sdk, "_client", None), "headers", None),
        getattr(sdk, "_custom_headers", None),
        options.headers,
    ):
        found.update({str(name).lower(): value for name, value in given(headers).items()})
    return found


def read_timeout(sdk: Any, options: Any) -> float | None:
    """Seconds that the caller gives the request; None: no limit."""
    timeout = options.timeout
    said = timeout is None or isinstance(timeout, (int, float)) or hasattr(timeout, "read")
    if not said:
        timeout = sdk.timeout
    timeout = getattr(timeout, "read", timeout)
    return float(timeout) if isinstance(timeout, (int, float)) else None

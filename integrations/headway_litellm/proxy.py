"""A LiteLLM proxy's requests: whose they are, when they end, and what their answers say.

The proxy calls `identify` (through `HeadwayCallback`) once it has authenticated a request.
From then on the request's task and all that it starts find the run in
`headway.context.scope`, as the nodes of a graph do. A request that names no run is a run of
its own; runs that headers name are never ended here, as more of their requests may come.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from headway.calling.calls import get_calls
from headway.calling.guard import complaints, warn_once
from headway.calling.header_values import clean, named_headers
from headway.calling.identity import (
    DECISION_HEADER,
    ENDPOINT_HEADER,
    MODEL_HEADER,
    PREFIX,
    Identity,
    read_identity,
)
from headway.client import Scheduling, get_client
from headway.context import Scope
from headway.context import scope as current_scope
from headway.core.errors import UnknownEndpoint
from headway.core.facts import NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.pool import Pool
from headway.core.types import EndpointId, NodeId, Outcome, RunId

CALL_TYPES = ("acompletion", "atext_completion", "completion", "text_completion")
"""LiteLLM's names for the requests that are scheduled; all others pass untouched."""

DECIDED_WAY = "litellm_proxy (decided by the client)"
_TIMEOUT_HEADER = "x-stainless-read-timeout"


@dataclass(slots=True, kw_only=True)
class Request:
    """One request of the proxy while it lasts. Used by its own task and those it starts.

    `decided` is the endpoint that the daemon's latest decision sent it to.
    """

    identity: Identity
    client: Scheduling
    scope: Scope = field(init=False)
    open: bool = True
    decided: EndpointId | None = None


_request: ContextVar[Request | None] = ContextVar("headway_proxy_request", default=None)


def identify(data: dict[str, Any], user_api_key_dict: Any, call_type: str) -> None:
    """Make the scope of a request that has just been let in, and set it for its task.

    The request goes on as if Headway were not there where it is off, where a client with
    Headway has decided already, and if it is of a kind that is not scheduled.
    """
    current_scope.set(None)
    _request.set(None)
    client = get_client()
    if call_type not in CALL_TYPES or client.is_off():
        return
    asked = _mapping(data.get("proxy_server_request"))
    headers = named_headers(_mapping(asked.get("headers")))
    _keep_own_headers(data)
    _pass_trace_on(data, headers)
    if DECISION_HEADER in headers and headers[DECISION_HEADER] == data.get("model"):
        # Whoever may ask for this deployment by its id has chosen it.
        get_calls().coverage.covered(client, DECIDED_WAY)
        return
    found = read_identity(headers, _own_words(headers, _mapping(asked.get("body"))))
    identity = _complete(
        found or Identity(source="plain"),
        group=str(data.get("model") or ""),
        tenant=tenant_of(user_api_key_dict),
        timeout_s=_timeout_s(data, headers),
    )
    request = _begin(identity, client)
    _take_priority(data, client.pool)
    current_scope.set(request.scope)
    _request.set(request)


def tenant_of(user_api_key_dict: Any) -> str:
    """Who a virtual key belongs to: its team, else its own name or user. Never the key."""
    for name in ("team_alias", "team_id", "key_alias", "user_id"):
        value = getattr(user_api_key_dict, name, None)
        if isinstance(value, str) and value and value != "default_user_id":
            return clean(value)
    return ""


def went_as_decided(endpoint: EndpointId | None) -> None:
    """An attempt goes where the daemon decided, or (None) where LiteLLM chose by itself."""
    request = _request.get()
    if request is not None:
        request.decided = endpoint


def answer_headers(
    data: Mapping[str, Any], response: Any, *, litellm_call_info: Any = None, **_: Any
) -> dict[str, str] | None:
    """What the answer to a request that was decided says of where it came from."""
    request = _request.get()
    pool = request.client.pool if request is not None else None
    if request is None or pool is None or request.decided is None:
        return None
    if _mapping(litellm_call_info).get("model_id") != request.decided:
        return None
    try:
        spec = pool.endpoint(request.decided)
    except UnknownEndpoint:
        return None
    return {MODEL_HEADER: spec.model, ENDPOINT_HEADER: spec.id}


# A request begins and ends


def _begin(identity: Identity, client: Scheduling) -> Request:
    """Open the books for a request and have them closed when its task is over."""
    request = Request(identity=identity, client=client)
    now = time.monotonic()
    scope = identity.scope(call=uuid.uuid4().hex, now=now)
    request.scope = replace(scope, is_live=lambda _: request.open)
    if not identity.run:
        client.observe(
            RunStarted(
                run=scope.run,
                graph=scope.graph,
                deadline_s=scope.deadline_s,
                service_class=scope.service_class,
                tenant=scope.tenant,
                models=scope.models,
            )
        )
    if not identity.node:
        get_calls().expect(scope.node)
        client.observe(NodeStarted(run=scope.run, node=scope.node, name=scope.node_name))
    task = asyncio.current_task()
    if task is not None:
        # The task ends after the last byte, and when the client has gone: nothing else does both.
        task.add_done_callback(lambda _: _over(request))
    return request


def _over(request: Request) -> None:
    """The request is over, however it ended."""
    try:
        request.open = False
        _end(request)
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("litellm proxy request end", error)


def _end(request: Request) -> None:
    identity, scope, client = request.identity, request.scope, request.client
    calls = get_calls()
    outcome: Outcome = "ok"
    if not identity.node:
        calls.close_node(scope.node)
        # Without a call (LiteLLM's cache answered, or nobody could) there is nothing to learn.
        outcome = calls.ending(scope.node) or "cancelled"
        client.observe(NodeEnded(run=scope.run, node=scope.node, outcome=outcome))
    if identity.final or not identity.run:
        client.observe(RunEnded(run=scope.run, outcome=outcome))
        calls.coverage.flush(client)


# What a request says


def _complete(identity: Identity, *, group: str, tenant: str, timeout_s: float | None) -> Identity:
    """Fill in what nobody said, so that like requests are learned from together.

    A request of its own belongs to the graph of its model group. Sessions of other schemas
    differ by the group only, and one key's sessions are not another's. Whose key it is stands
    above what the request says of its tenant.
    """
    changes: dict[str, Any] = {"tenant": tenant or identity.tenant}
    group = clean(group)
    if not identity.run:
        changes |= {"graph": f"proxy:{group}", "node": NodeId(""), "node_name": "call"}
    elif identity.source not in ("headway", "trace"):
        changes["node_name"] = identity.node_name or group
        if tenant:
            changes["run"] = RunId(clean(f"{tenant}/{identity.run}"))
    else:
        changes["node_name"] = identity.node_name or group
        changes["graph"] = identity.graph or "headers"
    limits = [limit for limit in (identity.timeout_s, timeout_s) if limit is not None]
    changes["timeout_s"] = min(limits, default=None)
    return replace(identity, **changes)


def _own_words(headers: Mapping[str, str], body: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the body that can name a run, less what LiteLLM has put there from headers."""

    def is_own(value: Any) -> bool:
        return isinstance(value, str) and not any(value in said for said in headers.values())

    words = {name: body[name] for name in ("vllm_xargs", "agent_hint") if name in body}
    for name in ("litellm_session_id", "litellm_trace_id"):
        if is_own(body.get(name)):
            words[name] = body[name]
    session = _mapping(body.get("metadata")).get("session_id")
    if is_own(session):
        words["metadata"] = {"session_id": session}
    return words


def _timeout_s(data: Mapping[str, Any], headers: Mapping[str, str]) -> float | None:
    """The least time that the caller is known to wait; None: not known."""
    limits = []
    for value in (data.get("timeout"), headers.get(_TIMEOUT_HEADER)):
        try:
            limit = float(value) if isinstance(value, (int, float, str)) else -1.0
        except ValueError:
            limit = -1.0
        if limit > 0:
            limits.append(limit)
    return min(limits, default=None)


def _pass_trace_on(data: dict[str, Any], headers: Mapping[str, str]) -> None:
    """The engine's spans join the client's trace, unless somebody nearer has one of its own."""
    names = ("traceparent", "tracestate")
    trace = {name: headers[name] for name in names if name in headers}
    if "traceparent" in trace:
        data["extra_headers"] = {**trace, **_mapping(data.get("extra_headers"))}


def _keep_own_headers(data: dict[str, Any]) -> None:
    """Where clients' headers are forwarded to the engines, ours are not for them."""
    forwarded = _mapping(data.get("headers"))
    if any(str(name).lower().startswith(PREFIX) for name in forwarded):
        kept = {n: v for n, v in forwarded.items() if not str(n).lower().startswith(PREFIX)}
        data["headers"] = kept


def _take_priority(data: dict[str, Any], pool: Pool | None) -> None:
    """LiteLLM's Router would take `priority` for a queue of its own, beside the daemon's."""
    if "priority" not in data or pool is None or pool.mode != "on":
        return
    group = str(data.get("model") or "")
    if pool.declares(group) or pool.serving(group):
        del data["priority"]
        warn_once(
            "proxy priority",
            "headway: 'priority' in a request for %r is left out: Headway says what is urgent. "
            "Use the headers x-headway-class or x-headway-deadline-s, or extra_body.priority "
            "to speak to the engine itself",
            group,
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

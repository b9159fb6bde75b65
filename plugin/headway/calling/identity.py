"""Whose request is this: a run's identity in HTTP headers, ours and other people's.

`identity_headers` writes ours; `read_identity` reads ours and, in a fixed order, those
of routers, agent harnesses and tracers. The first schema that names a run is the only
one whose words count: two schemas' idea of a session are not the same session.

Nothing here raises; `header_values` says what becomes of values that make no sense.
"""

import re
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import msgspec

from headway.calling.header_values import (
    MAX_SECONDS,
    count_in,
    decode,
    decode_list,
    digest,
    encode,
    encode_list,
    first_text,
    mapping,
    named_headers,
    number_in,
    truth,
    warn_of_unknown,
)
from headway.context import Scope
from headway.core.types import NodeId, RunId, Seconds

PREFIX = "x-headway-"
DECISION_HEADER = "x-headway-decision"
"""Marks a request that a Headway has decided about: its model names an endpoint already."""
MODEL_HEADER = "x-headway-model"
ENDPOINT_HEADER = "x-headway-endpoint"
"""In an answer: the model that gave it, and the endpoint."""

Named = Mapping[str, str]
"""Headers by their name in lower case."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Which run and node a request belongs to, and what it wishes for.

    `source` is the schema that said so. An empty `run` means that the request named none
    (it only brought wishes): it is a run of its own. `final` says that the run ends with it.
    """

    source: str
    run: RunId = RunId("")
    graph: str = ""
    node: NodeId = NodeId("")
    node_name: str = ""
    parents: tuple[NodeId, ...] = ()
    visit: int = 1
    step: int = 0
    attempt: int = 1
    run_age_s: Seconds = 0.0
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    models: tuple[str, ...] = ()
    off: bool = False
    timeout_s: Seconds | None = None
    thread: str = ""
    parent_run: RunId | None = None
    final: bool = False

    def scope(self, *, call: str, now: Seconds) -> Scope:
        """The scope of the request `call`, an id; `now` is this process's monotonic clock."""
        return Scope(
            run=self.run or RunId(call),
            graph=self.graph,
            node=self.node or NodeId(call),
            node_name=self.node_name,
            parents=self.parents,
            visit=self.visit,
            step=self.step,
            run_started=now - self.run_age_s,
            deadline_s=self.deadline_s,
            service_class=self.service_class,
            tenant=self.tenant,
            models=self.models,
            off=self.off,
            thread=self.thread,
            timeout_s=self.timeout_s,
        )


# Writing


def identity_headers(
    scope: Scope, *, attempt: int = 1, timeout_s: Seconds | None = None
) -> dict[str, str]:
    """The headers that tell a proxy with Headway whose request it gets.

    `timeout_s` is how long the caller waits for the answer. Values are percent-encoded
    and bounded.
    """
    texts = {
        "run": scope.run,
        "graph": scope.graph,
        "node": scope.node,
        "node-name": scope.node_name,
        "class": scope.service_class,
        "tenant": scope.tenant,
        "thread": scope.thread,
    }
    limits = [limit for limit in (timeout_s, scope.timeout_s) if limit is not None]
    numbers = {
        "visit": float(scope.visit),
        "step": float(scope.step),
        "attempt": float(attempt),
        "age-s": max(0.0, monotonic() - scope.run_started),
        "deadline-s": scope.deadline_s,
        "timeout-s": min(limits, default=None),
    }
    lists = {"parents": scope.parents, "models": scope.models}
    said = {name: encode(text) for name, text in texts.items() if text}
    said |= {name: encode_list(items) for name, items in lists.items() if items}
    said |= {
        name: f"{number:.3f}".rstrip("0").rstrip(".")
        for name, number in numbers.items()
        if number is not None and 0 <= number <= MAX_SECONDS
    }
    if scope.off:
        said["off"] = "1"
    return {PREFIX + name: value for name, value in said.items()}


# Reading


def read_identity(headers: Mapping[str, Any], body: Mapping[str, Any] | None) -> Identity | None:
    """Who sent this request, by the first schema that names a run; None if nothing does.

    What is asked for (deadline, class, tenant, models, off) may stand in our headers beside
    any schema, and then only there. With such wishes and no run, `run` is empty.
    """
    named = named_headers(headers)
    for name in named:
        if name.startswith(PREFIX) and name not in _KNOWN:
            warn_of_unknown(name, _KNOWN)
    content: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
    ours = _ours(named)
    if ours is not None and ours.run:
        return ours
    for read in _FOREIGN:
        found = read(named, content)
        if found is not None:
            if ours is None:
                return found
            return msgspec.structs.replace(found, **{name: getattr(ours, name) for name in _WISHES})
    return ours


_WISHES = ("deadline_s", "service_class", "tenant", "models", "off", "timeout_s")
_OURS = ("run", "deadline-s", "class", "tenant", "models", "off", "timeout-s")
_BESIDE = (
    *("graph", "node", "node-name", "parents", "visit", "step", "attempt", "age-s", "thread"),
    *("parent-run", "final", "decision", "model", "endpoint"),
)
_KNOWN = tuple(PREFIX + name for name in (*_OURS, *_BESIDE))


def _ours(headers: Named) -> Identity | None:
    if not any(PREFIX + name in headers for name in _OURS):
        return None

    def text(name: str) -> str:
        return decode(headers.get(PREFIX + name, ""))

    def number(name: str) -> float | None:
        return number_in(headers.get(PREFIX + name), PREFIX + name, MAX_SECONDS)

    def count(name: str, least: int) -> int:
        return count_in(headers.get(PREFIX + name), PREFIX + name, least)

    def switch(name: str) -> bool:
        return truth(headers.get(PREFIX + name, ""), PREFIX + name)

    return Identity(
        source="headway",
        run=RunId(text("run")),
        graph=text("graph"),
        node=NodeId(text("node")),
        node_name=text("node-name"),
        parents=tuple(
            NodeId(parent) for parent in decode_list(headers.get(PREFIX + "parents", ""))
        ),
        visit=count("visit", 1),
        step=count("step", 0),
        attempt=count("attempt", 1),
        run_age_s=number("age-s") or 0.0,
        deadline_s=number("deadline-s"),
        service_class=text("class"),
        tenant=text("tenant"),
        models=decode_list(headers.get(PREFIX + "models", "")),
        off=switch("off"),
        timeout_s=number("timeout-s"),
        thread=text("thread"),
        parent_run=_run(text("parent-run")),
        final=switch("final"),
    )


def _agentic_context(_headers: Named, body: Mapping[str, Any]) -> Identity | None:
    """The vllm-router's context. Its deadline and priority have units of its own: not read."""
    said = mapping(mapping(body.get("vllm_xargs")).get("agentic_context"))
    run = first_text(said, "program_id", "task_id", "session_id")
    if not run:
        return None
    return Identity(
        source="agentic_context",
        run=RunId(run),
        graph=first_text(said, "workflow_profile_id") or "agentic_context",
        node=NodeId(first_text(said, "step_id")),
        node_name=first_text(said, "agent_role"),
        parent_run=_run(first_text(said, "parent_program_id", "parent_id")),
    )


def _agent_hint(_headers: Named, body: Mapping[str, Any]) -> Identity | None:
    said = mapping(body.get("agent_hint"))
    parent = _run(first_text(said, "parent_session_id"))
    return _session("agent_hint", first_text(said, "session_id"), parent_run=parent)


def _dynamo(headers: Named, _body: Mapping[str, Any]) -> Identity | None:
    final = "x-dynamo-session-final"
    return _session(
        "dynamo",
        first_text(headers, "x-dynamo-session-id"),
        parent_run=_run(first_text(headers, "x-dynamo-parent-session-id")),
        final=truth(headers.get(final, ""), final),
    )


def _llm_d(headers: Named, _body: Mapping[str, Any]) -> Identity | None:
    names = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
    return _session("llm-d", first_text(headers, *names))


def _harness(headers: Named, _body: Mapping[str, Any]) -> Identity | None:
    """Claude Code, Codex and OpenCode. A sub-agent is a node name of its own, not a run."""
    session = first_text(headers, "x-claude-code-session-id")
    if session:
        below = first_text(headers, "x-claude-code-agent-id", "x-claude-code-parent-agent-id")
        return _session("claude-code", session, node_name="subagent" if below else "main")
    session = first_text(headers, "session-id", "session_id", "thread-id")
    if session:
        return _session("codex", session)
    if "x-session-affinity" in headers or "x-parent-session-id" in headers:
        session = first_text(headers, "x-session-id", "x-session-affinity")
        parent = _run(first_text(headers, "x-parent-session-id"))
        return _session("opencode", session, parent_run=parent)
    return None


def _litellm(headers: Named, body: Mapping[str, Any]) -> Identity | None:
    session = (
        first_text(headers, "x-litellm-session-id")
        or first_text(body, "litellm_session_id", "litellm_trace_id")
        or first_text(headers, "x-litellm-trace-id")
        or first_text(mapping(body.get("metadata")), "session_id")
    )
    return _session("litellm", session)


def _generic(headers: Named, _body: Mapping[str, Any]) -> Identity | None:
    session = first_text(headers, "x-session-id")
    if not session and (token := headers.get("x-session-token", "").strip()):
        # It may be a credential: only its digest is told.
        session = digest(token)
    session = session or first_text(headers, "x-correlation-id", "x-smg-routing-key")
    return _session("session", session)


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


def _trace(headers: Named, _body: Mapping[str, Any]) -> Identity | None:
    """A trace as the run of last resort, its node the span that the request was made in."""
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip().lower())
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return Identity(source="trace", run=RunId(found[1]), graph="trace", node=NodeId(found[2]))


_FOREIGN: tuple[Callable[[Named, Mapping[str, Any]], Identity | None], ...] = (
    _agentic_context,
    _agent_hint,
    _dynamo,
    _llm_d,
    _harness,
    _litellm,
    _generic,
    _trace,
)


def _session(
    source: str,
    run: str,
    *,
    node_name: str = "",
    parent_run: RunId | None = None,
    final: bool = False,
) -> Identity | None:
    """An identity that knows only of sessions. Its graph is the schema: sessions of one alike."""
    if not run:
        return None
    return Identity(
        source=source,
        run=RunId(run),
        graph=source,
        node_name=node_name,
        parent_run=parent_run,
        final=final,
    )


def _run(text: str) -> RunId | None:
    return RunId(text) if text else None

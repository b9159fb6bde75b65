"""How a decision is told to each engine: the one place in the client that says "priority".

Headway's urgency is higher-first. Each engine has its own field, its own place for it and
its own sign; all of that is here and nowhere else. An engine that is not named here is
sent nothing, since strict servers refuse fields that they do not know.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headway.core.types import Seconds

MAX_URGENCY = 1e6
STEPS = 1000
"""Three decimals of urgency survive the rounding; a priority lies within ±1e9, which is an
integer of 32 bits for every engine."""
MAX_HEADER = 128
"""Characters of a header's value: far below what any server refuses."""
LOAD_WANTED = {"endpoint-load-metrics-format": "JSON"}
"""Asks vLLM for its load in the answer's headers (ORCA)."""
URGENCY_HEADERS = frozenset(
    {
        "x-vllm-priority",
        "x-dynamo-request-priority",
        "x-dynamo-request-strict-priority",
        "x-llm-d-inference-objective",
        "x-gateway-inference-objective",
    }
)
"""Headers by which callers say themselves how urgent a request is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What an engine is told: fields of the request's body (maybe nested), and headers."""

    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What there is to tell, as every engine takes it. `higher` is the priority, higher first."""

    higher: int
    run: str
    request: str
    output_tokens: int
    deadline_s: Seconds | None
    service_class: str


def hints(
    engine: str,
    urgency: float,
    *,
    run: str = "",
    request: str = "",
    output_tokens: float = 0.0,
    deadline_s: Seconds | None = None,
    service_class: str = "",
) -> Hints:
    """What to tell `engine` of a call of `run`; nothing for an engine that is not known.

    `request` names this attempt: its name in the engine's own logs and traces, where it has one.
    `urgency` is clamped to ±1e6 and keeps its order. `output_tokens` is the predicted length of
    the answer (0: not known), `deadline_s` the seconds left until the run should be done.
    """
    tell = _ENGINES.get(engine)
    if tell is None:
        return Hints()
    known = math.isfinite(output_tokens) and output_tokens > 0
    return tell(
        _Said(
            higher=urgency_rank(urgency),
            run=_header_value(run),
            request=_header_value(request),
            output_tokens=max(1, round(min(output_tokens, 1e9))) if known else 0,
            deadline_s=_seconds(deadline_s),
            service_class=_header_value(service_class),
        )
    )


def merged(given: Any, ours: Mapping[str, Any]) -> Any:
    """`given` with what it lacks of `ours`, at any depth; what it has stays as it is."""
    if given is None:
        return dict(ours)
    if not isinstance(given, Mapping):
        return given
    result = dict(given)
    for name, value in ours.items():
        if name not in result:
            result[name] = value
        elif isinstance(value, Mapping):
            result[name] = merged(result[name], value)
    return result


def own_urgency(told: Hints, body: Mapping[str, Any], headers: Mapping[str, Any]) -> str:
    """The name of the field or header with which a request says its urgency itself; or empty.

    `headers` have names in lower case.
    """
    for name in sorted(URGENCY_HEADERS):
        if name in headers:
            return name
    return _own_priority(told.body, body)


def without_urgency(told: Hints) -> Hints:
    """`told` without any word on how urgent the call is."""
    return Hints(
        body=_without_priority(told.body),
        headers={
            name: value
            for name, value in told.headers.items()
            if name.lower() not in URGENCY_HEADERS
        },
    )


# The engines


def _vllm(said: _Said) -> Hints:
    """Lower first; the header is read by newer versions, the body by all."""
    told = _emulated(said)
    names = _given("X-Session-ID", said.run) | _given("X-Request-Id", said.request)
    return Hints(body=told.body, headers=told.headers | names | LOAD_WANTED)


def _emulated(said: _Said) -> Hints:
    return Hints(body={"priority": -said.higher}, headers={"X-Vllm-Priority": str(-said.higher)})


def _sglang(said: _Said) -> Hints:
    return Hints(body={"priority": said.higher})


def _sglang_low_first(said: _Said) -> Hints:
    """SGLang with ``--schedule-low-priority-values-first``."""
    return Hints(body={"priority": -said.higher})


def _dynamo(said: _Said) -> Hints:
    """Higher first whatever runs below: Dynamo turns the sign for its backends itself."""
    agent: dict[str, Any] = {"priority": said.higher}
    if said.output_tokens:
        agent["osl"] = said.output_tokens
    return Hints(
        body={"nvext": {"agent_hints": agent}}, headers=_given("X-Dynamo-Session-ID", said.run)
    )


def _llm_d(said: _Said) -> Hints:
    """No number: there, priorities belong to objectives that the cluster's owner has named.
    Gateways from before llm-d 0.8, and other makers', read the older names only.

    A ``priority`` in the body would go through to the vLLM below, past the one that its picker
    derives from the objective, and the two orders would work against each other.
    """
    return Hints(
        headers=_given("x-llm-d-inference-fairness-id", said.run)
        | _given("x-gateway-inference-fairness-id", said.run)
        | _given("x-llm-d-inference-objective", said.service_class)
        | _given("x-gateway-inference-objective", said.service_class)
    )


def _vllm_router(said: _Said) -> Hints:
    """Larger first. Its context is one of programs, which is what we call runs."""
    context: dict[str, Any] = {"priority": said.higher}
    if said.run:
        context["program_id"] = said.run
    if said.output_tokens:
        context["expected_output_tokens"] = said.output_tokens
    if said.deadline_s is not None:
        context["deadline"] = said.deadline_s
    return Hints(body={"vllm_xargs": {"agentic_context": context}})


_ENGINES: Mapping[str, Callable[[_Said], Hints]] = {
    "vllm": _vllm,
    "emulated": _emulated,
    "sglang": _sglang,
    "sglang-low-first": _sglang_low_first,
    "dynamo": _dynamo,
    "llm-d": _llm_d,
    "vllm-router": _vllm_router,
}
KNOWN_ENGINES = tuple(_ENGINES)


# Values


def urgency_rank(urgency: float) -> int:
    """`urgency` as an integer within ±1e9, higher first (some engines want it negated)."""
    if math.isnan(urgency):
        return 0
    return round(STEPS * max(-MAX_URGENCY, min(MAX_URGENCY, urgency)))


def _seconds(deadline_s: Seconds | None) -> Seconds | None:
    if deadline_s is None or not math.isfinite(deadline_s):
        return None
    return round(max(0.0, deadline_s), 3)


def _header_value(text: str) -> str:
    """`text` as any header can hold it; one that none can is stood for by its digest, so that
    equal ones stay equal.
    """
    text = text.strip()
    if len(text) <= MAX_HEADER and text.isascii() and text.isprintable():
        return text
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:32]


def _given(name: str, value: str) -> dict[str, str]:
    return {name: value} if value else {}


# Reading what a caller says himself


def _own_priority(ours: Mapping[str, Any], given: Any) -> str:
    if not isinstance(given, Mapping):
        return ""
    for name, value in ours.items():
        if name not in given:
            continue
        if name == "priority":
            return name
        if isinstance(value, Mapping) and (found := _own_priority(value, given[name])):
            return f"{name}.{found}"
    return ""


def _without_priority(body: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in body.items():
        if name == "priority":
            continue
        if isinstance(value, Mapping):
            value = _without_priority(value)
            if not value:
                continue
        kept[name] = value
    return kept

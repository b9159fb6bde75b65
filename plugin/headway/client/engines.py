"""How urgency is told to each engine: the one place in the client that says "priority".

Headway's urgency is higher-first. vLLM's ``priority`` is an integer served
lower-first, so the sign is turned here and nowhere else.
"""

import math

_LOWER_FIRST = frozenset({"vllm", "emulated"})
_MAX_URGENCY = 1e6
_STEPS = 1000  # three decimals of urgency survive the rounding


def _priority(urgency: float) -> int:
    if math.isnan(urgency):
        return 0
    return -round(_STEPS * max(-_MAX_URGENCY, min(_MAX_URGENCY, urgency)))


def urgency_fields(engine: str, urgency: float) -> dict[str, int]:
    """Fields for the request's body; empty for an engine that knows no priorities.

    `urgency` is clamped to ±1e6, so that a priority lies within ±1e9.
    """
    return {"priority": _priority(urgency)} if engine in _LOWER_FIRST else {}


def urgency_headers(engine: str, urgency: float) -> dict[str, str]:
    """The same as `urgency_fields` in headers, for requests whose body must stay as it is."""
    return {"X-Vllm-Priority": str(_priority(urgency))} if engine in _LOWER_FIRST else {}

"""Reads an engine's metrics page (vLLM's names) and believes only what can be true.

Sans-IO: text in, numbers and complaints out.
"""

import math
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_USED = "vllm:kv_cache_usage_perc"
KV_USED_BEFORE_V1 = "vllm:gpu_cache_usage_perc"
CACHE_CONFIG = "vllm:cache_config_info"
SEATS = "headway_emulate:seats"
_WANTED = (RUNNING, WAITING, KV_USED, KV_USED_BEFORE_V1, CACHE_CONFIG, SEATS)

MAX_SEATS = 1 << 20
MAX_KV_TOKENS = 1 << 40


@dataclass(slots=True)
class Gauges:
    """What a metrics page said; None where it said nothing that can be believed."""

    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    kv_tokens: int | None = None
    seats: int | None = None
    complaint: str = ""


def read_metrics(text: str, model: str) -> Gauges:
    """The gauges of `model` on a metrics page. Several engines behind one page are added up."""
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    values: dict[str, list[float]] = {}
    kv_tokens: list[float] = []
    others: set[str] = set()
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                named = sample.labels.get("model_name")
                if named is not None and named != model:
                    others.add(named)
                elif sample.name == CACHE_CONFIG:
                    kv_tokens.append(_kv_tokens(sample.labels))
                else:
                    values.setdefault(sample.name, []).append(float(sample.value))
    except (ValueError, KeyError, IndexError) as error:
        return Gauges(complaint=f"its metrics cannot be read: {error}")
    if others and RUNNING not in values:
        return Gauges(complaint=f"its metrics are of {min(others)!r}, not of {model!r}")
    return _believed(values, kv_tokens)


def _believed(values: dict[str, list[float]], kv_tokens: list[float]) -> Gauges:
    complaints: list[str] = []

    def total(name: str, numbers: list[float] | None, most: float) -> float | None:
        if not numbers:
            return None
        found = sum(numbers)
        if not all(0 <= number <= most for number in numbers) or not math.isfinite(found):
            complaints.append(f"{name} is {found:g}")
            return None
        return found

    used = values.get(KV_USED) or values.get(KV_USED_BEFORE_V1)
    mean = total(KV_USED, used, 1.0)
    running = total(RUNNING, values.get(RUNNING), MAX_SEATS)
    waiting = total(WAITING, values.get(WAITING), MAX_SEATS)
    seats = total(SEATS, values.get(SEATS), MAX_SEATS)
    tokens = total(CACHE_CONFIG, kv_tokens, MAX_KV_TOKENS)
    return Gauges(
        running=None if running is None else int(running),
        waiting=None if waiting is None else int(waiting),
        kv_used=None if mean is None or not used else mean / len(used),
        kv_tokens=int(tokens) if tokens else None,
        seats=int(seats) if seats else None,
        complaint=f"its metrics cannot be true: {', '.join(complaints)}" if complaints else "",
    )


def _kv_tokens(labels: dict[str, str]) -> float:
    """Blocks times tokens a block; 0 where an engine does not say how many."""
    try:
        return float(labels["num_gpu_blocks"]) * float(labels["block_size"])
    except (KeyError, ValueError):
        return 0.0

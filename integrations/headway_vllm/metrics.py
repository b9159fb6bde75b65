"""Reads a metrics page with vLLM's names, old and new, and believes only what can be true.

Sans-IO: text in, numbers and complaints out. Names were looked at in vLLM 0.32; those of versions
before V1's engine are read where they differ.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

RUNNING = "vllm:num_requests_running"
WAITING = "vllm:num_requests_waiting"
KV_USED = "vllm:kv_cache_usage_perc"
KV_USED_BEFORE_V1 = "vllm:gpu_cache_usage_perc"
CACHE_CONFIG = "vllm:cache_config_info"
SLEEP_STATE = "vllm:engine_sleep_state"
AWAKE = "awake"
STARTED = "process_start_time_seconds"
COUNTERS = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:num_preemptions_total",
    "vllm:prefix_cache_queries_total",
)
"""Never fall while an engine lives."""
SEATS = "headway_emulate:seats"
_WANTED = (
    *(RUNNING, WAITING, KV_USED, KV_USED_BEFORE_V1, CACHE_CONFIG, SLEEP_STATE, STARTED, SEATS),
    *(name.removesuffix("_total") for name in COUNTERS),
)

NOT_TRUE = "its metrics cannot be true, not used"
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
    asleep: bool | None = None
    life: "Life" = field(default_factory=lambda: Life())
    complaint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What tells one life of an engine from the next: its start, and counters that only grow."""

    started: float | None = None
    counters: Mapping[str, float] = field(default_factory=dict)

    def after_restart(self, before: "Life") -> bool:
        """Whether the engine was started anew since `before`.

        A start counts if it is later: behind a balancer several engines answer in turn.
        """
        if self.started is not None and before.started is not None:
            return self.started > before.started
        return any(value < before.counters.get(name, 0.0) for name, value in self.counters.items())


def read_metrics(text: str, model: str, aliases: Collection[str] = ()) -> Gauges:
    """The gauges of `model` on a metrics page. Several engines behind one page are added up.

    `aliases` are its other names: the page has the first of them.
    """
    lines = [line for line in text.splitlines() if line.startswith(_WANTED)]
    values: dict[str, list[float]] = {}
    kv_tokens: list[float] = []
    others: set[str] = set()
    states: list[bool] = []
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                named = sample.labels.get("model_name")
                if named is not None and named != model and named not in aliases:
                    others.add(named)
                elif sample.name == CACHE_CONFIG:
                    kv_tokens.append(_kv_tokens(sample.labels))
                elif sample.name == SLEEP_STATE:
                    if sample.labels.get("sleep_state") == AWAKE:
                        states.append(sample.value > 0)
                else:
                    values.setdefault(sample.name, []).append(float(sample.value))
    except (ValueError, KeyError, IndexError) as error:
        return Gauges(complaint=f"its metrics cannot be read: {error}")
    if others and RUNNING not in values:
        return Gauges(complaint=f"its metrics are of {min(others)!r}, not of {model!r}")
    gauges = _believed(values, kv_tokens)
    gauges.asleep = not all(states) if states else None
    gauges.life = _life(values)
    return gauges


def _life(values: dict[str, list[float]]) -> Life:
    counters = {name: sum(values[name]) for name in COUNTERS if name in values}
    started = values.get(STARTED)
    return Life(
        started=max(started) if started else None,
        counters={name: value for name, value in counters.items() if math.isfinite(value)},
    )


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
        complaint=f"{NOT_TRUE}: {', '.join(complaints)}" if complaints else "",
    )


def _kv_tokens(labels: dict[str, str]) -> float:
    """Tokens in the cache as told, or blocks times tokens a block; 0 where nothing says it."""
    told = labels.get("kv_cache_size_tokens", "")
    if told.isdigit():
        return float(told)
    try:
        return float(labels["num_gpu_blocks"]) * float(labels["block_size"])
    except (KeyError, ValueError):
        return 0.0

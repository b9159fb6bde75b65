"""What an engine tells of itself: its load, and its counters since the start."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """The engine's load now and its counters since the start. `kv_used` is a share of 0 to 1.

    `asleep`: it sleeps, or is not fully awake yet.
    """

    running: int
    waiting: int
    kv_used: float
    prompt_tokens: int
    cached_tokens: int
    generation_tokens: int
    preemptions: int
    succeeded: int
    rejected: int
    cancelled: int
    asleep: bool = False


@dataclass(slots=True)
class Counters:
    """The counters, as the engine goes on."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated: int = 0
    preemptions: int = 0
    succeeded: int = 0
    rejected: int = 0
    cancelled: int = 0

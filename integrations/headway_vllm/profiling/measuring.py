"""Climbs the ladder on a live server and fits what it shows."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.engine.fit import DecodePoint, Fit, PrefillPoint, fit
from headway_vllm.flags import find_flags, read_models
from headway_vllm.metrics import Gauges, read_metrics
from headway_vllm.profiling.asking import Asker
from headway_vllm.profiling.ladder import (
    DEFAULT_STEP_TOKENS,
    SHORT_PROMPT,
    Limits,
    decode_rungs,
    prefill_rungs,
)
from headway_vllm.profiling.ordering import heeds_priority
from headway_vllm.profiling.points import decode_point, prefill_point

REPEATS = 3
MOST_AT_ONCE = 512
"""Requests by which seats are found: a server that runs all of them has more."""

Told = Callable[[str, int, int], None]
"""What is measured now, and how many steps of how many are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A server as it showed itself. `overhead_s` is a request's time beside its own steps."""

    model: str
    limits: Limits
    overhead_s: Seconds
    prefill: tuple[PrefillPoint, ...]
    decode: tuple[DecodePoint, ...]
    fitted: Fit
    heeds_urgency: bool | None
    unproved: str
    """Why it is not known whether urgency is heeded; empty if it is, or nobody asked."""


async def measure(asker: Asker, *, limits: Limits, prove: bool, told: Told) -> Measured:
    """All of it, some minutes at most. Raises `ConfigError` if the server cannot be measured."""
    await asker.calibrate()
    limits = await _with_seats(asker, limits)
    prefills, decodes = prefill_rungs(limits), decode_rungs(limits)
    total, done = len(prefills) + len(decodes) + 1, 0
    decode = []
    for rung in decodes:
        told(f"decode, batch {rung.sequences}, {rung.prompt_tokens} tokens each", done, total)
        batch = await asker.together(rung.sequences, rung.prompt_tokens, rung.output_tokens)
        if (point := decode_point(batch)) is not None:
            decode.append(point)
        done += 1
    if not decode:
        raise ConfigError("no batch decoded long enough to be measured: is the server busy?")
    step_s = min(point.seconds for point in decode)
    overhead_s = await _overhead_s(asker, step_s)
    prefill = []
    for rung in prefills:
        told(f"prefill of {rung.prompt_tokens} tokens", done, total)
        prompts = [asker.prompt(rung.prompt_tokens) for _ in range(REPEATS)]
        repeats = [await asker.ask(one, output_tokens=1) for one in prompts]
        again = [await asker.ask(one, output_tokens=1) for one in prompts]
        known = prefill_point(repeats, again, overhead_s=overhead_s, step_s=step_s)
        if known is not None:
            prefill.append(known)
        done += 1
    fitted = fit(prefill=prefill, decode=decode, step_tokens=limits.step_tokens)
    told("whether priorities are heeded", done, total)
    heeds, unproved = None, ""
    if prove:
        longest_s = max(point.seconds for point in decode)
        heeds, unproved = await heeds_priority(asker, limits, longest_s)
    told("done", total, total)
    return Measured(
        model=asker.model,
        limits=limits,
        overhead_s=overhead_s,
        prefill=tuple(prefill),
        decode=tuple(decode),
        fitted=fitted,
        heeds_urgency=heeds,
        unproved=unproved,
    )


async def _overhead_s(asker: Asker, step_s: Seconds) -> Seconds:
    """What a request takes beside its steps: a short one's first token, less one step."""
    short = [await asker.ask(asker.prompt(8), output_tokens=1) for _ in range(2 * REPEATS + 1)]
    return max(median(one.first_s for one in short) - step_s, 0.0)


async def _with_seats(asker: Asker, limits: Limits) -> Limits:
    """Seats as they show themselves: how many run while others wait."""
    if limits.seats is not None:
        return limits
    room = limits.kv_tokens or 1 << 30
    count = min(MOST_AT_ONCE, room // (2 * SHORT_PROMPT))
    seats: int | None = None
    try:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(asker.together(count, 16, 24))
            while not asking.done():
                gauges = await gauges_of(asker)
                if gauges is not None and gauges.waiting and gauges.running:
                    seats = max(seats or 0, gauges.running)
                await asyncio.sleep(0.05)
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return replace(limits, seats=seats)


async def gauges_of(asker: Asker) -> Gauges | None:
    """The metrics page, if there is one."""
    text = await asker.page("/metrics")
    return None if text is None else read_metrics(text, asker.model, asker.aliases)


async def choose_model(asker: Asker) -> int | None:
    """Let `asker` ask for its model, or the only one there; the longest context, if it is told.

    Raises `ConfigError` that lists the models if there are several, or none of that name.
    """
    text = await asker.page("models")
    served = read_models(text, asker.model) if text is not None else None
    names = served.names if served is not None else ()
    if asker.model and names and asker.model not in names:
        raise ConfigError(f"{asker.url} serves {', '.join(names)}, not {asker.model}")
    if not asker.model:
        if len(names) != 1 or text is None:
            what = f"serves {', '.join(names)}" if names else "lists no model"
            raise ConfigError(f"{asker.url} {what}: say which with --model NAME")
        asker.model = names[0]
        served = read_models(text, asker.model)
    if served is None:
        return None
    asker.aliases = served.aliases
    return served.context_tokens


async def found_limits(asker: Asker, context_tokens: int | None) -> Limits:
    """What the server tells of its sizes.

    Raises `ConfigError` for a server that sleeps, or is in use.
    """
    flags = find_flags(await asker.page("/server_info?config_format=json"), asker.url)
    gauges = await gauges_of(asker)
    if gauges is not None and gauges.asleep:
        raise ConfigError(f"{asker.url} sleeps: ask for its /wake_up first")
    if gauges is not None and gauges.running:
        raise ConfigError(
            f"{asker.url} runs {gauges.running} requests of others now: measure it when it is idle"
        )
    seats = flags.seats
    if seats is None and gauges is not None:
        seats = gauges.seats
    return Limits(
        context_tokens=context_tokens,
        seats=seats,
        kv_tokens=None if gauges is None else gauges.kv_tokens,
        step_tokens=flags.step_tokens or DEFAULT_STEP_TOKENS,
    )

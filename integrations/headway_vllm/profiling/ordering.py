"""Proves by order whether a server heeds priorities: nothing else tells (``fcfs`` is silent).

All seats are taken by requests that end one after the other; behind them some wait that were
sent in the wrong order.
"""

import asyncio
from collections.abc import Sequence
from math import ceil

from headway.core.types import Seconds
from headway_vllm.profiling.asking import Asker, Timed
from headway_vllm.profiling.ladder import Limits

QUEUED = 6
PROMPT_TOKENS = 16
HOLD_S: Seconds = 1.0
"""How long the first seat is held at first; four times as long if that was too short."""
APART_S: Seconds = 0.02
"""Between two that are queued: so arrivals are in order."""
APART_STEPS = 3
"""Between the ends of two that hold a seat: so those that wait begin one after the other."""
BEGIN_S: Seconds = 60.0


async def heeds_priority(asker: Asker, limits: Limits, step_s: Seconds) -> tuple[bool | None, str]:
    """Whether waiting requests are served by priority, lower first; if that cannot be told, why."""
    if limits.seats is None:
        return None, "how many it runs at once is not known: say it with --seats"
    for hold_s in (HOLD_S, 4 * HOLD_S):
        hold_tokens = ceil(hold_s / step_s)
        each = PROMPT_TOKENS + hold_tokens + (QUEUED + 1) * APART_STEPS
        if each > 0.9 * (limits.context_tokens or 1 << 30):
            return None, "its context is too short to hold its seats for a second"
        if limits.seats * each > 0.9 * (limits.kv_tokens or 1 << 30):
            return None, "its KV cache is too small to fill all seats"
        try:
            found = await _tried(asker, limits.seats, hold_tokens)
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        except TimeoutError:
            return None, f"not all seats could be filled within {BEGIN_S:.0f} s"
        if found is not None:
            return found, ""
    return None, "the order came out neither by priority nor by arrival: is it in use?"


async def _tried(asker: Asker, seats: int, hold_tokens: int) -> bool | None:
    """One attempt; None if not all seats were held until all had been queued."""
    held = [Timed() for _ in range(seats)]
    queued = [Timed() for _ in range(QUEUED)]
    async with asyncio.TaskGroup() as group:
        for place, timed in enumerate(held):
            tokens = hold_tokens + APART_STEPS * min(place, QUEUED)
            prompt = asker.prompt(PROMPT_TOKENS)
            group.create_task(asker.ask(prompt, output_tokens=tokens, timed=timed))
        async with asyncio.timeout(BEGIN_S):
            while not all(timed.chunks_at for timed in held):
                await asyncio.sleep(0.005)
        for place, timed in enumerate(queued):
            prompt = asker.prompt(PROMPT_TOKENS)
            one = asker.ask(prompt, output_tokens=4, priority=QUEUED - place, timed=timed)
            group.create_task(one)
            await asyncio.sleep(APART_S)
    freed_at = min(timed.chunks_at[-1] for timed in held)
    if queued[-1].sent_at + 2 * APART_S > freed_at:
        return None
    return verdict(queued)


def verdict(queued: Sequence[Timed]) -> bool | None:
    """What the order of first tokens says of requests that were sent with priorities N to 1."""
    first = [one.chunks_at[0] for one in queued]
    pairs = [(a, b) for place, a in enumerate(first) for b in first[place + 1 :]]
    turned = sum(later < earlier for earlier, later in pairs)
    if turned >= 0.9 * len(pairs):
        return True
    return False if turned <= 0.1 * len(pairs) else None

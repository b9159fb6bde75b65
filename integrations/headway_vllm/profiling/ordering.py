"""Proves by order whether a server heeds priorities: nothing else tells (``fcfs`` is silent)."""

import asyncio
from collections.abc import Sequence

from headway_vllm.profiling.asking import Asker, Timed

QUEUED = 6
HOLD_TOKENS = 30


async def heeds_priority(asker: Asker, seats: int) -> bool | None:
    """Whether waiting requests are served by priority, lower first; None if it cannot be told.

    Fills `seats` with requests that end one after the other, then queues some that were sent
    in the wrong order.
    """
    holders = [
        asyncio.create_task(asker.ask(asker.prompt(16), output_tokens=HOLD_TOKENS + 3 * place))
        for place in range(seats)
    ]
    await asyncio.sleep(0.05)
    queued = []
    for place in range(QUEUED):
        one = asker.ask(asker.prompt(16), output_tokens=4, priority=QUEUED - place)
        queued.append(asyncio.create_task(one))
        await asyncio.sleep(0.02)
    done = await asyncio.gather(*queued)
    held = await asyncio.gather(*holders)
    if min(one.chunks_at[0] for one in done) < min(one.chunks_at[-1] for one in held):
        return None  # they did not have to wait
    return verdict(done)


def verdict(done: Sequence[Timed]) -> bool | None:
    """What the order of first tokens says of requests that were sent with priorities N to 1."""
    first = [one.chunks_at[0] for one in done]
    pairs = [(a, b) for place, a in enumerate(first) for b in first[place + 1 :]]
    turned = sum(later < earlier for earlier, later in pairs)
    if turned >= 0.9 * len(pairs):
        return True
    return False if turned <= 0.1 * len(pairs) else None

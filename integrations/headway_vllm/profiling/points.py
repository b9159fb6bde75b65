"""From timed requests to the points of a fit: pure."""

from collections.abc import Sequence
from statistics import median

from headway.core.types import Seconds
from headway.engine.fit import DecodePoint, PrefillPoint
from headway_vllm.profiling.asking import Timed

LEAST_STEPS = 5
LITTLE, MOST = 0.1, 0.8
"""Shares of a prompt that a cache may have had of a fresh one, and must have had of a repeat."""
LARGEST_BLOCK = 256
"""Tokens at its end that a repeat may compute, in one step: a cache has whole blocks only."""


def prefill_point(
    repeats: Sequence[Timed], again: Sequence[Timed], *, overhead_s: Seconds, step_s: Seconds
) -> PrefillPoint | None:
    """A prompt's time on the engine, from fresh prompts and the same ones sent once more.

    What the server's cache has it need not compute, but it reads, checks and copies it as before:
    what a fresh prompt takes longer, plus the one step of its repeat, is the engine's. Without a
    cache it is the median, less what every request costs. None if the cache had the fresh ones.
    """
    fresh = [one for one in repeats if _share(one) <= LITTLE]
    if not fresh:
        return None
    first_s = median(one.first_s for one in fresh)
    cached = [
        one
        for one in again
        if _share(one) >= MOST and one.prompt_tokens - one.cached_tokens <= LARGEST_BLOCK
    ]
    beside_s = median(one.first_s for one in cached) - step_s if cached else overhead_s
    computed = round(median(one.prompt_tokens - one.cached_tokens for one in fresh))
    seconds = first_s - beside_s
    if computed < 1 or seconds <= 0:
        return None
    return PrefillPoint(prompt_tokens=computed, seconds=seconds)


def _share(one: Timed) -> float:
    return one.cached_tokens / max(one.prompt_tokens, 1)


def decode_point(batch: Sequence[Timed]) -> DecodePoint | None:
    """A step's time while all of a batch decode; None if that was too short to tell.

    From the last first token to the first end; tokens that come several to a chunk count each.
    """
    begins = max(one.chunks_at[0] for one in batch)
    ends = min(one.chunks_at[-1] for one in batch)
    steps, context = [], 0.0
    for one in batch:
        within = [at for at in one.chunks_at if begins <= at <= ends]
        a_chunk = one.output_tokens / len(one.chunks_at)
        count = (len(within) - 1) * a_chunk
        if count < LEAST_STEPS:
            return None
        steps.append((within[-1] - within[0]) / count)
        before = one.chunks_at.index(within[0]) * a_chunk
        context += one.prompt_tokens + before + count / 2
    return DecodePoint(sequences=len(batch), context_tokens=round(context), seconds=median(steps))

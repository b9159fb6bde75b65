"""What is asked of a server to learn its profile: pure, from its limits to a list of rungs."""

from dataclasses import dataclass

from headway.core.errors import ConfigError

PROMPTS = (256, 512, 1024, 2048, 4096)
"""Lengths at which prefill is measured: the longest ones that fit."""
SHORT_PROMPT = 64
LONG_PROMPT = 1024
BATCHES = (1, 2, 4, 8, 16, 32, 64)
STEPS = 24
"""Decode steps that a rung is measured over, with the whole batch decoding."""
DEFAULT_STEP_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a server told of itself; None where it did not."""

    context_tokens: int | None = None
    seats: int | None = None
    kv_tokens: int | None = None
    step_tokens: int = DEFAULT_STEP_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """`sequences` requests at once, each of about `prompt_tokens`, that write `output_tokens`.

    One with one output token measures prefill, others decode.
    """

    sequences: int
    prompt_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """KV tokens that the rung holds at its end."""
        return self.sequences * (self.prompt_tokens + self.output_tokens)


def prefill_rungs(limits: Limits) -> tuple[Rung, ...]:
    """Prompts alone, at least two lengths. Raises `ConfigError` for a context that is too short."""
    room = min(limits.context_tokens or 1 << 30, limits.kv_tokens or 1 << 30)
    lengths = [one for one in PROMPTS if one + 1 <= 0.9 * room]
    if len(lengths) < 2:
        raise ConfigError(
            f"its context holds {room} tokens: prompts of {PROMPTS[0]} and {PROMPTS[1]} tokens are "
            "the least that tells how fast it computes them"
        )
    return tuple(Rung(sequences=1, prompt_tokens=one, output_tokens=1) for one in lengths)


def decode_rungs(limits: Limits) -> tuple[Rung, ...]:
    """Batches of short and of long prompts that fit the server's seats and KV cache together."""
    seats = limits.seats or 16
    batches = sorted({*(one for one in BATCHES if one <= seats), min(seats, BATCHES[-1])})
    found = []
    for prompt in (SHORT_PROMPT, LONG_PROMPT):
        for batch in batches:
            # those that start first decode while the prompts of the others are computed
            steps = STEPS + batch + batch * prompt // limits.step_tokens
            rung = Rung(sequences=batch, prompt_tokens=prompt, output_tokens=steps)
            fits = prompt + steps <= 0.9 * (limits.context_tokens or 1 << 30)
            if fits and rung.tokens <= 0.8 * (limits.kv_tokens or 1 << 30):
                found.append(rung)
    if len(found) < 4:
        raise ConfigError(
            f"only {len(found)} batches fit its context and KV cache; four are the least that "
            "tells what a sequence and its context cost"
        )
    return tuple(found)

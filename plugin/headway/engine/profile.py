"""The true speed and size of a modelled server, and presets derived by roofline.

A preset is a formula over published numbers, never a fitted table: decoding
reads all weights once a step and the KV cache of every sequence, so it is
bound by memory bandwidth; prefill does two FLOPs per parameter and token, so
it is bound by compute (Pope et al., "Efficiently Scaling Transformer
Inference", arXiv 2211.05102, section 2). Measured servers: `headway.engine.fit`.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

from headway.core.errors import ConfigError, nearest
from headway.core.types import Seconds
from headway.engine.hardware import HARDWARE, Hardware
from headway.engine.models import MODELS, ModelShape

BLOCK_TOKENS = 16
"""vLLM's default size of a KV block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """How long a step of an engine takes and what fits into it.

    A step that decodes `n` sequences with `k` tokens of context in all and
    prefills `p` prompt tokens beside them takes
    ``max(step_s, p * prefill_s) + n * seq_s + k * context_s`` seconds: the
    weights are read while the prompt is computed, whichever takes longer.

    `batch_points` are measured (sequences, seconds per step at zero context);
    with them, lines between the points, from (0, step_s) on and beyond the last one on
    its slope, stand for ``step_s + n * seq_s``.

    `step_tokens` is the token budget of one step (chunked prefill), `seats`
    the most sequences that run at once, `kv_tokens` what the KV cache holds,
    `block_tokens` the size of a KV block, `queue_limit` the most requests that
    may wait (None: any number; one more is rejected). An idle engine falls
    asleep after `sleep_after_s` (None: never), and takes `wake_s` to wake up.
    """

    prefill_s: Seconds = 0.0001
    step_s: Seconds = 0.012
    seq_s: Seconds = 0.0001
    context_s: Seconds = 0.0
    seats: int = 256
    kv_tokens: int = 1 << 20
    block_tokens: int = BLOCK_TOKENS
    step_tokens: int = 2048
    queue_limit: int | None = None
    prefix_cache: bool = True
    wake_s: Seconds = 0.0
    sleep_after_s: Seconds | None = None
    batch_points: tuple[tuple[int, Seconds], ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for a profile under which time or work would stand still."""
        if min(self.prefill_s, self.seq_s, self.context_s) < 0 or self.step_s <= 0:
            raise ValueError("times must not be negative, and step_s must be above zero")
        if self.wake_s < 0 or (self.sleep_after_s is not None and self.sleep_after_s < 0):
            raise ValueError("wake_s and sleep_after_s must not be negative")
        if min(self.seats, self.block_tokens, self.step_tokens) < 1:
            raise ValueError("seats, block_tokens and step_tokens must be at least 1")
        if self.kv_tokens < self.block_tokens:
            raise ValueError("kv_tokens must hold at least one block")
        if self.queue_limit is not None and self.queue_limit < 0:
            raise ValueError("queue_limit must not be negative")
        line = ((0, self.step_s), *self.batch_points)
        if any(here[0] >= there[0] for here, there in pairwise(line)):
            raise ValueError("batch_points must be at rising numbers of sequences, 1 or more")
        if min(seconds for _, seconds in line) <= 0:
            raise ValueError("the seconds of batch_points must be above zero")
        if self.batch_points and line[-1][1] < line[-2][1]:
            raise ValueError("beyond the last of the batch_points a step must not get shorter")

    @property
    def kv_blocks(self) -> int:
        """Whole blocks in the KV cache."""
        return self.kv_tokens // self.block_tokens

    def step_time_s(
        self, *, sequences: int, context_tokens: int, prefill_tokens: int = 0
    ) -> Seconds:
        """Seconds of one step (the formula of the class)."""
        if self.batch_points:
            # At first what the sequences take beside the reading of the weights.
            beside = self._batch_s(sequences) - self.step_s
        else:
            beside = sequences * self.seq_s
        return (
            max(self.step_s, prefill_tokens * self.prefill_s)
            + beside
            + context_tokens * self.context_s
        )

    def _batch_s(self, sequences: int) -> Seconds:
        """Seconds of a step at zero context, on the line through the measured points."""
        points = self.batch_points
        after = min(bisect_left(points, (sequences,)), len(points) - 1)
        high, high_s = points[after]
        low, low_s = points[after - 1] if after else (0, self.step_s)
        return low_s + (high_s - low_s) * (sequences - low) / (high - low)

    def alone_s(self, *, prompt_tokens: int, output_tokens: int) -> Seconds:
        """Seconds of a request on an idle server, awake, with a cold cache, in closed form."""
        full, rest = divmod(max(1, prompt_tokens), self.step_tokens)
        prefill_s = full * max(self.step_s, self.step_tokens * self.prefill_s)
        if rest:
            prefill_s += max(self.step_s, rest * self.prefill_s)
        steps = max(0, output_tokens - 1)
        attended = steps * (prompt_tokens + 1) + steps * (steps - 1) // 2
        step_s = self.step_time_s(sequences=1, context_tokens=0)
        return prefill_s + steps * step_s + attended * self.context_s


BANDWIDTH_EFFICIENCY = 0.8
"""Share of the peak bandwidth that decode kernels reach."""
COMPUTE_EFFICIENCY = 0.5
"""Share of the peak FLOP/s that prefill reaches (model FLOPs utilisation)."""
PARALLEL_EFFICIENCY = 0.9
"""Share kept per step when a model is split over several accelerators (all-reduces)."""
STEP_OVERHEAD_S = 0.003
"""Scheduling, kernel launches and sampling of one step."""
MEMORY_SHARE = 0.9
"""vLLM's default ``gpu_memory_utilization``."""
ACTIVATION_BYTES = 4e9
"""Kept free per accelerator for activations and CUDA graphs."""
DEGREES = (1, 2, 4, 8)
"""Tensor parallel degrees that a preset may name."""


def roofline(
    *, shape: ModelShape, hardware: Hardware, accelerators: int = 1, seats: int = 256
) -> EngineProfile:
    """The profile of a model on `accelerators` of one kind with tensor parallelism.

    Raises ValueError if the weights do not fit, or leave no room for a KV block.
    """
    split = PARALLEL_EFFICIENCY if accelerators > 1 else 1.0
    bandwidth = hardware.bandwidth * BANDWIDTH_EFFICIENCY * split * accelerators
    flops = hardware.flops * COMPUTE_EFFICIENCY * split * accelerators
    token_s = 2 * shape.parameters / flops
    usable = accelerators * (hardware.memory * MEMORY_SHARE - ACTIVATION_BYTES)
    kv_tokens = int((usable - shape.weight_bytes) / shape.kv_bytes)
    if kv_tokens < BLOCK_TOKENS:
        raise ValueError(
            f"the weights take {shape.weight_bytes / 1e9:.0f} GB; for them and the KV cache "
            f"{accelerators} accelerator(s) have {usable / 1e9:.0f} GB"
        )
    return EngineProfile(
        prefill_s=token_s,
        step_s=shape.weight_bytes / bandwidth + STEP_OVERHEAD_S,
        seq_s=token_s,
        context_s=shape.kv_bytes / bandwidth,
        seats=seats,
        kv_tokens=kv_tokens,
    )


_DEGREE = {"qwen2.5-7b@a100": 1, "qwen2.5-32b@a100": 2, "qwen2.5-72b@a100": 4}

PRESETS: dict[str, EngineProfile] = {
    name: roofline(shape=MODELS[name.split("@")[0]], hardware=HARDWARE["a100"], accelerators=degree)
    for name, degree in _DEGREE.items()
}
"""Servers by short name: 7B on one A100, 32B on two, 72B on four. `preset` knows many more."""


def preset(name: str) -> EngineProfile:
    """The profile called ``MODEL@GPU`` or ``MODEL@GPUxN``: a roofline, tensor parallel over N.

    Models are those of `headway.engine.models`, accelerators those of
    `headway.engine.hardware`; without ``xN`` it is one accelerator, except for
    the names of `PRESETS`. Raises ConfigError for a name that is not known
    (with the nearest that is) and for weights that do not fit.
    """
    if name in PRESETS:
        return PRESETS[name]
    server, number = name, None
    if written := re.fullmatch(r"(.*@.*?)x(\d+)", name):
        server, number = written[1], int(written[2])
    model, _, accelerator = server.partition("@")
    if model not in MODELS or accelerator not in HARDWARE:
        known = [f"{one}@{other}" for one in MODELS for other in HARDWARE]
        hint = nearest(server, known) if "@" in name else nearest(f"{name}@a100", known)
        raise ConfigError(f"unknown preset {name!r}{hint}")
    degree = 1 if number is None else number
    if degree not in DEGREES:
        raise ConfigError(f"preset {name!r}: {degree} accelerators; possible are {_listed()}")
    try:
        return roofline(shape=MODELS[model], hardware=HARDWARE[accelerator], accelerators=degree)
    except ValueError as error:
        fitting = _fitting(MODELS[model], HARDWARE[accelerator])
        hint = f"; it fits as {model}@{accelerator}x{fitting}" if fitting else ""
        raise ConfigError(f"preset {name!r}: {error}{hint}") from error


def _listed() -> str:
    return ", ".join(str(degree) for degree in DEGREES)


def _fitting(shape: ModelShape, hardware: Hardware) -> int | None:
    """The smallest degree at which the weights fit; None if none does."""
    for degree in DEGREES:
        try:
            roofline(shape=shape, hardware=hardware, accelerators=degree)
        except ValueError:
            continue
        return degree
    return None

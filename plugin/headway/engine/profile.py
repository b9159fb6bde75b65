"""The true speed and size of an emulated server, and presets derived by roofline.

A preset is a formula over published numbers, never a fitted table: decoding
reads all weights once a step and the KV cache of every sequence, so it is
bound by memory bandwidth; prefill does two FLOPs per parameter and token, so
it is bound by compute (Pope et al., "Efficiently Scaling Transformer
Inference", arXiv 2211.05102, section 2).
"""

from dataclasses import dataclass

from headway.core.types import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """How long a step of an engine takes and what fits into it.

    A step that decodes `n` sequences with `k` tokens of context in all and
    prefills `p` prompt tokens beside them takes
    ``max(step_s, p * prefill_s) + n * seq_s + k * context_s`` seconds: the
    weights are read while the prompt is computed, whichever takes longer.

    `step_tokens` is the token budget of one step (chunked prefill), `seats`
    the most sequences that run at once, `kv_tokens` what the KV cache holds,
    `block_tokens` the size of a KV block, `queue_limit` the most requests that
    may wait (None: any number; one more is rejected).
    """

    prefill_s: Seconds = 0.0001
    step_s: Seconds = 0.012
    seq_s: Seconds = 0.0001
    context_s: Seconds = 0.0
    seats: int = 256
    kv_tokens: int = 1 << 20
    block_tokens: int = 16
    step_tokens: int = 2048
    queue_limit: int | None = None
    prefix_cache: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for a profile under which time or work would stand still."""
        if min(self.prefill_s, self.seq_s, self.context_s) < 0 or self.step_s <= 0:
            raise ValueError("times must not be negative, and step_s must be above zero")
        if min(self.seats, self.block_tokens, self.step_tokens) < 1:
            raise ValueError("seats, block_tokens and step_tokens must be at least 1")
        if self.kv_tokens < self.block_tokens:
            raise ValueError("kv_tokens must hold at least one block")
        if self.queue_limit is not None and self.queue_limit < 0:
            raise ValueError("queue_limit must not be negative")

    @property
    def kv_blocks(self) -> int:
        """Whole blocks in the KV cache."""
        return self.kv_tokens // self.block_tokens

    def step_time_s(
        self, *, sequences: int, context_tokens: int, prefill_tokens: int = 0
    ) -> Seconds:
        """Seconds of one step (the formula of the class)."""
        return (
            max(self.step_s, prefill_tokens * self.prefill_s)
            + sequences * self.seq_s
            + context_tokens * self.context_s
        )

    def alone_s(self, *, prompt_tokens: int, output_tokens: int) -> Seconds:
        """Seconds of a request on an idle server with a cold cache, step by step in closed form."""
        full, rest = divmod(max(1, prompt_tokens), self.step_tokens)
        prefill_s = full * max(self.step_s, self.step_tokens * self.prefill_s)
        if rest:
            prefill_s += max(self.step_s, rest * self.prefill_s)
        steps = max(0, output_tokens - 1)
        attended = steps * (prompt_tokens + 1) + steps * (steps - 1) // 2
        return prefill_s + steps * (self.step_s + self.seq_s) + attended * self.context_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One accelerator: memory bandwidth (bytes/s), dense bf16 FLOP/s, memory (bytes)."""

    bandwidth: float
    flops: float
    memory: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a model costs: parameters, bytes a parameter, KV bytes a token of context."""

    parameters: float
    weight_bytes: float
    kv_bytes: float

    @classmethod
    def grouped_query(
        cls, *, parameters: float, layers: int, kv_heads: int, head_size: int
    ) -> "ModelShape":
        """A bf16 transformer with grouped-query attention: 2 (K, V) x 2 bytes a KV element."""
        return cls(
            parameters=parameters,
            weight_bytes=2 * parameters,
            kv_bytes=2 * 2 * layers * kv_heads * head_size,
        )


A100 = Hardware(bandwidth=2.039e12, flops=312e12, memory=80e9)
"""NVIDIA A100 80GB SXM, from NVIDIA's data sheet of June 2021."""

QWEN_7B = ModelShape.grouped_query(parameters=7.61e9, layers=28, kv_heads=4, head_size=128)
QWEN_32B = ModelShape.grouped_query(parameters=32.5e9, layers=64, kv_heads=8, head_size=128)
QWEN_72B = ModelShape.grouped_query(parameters=72.7e9, layers=80, kv_heads=8, head_size=128)
"""Qwen2.5 technical report, arXiv 2412.15115, and the published model configurations."""

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


def roofline(
    *, shape: ModelShape, hardware: Hardware, accelerators: int = 1, seats: int = 256
) -> EngineProfile:
    """The profile of a model on `accelerators` of one kind with tensor parallelism.

    Raises ValueError if the weights do not fit.
    """
    split = PARALLEL_EFFICIENCY if accelerators > 1 else 1.0
    bandwidth = hardware.bandwidth * BANDWIDTH_EFFICIENCY * split * accelerators
    flops = hardware.flops * COMPUTE_EFFICIENCY * split * accelerators
    token_s = 2 * shape.parameters / flops
    kv_memory = (
        accelerators * (hardware.memory * MEMORY_SHARE - ACTIVATION_BYTES) - shape.weight_bytes
    )
    return EngineProfile(
        prefill_s=token_s,
        step_s=shape.weight_bytes / bandwidth + STEP_OVERHEAD_S,
        seq_s=token_s,
        context_s=shape.kv_bytes / bandwidth,
        seats=seats,
        kv_tokens=max(0, int(kv_memory / shape.kv_bytes)),
    )


PRESETS: dict[str, EngineProfile] = {
    "qwen2.5-7b@a100": roofline(shape=QWEN_7B, hardware=A100),
    "qwen2.5-32b@a100": roofline(shape=QWEN_32B, hardware=A100, accelerators=2),
    "qwen2.5-72b@a100": roofline(shape=QWEN_72B, hardware=A100, accelerators=4),
}
"""Servers by name: 7B on one A100, 32B on two, 72B on four."""

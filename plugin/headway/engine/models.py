"""What models cost: parameters, weights and KV cache, from their published configurations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What a model costs: parameters, bytes of all weights, KV bytes a token of context."""

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


_shape = ModelShape.grouped_query

# Qwen2.5 technical report, arXiv 2412.15115, table 1, and the published config.json files.
_QWEN = {
    "qwen2.5-1.5b": _shape(parameters=1.54e9, layers=28, kv_heads=2, head_size=128),
    "qwen2.5-3b": _shape(parameters=3.09e9, layers=36, kv_heads=2, head_size=128),
    "qwen2.5-7b": _shape(parameters=7.61e9, layers=28, kv_heads=4, head_size=128),
    "qwen2.5-14b": _shape(parameters=14.7e9, layers=48, kv_heads=8, head_size=128),
    "qwen2.5-32b": _shape(parameters=32.5e9, layers=64, kv_heads=8, head_size=128),
    "qwen2.5-72b": _shape(parameters=72.7e9, layers=80, kv_heads=8, head_size=128),
}
# The Llama 3 herd of models, arXiv 2407.21783, table 3; parameters from the model cards.
_LLAMA = {
    "llama-3.1-8b": _shape(parameters=8.03e9, layers=32, kv_heads=8, head_size=128),
    "llama-3.1-70b": _shape(parameters=70.6e9, layers=80, kv_heads=8, head_size=128),
}
# Gemma 2, arXiv 2408.00118, tables 1 and 2 (embedding included). Every other layer attends to
# 4,096 tokens only: for longer contexts the KV bytes are an upper bound.
_GEMMA = {
    "gemma-2-2b": _shape(parameters=2.61e9, layers=26, kv_heads=4, head_size=256),
    "gemma-2-9b": _shape(parameters=9.24e9, layers=42, kv_heads=8, head_size=256),
}

MODELS: dict[str, ModelShape] = {**_QWEN, **_LLAMA, **_GEMMA}
"""Model shapes by the name that a preset gives them."""

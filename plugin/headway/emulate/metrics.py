"""The Prometheus page of an emulated server, under vLLM's metric names."""

from collections.abc import Sequence

from headway.emulate.wallclock import WallClockEngine
from headway.engine import Gauges

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _gauges_told(gauges: Gauges, fault: str) -> tuple[float, float, float]:
    """Running, waiting and KV use as the page states them under a fault."""
    if fault == "lie_metrics":
        return 0.0, 0.0, 0.0
    if fault == "garble_metrics":
        return -7.0, float("nan"), 12.5
    return float(gauges.running), float(gauges.waiting), gauges.kv_used


def render_metrics(engine: WallClockEngine, models: Sequence[str], *, fault: str = "") -> str:
    """The page; models that share the engine are each shown all of its load."""
    gauges, profile, late = engine.gauges(), engine.profile, engine.lateness()
    running, waiting, kv_used = _gauges_told(gauges, fault)
    numbers: list[tuple[str, str, float]] = [
        ("vllm:num_requests_running", "gauge", running),
        ("vllm:num_requests_waiting", "gauge", waiting),
        ("vllm:kv_cache_usage_perc", "gauge", kv_used),
        ("vllm:prompt_tokens_total", "counter", gauges.prompt_tokens),
        ("vllm:generation_tokens_total", "counter", gauges.generation_tokens),
        ("vllm:prefix_cache_queries_total", "counter", gauges.prompt_tokens),
        ("vllm:prefix_cache_hits_total", "counter", gauges.cached_tokens),
        ("vllm:num_preemptions_total", "counter", gauges.preemptions),
        ("headway_emulate:seats", "gauge", profile.seats),
        ("headway_emulate:speedup", "gauge", engine.speedup),
    ]
    named = [f'model_name="{_escaped(model)}"' for model in models]
    lines = []
    for name, kind, value in numbers:
        lines.append(f"# TYPE {name} {kind}")
        lines += [f"{name}{{{label}}} {float(value)}" for label in named]
    lines.append("# TYPE vllm:request_success_total counter")
    for label in named:
        line = f'vllm:request_success_total{{{label},finished_reason="stop"}}'
        lines.append(f"{line} {float(gauges.succeeded)}")
    lines.append("# TYPE vllm:admission_rejections_total counter")
    for label in named:
        lines.append(f"vllm:admission_rejections_total{{{label}}} {float(gauges.rejected)}")
    lines.append("# TYPE vllm:cache_config_info gauge")
    size = f'num_gpu_blocks="{profile.kv_blocks}",block_size="{profile.block_tokens}"'
    lines.append(f"vllm:cache_config_info{{{size}}} 1.0")
    lines.append("# TYPE headway_emulate:lateness_ratio gauge")
    for quantile, ratio in (("0.5", late.p50), ("0.95", late.p95)):
        lines += [
            f'headway_emulate:lateness_ratio{{{label},quantile="{quantile}"}} {ratio}'
            for label in named
        ]
    return "\n".join(lines) + "\n"

"""How numbers and measures are written, on the page and in the terminal."""

import math

HEADINGS = {
    "mean_s": "mean s",
    "p50_s": "P50 s",
    "p95_s": "P95 s",
    "p99_s": "P99 s",
    "slowdown_mean": "slowdown",
    "req95": "Req95",
    "req99": "Req99",
    "s_per_token": "s/token",
    "s_per_reference_token": "s/ref. token",
    "success": "success",
    "attainment": "attained",
    "goodput": "goodput tok/s",
    "time_to_success_s": "s to success",
    "cost": "cost",
    "kv_output_saved": "KV out. saved",
    "kv_saved": "KV saved",
    "kv_overflow": "KV overflow",
    "longest_wait_s": "longest wait s",
    "utilisation": "utilisation",
    "prefix_hits": "prefix hits",
    "planner_ms": "planner ms",
    "planner_p99_ms": "planner P99 ms",
}
"""Column headings, in the order of columns."""

_SHARES = (
    *("success", "attainment", "kv_output_saved", "kv_saved", "kv_overflow"),
    *("utilisation", "prefix_hits"),
)


def number(value: float | None) -> str:
    """Three significant digits; ``-`` for what is not known, ``inf`` for what never ended."""
    if value is None or math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    value = float(f"{value:.2e}") if abs(value) < 100 else value
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    if size < 0.001:
        return f"{value:.1e}"
    return f"{value:.{2 - math.floor(math.log10(size))}f}"


def shown(measure: str, value: float | None) -> str:
    """A measure's value: shares in per cent."""
    if measure in _SHARES and value is not None and math.isfinite(value):
        return f"{100 * value:.1f}%"
    return number(value)

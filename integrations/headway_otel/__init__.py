"""Traces and metrics of runs, nodes, calls and decisions, made in the user's own process."""

try:
    import opentelemetry.trace as _api
except ImportError as _error:
    raise ImportError(
        "headway_otel needs OpenTelemetry, which is not installed: pip install 'headway[otel]'"
    ) from _error

from headway_otel.conventions import SEMCONV
from headway_otel.installation import current_span, install, uninstall

__all__ = ["SEMCONV", "current_span", "install", "uninstall"]

del _api

"""What a span costs: start, attributes, end; with an exporter that does nothing, beside a bare one.

A run with a node and a call is told again and again, which makes three spans of ours, decision
and usage on them. Beside it: spans of the SDK alone, without attributes. Once more with metrics.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from headway.client import Route
from headway.core.facts import (
    CallEnded,
    CallReady,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec
from headway_otel.installation import make_tracing
from headway_otel.tracing import Tracing
from tests.bench.measure import Result, percentile, quartiles

ROUNDS = 20
SPANS_EACH = 3
GOAL_US = 50.0
BARE = "a span of the SDK, without attributes"


class Nowhere(SpanExporter):
    """Exports nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    """The SDK with that exporter, at every span's end."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(Nowhere()))
    return made


def script() -> tuple[Any, ...]:
    """The facts of a run with a node and a call, before and after the call, and its decision."""
    ids: dict[str, Any] = {"run": "run", "node": "run:node"}
    ask = CallReady(
        call="call", attempt=1, graph="graph", node_name="node", pool_name="agent",
        parents=("run:before",), visit=2, step=3, deadline_s=60.0, prompt_chars=4000,
        max_tokens=512, needs=("tools",), **ids,
    )  # fmt: skip
    spec = EndpointSpec(id="large-1", url="http://10.0.0.1:8000/v1", model="large", engine="vllm")
    route = Route(
        endpoint=spec, urgency=1.5, source="daemon", why="cheapest of 7 by expected time",
        held_s=0.1, output_tokens=200.0,
    )  # fmt: skip
    before = (
        RunStarted(run="run", graph="graph", thread="t", deadline_s=60.0),  # type: ignore[arg-type]
        NodeStarted(name="node", parents=("run:before",), visit=2, step=3, **ids),  # type: ignore[arg-type]
    )
    after = (
        CallEnded(
            call="call", attempt=1, run="run", prompt_tokens=900, cached_tokens=400,
            output_tokens=180, first_token_s=0.1, duration_s=2.0, finish_reason="stop",
        ),
        NodeEnded(**ids),
        RunEnded(run="run"),  # type: ignore[arg-type]
    )  # fmt: skip
    return ask, route, before, after


def ours(tracing: Tracing) -> Callable[[], None]:
    """One run, told to `tracing`."""
    ask, route, before, after = script()

    def one() -> None:
        for fact in before:
            tracing.told(fact)
        tracing.asked(ask)
        tracing.routed(ask, route)
        for fact in after:
            tracing.told(fact)

    return one


def bare() -> Callable[[], None]:
    """As many spans of the SDK."""
    tracer = provider().get_tracer("bare")

    def one() -> None:
        for _ in range(SPANS_EACH):
            tracer.start_span("bare").end()

    return one


def us_per_span(one: Callable[[], None], times: int) -> float:
    """Microseconds that a span takes, over so many runs."""
    gc.collect()
    began = time.perf_counter()
    for _ in range(times):
        one()
    return (time.perf_counter() - began) * 1e6 / (times * SPANS_EACH)


def measure(*, runs: int, step: Callable[[], None]) -> list[Result]:
    """A span, and a span with its metrics; `runs` runs in each of the rounds."""
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    ways = {
        "bare": bare(),
        "span": ours(make_tracing(provider())),
        "span, with metrics": ours(make_tracing(provider(), meters)),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name, one in ways.items():
            took = us_per_span(one, runs)
            if number:  # the first round warms up
                spent[name].append(took)
        step()
    reference = percentile(spent["bare"], 50)
    return [
        Result(
            name=name,
            value=percentile(spent[name], 50),
            unit="us",
            ratio_to=BARE,
            ratio=percentile(spent[name], 50) / reference,
            n=runs * ROUNDS * SPANS_EACH,
            spread=quartiles(spent[name]),
            goal=GOAL_US if name == "span" else None,
            goal_of="value",
        )
        for name in ("span", "span, with metrics")
    ]

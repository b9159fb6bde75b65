"""Real OpenTelemetry providers that keep everything in memory, and a watcher over them."""

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from headway.core.facts import (
    CallEnded,
    CallReady,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway_otel.installation import make_tracing


class Traced:
    """`tracing` watches; `spans` and `points` are what came of it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.tracing = make_tracing(self.provider, self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in that order."""
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (found,) = self.all(name)
        return found

    def all(self, begin: str) -> list[ReadableSpan]:
        """The spans whose name is `begin`, or begins with it and a space."""
        return [one for one in self.spans if one.name == begin or one.name.startswith(f"{begin} ")]

    def points(self) -> dict[str, list[Any]]:
        """The data points of every metric, by its name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def tell(self, facts: Iterable[Any]) -> None:
        """Tell all of these."""
        for fact in facts:
            self.tracing.told(fact)


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Trace and span id."""
    return span.context.trace_id, span.context.span_id


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether `parent` is the parent of `child`."""
    return child.parent is not None and (child.parent.trace_id, child.parent.span_id) == ids(parent)


def begun(run: Any = "r", node: Any = "n", **more: Any) -> list[Any]:
    """A run with one node, both going on."""
    return [
        RunStarted(run=run, graph="g", **more),
        NodeStarted(run=run, node=node, name="write", visit=2, step=3),
    ]


def over(run: Any = "r", node: Any = "n") -> list[Any]:
    """Their ends."""
    return [NodeEnded(run=run, node=node), RunEnded(run=run)]


def ready(call: Any = "c", *, attempt: int = 1, node: Any = "n", **more: Any) -> CallReady:
    """A question."""
    return CallReady(
        call=call, attempt=attempt, run="r", graph="g", node=node, node_name="write",  # type: ignore[arg-type]
        pool_name="agent", prompt_chars=40, **more,
    )  # fmt: skip


def done(call: Any = "c", *, attempt: int = 1, **more: Any) -> CallEnded:
    """The end of an attempt."""
    return CallEnded(call=call, attempt=attempt, run="r", **more)  # type: ignore[arg-type]

"""Switching traces and metrics on for this process, and off again."""

import os
import threading
from importlib.metadata import PackageNotFoundError, version

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import INVALID_SPAN, Span, TracerProvider

from headway.client import get_client
from headway.context import live_scope
from headway_otel.conventions import SCHEMA_URL, SEMCONV
from headway_otel.metrics import Instruments
from headway_otel.tracing import Tracing

SCOPE = "headway"


class Installation:
    """What is installed in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.tracing: Tracing | None = None
        self.agents: dict[str, bool] = {}

    def install(self, tracing: Tracing) -> None:
        """Let `tracing` watch, in the place of what watched before."""
        with self.lock:
            before, self.tracing = self.tracing, tracing
        watchers = get_client().watchers
        if before is not None:
            watchers.remove(before)
            before.close()
        watchers.add(tracing)

    def uninstall(self) -> None:
        """Watch no more, and end what is open."""
        with self.lock:
            before, self.tracing = self.tracing, None
        if before is not None:
            get_client().watchers.remove(before)
            before.close()

    def forked(self) -> None:
        """In a forked child: what was open is the parent's; the child's client is a new one."""
        self.lock = threading.Lock()
        if self.tracing is not None:
            self.tracing.forked()
            get_client().watchers.add(self.tracing)


_installation = Installation()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_installation.forked)


def make_tracing(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> Tracing:
    """A watcher over these providers (None: the global ones, also if they are set later)."""
    try:
        own_version = version("headway")
    except PackageNotFoundError:
        own_version = ""
    tracer = trace.get_tracer(
        SCOPE,
        own_version,
        tracer_provider,
        schema_url=SCHEMA_URL,
        attributes={"headway.semconv": SEMCONV},
    )
    meter = metrics.get_meter(SCOPE, own_version, meter_provider, schema_url=SCHEMA_URL)
    return Tracing(
        tracer, Instruments(meter), pool=lambda: get_client().pool, agents=_installation.agents
    )


def install(
    tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Make spans and metrics of all runs, nodes, calls and decisions of this process from now on.

    With no providers, the global ones are used, also if they are set later. Before the first
    run, so that agents are known as such. A second call takes the place of the first.
    """
    _installation.install(make_tracing(tracer_provider, meter_provider))


def uninstall() -> None:
    """Make no more of them; spans that are open end here. Idempotent."""
    _installation.uninstall()


def current_span() -> Span:
    """The span of the node that the current code belongs to; an invalid one outside of a node.

    Headway's spans are not made the current ones; ``trace.use_span(current_span())`` puts a
    program's own spans below its node.
    """
    tracing, scope = _installation.tracing, live_scope()
    if tracing is None or scope is None:
        return INVALID_SPAN
    return tracing.span_of(scope.node) or INVALID_SPAN

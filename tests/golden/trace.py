"""Records the golden trace: a scripted run with a fixed clock and fixed ids, as OTLP's JSON.

    python -m tests.golden.trace

Run it when the form of spans is meant to change, and say why in the same commit: who reads
such files as workloads depends on it (docs/reference/spans.md).
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

from headway.client import Route
from headway.client.watching import Raised, ToolEnded, ToolStarted
from headway.core.facts import (
    CallEnded,
    CallReady,
    Feedback,
    FirstToken,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec
from headway_otel.conventions import SCHEMA_URL, SEMCONV
from headway_otel.files import OtlpJsonFile
from headway_otel.metrics import Instruments
from headway_otel.tracing import Tracing

GOLDEN = Path(__file__).parent / "trace.otlp.json"
BEGAN_NS = 1_790_000_000 * 10**9
SMALL = EndpointSpec(id="small-1", url="http://10.0.0.1:8000/v1", model="small", engine="vllm")
LARGE = EndpointSpec(id="large-1", url="http://10.0.0.2:8000/v1", model="large", engine="vllm")


class Counted(IdGenerator):
    """Ids that count up."""

    def __init__(self) -> None:
        self._spans, self._traces = 0, 0

    def generate_span_id(self) -> int:
        self._spans += 1
        return 0xA000 + self._spans

    def generate_trace_id(self) -> int:
        self._traces += 1
        return 0xF00D0000 + self._traces


class Script:
    """Tells what happens at which second; `at` is the clock."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            id_generator=Counted(), resource=Resource({"service.name": "golden"})
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.at = 0.0
        tracer = self.provider.get_tracer(
            "headway", schema_url=SCHEMA_URL, attributes={"headway.semconv": SEMCONV}
        )
        instruments = Instruments(NoOpMeterProvider().get_meter("headway"))
        self.tracing = Tracing(
            tracer, instruments, pool=lambda: None,
            clock_ns=lambda: BEGAN_NS + round(self.at * 1000) * 10**6,
        )  # fmt: skip

    def tell(self, at: float, *facts: Any) -> None:
        self.at = at
        for fact in facts:
            self.tracing.told(fact)

    def ask(self, at: float, call: str, run: str, node: str, **more: Any) -> CallReady:
        self.at = at
        said: dict[str, Any] = {
            "graph": "research", "node_name": node.rpartition(":")[2], "pool_name": "agent",
            "attempt": 1, "prompt_chars": 400, **more,
        }  # fmt: skip
        ask = CallReady(call=call, run=run, node=node, **said)  # type: ignore[arg-type]
        self.tracing.asked(ask)
        return ask

    def route(self, at: float, ask: CallReady, spec: EndpointSpec, **more: Any) -> None:
        held_s, self.at = round(at - self.at, 6), at
        said: dict[str, Any] = {
            "urgency": 1.5, "source": "daemon", "why": "cheapest of 2", "held_s": held_s,
            "output_tokens": 64.0, **more,
        }  # fmt: skip
        self.tracing.routed(ask, Route(endpoint=spec, **said))

    def end(self, at: float, ask: CallReady, **more: Any) -> None:
        said = {"prompt_tokens": 100, "output_tokens": 50, "finish_reason": "stop", **more}
        self.tell(at, CallEnded(call=ask.call, attempt=ask.attempt, run=ask.run, **said))


def node(run: str, name: str, step: int, *parents: str, key: str = "", **more: Any) -> NodeStarted:
    """A node that starts; its id is its run and its key (or name)."""
    ids = tuple(f"{run}:{parent}" for parent in parents)
    return NodeStarted(
        run=run, node=f"{run}:{key or name}", name=name, parents=ids, step=step, **more
    )  # type: ignore[arg-type]


def play_research(script: Script) -> None:
    """Plan, two researchers at once (a wait, a tool, a retry), an agent inside the writer."""
    run = "run-1"
    script.tell(
        0.0,
        GraphSeen(graph="research", nodes=("plan", "research", "write"), edges=()),
        GraphSeen(graph="editor", nodes=("model", "tools"), edges=()),
        RunStarted(
            run=run, graph="research", thread="t-1", deadline_s=60.0, service_class="batch",
            tenant="acme", tags=("nightly",), models=("small", "large"), budget=2.5,
        ),
        node(run, "plan", 1),
    )  # fmt: skip
    plan = script.ask(0.001, "call-1", run, f"{run}:plan", deadline_s=60.0, max_tokens=512)
    script.route(0.002, plan, LARGE)
    script.tell(0.2, FirstToken(call="call-1", attempt=1))
    script.end(1.0, plan, first_token_s=0.198, cached_tokens=60)
    script.tell(1.0, NodeEnded(run=run, node=f"{run}:plan"))
    script.tell(
        1.0, node(run, "research", 2, "plan", key="a"), node(run, "research", 2, "plan", key="b")
    )
    first = script.ask(1.001, "call-2", run, f"{run}:a", parents=(f"{run}:plan",), needs=("tools",))
    second = script.ask(1.001, "call-3", run, f"{run}:b", parents=(f"{run}:plan",))
    script.route(1.0012, first, SMALL)
    script.at = 1.001
    script.route(1.5, second, SMALL, urgency=-0.5)
    script.end(1.6, first, finish_reason="tool_calls", tool_calls=1)
    script.tell(
        1.6, ToolStarted(run=run, node=f"{run}:a", tool="tool-1", name="search", call_id="tc-1")
    )
    script.tell(1.9, ToolEnded(tool="tool-1", outcome="ok"), NodeEnded(run=run, node=f"{run}:a"))
    script.end(
        1.9, second, outcome="error", error="503", prompt_tokens=None, output_tokens=None,
        finish_reason="",
    )  # fmt: skip
    again = script.ask(2.0, "call-3", run, f"{run}:b", attempt=2)
    script.route(
        2.0, again, LARGE, source="spread", why="the connection is lost", output_tokens=0.0
    )
    script.end(2.5, again)
    script.tell(2.5, NodeEnded(run=run, node=f"{run}:b"), node(run, "write", 3, "a", "b"))
    script.tell(
        2.6, RunStarted(run="run-2", graph="editor", parent_run=run, parent_node=f"{run}:write")
    )
    script.tell(2.6, node("run-2", "model", 1))
    edit = script.ask(2.6, "call-4", "run-2", "run-2:model", graph="editor")
    script.route(2.6, edit, LARGE)
    script.end(3.0, edit)
    script.tell(3.0, NodeEnded(run="run-2", node="run-2:model"), RunEnded(run="run-2"))
    script.tell(3.0, Feedback(run=run, node=f"{run}:write", ok=False))
    script.tell(3.1, NodeEnded(run=run, node=f"{run}:write", outcome="interrupted"))
    script.tell(3.1, RunEnded(run=run, outcome="interrupted"))


def play_resume(script: Script) -> None:
    """The same thread goes on: a second visit that fails."""
    run = "run-3"
    script.tell(90.0, RunStarted(run=run, graph="research", thread="t-1", resumed=True))
    script.tell(90.0, node(run, "write", 4, visit=2))
    ask = script.ask(90.1, "call-5", run, f"{run}:write", visit=2)
    script.route(90.1, ask, SMALL)
    script.tell(
        90.5,
        Raised(run=run, node=f"{run}:write", error="ValueError"),
        NodeEnded(run=run, node=f"{run}:write", outcome="error"),
        Raised(run=run, node=None, error="ValueError"),
        RunEnded(run=run, outcome="error"),
    )


def recorded() -> str:
    """The content of the golden file, played now: a line for each part."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        file = OtlpJsonFile(path)
        for batch in _batches():
            file.export(batch)
        file.shutdown()
        return path.read_text(encoding="utf-8")


def _batches() -> Iterator[Any]:
    script = Script()
    for play in (play_research, play_resume):
        play(script)
        yield script.exporter.get_finished_spans()
        script.exporter.clear()


def main() -> int:
    """Write the file; say whether it changed."""
    now = recorded()
    same = GOLDEN.exists() and GOLDEN.read_text(encoding="utf-8") == now
    GOLDEN.write_text(now, encoding="utf-8")
    print(f"{GOLDEN.name}: {'as recorded' if same else 'changed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What is open: runs, nodes, attempts and tools with their spans. Bounded, whatever never ends.

Each open thing knows what hangs on it, so that its end can end that too. Only the books
are behind a lock; spans are started and ended outside of it, as an exporter may take its time.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext

from headway.client import Route
from headway.core.facts import CallReady
from headway.core.types import CallId, NodeId, RunId
from headway_otel.metrics import Attributes

MOST_RUNS = 10_000
MOST_NODES = 50_000
MOST_CALLS = 20_000
MOST_PARENTS = 4096
MOST_PAUSED = 4096

CallKey = tuple[CallId, int]


@dataclass(slots=True, eq=False)
class Open:
    """Something that has begun: its span, when (in ns), and the context that its children get."""

    span: Span
    context: Context
    began: int


@dataclass(slots=True, eq=False)
class OpenRun(Open):
    """A run; `spans` has the spans of its nodes, ended ones too, for links."""

    id: RunId
    graph: str
    thread: str
    is_agent: bool
    nodes: "dict[NodeId, OpenNode]" = field(default_factory=dict)
    spans: OrderedDict[NodeId, SpanContext] = field(default_factory=OrderedDict)
    calls: int = 0
    tools: int = 0
    error: str = ""


@dataclass(slots=True, eq=False)
class OpenNode(Open):
    """A node, with the attempts and tools that hang on it."""

    id: NodeId
    run: OpenRun
    calls: "set[CallKey]" = field(default_factory=set)
    tools: set[str] = field(default_factory=set)
    error: str = ""


@dataclass(slots=True, eq=False)
class OpenCall(Open):
    """One attempt; `said` are its span's attributes as far as metrics need them."""

    ask: CallReady
    node: OpenNode | None
    said: Attributes
    route: Route | None = None


@dataclass(slots=True, eq=False)
class OpenTool(Open):
    """One use of a tool."""

    id: str
    name: str
    node: OpenNode


class Books:
    """All that is open. Thread-safe; what is put beyond a limit pushes out the oldest."""

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """In a forked child: nothing is open, and the lock is free."""
        # The garbage collector may end a dropped stream's call in the midst of this thread's work.
        self._lock = threading.RLock()
        self.runs: OrderedDict[RunId, OpenRun] = OrderedDict()
        self.nodes: OrderedDict[NodeId, OpenNode] = OrderedDict()
        self.calls: OrderedDict[CallKey, OpenCall] = OrderedDict()
        self.tools: dict[str, OpenTool] = {}
        self._paused: OrderedDict[tuple[str, str], SpanContext] = OrderedDict()

    def put_run(self, run: OpenRun) -> OpenRun | None:
        """A run begins; returns the run that is given up for it, if there are too many."""
        with self._lock:
            self.runs[run.id] = run
            return next(iter(self.runs.values())) if len(self.runs) > MOST_RUNS else None

    def put_node(self, node: OpenNode) -> NodeId | None:
        """A node of an open run begins; returns one that is given up for it, if there are many."""
        with self._lock:
            self.nodes[node.id] = node
            run = node.run
            run.nodes[node.id] = node
            run.spans[node.id] = node.span.get_span_context()
            while len(run.spans) > MOST_PARENTS:
                run.spans.popitem(last=False)
            return next(iter(self.nodes)) if len(self.nodes) > MOST_NODES else None

    def put_call(self, key: CallKey, call: OpenCall) -> CallKey | None:
        """An attempt begins; returns one that is given up for it, if there are too many."""
        with self._lock:
            self.calls[key] = call
            if call.node is not None:
                call.node.calls.add(key)
                call.node.run.calls += 1
            return next(iter(self.calls)) if len(self.calls) > MOST_CALLS else None

    def put_tool(self, tool: OpenTool) -> None:
        """A tool begins."""
        with self._lock:
            self.tools[tool.id] = tool
            tool.node.tools.add(tool.id)
            tool.node.run.tools += 1

    def take_call(self, key: CallKey) -> OpenCall | None:
        """The attempt, off the books: who takes it ends it."""
        with self._lock:
            call = self.calls.pop(key, None)
            if call is not None and call.node is not None:
                call.node.calls.discard(key)
            return call

    def take_tool(self, tool_id: str) -> OpenTool | None:
        """The tool, off the books."""
        with self._lock:
            tool = self.tools.pop(tool_id, None)
            if tool is not None:
                tool.node.tools.discard(tool_id)
            return tool

    def take_node(self, node_id: NodeId) -> OpenNode | None:
        """The node, off the books."""
        with self._lock:
            node = self.nodes.pop(node_id, None)
            if node is not None:
                node.run.nodes.pop(node_id, None)
            return node

    def take_run(self, run_id: RunId) -> OpenRun | None:
        """The run, off the books."""
        with self._lock:
            return self.runs.pop(run_id, None)

    def hanging(self, node: OpenNode) -> tuple[tuple[CallKey, ...], tuple[str, ...]]:
        """The attempts and tools that a node leaves open."""
        with self._lock:
            return tuple(sorted(node.calls)), tuple(sorted(node.tools))

    def nodes_of(self, run: OpenRun) -> tuple[NodeId, ...]:
        """The nodes that a run leaves open."""
        with self._lock:
            return tuple(run.nodes)

    def parents_of(self, run: OpenRun, parents: tuple[NodeId, ...]) -> list[SpanContext]:
        """The spans of a node's parents, as far as they are known."""
        with self._lock:
            return [run.spans[parent] for parent in parents if parent in run.spans]

    def pause(self, run: OpenRun) -> None:
        """A run waits for a person: what goes on with its thread links to it."""
        with self._lock:
            key = (run.graph, run.thread)
            self._paused[key] = run.span.get_span_context()
            self._paused.move_to_end(key)
            while len(self._paused) > MOST_PAUSED:
                self._paused.popitem(last=False)

    def paused(self, graph: str, thread: str) -> SpanContext | None:
        """The span of the run that waited in this thread, once."""
        with self._lock:
            return self._paused.pop((graph, thread), None)

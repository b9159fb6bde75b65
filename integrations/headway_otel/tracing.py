"""The watcher: spans and metrics out of what is told, asked and routed in this process.

A run is an ``invoke_workflow`` span (``invoke_agent`` if its graph is an agent), a node a
``node`` span below it, each attempt of a call a ``chat`` span below that, from its question
to its end. Nothing here is made the current span: LangGraph reports a node's end in another
context than its start, and what was left behind would adopt the user's own spans.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from opentelemetry import baggage, propagate
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanKind,
    Tracer,
    set_span_in_context,
)

from headway.client import Route
from headway.client.watching import Raised, ToolEnded, ToolStarted
from headway.core.errors import UnknownEndpoint
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Feedback,
    FirstToken,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import Pool
from headway.core.types import NodeId, Outcome, RunId
from headway_otel import conventions as names
from headway_otel.attributes import (
    is_agent,
    of_call,
    of_call_end,
    of_endpoint,
    of_node,
    of_route,
    of_run,
    of_tool,
)
from headway_otel.books import Books, CallKey, Open, OpenCall, OpenNode, OpenRun, OpenTool
from headway_otel.ends import Ends, conclude
from headway_otel.metrics import Instruments

NS = 1_000_000_000
SHOWN_WAIT_NS = 1_000_000
"""A wait for release is a span of its own from this long on."""
MOST_GRAPHS = 4096


class Tracing:
    """One installation: a `headway.client.watching.Watcher`."""

    def __init__(
        self,
        tracer: Tracer,
        instruments: Instruments,
        *,
        pool: Callable[[], Pool | None],
        clock_ns: Callable[[], int] = time.time_ns,
        agents: dict[str, bool] | None = None,
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._pool = pool
        self._clock_ns = clock_ns
        self._books = Books()
        # Which graphs are agents is told once per process, so installations share it.
        self._agents = {} if agents is None else agents
        self._ends = Ends()
        self._of: dict[type, Callable[[Any], None]] = {
            GraphSeen: self._graph_seen,
            RunStarted: self._run_started,
            RunEnded: self._run_ended,
            NodeStarted: self._node_started,
            NodeEnded: self._node_ended,
            CallSent: self._call_sent,
            FirstToken: self._first_token,
            CallEnded: self._call_ended,
            Feedback: self._feedback,
            ToolStarted: self._tool_started,
            ToolEnded: self._tool_ended,
            Raised: self._raised,
        }

    def forked(self) -> None:
        """In a forked child: what is open is the parent's."""
        self._books.forked()

    def close(self) -> None:
        """End whatever is open."""
        for run in list(self._books.runs):
            self._end_run(run, "cancelled")
        for key in list(self._books.calls):
            self._give_up_call(key)

    def span_of(self, node: NodeId) -> Span | None:
        """The open span of a node."""
        found = self._books.nodes.get(node)
        return None if found is None else found.span

    # What a watcher is told

    def told(self, fact: msgspec.Struct) -> None:
        """A fact, a tool or an exception."""
        what = self._of.get(type(fact))
        if what is not None:
            what(fact)

    def asked(self, ask: CallReady) -> None:
        """An attempt begins with its question."""
        key: CallKey = (ask.call, ask.attempt)
        if key in self._books.calls:
            return
        node = self._books.nodes.get(ask.node)
        thread = node.run.thread if node is not None else ""
        said = of_call(ask, thread=thread)
        now = self._clock_ns()
        span = self._tracer.start_span(
            f"{names.CHAT} {ask.pool_name}",
            # A call of which only the question is known belongs to whatever is going on.
            None if node is None else node.context,
            SpanKind.CLIENT,
            said,
            start_time=now,
        )
        call = OpenCall(span, set_span_in_context(span, Context()), now, ask, node, said)
        given_up = self._books.put_call(key, call)
        if given_up is not None:
            self._give_up_call(given_up)

    def routed(self, ask: CallReady, route: Route) -> None:
        """The attempt's decision: on its span, and the wait for it below."""
        call = self._books.calls.get((ask.call, ask.attempt))
        if call is None:
            return
        now = self._clock_ns()
        call.route = route
        waited = max(0, now - call.began)
        said = of_route(route, wait_s=waited / NS)
        call.said.update(said)
        call.span.set_attributes(said)
        if route.applies and route.endpoint is not None:
            call.span.update_name(f"{names.CHAT} {route.endpoint.model}")
        if waited >= SHOWN_WAIT_NS:
            wait = self._tracer.start_span(
                names.WAIT_SPAN,
                call.context,
                attributes={names.SOURCE: route.source, names.WHY: route.why},
                start_time=call.began,
            )
            self._ends.end(wait, now)
        self._instruments.decided(ask.pool_name, route, waited / NS, call.context)

    def headers(self, ask: CallReady) -> Mapping[str, str]:
        """The trace context of the attempt's span, so that the server's spans join it.

        Of an attempt that nobody here decides about, as a proxy does, it is its node's.
        """
        around: Open | None = self._books.calls.get((ask.call, ask.attempt))
        around = around or self._books.nodes.get(ask.node)
        carrier: dict[str, str] = {}
        if around is not None and around.span.get_span_context().is_valid:
            # Our baggage only: what else the program carries is not for every model's host.
            context = baggage.set_baggage(names.RUN, ask.run, around.context)
            propagate.inject(carrier, context)
        return carrier

    # Runs

    def _graph_seen(self, fact: GraphSeen) -> None:
        if len(self._agents) < MOST_GRAPHS:
            self._agents[fact.graph] = is_agent(fact)

    def _run_started(self, fact: RunStarted) -> None:
        if fact.run in self._books.runs:
            return
        agent = self._agents.get(fact.graph, False)
        outer = None if fact.parent_node is None else self._books.nodes.get(fact.parent_node)
        links = []
        if fact.resumed:
            before = self._books.paused(fact.graph, fact.thread)
            if before is not None:
                links.append(Link(before, {names.LINK: "resumes"}))
        now = self._clock_ns() - int(fact.age_s * NS)
        span = self._tracer.start_span(
            f"{names.INVOKE_AGENT if agent else names.INVOKE_WORKFLOW} {fact.graph}",
            None if outer is None else outer.context,
            SpanKind.INTERNAL,
            of_run(fact, agent=agent),
            links,
            start_time=now,
        )
        context = set_span_in_context(span, Context())
        run = OpenRun(span, context, now, fact.run, fact.graph, fact.thread, agent)
        given_up = self._books.put_run(run)
        if given_up is not None:
            self._end_run(given_up.id, "cancelled")

    def _run_ended(self, fact: RunEnded) -> None:
        self._end_run(fact.run, fact.outcome)

    def _end_run(self, run_id: RunId, outcome: Outcome) -> None:
        run = self._books.take_run(run_id)
        if run is None:
            return
        now = self._clock_ns()
        for node in self._books.nodes_of(run):
            self._end_node(node, "cancelled")
        if outcome == "interrupted" and run.thread:
            self._books.pause(run)
        error = conclude(run.span, outcome, run.error)
        self._instruments.ran(
            run.graph,
            (now - run.began) / NS,
            error=error,
            is_agent=run.is_agent,
            calls=run.calls,
            tools=run.tools,
            context=run.context,
        )
        self._ends.end(run.span, now)

    # Nodes

    def _node_started(self, fact: NodeStarted) -> None:
        run = self._books.runs.get(fact.run)
        if run is None or fact.node in self._books.nodes:
            return
        links = [
            Link(parent, {names.LINK: "parent"})
            for parent in self._books.parents_of(run, fact.parents)
        ]
        now = self._clock_ns() - int(fact.age_s * NS)
        span = self._tracer.start_span(
            f"node {fact.name}",
            run.context,
            SpanKind.INTERNAL,
            of_node(fact, run.graph),
            links,
            start_time=now,
        )
        context = set_span_in_context(span, Context())
        given_up = self._books.put_node(OpenNode(span, context, now, fact.node, run))
        if given_up is not None:
            self._end_node(given_up, "cancelled")

    def _node_ended(self, fact: NodeEnded) -> None:
        self._end_node(fact.node, fact.outcome)

    def _end_node(self, node_id: NodeId, outcome: Outcome) -> None:
        node = self._books.take_node(node_id)
        if node is None:
            return
        calls, tools = self._books.hanging(node)
        for key in calls:
            self._give_up_call(key)
        for tool in tools:
            self._end_tool(tool, "cancelled", "")
        conclude(node.span, outcome, node.error)
        self._ends.end(node.span, self._clock_ns())

    def _raised(self, fact: Raised) -> None:
        if fact.node is None:
            run = self._books.runs.get(fact.run)
            if run is not None:
                run.error = fact.error
            return
        node = self._books.nodes.get(fact.node)
        if node is not None:
            # It may be tried again under the same id: then this was one of its attempts.
            node.error = fact.error
            node.span.add_event(names.RAISED_EVENT, {names.ERROR: fact.error}, self._clock_ns())

    def _feedback(self, fact: Feedback) -> None:
        about = self._books.nodes.get(fact.node) if fact.node else None
        run = self._books.runs.get(fact.run)
        span = about.span if about is not None else run.span if run is not None else None
        if span is not None:
            said: dict[str, Any] = {names.FEEDBACK_OK: fact.ok}
            if fact.node is not None:
                said[names.NODE] = fact.node
            span.add_event(names.FEEDBACK_EVENT, said, self._clock_ns())

    # Calls

    def _call_sent(self, fact: CallSent) -> None:
        """The host chose the endpoint by itself."""
        call = self._books.calls.get((fact.ask.call, fact.ask.attempt))
        pool = self._pool()
        if call is None or pool is None:
            return
        try:
            spec = pool.endpoint(fact.endpoint)
        except UnknownEndpoint:
            return
        said = {**of_endpoint(spec), names.SOURCE: "host"}
        call.said.update(said)
        call.span.set_attributes(said)
        call.span.update_name(f"{names.CHAT} {spec.model}")

    def _first_token(self, fact: FirstToken) -> None:
        call = self._books.calls.get((fact.call, fact.attempt))
        if call is not None:
            call.span.set_attribute(names.REQUEST_STREAM, True)

    def _call_ended(self, fact: CallEnded) -> None:
        call = self._books.take_call((fact.call, fact.attempt))
        if call is None:
            return
        now = self._clock_ns()
        said = of_call_end(fact, call.said)
        error = conclude(call.span, fact.outcome, fact.error)
        call.said.update(said)
        if error:
            call.said[names.ERROR] = error
        call.span.set_attributes(said)
        route = call.route
        self._instruments.called(
            fact,
            (now - call.began) / NS,
            call.said,
            predicted=0.0 if route is None or not route.applies else route.output_tokens,
            context=call.context,
        )
        self._ends.end(call.span, now)

    def _give_up_call(self, key: CallKey) -> None:
        call = self._books.calls.get(key)
        if call is not None:
            ask = call.ask
            self._call_ended(
                CallEnded(call=ask.call, attempt=ask.attempt, run=ask.run, outcome="cancelled")
            )

    # Tools

    def _tool_started(self, fact: ToolStarted) -> None:
        node = self._books.nodes.get(fact.node)
        if node is None or fact.tool in self._books.tools:
            return
        now = self._clock_ns()
        agent = node.run.graph if node.run.is_agent else ""
        span = self._tracer.start_span(
            f"{names.EXECUTE_TOOL} {fact.name}",
            node.context,
            SpanKind.INTERNAL,
            of_tool(fact, agent=agent, thread=node.run.thread),
            start_time=now,
        )
        context = set_span_in_context(span, Context())
        self._books.put_tool(OpenTool(span, context, now, fact.tool, fact.name, node))

    def _tool_ended(self, fact: ToolEnded) -> None:
        self._end_tool(fact.tool, fact.outcome, fact.error)

    def _end_tool(self, tool_id: str, outcome: Outcome, error: str) -> None:
        tool = self._books.take_tool(tool_id)
        if tool is None:
            return
        now = self._clock_ns()
        run = tool.node.run
        self._instruments.used_tool(
            tool.name,
            (now - tool.began) / NS,
            agent=run.graph if run.is_agent else "",
            error=conclude(tool.span, outcome, error),
            context=tool.context,
        )
        self._ends.end(tool.span, now)

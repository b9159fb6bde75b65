"""Facts, questions and decisions become spans: names, kinds, parents, links, ends, limits."""

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from headway.client import Route
from headway.client.watching import Raised, ToolEnded, ToolStarted
from headway.core.facts import (
    CallSent,
    Feedback,
    FirstToken,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec, Pool
from headway_otel import books, conventions
from tests.support.traced import Traced, begun, done, ids, is_below, over, ready

SPEC = EndpointSpec(id="b", url="http://10.0.0.7:8001/v1", model="large", engine="vllm")
GRANTED = Route(
    endpoint=SPEC,
    urgency=2.5,
    source="daemon",
    why="shortest",
    held_s=0.25,
    output_tokens=14.0,
    forecasts={"output_tokens.order": 0.75, "confidence.error": 0.04},
)


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_a_run_a_node_and_a_call(traced: Traced) -> None:
    traced.tell(begun(deadline_s=9.0, thread="t", tenant="acme", service_class="batch"))
    traced.tracing.asked(ready(max_tokens=50, deadline_s=9.0))
    traced.tracing.routed(ready(), GRANTED)
    traced.tell([FirstToken(call="c", attempt=1)])
    traced.tell([done(
        prompt_tokens=11, cached_tokens=5, output_tokens=7, first_token_s=0.5,
        finish_reason="stop", duration_s=1.0,
    )])  # fmt: skip
    traced.tell(over())
    call, node, run = traced.spans
    assert (run.name, node.name, call.name) == ("invoke_workflow g", "node write", "chat large")
    assert (run.kind, node.kind, call.kind) == (
        SpanKind.INTERNAL, SpanKind.INTERNAL, SpanKind.CLIENT,
    )  # fmt: skip
    assert run.parent is None and is_below(node, run) and is_below(call, node)
    assert dict(run.attributes) == {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": "g",
        "gen_ai.conversation.id": "t",
        "headway.run.id": "r",
        "headway.graph": "g",
        "headway.objective.deadline_s": 9.0,
        "headway.objective.class": "batch",
        "headway.tenant": "acme",
        "headway.outcome": "ok",
    }
    assert dict(node.attributes) == {
        "headway.run.id": "r",
        "headway.graph": "g",
        "headway.node.id": "n",
        "headway.node.name": "write",
        "headway.visit": 2,
        "headway.step": 3,
        "headway.outcome": "ok",
    }
    said = dict(call.attributes)
    assert said.pop("headway.wait_s") >= 0.0
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vllm",
        "gen_ai.conversation.id": "t",
        "gen_ai.request.model": "large",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": "large",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.5,
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.cache_read.input_tokens": 5,
        "gen_ai.usage.output_tokens": 7,
        "server.address": "10.0.0.7",
        "server.port": 8001,
        "headway.run.id": "r",
        "headway.graph": "g",
        "headway.node.id": "n",
        "headway.call.id": "c",
        "headway.attempt": 1,
        "headway.pool_name": "agent",
        "headway.prompt_chars": 40,
        "headway.objective.deadline_s": 9.0,
        "headway.decision.endpoint": "b",
        "headway.decision.urgency": 2.5,
        "headway.decision.source": "daemon",
        "headway.decision.why": "shortest",
        "headway.decision.held_s": 0.25,
        "headway.decision.predicted_output_tokens": 14.0,
        "headway.forecast.output_tokens.order": 0.75,
        "headway.forecast.confidence.error": 0.04,
        "headway.outcome": "ok",
    }
    scope = call.instrumentation_scope
    assert scope.schema_url == conventions.SCHEMA_URL
    assert scope.attributes["headway.semconv"] == conventions.SEMCONV
    assert not traced.tracing._books.runs and not traced.tracing._books.calls


def test_no_old_name_is_used() -> None:
    values = {value for value in vars(conventions).values() if isinstance(value, str)}
    old = {"gen_ai.system", "gen_ai.usage.prompt_tokens", "gen_ai.usage.completion_tokens",
           "gen_ai.client.token.usage", "gen_ai.workflow.duration"}  # fmt: skip
    assert not values & old


def test_a_retry_is_another_span_and_an_error_has_its_kind(traced: Traced) -> None:
    traced.tell(begun())
    for attempt, more in ((1, {"outcome": "error", "error": "503"}), (2, {})):
        traced.tracing.asked(ready(attempt=attempt))
        traced.tracing.routed(ready(attempt=attempt), GRANTED)
        traced.tell([done(attempt=attempt, **more)])
    first, second = traced.all("chat")
    assert first.attributes["error.type"] == "503"
    assert first.status.status_code is StatusCode.ERROR
    assert second.attributes["headway.attempt"] == 2
    assert second.status.status_code is StatusCode.UNSET
    assert "error.type" not in second.attributes


def test_an_attempt_without_a_decision_keeps_the_name_asked_for(traced: Traced) -> None:
    traced.tell(begun())
    traced.tracing.asked(ready())
    traced.tracing.routed(ready(), Route(endpoint=None, source="shadow", why="shadow mode"))
    traced.tell([done()])
    call = traced.named("chat agent")
    assert call.attributes["headway.decision.source"] == "shadow"
    assert call.attributes["gen_ai.request.model"] == "agent"
    assert "server.address" not in call.attributes


def test_an_endpoint_that_the_host_chose(traced: Traced) -> None:
    traced.tracing._pool = lambda: Pool(endpoints=(SPEC,))
    traced.tell(begun())
    traced.tracing.asked(ready())
    traced.tracing.routed(ready(), Route(endpoint=None, source="none", why="no daemon"))
    traced.tell(
        [CallSent(ask=ready(), endpoint="gone"), CallSent(ask=ready(), endpoint="b"), done()]
    )
    call = traced.named("chat large")
    assert call.attributes["headway.decision.source"] == "host"
    assert call.attributes["headway.decision.endpoint"] == "b"


def test_a_wait_is_a_span_of_its_own_from_a_millisecond_on(traced: Traced) -> None:
    now = iter([0, 0, 0, 999_999, 1_000_000, 3_000_000, 4_000_000, 5_000_000])
    traced.tracing._clock_ns = lambda: next(now)
    traced.tell(begun())
    traced.tracing.asked(ready("quick"))
    traced.tracing.routed(ready("quick"), GRANTED)
    assert traced.all("headway.wait") == []
    traced.tracing.asked(ready("slow"))
    traced.tracing.routed(ready("slow"), GRANTED)
    traced.tell([done("quick"), done("slow")])
    wait = traced.named("headway.wait")
    assert (wait.start_time, wait.end_time) == (1_000_000, 3_000_000)
    _, slow = traced.all("chat")
    assert is_below(wait, slow)
    assert slow.attributes["headway.wait_s"] == 0.002


def test_links_to_parents_and_bounded_memory_of_them(
    traced: Traced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "MOST_PARENTS", 2)
    traced.tell([RunStarted(run="r", graph="g")])
    for name in "xyz":
        traced.tell([NodeStarted(run="r", node=name, name=name), NodeEnded(run="r", node=name)])
    traced.tell([NodeStarted(run="r", node="join", name="join", parents=("x", "y", "z"))])
    traced.tell(over(node="join"))
    join = traced.named("node join")
    assert [(link.context.trace_id, link.context.span_id) for link in join.links] == [
        ids(traced.named("node y")), ids(traced.named("node z")),
    ]  # fmt: skip
    assert {link.attributes["headway.link"] for link in join.links} == {"parent"}
    assert join.attributes["headway.node.parents"] == ("x", "y", "z")


def test_a_resume_is_a_root_of_its_own_that_links_back(traced: Traced) -> None:
    traced.tell(
        [RunStarted(run="r1", graph="g", thread="t"), RunEnded(run="r1", outcome="interrupted")]
    )
    traced.tell([RunStarted(run="r2", graph="g", thread="t", resumed=True), RunEnded(run="r2")])
    traced.tell([RunStarted(run="r3", graph="g", thread="t", resumed=True), RunEnded(run="r3")])
    first, second, third = traced.spans
    assert first.attributes["headway.outcome"] == "interrupted"
    assert first.status.status_code is StatusCode.UNSET
    assert second.parent is None and second.attributes["headway.resumed"] is True
    (link,) = second.links
    assert (link.context.trace_id, link.context.span_id) == ids(first)
    assert link.attributes["headway.link"] == "resumes"
    assert third.links == ()


def test_the_users_span_is_the_parent_of_a_run(traced: Traced) -> None:
    tracer = traced.provider.get_tracer("user")
    with tracer.start_as_current_span("request") as request:
        traced.tell(begun())
        assert trace.get_current_span() is request
    traced.tell(over())
    assert is_below(traced.named("invoke_workflow g"), traced.named("request"))
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_graph_inside_a_node_hangs_on_it(traced: Traced) -> None:
    traced.tell(begun())
    traced.tell([RunStarted(run="inner", graph="h", parent_run="r", parent_node="n")])
    traced.tell([RunEnded(run="inner"), *over()])
    inner = traced.named("invoke_workflow h")
    assert is_below(inner, traced.named("node write"))
    assert inner.attributes["headway.run.parent.id"] == "r"


@pytest.mark.parametrize(
    ("nodes", "agent"),
    [
        (("model", "tools"), True),
        (("agent", "tools"), True),
        (("Guard.before_model", "Todo.after_agent", "model", "tools"), True),
        (("model",), False),
        (("model", "search", "tools"), False),
        (("tools",), False),
        (("agent", "model", "tools"), False),
    ],
)
def test_what_counts_as_an_agent(traced: Traced, nodes: tuple[str, ...], agent: bool) -> None:
    traced.tell([GraphSeen(graph="support", nodes=nodes, edges=())])
    traced.tell([RunStarted(run="r", graph="support"), RunEnded(run="r")])
    (span,) = traced.spans
    assert span.name == ("invoke_agent support" if agent else "invoke_workflow support")
    assert ("gen_ai.agent.name" in span.attributes) is agent
    assert ("gen_ai.workflow.name" in span.attributes) is not agent


def test_tools(traced: Traced) -> None:
    traced.tell(begun(thread="t"))
    traced.tell([
        ToolStarted(run="r", node="n", tool="1", name="search", call_id="call-1"),
        ToolStarted(run="r", node="n", tool="2", name="search"),
        ToolStarted(run="r", node="unknown", tool="3", name="search"),
        ToolEnded(tool="2", outcome="error", error="ValueError"),
        ToolEnded(tool="1", outcome="ok"),
        ToolEnded(tool="1", outcome="ok"),
        ToolEnded(tool="3", outcome="ok"),
        *over(),
    ])  # fmt: skip
    bad, good = traced.all("execute_tool")
    assert good.name == "execute_tool search" and is_below(good, traced.named("node write"))
    assert good.attributes["gen_ai.tool.call.id"] == "call-1"
    assert good.attributes["gen_ai.tool.name"] == "search"
    assert good.attributes["gen_ai.conversation.id"] == "t"
    assert bad.attributes["error.type"] == "ValueError"
    assert bad.status.status_code is StatusCode.ERROR


def test_what_a_node_and_a_run_raised(traced: Traced) -> None:
    traced.tell(begun())
    traced.tell([
        Raised(run="r", node="n", error="ValueError"),
        NodeEnded(run="r", node="n", outcome="error"),
        Raised(run="r", node=None, error="GraphRecursionError"),
        RunEnded(run="r", outcome="error"),
    ])  # fmt: skip
    node, run = traced.spans
    assert node.attributes["error.type"] == "ValueError"
    assert [event.name for event in node.events] == ["headway.raised"]
    assert run.attributes["error.type"] == "GraphRecursionError"
    assert run.status.status_code is StatusCode.ERROR


def test_feedback_is_an_event(traced: Traced) -> None:
    traced.tell(begun())
    traced.tell([Feedback(run="r", ok=False, node="n"), Feedback(run="r", ok=True)])
    traced.tell([*over(), Feedback(run="r", ok=True)])
    (on_node,) = traced.named("node write").events
    (on_run,) = traced.named("invoke_workflow g").events
    assert on_node.attributes["headway.feedback.ok"] is False
    assert on_run.attributes["headway.feedback.ok"] is True


def test_a_nodes_end_ends_what_hangs_on_it(traced: Traced) -> None:
    traced.tell(begun())
    traced.tracing.asked(ready())
    traced.tell([ToolStarted(run="r", node="n", tool="1", name="search")])
    traced.tell([NodeEnded(run="r", node="n", outcome="cancelled")])
    outcomes = {one.name: one.attributes["headway.outcome"] for one in traced.spans}
    assert outcomes == {
        "chat agent": "cancelled", "execute_tool search": "cancelled", "node write": "cancelled",
    }  # fmt: skip
    traced.tell([done(), RunEnded(run="r")])
    assert len(traced.spans) == 4


def test_a_runs_end_ends_its_nodes(traced: Traced) -> None:
    traced.tell(begun())
    traced.tracing.asked(ready())
    traced.tell([RunEnded(run="r", outcome="cancelled")])
    assert len(traced.spans) == 3
    assert not traced.tracing._books.nodes and not traced.tracing._books.tools


def test_twice_told_is_once_traced(traced: Traced) -> None:
    for fact in (*begun(), *over()):
        traced.tell([fact, fact])
    assert len(traced.spans) == 2


def test_a_call_of_an_unknown_node_belongs_to_what_is_going_on(traced: Traced) -> None:
    with traced.provider.get_tracer("proxy").start_as_current_span("POST"):
        traced.tracing.asked(ready(node="elsewhere"))
    traced.tell([done()])
    assert is_below(traced.named("chat agent"), traced.named("POST"))


def test_what_never_ends_is_given_up(traced: Traced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "MOST_RUNS", 2)
    monkeypatch.setattr(books, "MOST_CALLS", 2)
    monkeypatch.setattr(books, "MOST_NODES", 2)
    for number in range(5):
        traced.tell(begun(f"r{number}", f"n{number}"))
        traced.tracing.asked(ready(f"c{number}", node="elsewhere"))
    kept = traced.tracing._books
    assert len(kept.runs) == len(kept.nodes) == len(kept.calls) == 2
    assert len(traced.all("invoke_workflow")) == len(traced.all("chat")) == 3
    traced.tracing.close()
    assert not kept.runs and not kept.nodes and not kept.calls
    assert len(traced.all("invoke_workflow")) == len(traced.all("node")) == 5


def test_headers_are_those_of_the_attempts_span(traced: Traced) -> None:
    assert traced.tracing.headers(ready()) == {}
    traced.tell(begun())
    traced.tracing.asked(ready())
    headers = traced.tracing.headers(ready())
    traced.tell([done()])
    trace_id, span_id = ids(traced.named("chat agent"))
    _, sent_trace, sent_span, flags = headers["traceparent"].split("-")
    assert (int(sent_trace, 16), int(sent_span, 16)) == (trace_id, span_id)
    assert int(flags, 16) & 1
    assert headers["baggage"] == "headway.run.id=r"


def test_without_a_provider_nothing_is_sent_and_nothing_fails() -> None:
    from headway_otel.installation import make_tracing

    tracing = make_tracing()
    for fact in begun():
        tracing.told(fact)
    tracing.asked(ready())
    assert tracing.headers(ready()) == {}
    tracing.routed(ready(), GRANTED)
    for fact in (done(), *over()):
        tracing.told(fact)

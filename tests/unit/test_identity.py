"""A run's identity in headers: what is written, what is read, and whose word counts."""

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.calling.guard import complaints
from headway.calling.header_values import MAX_LIST, MAX_TEXT
from headway.calling.identity import (
    DECISION_HEADER,
    ENDPOINT_HEADER,
    MODEL_HEADER,
    Identity,
    identity_headers,
    read_identity,
)
from headway.context import Scope
from headway.core.types import NodeId, RunId

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def fresh_warnings() -> Iterator[None]:
    complaints.counts.clear()
    yield
    complaints.counts.clear()


def read(headers: dict[str, Any], body: dict[str, Any] | None = None) -> Identity:
    found = read_identity(headers, body)
    assert found is not None
    return found


# Ours


def test_what_is_written_is_read_again() -> None:
    scope = Scope(
        run=RunId("run 1, the first"),
        graph="réserche%",
        node=NodeId("n,2"),
        node_name="write\nup",
        parents=(NodeId("a,b"), NodeId("c")),
        visit=3,
        step=7,
        run_started=time.monotonic() - 12.5,
        deadline_s=60.0,
        service_class="interactive",
        tenant="Ärzte",
        models=("qwen/7b", "qwen:72b"),
        thread="t",
        timeout_s=90.0,
    )
    headers = identity_headers(scope, attempt=2, timeout_s=30.0)
    assert all(value.isascii() and value.isprintable() for value in headers.values())
    found = read(headers)
    again = found.scope(call="call", now=time.monotonic())
    assert found.source == "headway" and found.attempt == 2
    assert found.run_age_s == pytest.approx(12.5, abs=0.5)
    assert (again.run, again.graph, again.node) == ("run 1, the first", "réserche%", "n,2")
    assert again.node_name.startswith("writeup~")
    assert again.parents == ("a,b", "c")
    assert (again.visit, again.step, again.deadline_s, again.timeout_s) == (3, 7, 60.0, 30.0)
    assert (again.service_class, again.tenant, again.thread) == ("interactive", "Ärzte", "t")
    assert again.models == ("qwen/7b", "qwen:72b")
    assert again.run_started == pytest.approx(scope.run_started, abs=0.5)
    assert not again.off


def test_only_what_is_said_is_written() -> None:
    headers = identity_headers(Scope(run=RunId("r"), run_started=time.monotonic()))
    assert set(headers) == {
        *("x-headway-run", "x-headway-visit", "x-headway-step"),
        *("x-headway-attempt", "x-headway-age-s"),
    }


def test_off_travels() -> None:
    assert read(identity_headers(Scope(run=RunId("r"), off=True))).off
    assert not read({"x-headway-run": "r", "x-headway-off": "0"}).off


def test_a_header_is_bounded_however_many_parents_there_are() -> None:
    parents = tuple(NodeId(f"node-{number:04}") for number in range(1000))
    headers = identity_headers(Scope(run=RunId("r" * 100_000), parents=parents))
    assert all(len(value) <= MAX_LIST for value in headers.values())
    kept = read(headers).parents
    assert kept == parents[: len(kept)] and len(kept) > 100


def test_node_and_run_are_made_from_the_call_where_nobody_names_them() -> None:
    here = read({"x-headway-run": "r"}).scope(call="c1", now=5.0)
    assert (here.run, here.node) == ("r", "c1")
    plain = read({"x-headway-deadline-s": "30"})
    assert plain.run == ""
    assert plain.scope(call="c2", now=5.0).run == "c2"


# Other people's, one by one

CONTEXT = {"program_id": "p", "step_id": "s", "agent_role": "coder", "parent_program_id": "pp"}
HINT = {"session_id": "h", "parent_session_id": "hp"}
SCHEMAS: list[tuple[str, dict[str, str], dict[str, Any], str]] = [
    ("headway", {"x-headway-run": "r"}, {}, "r"),
    ("agentic_context", {}, {"vllm_xargs": {"agentic_context": CONTEXT}}, "p"),
    ("agent_hint", {}, {"agent_hint": HINT}, "h"),
    ("dynamo", {"X-Dynamo-Session-ID": "d"}, {}, "d"),
    ("llm-d", {"x-llm-d-inference-fairness-id": "f"}, {}, "f"),
    ("claude-code", {"x-claude-code-session-id": "cc"}, {}, "cc"),
    ("codex", {"session_id": "cx"}, {}, "cx"),
    ("opencode", {"X-Session-ID": "oc", "X-Parent-Session-ID": "op"}, {}, "oc"),
    ("litellm", {"x-litellm-session-id": "ls"}, {}, "ls"),
    ("litellm", {}, {"litellm_trace_id": "lt"}, "lt"),
    ("litellm", {"x-litellm-trace-id": "lh"}, {}, "lh"),
    ("litellm", {}, {"metadata": {"session_id": "lm"}}, "lm"),
    ("session", {"x-session-id": "xs"}, {}, "xs"),
    ("session", {"X-Correlation-ID": "co"}, {}, "co"),
    ("session", {"X-SMG-Routing-Key": "rk"}, {}, "rk"),
    ("trace", {"traceparent": f"00-{TRACE}-{SPAN}-01"}, {}, TRACE),
]


@pytest.mark.parametrize(("source", "headers", "body", "run"), SCHEMAS)
def test_each_schema_is_read(
    source: str, headers: dict[str, str], body: dict[str, Any], run: str
) -> None:
    found = read(headers, body)
    assert (found.source, found.run) == (source, run)


@pytest.mark.parametrize("first", range(len(SCHEMAS) - 1))
def test_the_first_schema_wins_and_none_is_mixed(first: int) -> None:
    source, headers, body, run = SCHEMAS[first]
    alone = read(headers, body)
    for _, later_headers, later_body, _ in SCHEMAS[first + 1 :]:
        both = {name.lower(): value for name, value in later_headers.items()}
        both |= {name.lower(): value for name, value in headers.items()}
        assert read(both, {**later_body, **body}) == alone
    assert (alone.source, alone.run) == (source, run)


def test_parents_ends_and_steps_of_foreign_schemas() -> None:
    context = read({}, {"vllm_xargs": {"agentic_context": CONTEXT}})
    assert (context.node, context.node_name, context.parent_run) == ("s", "coder", "pp")
    in_json = read({}, {"vllm_xargs": {"agentic_context": json.dumps(CONTEXT)}})
    assert in_json == context
    assert read({}, {"agent_hint": HINT}).parent_run == "hp"
    final = {"x-dynamo-session-id": "d", "x-dynamo-parent-session-id": "dp"}
    ended = read({**final, "x-dynamo-session-final": "true"})
    assert ended.final and ended.parent_run == "dp"
    assert not read({**final, "x-dynamo-session-final": "false"}).final
    main, below = {"x-claude-code-session-id": "c"}, {"x-claude-code-agent-id": "a"}
    assert read(main).node_name == "main"
    assert read({**main, **below}).node_name == "subagent"
    assert read({"traceparent": f"00-{TRACE}-{SPAN}-03"}).node == SPAN


def test_a_session_token_is_never_told_itself() -> None:
    found = read({"x-session-token": "sk-very-secret"})
    assert "secret" not in found.run and len(found.run) >= 16
    assert found.run == read({"X-Session-Token": "sk-very-secret"}).run


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        "00-" + "f" * 100_000,
    ],
)
def test_a_broken_traceparent_names_no_run(traceparent: str) -> None:
    assert read_identity({"traceparent": traceparent}, None) is None


def test_wishes_stand_beside_any_schema_but_only_in_our_headers() -> None:
    wishes = {"x-headway-deadline-s": "20", "x-headway-class": "batch", "x-headway-models": "a,b"}
    found = read({**wishes, "x-session-id": "s"})
    assert (found.source, found.run) == ("session", "s")
    assert (found.deadline_s, found.service_class, found.models) == (20.0, "batch", ("a", "b"))


# Bad values


def test_an_ordinary_request_has_no_identity() -> None:
    headers = {"content-type": "application/json", "user-agent": "curl", "authorization": "Bearer"}
    assert read_identity(headers, {"model": "agent", "messages": []}) is None
    assert read_identity({}, None) is None


def test_a_hundred_kilobytes_become_a_digest_and_equal_ones_stay_equal() -> None:
    long, other = "x" * 100_000, "x" * 99_999 + "y"
    run = read({"x-headway-run": long}).run
    assert len(run) <= MAX_TEXT
    assert run == read({"X-HEADWAY-RUN": long}).run != read({"x-headway-run": other}).run
    assert read({"x-headway-run": run}).run == run
    assert len(read({"x-headway-run": "r", "x-headway-graph": long}).graph) <= MAX_TEXT


def test_a_list_that_is_too_long_loses_whole_names_only() -> None:
    names = [f"model-{number}" for number in range(10_000)]
    found = read({"x-headway-run": "r", "x-headway-models": ",".join(names)}).models
    assert list(found) == names[: len(found)] and len(found) > 50


def test_control_characters_do_not_come_through() -> None:
    found = read({"x-headway-run": "a%0Ab%00c", "x-headway-graph": "g\r\nx-evil: 1"})
    assert found.run.isprintable() and found.graph.isprintable()
    assert found.run != read({"x-headway-run": "abc"}).run
    assert read({}, {"agent_hint": {"session_id": "\ud800"}}).run.isascii()


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon", "1e400", "9" * 100_000])
def test_a_number_that_is_none_is_ignored_with_a_warning_that_names_it(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"x-headway-run": "r", "x-headway-deadline-s": value, "x-headway-visit": value}
    with caplog.at_level(logging.WARNING):
        found = read(headers)
        read(headers)
    assert found.deadline_s is None and found.visit == 1
    said = sorted(record.getMessage() for record in caplog.records)
    assert len(said) == 2
    assert "x-headway-deadline-s" in said[0] and "x-headway-visit" in said[1]
    assert all(len(line) < 200 for line in said)


def test_words_that_are_no_count_or_switch_are_ignored_with_one_warning_each(
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = {"x-headway-run": "r", "x-headway-visit": "1.5", "x-headway-off": "maybe"}
    with caplog.at_level(logging.WARNING):
        found = read(headers)
        read(headers)
    assert found.visit == 1 and not found.off
    said = sorted(record.getMessage() for record in caplog.records)
    assert len(said) == 2
    assert "x-headway-off" in said[0] and "it should be 1 or 0, not 'maybe'" in said[0]
    assert "x-headway-visit" in said[1] and "whole number, not '1.5'" in said[1]


def test_a_header_that_looks_like_ours_and_is_none_is_told_once_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            read({"x-headway-run": "r", "X-Headway-Dedline-S": str(number)})
        assert read_identity({"x-headway-dedline-s": "30", "x-headwind": "n"}, {}) is None
    (said,) = [record.getMessage() for record in caplog.records]
    assert "'x-headway-dedline-s' is ignored" in said
    assert "did you mean `x-headway-deadline-s`?" in said


def test_strangers_cannot_fill_the_log_with_names(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        for number in range(200):
            read_identity({f"x-headway-{number * 7919:x}": "1"}, {})
    assert len(caplog.records) < 30


def test_all_that_is_written_is_known(caplog: pytest.LogCaptureFixture) -> None:
    scope = Scope(
        run=RunId("r"),
        **dict.fromkeys(("graph", "node", "node_name", "service_class", "tenant", "thread"), "x"),
        parents=(NodeId("p"),),
        models=("m",),
        deadline_s=1.0,
        off=True,
    )
    with caplog.at_level(logging.WARNING):
        read(identity_headers(scope, attempt=2, timeout_s=3.0))
        read({"x-headway-run": "r", DECISION_HEADER: "d", MODEL_HEADER: "m", ENDPOINT_HEADER: "e"})
    assert caplog.records == []


def test_a_header_twice_in_other_case_with_two_values_counts_as_not_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = {"x-headway-run": "a", "X-Headway-Run": "b", "x-session-id": "s"}
    with caplog.at_level(logging.WARNING):
        assert read(headers).run == "s"
    assert "x-headway-run" in caplog.text
    assert read({"x-headway-run": "a", "X-Headway-Run": "a"}).run == "a"


def test_values_of_other_types_are_skipped() -> None:
    headers: Any = {"x-headway-run": None, 3: "x", "x-session-id": b"bytes"}
    assert read(headers).run == "bytes"
    body: Any = {"vllm_xargs": [1], "agent_hint": "no", "metadata": {"session_id": 17}}
    assert read({}, body).run == "17"
    nothing: Any = [("x-headway-run", "r")]
    assert read_identity(nothing, nothing) is None


names = st.sampled_from(
    [
        *("x-headway-run", "X-Headway-Run", "x-headway-deadline-s", "x-headway-visit"),
        *("x-headway-parents", "x-headway-models", "x-headway-off", "traceparent"),
        *("x-dynamo-session-id", "session_id", "x-session-token", "x-litellm-session-id"),
    ]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
bodies = st.dictionaries(
    st.sampled_from(["vllm_xargs", "agent_hint", "metadata", "litellm_trace_id"]),
    anything
    | st.fixed_dictionaries({"agentic_context": anything, "session_id": anything})
    | st.dictionaries(st.just("agentic_context"), st.dictionaries(st.just("program_id"), anything)),
)


@given(headers=st.dictionaries(names | st.text(), st.text() | st.binary()), body=bodies)
def test_whatever_comes_nothing_raises_and_all_is_bounded(
    headers: dict[str, Any], body: dict[str, Any]
) -> None:
    found = read_identity(headers, body)
    if found is None:
        return
    again = found.scope(call="c", now=0.0)
    for text in (again.run, again.node, again.graph, again.tenant, *again.models, *again.parents):
        assert len(text) <= MAX_TEXT and text.isprintable()
        text.encode()
    assert again.run and again.node and again.visit >= 1
    for value in identity_headers(again).values():
        assert value.isascii() and value.isprintable() and len(value) <= MAX_LIST

"""Reading requests and answers of the Responses API, and putting a decision on a request."""

from types import SimpleNamespace
from typing import Any

import httpx
import openai
import pytest

from headway.calling.apply import Outgoing, Rewrite, rewrite, rewrite_for_litellm
from headway.calling.body import (
    Answer,
    answered_tool_calls,
    kept_by_server,
    max_tokens,
    needs,
    prompt_chars,
    prompt_text,
    prompt_told,
)
from headway.calling.guard import complaints
from headway.calling.kinds import error_kind
from headway.calling.responses import holds_sealed_reasoning, is_preamble
from headway.client import Route
from headway.core.facts import CallReady
from headway.core.pool import EndpointSpec, Pool, PoolName
from headway.core.prompts import features
from headway.core.types import CallId, EndpointId, NodeId, RunId

IMAGE = {"type": "input_image", "image_url": "data:"}


def test_all_text_of_the_input_counts() -> None:
    assert prompt_chars({"input": "abc", "instructions": "de"}) == 5
    said = [
        {"role": "user", "content": "abcd"},
        {"role": "user", "content": [{"type": "input_text", "text": "ef"}, IMAGE]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "ghi"},
        SimpleNamespace(type="message", content=[SimpleNamespace(type="output_text", text="j")]),
    ]
    assert prompt_chars({"input": said}) == 4 + 2 + 2 + 3 + 1
    assert prompt_chars({"input": None}) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "divide by zero"},
        {"prompt": ["divide by zero", [5, 6]]},
        {"input": "divide by zero", "instructions": "be brief"},
        {"input": [{"role": "developer", "content": "x"}, "divide by zero"]},
        {"input": [{"role": "user", "content": [{"type": "x", "text": "divide by zero"}]}]},
        {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "divide by zero"}]},
                {"role": "assistant", "content": None, "tool_calls": []},
            ]
        },
    ],
)
def test_what_is_asked_is_without_what_the_system_says(body: dict[str, Any]) -> None:
    assert prompt_text(body) == "divide by zero"


def test_words_are_told_only_of_pool_names_that_ask_for_it() -> None:
    pool = Pool(
        endpoints=(),
        names=(
            PoolName(name="told", models=("m",), send_text=True),
            PoolName(name="encoded", models=("m",), send_text=True, encode=True),
            PoolName(name="untold", models=("m",)),
        ),
    )
    body = {"messages": [{"role": "user", "content": "divide by zero"}]}
    words = features("divide by zero")
    assert prompt_told({**body, "model": "told"}, pool) == (words, "")
    assert prompt_told({**body, "model": "encoded"}, pool) == (words, "divide by zero")
    for model, of in (("untold", pool), ("other", pool), ("told", None)):
        assert prompt_told({**body, "model": model}, of) == ((), "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"input": "hi"}, ()),
        ({"input": "hi", "text": {"format": {"type": "text"}}, "reasoning": None}, ()),
        ({"input": "hi", "tools": [{"type": "function"}]}, ("tools",)),
        ({"input": "hi", "text": {"format": {"type": "json_schema"}}}, ("response_format",)),
        ({"input": [{"role": "user", "content": [IMAGE]}]}, ("vision",)),
        ({"input": [{"type": "function_call_output", "output": [IMAGE]}]}, ("vision",)),
        (
            {
                "input": [
                    {
                        "type": "computer_call_output",
                        "output": {"type": "computer_screenshot"},
                    }
                ]
            },
            ("vision",),
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, ("audio",)),
        ({"input": "hi", "include": ["message.output_text.logprobs"]}, ("logprobs",)),
        ({"input": "hi", "reasoning": {"effort": "low"}}, ("reasoning",)),
        ({"input": "hi", "reasoning": {"effort": "none"}}, ()),
    ],
)
def test_needs(body: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert needs(body) == expected


def test_limits() -> None:
    assert max_tokens({"input": "hi", "max_output_tokens": 9}) == 9
    assert max_tokens({"input": "hi"}) is None


def test_what_a_request_goes_on_with() -> None:
    loop = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs", "encrypted_content": "sealed"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": "y"},
    ]
    *ids, mark = answered_tool_calls({"input": loop})
    assert ids == ["c2", "c1"]
    answer = Answer()
    answer.absorb({"object": "response", "status": "completed", "output": loop[1:3]})
    assert answer.tool_ids == ["c1", mark]
    assert holds_sealed_reasoning({"input": loop})
    assert not holds_sealed_reasoning({"input": loop[2:]})
    assert answered_tool_calls({"input": [*loop[3:], {"role": "user", "content": "no"}]}) == ()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "file_search"),
        ({"input": [{"type": "item_reference", "id": "m"}]}, "item_reference"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
            "file_id",
        ),
    ],
)
def test_what_a_server_keeps_is_named(more: dict[str, Any], named: str) -> None:
    why = kept_by_server({"input": "hi", **more})
    assert why.startswith("responses api: ") and named in why


def test_a_stored_prompt_needs_no_input() -> None:
    assert "prompt" in kept_by_server({"prompt": {"id": "pmpt_1"}})
    assert kept_by_server({"prompt": "a plain completion"}) == ""


@pytest.mark.parametrize(
    ("more", "message", "named"),
    [
        ({"store": True}, {"role": "user", "content": "hi"}, "store"),
        ({}, {"role": "assistant", "audio": {"id": "audio_1"}}, "audio"),
        (
            {},
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            "file_id",
        ),
    ],
)
def test_what_a_server_keeps_of_chats_is_named(more: Any, message: Any, named: str) -> None:
    assert named in kept_by_server({"messages": [message], **more})
    inline = [{"type": "file", "file": {"file_data": "data:"}}, {"type": "text", "text": "hi"}]
    user = {"role": "user", "content": inline}
    assert kept_by_server({"messages": [user], "store": False}) == ""


def test_what_any_server_can_answer() -> None:
    free = {"store": False, "background": False, "previous_response_id": None, "prompt": None}
    tools = [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}]
    assert kept_by_server({"input": "hi", "tools": tools, **free}) == ""


# Answers

USAGE = {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 5}, "output_tokens": 7}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": [], "usage": USAGE, **more}


@pytest.mark.parametrize(
    ("said", "reason", "error"),
    [
        (response(), "stop", ""),
        (response(output=[CALL]), "tool_calls", ""),
        (response("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length", ""),
        (
            response("incomplete", incomplete_details={"reason": "content_filter"}),
            "content_filter",
            "",
        ),
        (response("incomplete", incomplete_details=None), "incomplete", ""),
        (response("failed", error={"code": "server_error"}), "", "server_error"),
        (response("in_progress", usage=None), "", ""),
    ],
)
def test_how_an_answer_ended(said: dict[str, Any], reason: str, error: str) -> None:
    answer = Answer()
    answer.absorb(said)
    assert (answer.finish_reason, answer.error) == (reason, error)


def test_a_stream_is_read_by_its_last_event() -> None:
    answer = Answer()
    for event in (
        {"type": "response.created", "response": response("in_progress", usage=None)},
        {"type": "response.output_text.delta", "delta": "hi"},
        SimpleNamespace(type="response.completed", response=response(output=[CALL])),
    ):
        answer.absorb(event)
    assert (answer.prompt_tokens, answer.cached_tokens, answer.output_tokens) == (11, 5, 7)
    assert (answer.tool_ids, len(answer.tools)) == (["c1"], 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response.created", True),
        ("response.in_progress", True),
        ("response.output_item.added", True),
        ("response.content_part.added", True),
        ("response.output_text.delta", False),
        ("response.reasoning_text.delta", False),
        ("response.function_call_arguments.delta", False),
        ("response.completed", False),
    ],
)
def test_what_comes_before_the_first_token(kind: str, expected: bool) -> None:
    assert is_preamble(SimpleNamespace(type=kind)) is expected
    assert not is_preamble({"object": "chat.completion.chunk", "choices": []})


# Decisions on requests

ASK = CallReady(
    call=CallId("c"),
    attempt=1,
    run=RunId("run-1"),
    graph="g",
    node=NodeId("n"),
    node_name="n",
    pool_name="agent",
    deadline_s=10.0,
    run_age_s=4.0,
)


def route(engine: str = "vllm", source: Any = "daemon", url: str = "http://b/v1") -> Route:
    spec = EndpointSpec(id=EndpointId("dep-b"), url=url, model="large", engine=engine)
    return Route(endpoint=spec, urgency=2.0, source=source, output_tokens=50)


def outgoing(
    extra: dict[str, Any] | None = None, headers: dict[str, str] | None = None, **body: Any
) -> Outgoing:
    return Outgoing(
        url="/responses",
        json_data={"model": "agent", **body},
        extra_json=extra,
        headers=headers or {},
    )


def changed(one: Route, request: Outgoing) -> Rewrite:
    found = rewrite(
        one, ASK, request, base_url="http://b/v1", carried={"traceparent": "t"}, want_usage=False
    )
    assert found is not None
    return found


@pytest.fixture
def own_words() -> Any:
    complaints.counts.clear()
    yield complaints.counts
    complaints.counts.clear()


def test_a_decision_on_a_request() -> None:
    change = changed(route(), outgoing(input="hi", stream=True))
    assert change.url == "http://b/v1/responses" and not change.foreign
    assert change.json_data == {"model": "large", "input": "hi", "stream": True}
    assert change.extra_json == {"priority": -2000}
    assert change.headers == {
        "X-Vllm-Priority": "-2000",
        "X-Session-ID": "run-1",
        "X-Request-Id": "c-1",
        "endpoint-load-metrics-format": "JSON",
        "traceparent": "t",
    }


@pytest.mark.parametrize("where", ["body", "extra", "header"])
def test_an_own_urgency_is_kept_wherever_it_is(where: str, own_words: Any) -> None:
    body = {"priority": 7} if where == "body" else {}
    extra = {"priority": 7} if where == "extra" else None
    headers = {"x-vllm-priority": "7", "x-session-id": "mine"} if where == "header" else {}
    change = changed(route(), outgoing(extra, headers, **body))
    assert {**change.json_data, **(change.extra_json or {})}.get("priority") == (
        None if where == "header" else 7
    )
    assert "X-Vllm-Priority" not in change.headers
    assert ("X-Session-ID" in change.headers) == (where != "header")
    assert own_words == {"own urgency": 1}


@pytest.mark.parametrize("where", ["body", "extra"])
def test_nested_fields_are_added_to_the_callers(where: str) -> None:
    theirs: Any = {"nvext": {"agent_hints": {"osl": 3}, "ttl": 1}}
    request = outgoing(theirs) if where == "extra" else outgoing(**theirs)
    change = changed(route("dynamo"), request)
    sent = {**change.json_data, **(change.extra_json or {})}
    assert sent["nvext"] == {"agent_hints": {"osl": 3, "priority": 2000}, "ttl": 1}
    assert theirs == {"nvext": {"agent_hints": {"osl": 3}, "ttl": 1}}


def test_the_deadline_is_what_is_left() -> None:
    sent = changed(route("vllm-router"), outgoing()).extra_json
    assert sent is not None
    assert sent["vllm_xargs"]["agentic_context"]["deadline"] == 6.0


def test_an_endpoint_without_url_is_never_sent_to() -> None:
    for one in (route(url=""), route(source="shadow"), route(source="none")):
        assert (
            rewrite(one, ASK, outgoing(), base_url="http://b", carried={}, want_usage=False) is None
        )


def test_a_decision_in_litellms_terms() -> None:
    extra = {"extra_body": {"cache_salt": "z"}, "metadata": {"a": 1}}
    change = rewrite_for_litellm(
        route(url=""), ASK, outgoing(extra), carried={"traceparent": "t"}, want_usage=False
    )
    assert change == Rewrite(
        url="/responses",
        json_data={"model": "dep-b"},
        extra_json={"extra_body": {"cache_salt": "z", "priority": -2000}, "metadata": {"a": 1}},
        headers={"x-headway-decision": "dep-b", "traceparent": "t"},
    )
    assert extra == {"extra_body": {"cache_salt": "z"}, "metadata": {"a": 1}}


@pytest.mark.parametrize("extra", [{"extra_body": {"priority": 5}}, {"priority": 5}])
def test_an_own_urgency_is_kept_at_litellm_too(extra: dict[str, Any], own_words: Any) -> None:
    change = rewrite_for_litellm(route(), ASK, outgoing(extra), carried={}, want_usage=False)
    assert change is not None and change.extra_json == extra
    assert own_words == {"own urgency": 1}


@pytest.mark.parametrize("source", ["fallback", "spread", "shadow", "off", "none"])
def test_without_a_daemon_litellm_chooses(source: str) -> None:
    request = outgoing()
    assert (
        rewrite_for_litellm(route(source=source), ASK, request, carried={}, want_usage=True) is None
    )


def _sdk_error(**fields: object) -> Exception:
    error = openai.APIError("busy", request=httpx.Request("POST", "http://h/v1"), body=None)
    for name, value in fields.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        # vLLM with a full queue that had begun to stream: no status, but a code
        (_sdk_error(code="503"), "503"),
        (_sdk_error(code=429), "429"),
        (_sdk_error(code="context_length_exceeded"), "APIError"),
        (_sdk_error(code=None), "APIError"),
        (_sdk_error(status_code=500, code="503"), "500"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "connect"),
    ],
)
def test_the_kind_of_an_error(error: Exception, kind: str) -> None:
    assert error_kind(error) == kind

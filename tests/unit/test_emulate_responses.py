"""The Responses API without a network: items as messages, the response object, typed events."""

import msgspec
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from headway.emulate import Answer, FillerAnswers, ToolCall
from headway.emulate.answers import ChatRequest
from headway.emulate.protocol import BadRequest, Reply, block_hashes, cut, read_request, rendered
from headway.emulate.responses import (
    EventMaker,
    read_responses,
    response_body,
    responses_usage,
)

TOOL = {
    "type": "function",
    "name": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    "strict": False,
}
ASK = {"model": "m", "input": "abcdefgh"}
USED = responses_usage(prompt_tokens=4, output_tokens=10, cached_tokens=2)


def read(body: dict, headers: dict[str, str] | None = None):
    return read_responses(msgspec.json.encode(body), headers=headers or {})


def turn(*items: dict) -> tuple[dict, ...]:
    return read({"model": "m", "input": list(items)}).messages


def test_a_text_is_one_user_message_behind_the_instructions():
    assert read(ASK).messages == ({"role": "user", "content": "abcdefgh"},)
    assert read({**ASK, "instructions": "Be brief."}).messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "abcdefgh"},
    )


def test_items_become_chat_messages():
    call = {"type": "function_call", "call_id": "c1", "name": "search", "arguments": "{}"}
    messages = turn(
        {"role": "developer", "content": "rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "who?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"role": "assistant", "content": [{"type": "output_text", "text": "let me look"}]},
        call,
        {**call, "call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "nobody"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [{"type": "input_text", "text": "somebody"}],
        },
    )
    function = {"name": "search", "arguments": "{}"}
    assert messages == (
        {"role": "developer", "content": "rules"},
        {"role": "user", "content": [{"type": "text", "text": "who?"}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "let me look"}],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": function},
                {"id": "c2", "type": "function", "function": function},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "nobody"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "somebody"}]},
    )


def test_a_call_without_a_message_is_a_turn_of_its_own():
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}
    roles = [m["role"] for m in turn({"role": "user", "content": "go"}, call)]
    assert roles == ["user", "assistant"]


def test_an_image_is_put_into_the_chat_form():
    image = {"type": "input_image", "image_url": "data:x"}
    (message,) = turn({"role": "user", "content": [image]})
    assert message["content"] == [{"type": "image_url", "image_url": {"url": "data:x"}}]


def test_the_same_request_by_both_apis_is_the_same_prompt():
    chat = {
        "model": "m",
        "messages": [{"role": "system", "content": "rules"}, {"role": "user", "content": "who?"}],
        "tools": [{"type": "function", "function": {k: TOOL[k] for k in TOOL if k != "type"}}],
        "tool_choice": {"type": "function", "function": {"name": "search"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
        "max_tokens": 7,
        "priority": -3,
    }
    wanted = read(
        {
            "model": "m",
            "instructions": "rules",
            "input": "who?",
            "tools": [TOOL],
            "tool_choice": {"type": "function", "name": "search"},
            "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}},
            "max_output_tokens": 7,
            "priority": -3,
        }
    )
    other = read_request(msgspec.json.encode(chat), kind="chat", headers={})
    assert rendered(wanted) == rendered(other)
    same = ("messages", "tools", "tool_choice", "response_format", "max_tokens", "priority")
    for name in same:
        assert getattr(wanted, name) == getattr(other, name), name


def test_the_priority_header_wins():
    assert read({**ASK, "priority": 4}, {"X-Vllm-Priority": "-7"}).priority == -7


def test_plain_text_and_json_objects_are_formats_too():
    assert read({**ASK, "text": {"verbosity": "low"}}).response_format is None
    wanted = read({**ASK, "text": {"format": {"type": "json_object"}}})
    assert wanted.response_format == {"type": "json_object"}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": [{"role": "user", "content": "a"}, {"content": "b"}]}, "input[1]"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0]"),
        ({"instructions": ["x"]}, "instructions"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"text": "x"}, "text"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"priority": 1.5}, "priority"),
        ({"n": 2}, "n"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_bad_requests_name_the_parameter(change, param):
    with pytest.raises(BadRequest) as caught:
        read({**ASK, **change})
    assert caught.value.param == param
    assert caught.value.status == 400
    assert param in str(caught.value)


def test_what_is_not_asked_for_is_not_refused():
    wanted = read({**ASK, "previous_response_id": None, "background": False, "store": True})
    assert wanted.kind == "responses" and wanted.messages == read(ASK).messages


ANSWER = Answer(
    text="let me look",
    output_tokens=10,
    tool_calls=(
        ToolCall(name="search", arguments='{"query":"text"}'),
        ToolCall(name="now", arguments=""),
    ),
)


def reply_of(answer: Answer = ANSWER, max_tokens: int | None = None) -> Reply:
    answer, reason = cut(answer, max_tokens)
    return Reply(
        id="resp_r",
        kind="responses",
        model="m",
        created=5,
        answer=answer,
        output_tokens=answer.output_tokens,
        finish_reason=reason,
    )


def test_the_response_object_holds_text_then_calls():
    body = response_body(reply_of(), read({**ASK, "tools": [TOOL], "temperature": 0.2}), USED)
    response = Response.model_validate(body)
    message, search, now = response.output
    assert response.output_text == "let me look"
    assert message.content[0].annotations == []
    assert (search.name, search.arguments) == ("search", '{"query":"text"}')
    assert search.call_id != now.call_id
    assert (response.status, response.incomplete_details) == ("completed", None)
    assert (response.temperature, response.tools[0].name) == (0.2, "search")
    assert response.usage.input_tokens_details.cached_tokens == 2
    assert response.usage.total_tokens == 14


def test_a_cut_answer_is_incomplete():
    body = response_body(reply_of(max_tokens=5), read({**ASK, "max_output_tokens": 5}), USED)
    response = Response.model_validate(body)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert [item.status for item in response.output] == ["incomplete"]
    assert response.output_text == "let m"


def test_a_call_alone_comes_without_a_message():
    alone = msgspec.structs.replace(ANSWER, text="")
    body = response_body(reply_of(alone), read(ASK), USED)
    assert [item["type"] for item in body["output"]] == ["function_call", "function_call"]


def test_a_conversation_extends_its_own_prefix():
    items = [{"role": "user", "content": "who is there?"}]
    first = read({"model": "m", "input": items})
    output = response_body(reply_of(), first, USED)["output"]
    result = {"type": "function_call_output", "call_id": "c", "output": "nobody"}
    second = read({"model": "m", "input": [*items, *output, result]})
    before = block_hashes(rendered(first), ANSWER, block_tokens=4)
    after = block_hashes(rendered(second), ANSWER, block_tokens=4)
    assert len(before) >= 3
    assert after[: len(before)] == before


EVENT = TypeAdapter(ResponseStreamEvent)


def events(data: bytes) -> list[dict]:
    """The events, each of which the SDK's model takes and whose two names agree."""
    told = []
    for block in data.decode().removesuffix("\n\n").split("\n\n"):
        first, second = block.split("\n")
        event = msgspec.json.decode(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        EVENT.validate_python(event)
        told.append(event)
    return told


def streamed(reply: Reply, steps: list[int]) -> list[dict]:
    maker = EventMaker(reply, read({**ASK, "tools": [TOOL]}))
    data = maker.opening() + b"".join(maker.upto(step) for step in steps) + maker.finish(USED)
    return events(data)


@pytest.mark.parametrize("steps", [[], [1], [1, 2, 3], [4, 9, 10]])
def test_events_add_up_however_they_are_cut(steps):
    told = streamed(reply_of(), steps)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    said = {0: "", 1: "", 2: ""}
    for event in told:
        if event["type"].endswith(".delta"):
            said[event["output_index"]] += event["delta"]
    assert said == {0: ANSWER.text, 1: '{"query":"text"}', 2: ""}
    assert told[-1]["response"]["output"] == [
        event["item"] for event in told if event["type"] == "response.output_item.done"
    ]
    assert told[-1]["response"]["usage"] == USED


def test_the_order_of_events():
    kinds = [event["type"].removeprefix("response.") for event in streamed(reply_of(), [])]
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def test_a_cut_stream_ends_incomplete():
    last = streamed(reply_of(max_tokens=5), [1, 5])[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}


def test_nothing_is_said_before_the_first_token_is():
    maker = EventMaker(reply_of(), read(ASK))
    assert [event["type"] for event in events(maker.opening())] == [
        "response.created",
        "response.in_progress",
    ]
    assert b"output_text.delta" in maker.upto(1)


def test_an_empty_answer_is_an_empty_message():
    told = streamed(reply_of(Answer(text="", output_tokens=1)), [1])
    (item,) = told[-1]["response"]["output"]
    assert item["content"][0]["text"] == ""


def test_filler_answers_understand_the_chat_form():
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}}
    wanted = read(
        {**ASK, "text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}
    )

    def answered(**changes):
        request = ChatRequest(model="m", skill=0.5, messages=wanted.messages, **changes)
        return FillerAnswers().answer(request)

    assert msgspec.json.decode(answered(response_format=wanted.response_format).text) == {
        "ok": True
    }
    (call,) = answered(tools=read({**ASK, "tools": [TOOL]}).tools).tool_calls
    assert (call.name, msgspec.json.decode(call.arguments)) == ("search", {"query": "text"})

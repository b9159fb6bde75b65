"""Skill, lengths, filler answers, and the OpenAI protocol without a network."""

import subprocess
import sys

import msgspec
import pytest

from headway.emulate import Answer, ChatRequest, FillerAnswers, ToolCall
from headway.emulate.protocol import (
    BadRequest,
    ChunkMaker,
    Reply,
    block_hashes,
    cut,
    read_request,
    rendered,
    token_count,
)
from headway.emulate.skill import RHO, chance, output_tokens, succeeds

TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "limit": {"type": "integer"}},
        },
    },
}


def fates(attempt: int, skill: float, n: int = 4000) -> list[bool]:
    return [
        succeeds(task=f"t{i}", difficulty=0.5, model="m", skill=skill, attempt=attempt)
        for i in range(n)
    ]


def test_chance_is_a_logistic_of_skill_over_difficulty():
    assert chance(0.5, 0.5) == 0.5
    assert chance(0.75, 0.5) == pytest.approx(0.8808, abs=1e-4)
    assert chance(0.2, 0.9) < 0.01


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_every_attempt_succeeds_with_its_chance(attempt):
    share = sum(fates(attempt, skill=0.6)) / 4000
    assert share == pytest.approx(chance(0.6, 0.5), abs=0.03)


def test_repeats_of_a_model_share_their_fate_in_part():
    first, second = fates(1, skill=0.5), fates(2, skill=0.5)
    again = [b for a, b in zip(first, second, strict=True) if not a]
    # A failed attempt is followed by success only when it is drawn anew: (1 - rho) * chance.
    assert sum(again) / len(again) == pytest.approx((1 - RHO) * 0.5, abs=0.03)


def test_fates_are_the_same_in_every_process():
    code = (
        "from headway.emulate.skill import output_tokens as o, uniform as u;"
        "print(u('a', 1), o(task='t', model='m', role='r', median=200))"
    )
    outs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outs) == 1


def test_lengths_are_log_normal_around_the_median():
    lengths = sorted(
        output_tokens(task=f"t{i}", model="m", role="r", median=200) for i in range(3000)
    )
    assert lengths[1500] == pytest.approx(200, rel=0.08)
    assert lengths[2850] == pytest.approx(200 * 2.68, rel=0.15)
    assert lengths[0] >= 1


def ask(**changes) -> ChatRequest:
    messages = ({"role": "user", "content": "hello"},)
    return ChatRequest(**{"model": "m", "skill": 0.5, "messages": messages, **changes})


def test_filler_has_its_length_and_repeats():
    answer = FillerAnswers().answer(ask())
    assert answer == FillerAnswers().answer(ask())
    assert abs(len(answer.text) - 4 * answer.output_tokens) <= 1


def test_filler_calls_a_tool_once_a_turn():
    called = FillerAnswers().answer(ask(tools=(TOOL,)))
    assert called.tool_calls[0].name == "search"
    assert msgspec.json.decode(called.tool_calls[0].arguments) == {"query": "text", "limit": 1}
    result = ({"role": "tool", "content": "found"},)
    assert not FillerAnswers().answer(ask(tools=(TOOL,), messages=result)).tool_calls
    assert not FillerAnswers().answer(ask(tools=(TOOL,), tool_choice="none")).tool_calls


def test_filler_fits_a_json_schema():
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "kind": {"$ref": "#/$defs/Kind"}},
        "$defs": {"Kind": {"enum": ["a", "b"]}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = FillerAnswers().answer(ask(response_format=wanted))
    assert msgspec.json.decode(answer.text) == {"ok": True, "kind": "a"}


def read(body: object, headers: dict[str, str] | None = None, kind="chat"):
    return read_request(msgspec.json.encode(body), kind=kind, headers=headers or {})


CHAT = {"model": "m", "messages": [{"role": "user", "content": "abcdefgh"}]}


def test_the_priority_header_wins():
    assert read(CHAT).priority == 0
    assert read({**CHAT, "priority": -4}).priority == -4
    assert read({**CHAT, "priority": 4}, {"X-Vllm-Priority": "-7"}).priority == -7


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"priority": 1.5}, "priority"),
        ({"priority": 1 << 70}, "priority"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"stream_options": 3}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"model": None}, "model"),
    ],
)
def test_bad_requests_name_the_parameter(change, param):
    with pytest.raises(BadRequest) as caught:
        read({**CHAT, **change})
    assert caught.value.param == param
    assert caught.value.body()["error"]["code"] == 400


def test_a_body_that_is_not_json():
    with pytest.raises(BadRequest, match="not JSON"):
        read_request(b"{", kind="chat", headers={})


def test_a_conversation_extends_its_own_prefix():
    answer = Answer(text="x" * 200, output_tokens=50)
    first = read(CHAT)
    turns = [*CHAT["messages"], {"role": "assistant", "content": answer.text}]
    second = read({**CHAT, "messages": [*turns, {"role": "user", "content": "and now?"}]})
    before = block_hashes(rendered(first), answer, block_tokens=4)
    after = block_hashes(rendered(second), answer, block_tokens=4)
    assert len(before) > 10
    assert after[: len(before)] == before
    other = block_hashes(rendered(read({**CHAT, "model": "other"})), answer, block_tokens=4)
    assert not set(other) & set(before)
    assert (token_count(""), token_count("x" * 9)) == (1, 2)


def test_cut_by_max_tokens():
    whole = Answer(text="abcdefgh", output_tokens=4, tool_calls=(ToolCall(name="t", arguments=""),))
    assert cut(whole, 4) == (whole, "tool_calls")
    assert cut(whole, 2) == (Answer(text="abcd", output_tokens=2), "length")
    assert cut(Answer(text="a", output_tokens=1), None)[1] == "stop"


def events(data: bytes) -> list[dict]:
    lines = [line.removeprefix(b"data: ") for line in data.split(b"\n\n") if line]
    return [msgspec.json.decode(line) for line in lines if line != b"[DONE]"]


@pytest.mark.parametrize("steps", [[], [1], [1, 2, 3], [4, 9, 10]])
def test_chunks_add_up_however_they_are_cut(steps):
    answer = Answer(
        text="let me look",
        output_tokens=10,
        tool_calls=(
            ToolCall(name="search", arguments='{"query":"text"}'),
            ToolCall(name="now", arguments="{}"),
        ),
    )
    maker = ChunkMaker(
        Reply(
            id="r",
            kind="chat",
            model="m",
            created=0,
            answer=answer,
            output_tokens=10,
            finish_reason="tool_calls",
        )
    )
    data = b"".join(maker.upto(step) for step in steps) + maker.finish({"total_tokens": 3})
    assert data.endswith(b"data: [DONE]\n\n")
    chunks = events(data)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == answer.text
    names, arguments = {}, {0: "", 1: ""}
    for delta in deltas:
        for call in delta.get("tool_calls", []):
            if "name" in call["function"]:
                names[call["index"]] = call["function"]["name"]
            arguments[call["index"]] += call["function"]["arguments"]
    assert names == {0: "search", 1: "now"}
    assert arguments == {0: '{"query":"text"}', 1: "{}"}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1] == {**chunks[-1], "choices": [], "usage": {"total_tokens": 3}}

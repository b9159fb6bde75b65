"""What each engine is told of a decision: its fields, its sign, nothing of the caller's lost."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.client.engines import (
    KNOWN_ENGINES,
    LOAD_WANTED,
    MAX_HEADER,
    Hints,
    hints,
    merged,
    own_urgency,
    without_urgency,
)

LOWER_FIRST = ("vllm", "emulated", "sglang-low-first")
HIGHER_FIRST = ("sglang", "dynamo", "vllm-router")
TELLING = LOWER_FIRST + HIGHER_FIRST


def priority(told: Hints) -> int:
    """The one field called priority, wherever it is."""

    def found(body: dict[str, Any]) -> list[int]:
        inner = [n for value in body.values() if isinstance(value, dict) for n in found(value)]
        return inner + ([body["priority"]] if "priority" in body else [])

    (number,) = found(told.body)
    assert type(number) is int
    return number


def test_every_known_engine_is_in_one_of_the_lists() -> None:
    assert sorted(KNOWN_ENGINES) == sorted((*TELLING, "llm-d"))


def test_vllm_serves_lower_first_by_body_and_header() -> None:
    assert hints("vllm", 1.5, run="r1") == Hints(
        body={"priority": -1500},
        headers={"X-Vllm-Priority": "-1500", "X-Session-ID": "r1", **LOAD_WANTED},
    )
    assert priority(hints("vllm", -0.25)) == 250
    named = hints("vllm", 0.0, run="r1", request="c1-2").headers
    assert (named["X-Session-ID"], named["X-Request-Id"]) == ("r1", "c1-2")


def test_emulated_is_told_what_vllm_is_but_no_session() -> None:
    assert hints("emulated", 1.5, run="r1") == Hints(
        body={"priority": -1500}, headers={"X-Vllm-Priority": "-1500"}
    )


def test_sglang_serves_higher_first_unless_it_is_told_otherwise() -> None:
    assert hints("sglang", 1.5, run="r1") == Hints(body={"priority": 1500})
    assert hints("sglang-low-first", 1.5, run="r1") == Hints(body={"priority": -1500})


def test_dynamo_serves_higher_first_and_hears_the_length() -> None:
    assert hints("dynamo", 1.5, run="r1", output_tokens=99.6) == Hints(
        body={"nvext": {"agent_hints": {"priority": 1500, "osl": 100}}},
        headers={"X-Dynamo-Session-ID": "r1"},
    )
    assert hints("dynamo", 0.0).body == {"nvext": {"agent_hints": {"priority": 0}}}


def test_llm_d_hears_of_objectives_and_no_number() -> None:
    assert hints("llm-d", 1.5, run="r1", service_class="interactive") == Hints(
        headers={
            "x-llm-d-inference-fairness-id": "r1",
            "x-gateway-inference-fairness-id": "r1",
            "x-llm-d-inference-objective": "interactive",
            "x-gateway-inference-objective": "interactive",
        }
    )
    assert set(hints("llm-d", 1.5, run="r1").headers) == {
        "x-llm-d-inference-fairness-id",
        "x-gateway-inference-fairness-id",
    }


def test_vllm_router_serves_larger_first_by_program() -> None:
    told = hints("vllm-router", 1.5, run="r1", output_tokens=12, deadline_s=3.25)
    context = {"program_id": "r1", "priority": 1500, "expected_output_tokens": 12, "deadline": 3.25}
    assert told == Hints(body={"vllm_xargs": {"agentic_context": context}})
    late = hints("vllm-router", 0.0, run="r1", deadline_s=-7.0)
    assert late.body["vllm_xargs"]["agentic_context"]["deadline"] == 0.0


@pytest.mark.parametrize("engine", ["openai", "unheard-of", ""])
def test_others_are_told_nothing(engine: str) -> None:
    told = hints(engine, 3.0, run="r", output_tokens=9, deadline_s=1.0, service_class="batch")
    assert told == Hints()


@pytest.mark.parametrize("engine", TELLING)
@given(one=st.floats(allow_nan=False), other=st.floats(allow_nan=False))
def test_urgency_keeps_its_order_and_is_clamped(engine: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    sign = -1 if engine in LOWER_FIRST else 1
    first, second = (sign * priority(hints(engine, urgency)) for urgency in (low, high))
    assert -(10**9) <= first <= second <= 10**9
    if high - low >= 0.002 and abs(low) <= 1e6 and abs(high) <= 1e6:
        assert first < second


@pytest.mark.parametrize("engine", TELLING)
def test_what_is_no_number_is_no_urgency(engine: str) -> None:
    assert priority(hints(engine, math.nan)) == 0
    assert abs(priority(hints(engine, math.inf))) == 10**9
    told = hints(engine, 0.0, run="r", output_tokens=math.nan, deadline_s=math.inf)
    assert told == hints(engine, 0.0, run="r")
    assert told == hints(engine, 0.0, run="r", output_tokens=-3.0)


@given(st.text(max_size=400), st.sampled_from(KNOWN_ENGINES))
def test_any_text_makes_a_valid_header(text: str, engine: str) -> None:
    for value in hints(engine, 1.0, run=text, service_class=text).headers.values():
        assert 0 < len(value) <= MAX_HEADER and value.isascii() and value.isprintable()


def test_runs_that_no_header_can_hold_stay_apart() -> None:
    names = ["x" * 1000, "x" * 1001, "a\r\nEvil: 1", "lauf-ä"]
    sent = {hints("dynamo", 0.0, run=name).headers["X-Dynamo-Session-ID"] for name in names}
    assert len(sent) == len(names)


# Beside what a caller says


def test_what_the_caller_has_stays_and_the_rest_is_added() -> None:
    ours = hints("dynamo", 2.0, output_tokens=9).body["nvext"]
    theirs = {"agent_hints": {"osl": 5, "mine": 1}, "annotations": ["a"]}
    assert merged(theirs, ours) == {
        "agent_hints": {"osl": 5, "mine": 1, "priority": 2000},
        "annotations": ["a"],
    }
    assert theirs == {"agent_hints": {"osl": 5, "mine": 1}, "annotations": ["a"]}
    assert merged("text", ours) == "text"
    assert merged(None, ours) == ours


@pytest.mark.parametrize(
    ("engine", "body", "headers", "named"),
    [
        ("vllm", {"priority": 0}, {}, "priority"),
        ("vllm", {}, {"x-vllm-priority": "3"}, "x-vllm-priority"),
        ("dynamo", {"nvext": {"agent_hints": {"priority": 1}}}, {}, "nvext.agent_hints.priority"),
        ("dynamo", {}, {"x-dynamo-request-priority": "1"}, "x-dynamo-request-priority"),
        ("dynamo", {"priority": 1}, {}, ""),
        ("dynamo", {"nvext": None}, {}, ""),
        ("vllm", {"max_tokens": 1}, {"x-other": "1"}, ""),
    ],
)
def test_an_urgency_of_the_callers_own_is_found(
    engine: str, body: dict[str, Any], headers: dict[str, str], named: str
) -> None:
    assert own_urgency(hints(engine, 1.0), body, headers) == named


def test_without_urgency_the_rest_is_still_told() -> None:
    assert without_urgency(hints("vllm", 1.0, run="r")) == Hints(
        headers={"X-Session-ID": "r", **LOAD_WANTED}
    )
    assert without_urgency(hints("dynamo", 1.0, output_tokens=9)).body == {
        "nvext": {"agent_hints": {"osl": 9}}
    }
    assert without_urgency(hints("sglang", 1.0)) == Hints()

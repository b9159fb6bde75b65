"""What `explain` and `status` print of an answer; tolerant of what it lacks."""

import io
from typing import Any

from rich.console import Console

from headway.cli import control
from headway.cli.show import show_run, show_status


def printed(show: Any, body: dict[str, Any]) -> str:
    out = io.StringIO()
    show(body, Console(file=out, width=160, no_color=True))
    return out.getvalue()


RUN = {
    "run": "r1",
    "graph": "code",
    "state": "ended",
    "outcome": "ok",
    "age_s": 75.0,
    "paused_s": 3.0,
    "deadline_s": 80.0,
    "service_class": "interactive",
    "tenant": "acme",
    "models": ["small", "large"],
    "calls": [
        {
            "call": "c1",
            "attempt": 2,
            "node": "repair",
            "visit": 3,
            "pool_name": "agent",
            "held_s": 0.25,
            "endpoint": "large-1",
            "model": "large",
            "urgency": 0.5,
            "why": "two failures before [small]",
            "scores": [
                {"endpoint": "small-1", "cost_s": 9.5, "parts": {"own_s": 2.0, "retry_s": 7.5}},
                {"endpoint": "large-1", "cost_s": 6.0, "parts": [["own_s", 5.0]]},
            ],
            "excluded": {"tiny-1": "context of 2048 tokens is too small"},
            "outcome": "ok",
            "prompt_tokens": 900,
            "output_tokens": 300,
            "duration_s": 5.5,
        },
        {"call": "c2", "node": "write"},
    ],
}


def test_a_run_call_by_call() -> None:
    text = printed(show_run, RUN)
    assert (
        "run r1 of graph code: ended ok after 75.0 s, deadline 80.0 s, "
        "3.0 s of waiting for a person apart" in text
    )
    assert "class interactive, tenant acme, models small, large" in text
    assert "repair (visit 3)  call c1 attempt 2, asked for agent" in text
    assert "-> large-1 (large), held 250 ms, urgency 0.5" in text
    assert "why: two failures before [small]" in text
    assert "not tiny-1: context of 2048 tokens is too small" in text
    assert "ok after 5.5 s, 900 tokens in, 300 out" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["candidate", "cost", "own", "s", "retry", "s"] in rows
    assert ["small-1", "9.5", "2", "7.5"] in rows
    assert ["*", "large-1", "6", "5"] in rows
    assert "waiting" in text


def test_in_a_pipe_no_line_is_wrapped(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    run = {**RUN, "run": "01a1f95c-f068-7322-91d2-ffa8669dcf20"}
    control._print(run, as_json=False, show=show_run)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("3.0 s of waiting for a person apart")
    assert "repair (visit 3)  call c1 attempt 2, asked for agent" in lines
    assert max(map(len, lines)) < 200


def test_endpoints_left_out_for_the_same_reason_share_a_line() -> None:
    loop = "inside a tool loop of small"
    excluded = {"large-2": loop, "tiny-1": "is down", "large-1": loop}
    text = printed(show_run, {"calls": [{"call": "c1", "excluded": excluded}]})
    told = [line.strip() for line in text.splitlines() if line.strip().startswith("not ")]
    assert told == [f"not large-1, large-2: {loop}", "not tiny-1: is down"]


def test_nothing_is_needed() -> None:
    assert "run ?" in printed(show_run, {})
    assert "headway ?" in printed(show_status, {})
    assert "calls" in printed(show_run, {"calls": None, "run": "[bold]x"})


def test_status_shows_load_and_trouble() -> None:
    rows = [
        {"id": "a", "model": "m", "up": True, "running": 3, "seats": None, "speed": 0.5},
        {"id": "b", "model": "m", "up": False, "url": "http://h", "trouble": "answers [500]"},
    ]
    body = {
        "mode": "off",
        "endpoints": rows,
        "daemon": {"errors": 2, "notes": ["set but idle: rpm"]},
        "waiting": {"agent": 4},
        "running": 3,
        "pool_names": {"agent": ["m"]},
    }
    text = printed(show_status, body)
    lines = [line.split() for line in text.splitlines()]
    assert "off: no decisions are made" in text
    assert ["endpoint", "model", "up", "running", "seats", "speed"] in lines
    assert ["a", "m", "yes", "3", "-", "0.5"] in lines
    assert "b (http://h): answers [500]" in text
    assert "2 facts made the scheduler fail" in text
    assert "calls: 3 running, waiting for a release: agent 4" in text
    assert "covered calls: none yet" in text
    for way in ("headway_langgraph", "headway_litellm.install()", "headway_litellm.callback"):
        assert way in text
    assert "set but idle: rpm" in text


def test_shadow_mode_says_where_a_call_went_and_where_it_would_have_gone() -> None:
    call = {**RUN["calls"][0], "shadow": True, "endpoint": "small-1", "chosen": "large-1"}
    text = printed(show_run, {**RUN, "calls": [call]})
    assert "-> went to small-1 as its client sent it: shadow mode" in text
    assert "would have gone to large-1, held 250 ms, urgency 0.5" in text
    untold = {**call, "endpoint": None, "chosen": None}
    text = printed(show_run, {**RUN, "calls": [untold]})
    assert "-> went as its client sent it: shadow mode" in text and "would have been held" in text

"""One frame of `headway top`: what it shows, and that it fits."""

import copy
import io
from typing import Any

import pytest
from rich.console import Console, Group

from headway.cli.top import Watched, _on_screen
from headway.cli.topview import alone, frame, shared_out

BODY: dict[str, Any] = {
    "mode": "shadow",
    "policy": "headway",
    "running": 5,
    "runs_interrupted": 2,
    "daemon": {"uptime_s": 75.0, "events": 12_345, "clients": 2},
    "endpoints": [
        {"id": "small-1", "model": "small", "up": True, "running": 3, "seats": 4, "served": 1200},
        {"id": "large-1", "model": "large", "up": False, "running": 0, "trouble": "refused"},
        {"id": "old-1", "model": "small", "up": True, "drain": True, "running": 0, "seats": 4},
    ],
    "waiting_for": {"small-1": 31},
    "queue": [
        {
            "call": f"c{n}",
            "run": f"run-{n}",
            "graph": "code",
            "node": "write",
            "pool_name": "agent",
            "waited_s": 30.0 - n,
            "deadline_left_s": -2.0 if n == 0 else None,
        }
        for n in range(30)
    ],
    "queue_total": 31,
    "runs": [
        {
            "run": "run-1",
            "graph": "code",
            "nodes": ["write", "test"],
            "nodes_total": 7,
            "age_s": 3.0,
            "deadline_left_s": 6.0,
            "rest_s": 4.5,
            "rest_calls": 4.0,
            "running": 1,
            "waiting": 2,
        }
    ],
    "runs_total": 1,
    "predictions": [
        {"graph": "code", "node": "write", "model": "small", "calls": 3, "token_ratio": 0.8}
    ],
    "predictions_all": {
        "calls": 3,
        "predicted_tokens": 90.0,
        "real_tokens": 110,
        "token_ratio": 0.8,
        "p90_coverage": 2 / 3,
        "predicted_s": 1.5,
        "real_s": 2.0,
        "seconds_ratio": 0.75,
    },
}


def printed(body: dict[str, Any], *, width: int = 160, height: int = 0, note: str = "") -> str:
    """A frame as text: of a terminal of that height, else as in a pipe."""
    out = io.StringIO()
    size = {"height": height} if height else {}
    console = Console(file=out, width=width, force_terminal=bool(height), color_system=None, **size)
    console.print(frame(body, console, note=note))
    return out.getvalue()


def test_all_that_an_operator_asks_for() -> None:
    text = printed(BODY)
    rows = [line.split() for line in text.splitlines()]
    assert "headway shadow  policy headway  up 75.0 s  12,345 events  2 clients" in text
    bar = "████████░░"
    assert ["small-1", "small", "yes", bar, "3/4", "-", "31", "-", "-", "1,200"] in rows
    assert ["large-1", "large", "no", "0/?", "-", "0", "-", "-", "-", "refused"] in rows
    assert ["old-1", "small", "drains", "░░░░░░░░░░", "0/4"] in [row[:5] for row in rows]
    assert "queue, oldest first, 11 more" in text  # 20 of 31: no screen to fit into
    assert ["30.0", "s", "code", "write", "agent", "late", "2.0", "s", "run-0"] in rows
    assert "open runs (2 more wait for a person)" in text
    assert "write, test and 5 more" in text
    run = next(line for line in rows if line[:2] == ["3.0", "s"])
    assert run[-10:] == ["1,", "2", "waiting", "6.0", "s", "4.5", "s", "4", "-", "run-1"]
    assert ["all", "3", "90", "/", "110", "0.80", "67%", "1.5", "/", "2.0", "0.75"] in rows
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120])
@pytest.mark.parametrize("height", [6, 12, 24, 50])
def test_it_fits_any_terminal(width: int, height: int) -> None:
    lines = printed(BODY, width=width, height=height, note="something is wrong").splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert lines[0].startswith("headway shadow")
    assert any(line.startswith("small"[: width // 5]) for line in lines)


def test_a_narrow_terminal_shortens_run_ids_and_cuts_nothing_else() -> None:
    run = "01a1f95c-f068-7322-91d2-ffa8669dcf20"
    body = copy.deepcopy(BODY)
    for row in (body["queue"][0], body["runs"][0]):
        row.update(run=run, graph="code_generation", deadline_left_s=-4.1)
    body["runs"][0].update(nodes=["write"], nodes_total=1)
    narrow, wide = (printed(body, width=width, height=40).splitlines() for width in (80, 120))
    assert [line.split()[-1] for line in narrow if "code_generation" in line] == ["..669dcf20"] * 2
    assert [line.split()[-1] for line in wide if "code_generation" in line] == [run] * 2
    assert any("1, 2 waiting" in line for line in narrow)
    assert any("pool name" in line for line in narrow)
    assert not any("…" in line for line in narrow[1:])


def test_more_room_shows_more() -> None:
    def queue(height: int) -> int:
        return printed(BODY, width=100, height=height).count("agent")

    assert queue(16) < queue(30) < queue(60) == 30


def test_lines_are_shared_out_by_need() -> None:
    assert shared_out([2, 10, 10], 12) == [2, 5, 5]
    assert shared_out([3, 4], 100) == [3, 4]
    assert shared_out([9, 9, 9], 2) == [1, 1, 0]
    assert shared_out([5], -3) == [0]
    assert shared_out([], 7) == []


def test_nothing_is_needed() -> None:
    text = printed({})
    assert "headway ?" in text
    assert "no call waits" in text and "no call has been answered yet" in text
    assert printed({"endpoints": None, "queue": ["x"], "daemon": 3, "runs": [{}]})


def test_in_shadow_mode_there_is_no_outcome_to_compare_with() -> None:
    assert "shadow mode does not apply its decisions" in printed({"mode": "shadow"})


def test_names_of_users_cannot_steer_the_terminal() -> None:
    nasty = {"graph": "[bold]g", "node": "a\x1b[2J\nb", "pool_name": "p", "waited_s": 1.0}
    text = printed({"queue": [nasty], "queue_total": 1})
    assert "[bold]g" in text and "a [2J b" in text
    assert "\x1b" not in text


def test_what_went_wrong_is_on_top() -> None:
    body = {"daemon": {"errors": 3, "journal_error": "no journal any more: disk full"}}
    lines = printed(body, note="no daemon, the last picture").splitlines()
    assert lines[1:4] == [
        "no daemon, the last picture",
        "no journal any more: disk full",
        "3 facts made the scheduler fail: see the daemon's log",
    ]
    out = io.StringIO()
    Console(file=out, width=60).print(alone("nobody answers on /x"))
    assert out.getvalue().splitlines() == [
        "headway: no daemon, trying again",
        "nobody answers on /x",
    ]


def test_a_stream_that_knows_only_ascii_gets_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    console = Console(file=out, width=40)
    console.print(frame(BODY, console))
    out.flush()
    assert b"########.. 3/4" in out.buffer.getvalue()  # type: ignore[attr-defined]


class _Impatient(io.StringIO):
    """A terminal whose user presses Ctrl-C at the first picture."""

    pressed = False

    def write(self, text: str) -> int:
        written = super().write(text)
        if "endpoints" in text and not self.pressed:
            self.pressed = True
            raise KeyboardInterrupt
        return written


class _Showing(Watched):
    def __init__(self) -> None:
        """Always the same picture, and no daemon."""

    def frame(self, console: Console) -> Group:
        return frame(BODY, console)


def test_a_ctrl_c_at_the_first_picture_gives_the_screen_back() -> None:
    terminal = _Impatient()
    console = Console(file=terminal, force_terminal=True, width=80, height=20)
    with pytest.raises(KeyboardInterrupt):
        _on_screen(_Showing(), console, interval=1.0)
    assert terminal.getvalue().endswith("\x1b[?1049l")

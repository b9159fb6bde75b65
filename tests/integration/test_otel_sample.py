"""``make trace``, shortened: runs, spans, a picture; and a picture of a file alone."""

from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")

from headway_samples import trace
from headway_samples.trace_file import Run, Span, read_runs
from headway_samples.trace_picture import colours_of, stacked
from tests.golden.trace import GOLDEN

PNG = b"\x89PNG"


@pytest.fixture
def no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_SOCKET", "")  # restored afterwards: the sample sets it


def test_it_draws_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trace.main(["--from", str(GOLDEN), "--out", str(tmp_path), "--run", "run-1"]) == 0
    picture = tmp_path / "trace.png"
    assert picture.read_bytes().startswith(PNG)
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--run", "nobody"], "no run's id begins with 'nobody'"),
        (["--from", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_be_drawn_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert trace.main(["--from", str(GOLDEN), "--out", str(tmp_path), *more]) == 1
    assert said in capsys.readouterr().err


def test_calls_at_the_same_time_get_rows_of_their_own() -> None:
    def call(start_s: float, end_s: float) -> Span:
        return Span(trace="t", id="s", parent="", name="chat", start_s=start_s, end_s=end_s,
                    attributes={}, links=())  # fmt: skip

    calls = [call(0, 4), call(1, 2), call(1, 9), call(3, 5), call(4, 6)]
    assert stacked(calls) == [0, 1, 2, 1, 0]


def test_every_endpoint_has_a_colour_of_its_own() -> None:
    (run, *_) = read_runs(GOLDEN)
    colours = colours_of(run)
    assert set(colours) == {"small-1", "large-1"} and len(set(colours.values())) == 2


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("no_socket")
def test_a_run_on_the_emulated_pool(tmp_path: Path) -> None:
    """In a process of its own, as users run it: the client of a process keeps its socket."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "headway_samples.trace", "--out", str(tmp_path),
         "--runs", "2", "--speedup", "40"],
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "trace.png").read_bytes().startswith(PNG)
    runs = read_runs(tmp_path / "trace.otlp.json")
    assert [run.graph for run in runs] == ["deep_research"] * 2
    for run in runs:
        check_shape(run)


def check_shape(run: Run) -> None:
    """Planner, then researchers at once, then the join of all of them."""
    names = [node.span.text("headway.node.name") for node in run.nodes]
    assert names[0] == "planner" and run.nodes[0].calls
    crowd = [place for place, name in enumerate(names) if name == "researcher"]
    assert len(crowd) > 1
    assert all(run.nodes[place].parents == (0,) for place in crowd)
    join = run.nodes[names.index("join")]
    assert sorted(join.parents) == crowd
    assert any(run.nodes[place].tools for place in crowd)
    calls = [call for node in run.nodes for call in node.calls]
    assert all(call.text("headway.decision.source") == "daemon" for call in calls)
    assert all(call.number("gen_ai.usage.output_tokens") > 0 for call in calls)

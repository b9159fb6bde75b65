"""Headway's own recordings as traces: journals and OTLP files, whole, cut and told twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from headway.core.facts import Feedback
from headway.core.types import RunId
from headway.sim.loaders.journal import from_journal
from headway.sim.loaders.otlp import from_otlp
from headway.sim.loaders.recorded import stretched
from headway.sim.trace import TraceNode, TraceRun
from headway.sim.tracefile import TraceError, fault
from tests.support.journals import Recording
from tests.support.telling import endpoint, pool

GOLDEN = Path(__file__).parents[1] / "golden" / "trace.otlp.json"


def recording(tmp_path: Path) -> Recording:
    return Recording(tmp_path, pool(endpoint("e", seats=8)))


def shape(run: TraceRun) -> list[tuple[str, tuple[int, ...], float, float]]:
    assert fault(run) == ""
    return [(n.name, n.parents, round(n.tool_s, 6), round(n.think_s, 6)) for n in run.nodes]


def step(
    told: Recording, node: str, start: float, end: float, run: str = "r1", **more: Any
) -> None:
    """A node that asks as it starts and ends with its call."""
    told.node_started(node, node.rstrip("0123456789"), run=run, at=start, **more)
    told.ready(f"c-{node}", at=start, run=run, node=node, node_name=node.rstrip("0123456789"))
    told.ended(f"c-{node}", at=end, prompt_tokens=50, output_tokens=9)
    told.node_ended(node, run=run, at=end)


def test_a_journal_gives_a_run_with_its_dag_and_gaps(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=10.0, thread="t", tenant="acme", service_class="batch")
    told.node_started("plan", "plan", at=10.0)
    told.ready("c1", at=10.5, node="plan", node_name="plan", prompt_chars=400, max_tokens=64)
    told.ended("c1", at=12.0, output_tokens=30, tool_calls=2)
    told.node_ended("plan", at=12.0)
    step(told, "work1", 13.0, 15.0, parents=("plan",))
    step(told, "work2", 15.0, 18.0, parents=("plan",))
    told.node_started("tool", "tool", at=18.0, parents=("work1", "work2"))
    told.node_ended("tool", at=18.75)
    step(told, "write", 19.0, 21.0, parents=("tool",))
    told.run_ended(at=21.0)
    (run,) = from_journal(told.paths[0]).runs
    assert shape(run) == [
        ("plan", (), 0.5, 0.0),
        ("work", (0,), 1.0, 0.0),
        ("work", (0,), 3.0, 0.0),
        ("tool", (1, 2), 0.75, 0.0),
        ("write", (3,), 0.25, 0.0),
    ]
    assert run.nodes[0] == TraceNode(
        name="plan",
        prompt_tokens=100,
        output_tokens=30,
        tool_s=0.5,
        tool_calls=2,
        max_tokens=64,
        pool_name="agent",
    )
    assert [node.prompt_tokens for node in run.nodes] == [100, 50, 50, 0, 50]
    assert (run.id, run.graph, run.group, run.tenant) == ("r1", "g", "t", "acme")
    assert (run.service_class, run.arrival_s, run.ok) == ("batch", 0.0, None)


def test_calls_of_one_node_follow_each_other_and_retries_are_one(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0)
    told.node_started("n", "agent", at=0.0)
    told.ready("c1", at=0.0, node="n", node_name="agent")
    told.ended("c1", at=1.0, outcome="error", error="503")
    told.ready("c1", at=2.0, attempt=2, node="n", node_name="agent")
    told.ended("c1", at=4.0, attempt=2, output_tokens=7)
    told.ready("c2", at=5.0, node="n", node_name="agent")
    told.ready("c3", at=5.0, node="n", node_name="agent")
    told.ended("c2", at=6.0)
    told.ended("c3", at=7.0)
    told.ready("c4", at=7.5, node="n", node_name="agent")
    told.ended("c4", at=8.0)
    told.node_ended("n", at=8.0)
    told.run_ended(at=8.0)
    (run,) = from_journal(told.paths).runs
    assert shape(run) == [
        ("agent", (), 0.0, 0.0),
        ("agent", (0,), 1.0, 0.0),
        ("agent", (0,), 1.0, 0.0),
        ("agent", (1, 2), 0.5, 0.0),
    ]
    assert run.nodes[0].output_tokens == 7


def test_a_person_is_think_time_and_a_resumed_run_is_one(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0, thread="t")
    step(told, "ask", 0.0, 2.0)
    told.run_ended(outcome="interrupted", at=3.0)
    told.run_started("r2", at=103.0, thread="t", resumed=True)
    step(told, "answer", 103.5, 105.0, run="r2")
    told.run_ended("r2", at=105.0)
    (run,) = from_journal(told.paths).runs
    assert shape(run) == [("ask", (), 0.0, 0.0), ("answer", (0,), 1.5, 100.0)]


def test_a_paused_run_is_kept_and_an_open_one_is_not(tmp_path: Path) -> None:
    told = recording(tmp_path)
    for run in ("paused", "open", "failed", "silent"):
        told.run_started(run, at=0.0, thread=run)
        if run != "silent":
            step(told, f"n-{run}", 1.0, 2.0, run=run)
    told.run_ended("paused", "interrupted", at=3.0)
    told.run_ended("failed", "error", at=3.0)
    told.run_ended("silent", at=3.0)
    runs = from_journal(told.paths).runs
    assert {run.id: run.ok for run in runs} == {"failed": False, "paused": None}


def test_a_graph_inside_a_node_is_part_of_its_run(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0)
    step(told, "plan", 0.0, 1.0)
    told.node_started("outer", "outer", at=1.0, parents=("plan",))
    told.run_started("inner", at=1.5, graph="h", parent_run="r1", parent_node="outer")
    step(told, "a", 1.5, 2.0, run="inner")
    step(told, "b", 2.25, 3.0, run="inner", parents=("a",))
    told.run_ended("inner", at=3.0)
    told.ready("c-outer", at=3.5, node="outer", node_name="outer")
    told.ended("c-outer", at=4.0)
    told.node_ended("outer", at=4.0)
    step(told, "end", 4.0, 5.0, parents=("outer",))
    told.run_ended(at=5.0)
    (run,) = from_journal(told.paths).runs
    assert shape(run) == [
        ("plan", (), 0.0, 0.0),
        ("a", (0,), 0.5, 0.0),
        ("b", (1,), 0.25, 0.0),
        ("outer", (2,), 0.5, 0.0),
        ("end", (3,), 0.0, 0.0),
    ]


def test_a_rotation_tells_nothing_twice(tmp_path: Path) -> None:
    def play(told: Recording, *, rotated: bool) -> None:
        told.run_started(at=0.0, thread="t")
        step(told, "a", 1.0, 2.0)
        told.run_ended(outcome="interrupted", at=2.0)
        told.run_started("r2", at=12.0, thread="t", resumed=True)
        told.node_started("b", "b", run="r2", at=12.0, parents=("a",))
        told.ready("c-b", at=12.5, run="r2", node="b", node_name="b", prompt_chars=80)
        if rotated:
            told.rotate(at=13.0)
        told.ended("c-b", at=14.0, output_tokens=4)
        told.node_ended("b", run="r2", at=14.0)
        told.run_ended("r2", at=14.0)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    made = []
    for folder in (whole, parts):
        folder.mkdir()
        told = recording(folder)
        play(told, rotated=folder is parts)
        made.append(from_journal(told.paths).runs)
    assert made[0] == made[1]
    assert shape(made[0][0]) == [("a", (), 1.0, 0.0), ("b", (0,), 0.5, 10.0)]


def test_a_machine_that_was_started_anew_has_another_clock(tmp_path: Path) -> None:
    paths = []
    for folder, began in (("a", 1000.0), ("b", 5.0)):
        (tmp_path / folder).mkdir()
        told = recording(tmp_path / folder)
        told.run_started(folder, at=began)
        step(told, f"n-{folder}", began + 1.0, began + 2.0, run=folder)
        told.run_ended(folder, at=began + 3.0)
        paths += told.paths
    first, second = from_journal(paths).runs
    assert (first.id, first.arrival_s, second.id, second.arrival_s) == ("a", 0.0, "b", 3.0)
    assert shape(second) == [("n-b", (), 1.0, 0.0)]


def test_a_graph_that_says_to_be_inside_itself_is_a_run(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0, parent_run="r1", parent_node="a")
    step(told, "a", 0.0, 1.0)
    told.run_ended(at=1.0)
    (run,) = from_journal(told.paths).runs
    assert shape(run) == [("a", (), 0.0, 0.0)]


def test_runs_that_only_calls_tell_of(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.ready("c1", at=5.0, run="p1", run_age_s=1.0)
    told.ended("c1", at=6.0)
    told.ready("c2", at=9.0, run="p2")
    runs = from_journal(told.paths).runs
    assert [(run.id, shape(run)) for run in runs] == [("p1", [("step", (), 1.0, 0.0)])]


def test_lengths_that_nobody_told_are_the_nodes_median(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0)
    for number, tokens in enumerate((10, 90, 20, None)):
        told.ready(f"c{number}", at=float(number), node="n")
        told.ended(f"c{number}", at=number + 0.5, output_tokens=tokens)
    told.ready("bad", at=8.0, node="n")
    told.ended("bad", at=9.0, outcome="error")
    told.run_ended(at=9.0)
    (run,) = from_journal(told.paths).runs
    assert [node.output_tokens for node in run.nodes] == [10, 90, 20, 20, 0]
    assert run.nodes[4].prompt_tokens == 0


def test_feedback_says_whether_it_succeeded(tmp_path: Path) -> None:
    told = recording(tmp_path)
    told.run_started(at=0.0)
    step(told, "a", 0.0, 1.0)
    told.tell(Feedback(run=RunId("r1"), ok=True))
    told.run_ended(at=1.0)
    (run,) = from_journal(told.paths).runs
    assert run.ok is True


def test_a_cut_journal_is_read_to_its_cut_and_garbage_is_refused(tmp_path: Path) -> None:
    told = recording(tmp_path)
    for run in ("r1", "r2"):
        told.run_started(run, at=0.0)
        step(told, f"n-{run}", 1.0, 2.0, run=run)
        told.run_ended(run, at=3.0)
    path = told.paths[0]
    path.write_bytes(path.read_bytes()[:-5])
    assert [run.id for run in from_journal(path).runs] == ["r1"]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TraceError, match=r"headway-000001"):
        from_journal(path)
    with pytest.raises(TraceError, match="cannot read"):
        from_journal(tmp_path / "absent.journal")
    with pytest.raises(TraceError, match="no run"):
        from_journal(())


def test_the_golden_otlp_file() -> None:
    trace = from_otlp(GOLDEN)
    (run,) = trace.runs
    assert shape(run) == [
        ("plan", (), 0.001, 0.0),
        ("research", (0,), 0.001, 0.0),
        ("research", (0,), 0.001, 0.0),
        ("model", (1, 2), 0.1, 0.0),
        ("write", (3,), 0.2, 86.9),
    ]
    assert [node.prompt_tokens for node in run.nodes] == [100, 100, 100, 100, 0]
    assert (run.nodes[0].max_tokens, run.nodes[1].tool_calls) == (512, 1)
    assert (run.id, run.graph, run.group, run.ok) == ("run-1", "research", "t-1", False)
    assert (run.tenant, run.service_class, run.arrival_s) == ("acme", "batch", 0.0)


def test_otlp_lines_may_come_in_any_order_and_twice(tmp_path: Path) -> None:
    first, second = GOLDEN.read_text().splitlines()
    path = tmp_path / "t.json"
    path.write_text("\n".join((second, first, second)) + "\n")
    assert from_otlp(path).runs == from_otlp(GOLDEN).runs


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"resourceSpans": [{"scopeSpans": [{}]}]}'])
def test_what_is_no_otlp_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(GOLDEN.read_text().splitlines()[0] + "\n" + line + "\n")
    with pytest.raises(TraceError, match=r"t\.json:2: not a line of OTLP"):
        from_otlp(path)


def test_otlp_without_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"resourceSpans": []}) + "\n")
    with pytest.raises(TraceError, match="no run that made a call"):
        from_otlp(path)
    told = json.loads(GOLDEN.read_text().splitlines()[0])
    span = told["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span["endTimeUnixNano"] = "1"
    path.write_text(json.dumps(told) + "\n")
    with pytest.raises(TraceError, match=r"t\.json:1: .*ends before it begins"):
        from_otlp(path)


def test_a_recording_of_an_emulator_is_stretched_to_its_servers_scale(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a", seats=8)))
    told.run_started("r1", at=10.0)
    step(told, "plan", 11.0, 12.0, run="r1")
    told.run_ended("r1", at=12.0)
    told.run_started("r2", at=13.0)
    step(told, "again", 13.0, 14.0, run="r2")
    told.run_ended("r2", at=14.0)
    trace = from_journal(told.paths[0])
    slow = stretched(trace, 5.0)
    assert [run.arrival_s for run in slow.runs] == [0.0, 15.0]
    assert slow.runs[0].nodes[0].tool_s == 5.0
    assert stretched(trace, 1.0) is trace

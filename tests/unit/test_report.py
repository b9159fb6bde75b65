"""What a journal amounts to: an example of three calls worked by hand, files, other policies."""

from pathlib import Path

import pytest

from headway.core.commands import AnyCommand, Grant
from headway.core.errors import ConfigError, JournalError
from headway.core.facts import Feedback
from headway.core.types import RunId
from headway.daemon.findings import Report, Spread
from headway.daemon.replay import compare
from headway.daemon.report import quantile, report, spread
from headway.daemon.retold import Retold
from headway.wire.journal import read_journal
from tests.golden.record import RECORDED, golden
from tests.support.journals import Recording
from tests.support.telling import BOB, endpoint, granted, pool

POLICY = pytest.mark.parametrize("policy", RECORDED)


def three_calls(folder: Path, *, rotate_at: float | None = None, **fields: object) -> Recording:
    """One endpoint with one seat, three runs of one call each; all times are on the page.

    ====  =====  ========  =====  ====================================
    call  ready  released  ended
    ====  =====  ========  =====  ====================================
    c1        0         0      4  ok, 100 tokens; r1 in time (4 of 10)
    c2        1         4      8  error 500; r2 is not in time
    c3        5         8     10  ok, 50 tokens; r3 has no deadline
    ====  =====  ========  =====  ====================================
    """
    told = Recording(folder, pool(endpoint("a", seats=1), endpoint("spare", "unused"), **fields))
    told.run_started("r1", deadline_s=10.0, at=0.0)
    told.ready("c1", models=("small",))
    told.run_started("r2", deadline_s=10.0, at=1.0)
    told.ready("c2", run="r2", models=("small",))
    if rotate_at is not None:
        told.rotate(at=rotate_at)
    assert granted(told.ended("c1", at=4.0, output_tokens=100, prompt_tokens=30)) == [("c2", "a")]
    told.run_ended("r1")
    told.run_started("r3", at=5.0)
    told.ready("c3", run="r3", models=("small",))
    assert granted(told.ended("c2", at=8.0, outcome="error", error="500")) == [("c3", "a")]
    told.run_ended("r2", "error")
    told.ended("c3", at=10.0, output_tokens=50, prompt_tokens=20)
    told.run_ended("r3")
    told.tell(Feedback(run=RunId("r1"), ok=False), at=20.0)
    told.tell(Feedback(run=RunId("r3"), ok=True))
    return told


def by_hand(found: Report) -> None:
    """The same numbers, however the journal is cut into files."""
    (runs,) = found.runs
    assert (runs.graph, runs.outcomes) == ("g", {"error": 1, "ok": 2})
    # completions 4 and 5: P95 lies 0.95 of the way from one to the other
    assert runs.completion == Spread(
        n=2, mean=4.5, p50=4.5, p95=pytest.approx(4.95), p99=pytest.approx(4.99)
    )
    assert (runs.with_deadline, runs.met, found.runs_open) == (2, 1, 0)
    (waits,) = found.waits
    assert (waits.pool_name, waits.refused) == ("agent", 0)
    assert waits.held == Spread(n=3, mean=2.0, p50=3.0, p95=3.0, p99=3.0)
    (model,) = found.models
    assert (model.model, model.outcomes) == ("small", {"error": 1, "ok": 2})
    assert (model.prompt_tokens, model.output_tokens) == (50, 150)
    assert (model.judged, model.sufficed) == (2, 1)
    a, spare = found.endpoints
    # in use from 0 to 10 of 20 seconds, one call at a time
    assert (a.endpoint, a.busy_share, a.mean_running) == ("a", 0.5, 0.5)
    assert (spare.endpoint, spare.outcomes, spare.busy_share) == ("spare", {}, 0.0)
    (failure,) = found.failures
    assert (failure.kind, failure.place, failure.count) == ("500", "a", 1)
    counts = (found.calls_by_decision, found.calls_alone, found.calls_dropped, found.calls_open)
    assert counts == (3, 0, 0, 0)
    assert found.predictions_all is not None
    assert (found.predictions_all.calls, found.predictions_all.real_tokens) == (2, 75)
    assert found.predictions_all.real_s == 3.0  # 4 and 2 seconds from release to end
    assert found.span_s == 20.0


def test_three_calls_by_hand(tmp_path: Path) -> None:
    found = report(three_calls(tmp_path).paths)
    by_hand(found)
    assert found.modes == ("on",) and found.defects == () and found.notes == ()
    assert found.files[0].cut_at is None


def test_a_rotation_in_the_middle_changes_no_number(tmp_path: Path) -> None:
    paths = three_calls(tmp_path, rotate_at=2.0).paths
    assert len(paths) == 2
    found = report(paths)
    assert [one.span_s for one in found.files] == [1.0, 18.0]
    # from 1 to 2 nothing was told, so no file has that second; all else is the same
    assert found.endpoints[0].busy_share == pytest.approx(9 / 19)
    (waits,) = found.waits
    assert waits.held == Spread(n=3, mean=2.0, p50=3.0, p95=3.0, p99=3.0)
    (runs,) = found.runs
    assert runs.outcomes == {"error": 1, "ok": 2}
    assert runs.completion is not None and runs.completion.mean == 4.5
    assert (found.models[0].judged, found.models[0].sufficed) == (2, 1)
    assert (found.calls_by_decision, found.calls_alone, found.calls_open) == (3, 0, 0)


def test_quantiles_between_neighbours() -> None:
    assert quantile([1.0], 0.99) == 1.0
    assert quantile([0.0, 10.0, 20.0], 0.25) == 5.0
    assert spread([]) is None


def test_calls_that_no_decision_sent_or_that_left_the_queue(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    told.ready("c2", client=BOB, at=1.0)
    told.lost(BOB, at=2.0)  # c2 is dropped: nobody waits for it
    told.sent("c3", "a")  # its client had no answer in time
    told.ready("c4", pool_name="nobody-serves-this", at=3.0)
    told.ended("c3", at=4.0)
    found = report(told.paths)
    assert (found.calls_by_decision, found.calls_alone, found.calls_dropped) == (0, 1, 1)
    assert found.calls_open == 2
    assert {one.pool_name: one.refused for one in found.waits} == {
        "agent": 0,
        "nobody-serves-this": 1,
    }
    assert [(one.kind, one.count) for one in found.notices] == [("no_candidate", 1)]
    # c1 alone for 2 seconds, then c1 and c3 for 2: 6 call-seconds in 4
    assert (found.endpoints[0].busy_share, found.endpoints[0].mean_running) == (1.0, 1.5)


def test_a_person_pause_and_a_graph_inside_a_graph_make_one_run(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")))
    told.run_started("r1", thread="t", at=0.0)
    told.run_started("inner", graph="tool", parent_run=RunId("r1"), at=1.0)
    told.run_ended("inner", at=2.0)
    told.run_ended("r1", "interrupted", at=5.0)
    told.rotate(at=50.0)
    assert report(told.paths).runs_open == 1
    told.run_started("r1-again", thread="t", resumed=True, at=100.0)
    told.run_ended("r1-again", at=103.0)
    found = report(told.paths)
    (runs,) = found.runs
    assert (runs.graph, runs.outcomes, found.runs_open) == ("g", {"ok": 1}, 0)
    assert runs.completion is not None and runs.completion.mean == 8.0


def test_runs_whose_client_went_away_are_cancelled_not_late(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")))
    told.run_started("r1", deadline_s=5.0, at=0.0)
    told.lost(at=1.0)
    told.tick(at=40.0)
    (runs,) = report(told.paths).runs
    assert (runs.outcomes, runs.with_deadline, runs.completion) == ({"cancelled": 1}, 0, None)


def test_the_most_telling_source_that_saw_a_failure_counts(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")))
    for number, outcome in enumerate(("ok", "ok", "error"), 1):
        told.node_started(f"n-c{number}", "write", run=f"r{number}", at=float(number))
        told.ready(f"c{number}", run=f"r{number}")
        told.ended(f"c{number}")
        told.node_ended(f"n-c{number}", outcome, run=f"r{number}")
    assert _judged(told) == (3, 2)
    told.tell(Feedback(run=RunId("r1"), ok=True))
    assert _judged(told) == (3, 2)  # good words alone do not unsay the node's failure
    told.tell(Feedback(run=RunId("r2"), ok=False))
    assert _judged(told) == (2, 1)


def test_a_session_counts_once_for_each_time_it_ends(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a", seats=4)))
    told.ready("c1", run="s1", at=0.0)
    told.ended("c1", at=1.0)
    told.tick(400.0)
    told.ready("c2", run="s0", at=500.0)
    told.ended("c2", at=501.0)
    told.ready("c3", run="s1")
    told.ended("c3", at=502.0)
    told.tick(900.0)  # both are over now
    (runs,) = report(told.paths).runs
    assert runs.outcomes == {"ok": 3}


def _judged(told: Recording) -> tuple[int, int]:
    (model,) = report(told.paths).models
    return model.judged, model.sufficed


def test_shadow_mode_tells_what_it_would_have_done(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a", seats=4), endpoint("b")).with_mode("shadow"))
    told.ready("c1", at=0.0)
    told.ended("c1", at=1.0)
    told.ready("c2")
    told.ended("c2", at=2.0)
    found = report(told.paths)
    assert found.modes == ("shadow",)
    (choice,) = found.shadow
    assert (choice.pool_name, choice.went, choice.would, choice.calls) == ("agent", "", "a", 2)
    (model,) = found.models
    assert (model.model, model.outcomes) == ("", {"ok": 2})  # nobody knows who answered
    assert found.predictions_all is None
    assert found.endpoints[0].busy_share == 0.0


def test_shadow_mode_compares_with_where_calls_really_went(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a"), endpoint("b")).with_mode("shadow"))
    told.ready("c1", at=0.0)  # shadow: a
    told.sent("c1", "b")
    told.ready("c2", at=0.1)  # b is taken, by what went there; so a, which is free
    told.sent("c2", "a")
    told.ready("c3", at=0.2)  # both are taken: held
    told.sent("c3", "a")
    told.ended("c3", at=0.9)
    told.ended("c1", at=1.0)
    told.ended("c2", at=2.0)
    found = report(told.paths)
    assert sorted((one.went, one.would, one.calls) for one in found.shadow) == [
        ("a", "", 1),
        ("a", "a", 1),
        ("b", "a", 1),
    ]
    outcomes = {served.endpoint: served.outcomes for served in found.endpoints}
    assert outcomes == {"a": {"ok": 2}, "b": {"ok": 1}}
    assert (found.calls_by_decision, found.calls_alone) == (2, 0)


@POLICY
def test_a_journal_told_again_makes_the_recorded_grants(policy: str) -> None:
    reader = read_journal(golden(policy))
    retold = Retold(reader.header)
    ended = closed = calls = 0
    for entry in reader.entries():
        told = retold.tell(entry)
        assert _grants(retold.scheduler.made()) == _grants(entry.commands)
        ended += len(told.ended)
        closed += len(told.closed)
        calls += len(_grants(entry.commands))
    assert (ended, closed) == (18, calls)
    assert not retold.scheduler.books.calls


def _grants(commands: tuple[AnyCommand, ...]) -> list[tuple[str, str, float]]:
    return [(one.call, one.endpoint, one.held_s) for one in commands if isinstance(one, Grant)]


@POLICY
@pytest.mark.parametrize("other", RECORDED)
def test_other_choices_are_those_that_replay_compares(policy: str, other: str) -> None:
    found = report([golden(policy)], against=other)
    same = compare(golden(policy), other)
    assert sum(one.decisions for one in found.otherwise) == same.decisions
    elsewhere = sum(one.other_model + one.other_endpoint for one in found.otherwise)
    never = sum(one.never for one in found.otherwise)
    if policy == other:
        assert (elsewhere, never) == (0, 0)
    assert (elsewhere, never) == (same.other_endpoint, same.never)
    assert sum(one.count for one in found.moves) == elsewhere


def test_cut_foreign_and_missing_files(tmp_path: Path) -> None:
    (path,) = three_calls(tmp_path).paths
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    found = report([path])
    assert found.files[0].cut_at is not None
    assert found.files[0].events == report_events(whole, tmp_path) - 1
    path.write_bytes(b"GET / HTTP/1.1\r\n\r\n" * 20)
    with pytest.raises(JournalError, match=r"000001\.journal is not a journal"):
        report([path])
    with pytest.raises(JournalError, match="cannot read"):
        report([tmp_path / "none.journal"])


def report_events(data: bytes, folder: Path) -> int:
    path = folder / "whole"
    path.write_bytes(data)
    return report([path]).events


def test_an_unknown_policy_is_named() -> None:
    with pytest.raises(ConfigError, match="least-busy"):
        report([golden("fcfs")], against="least-bussy")


def test_what_was_learned_by_another_version_is_left_out_with_a_note(tmp_path: Path) -> None:
    told = Recording(tmp_path, pool(endpoint("a")))
    told._begin(told.scheduler.pool, {"nothing": "that is known"})
    told.ready("c1", at=0.0)
    told.ended("c1", at=1.0)
    found = report(told.paths[1:])
    assert found.calls_by_decision == 1
    assert "cannot be read by this version" in found.notes[0]


def test_progress_grows_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    paths = three_calls(tmp_path, rotate_at=2.0).paths
    report(paths, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    size = sum(path.stat().st_size for path in paths)
    assert seen[-1] == (size, size) and 0 < seen[0][0] < size

"""The demo's measures, each on three runs worked out by hand."""

import pytest

from headway_samples.demo.measures import RunRecord, percentile, report, summarize


def _run(sample: str, completion_s: float | None, solved: bool, deadline_s: float) -> RunRecord:
    return RunRecord(sample=sample, completion_s=completion_s, solved=solved, deadline_s=deadline_s)


THREE = [_run("a", 2.0, True, 5.0), _run("a", 6.0, False, 5.0), _run("b", 1.0, True, 1.0)]


def test_times_of_three_runs() -> None:
    summary = summarize(THREE)
    assert summary.runs == 3
    assert summary.mean_s == pytest.approx(3.0)  # (2 + 6 + 1) / 3
    assert summary.p50_s == pytest.approx(2.0)  # 1 2 6: the middle one
    assert summary.p95_s == pytest.approx(5.6)  # place 1.9: 2 + 0.9 x 4
    assert summary.p99_s == pytest.approx(5.92)  # place 1.98: 2 + 0.98 x 4


def test_success_is_solved_and_attainment_is_in_time() -> None:
    summary = summarize(THREE)
    assert summary.success == pytest.approx(2 / 3)  # the first and the last
    assert summary.attainment == pytest.approx(2 / 3)  # 2 <= 5, 6 > 5, 1 <= 1
    assert summary.failed == 0


def test_a_failed_run_counts_against_both_and_has_no_time() -> None:
    summary = summarize([*THREE[:2], _run("b", None, True, 9.0)])
    assert (summary.runs, summary.failed) == (3, 1)
    assert summary.mean_s == pytest.approx(4.0)  # (2 + 6) / 2
    assert summary.success == pytest.approx(1 / 3)
    assert summary.attainment == pytest.approx(1 / 3)


def test_nothing_but_failures_has_no_times() -> None:
    summary = summarize([_run("a", None, False, 1.0)])
    assert summary.mean_s is None
    assert summary.p99_s is None
    assert summary.success == 0.0


def test_a_percentile_of_one_value_is_that_value_and_of_none_an_error() -> None:
    assert percentile([4.0], 0.99) == 4.0
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_report_splits_by_sample_and_arm() -> None:
    told = report({"x": THREE, "y": THREE[:1]})
    assert list(told["arms"]) == ["x", "y"]
    assert told["samples"]["a"]["x"]["runs"] == 2
    assert told["samples"]["b"]["x"]["mean_s"] == 1.0
    assert told["samples"]["b"]["y"]["runs"] == 0
    assert set(told["arms"]["x"]) == {
        "runs",
        "failed",
        "mean_s",
        "p50_s",
        "p95_s",
        "p99_s",
        "success",
        "attainment",
    }

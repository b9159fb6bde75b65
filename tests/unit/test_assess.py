"""Measures of forecasts, on examples worked by hand; and the command on a small set."""

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from headway.cli.assess import assess
from headway.core.errors import ConfigError
from headway.sim.assess.lengths import FORECASTERS, judge
from headway.sim.assess.measures import scores
from headway.sim.assess.sets import KnownCall, KnownRun, halves, read_set


def test_measures_by_hand() -> None:
    found = scores(
        p50=[10.0, 20.0, 20.0],
        p90=[15.0, 25.0, 30.0],
        truth=[12.0, 30.0, 40.0],
        runs=[0, 1, 2],
        roles=[0, 0, 1],
        forecast_us=[1.0, 2.0, 3.0],
    )
    # of the three pairs two are in order, and one is a tie in forecast
    assert found.pairs == pytest.approx((1 + 1 + 0.5) / 3, abs=0.01)
    assert found.same_role == 1.0  # the only pair of one role
    assert found.pinball_50 == pytest.approx((2 + 10 + 20) * 0.5 / 3)
    assert found.pinball_90 == pytest.approx((0.1 * 3 + 0.9 * 5 + 0.9 * 10) / 3)
    assert found.covered == pytest.approx(1 / 3)


def runs(count: int) -> tuple[KnownRun, ...]:
    """Runs of two calls whose second answer is four times the first."""
    rng = Random(4)
    found = []
    for number in range(count):
        first = rng.randint(20, 400)
        calls = tuple(
            KnownCall(role=role, visit=1, step=step, prompt_tokens=100, output_tokens=tokens)
            for role, step, tokens in (("plan", 2, first), ("write", 4, 4 * first))
        )
        found.append(KnownRun(id=f"r{number}", graph="g", group=f"t{number // 2}", calls=calls))
    return tuple(found)


def test_a_group_is_never_on_both_sides() -> None:
    known = runs(40)
    for split in range(3):
        train, test = halves(known, split)
        assert len(train) + len(test) == len(known) and train and test
        assert not {run.group for run in train} & {run.group for run in test}
    assert halves(known, 0) != halves(known, 1)


def test_the_run_so_far_is_worth_something_and_the_truth_is_best() -> None:
    train, test = halves(runs(200), 0)
    told = {name: judge(make, train, test, clock=lambda: 0.0) for name, make in FORECASTERS.items()}
    assert told["clairvoyant"].pairs == 1.0 and told["clairvoyant"].log_error == 0.0
    assert told["constant"].pairs == 0.5
    assert told["headway"].same_role > told["role"].same_role + 0.15
    assert 0.8 < told["headway"].covered < 0.98


def write_set(folder: Path, runs: int) -> None:
    """AutoCodeRover's format: runs of a search and a proxy."""
    rows = []
    for number in range(runs):
        calls = [
            {"i": 0, "role": "search", "round": 1, "in": 10, "out": 5 + number, "t0": 0, "t1": 1},
            {"i": 1, "role": "proxy", "round": 1, "in": 20, "out": 7, "t0": 1, "t1": 2},
        ]
        rows.append(
            {
                "id": f"r{number}",
                "instance": f"x{number}",
                "run": 1,
                "model": "m",
                "problem_tok": 3,
                "outcome": "applicable_patch",
                "resolved": True,
                "elapsed_s": 3.0,
                "sum_in": 30,
                "sum_out": 12 + number,
                "n_calls": 2,
                "calls": [{**call, "tools_before": 0} for call in calls],
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path = folder / "autocoderover_swebench.dev.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode()))


def test_sets_are_read_with_their_roles(tmp_path: Path) -> None:
    write_set(tmp_path, 1)
    (run,) = read_set("autocoderover", tmp_path).runs
    assert [(call.role, call.output_tokens) for call in run.calls] == [("search", 5), ("proxy", 7)]
    assert run.calls[0].step < run.calls[1].step
    with pytest.raises(ConfigError, match="did you mean `autocoderover`"):
        read_set("autocoderove", tmp_path)


def test_the_command_writes_numbers_and_its_part_of_a_page(tmp_path: Path) -> None:
    write_set(tmp_path, 12)
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    page.write_text(
        "before\n<!-- assess: made by it -->\nold\n<!-- assess end -->\nbetween\n"
        "<!-- footprints: too -->\nold\n<!-- footprints end -->\n"
        "<!-- returns: too -->\nold\n<!-- returns end -->\n"
        "<!-- horizons: too -->\nold\n<!-- horizons end -->\nafter\n"
    )
    assess(tmp_path, json_file=numbers, page=page, sets=["autocoderover"], splits=2)
    whole = json.loads(numbers.read_bytes())
    (found,), (steps, tokens) = whole["lengths"], whole["horizons"]
    assert found["calls"] == 24 and [len(one) for one in found["scores"].values()] == [2] * len(
        FORECASTERS
    )
    assert (steps["quantity"], tokens["quantity"]) == ("steps", "tokens")
    assert all(one["mae"] == 0.0 for one in steps["scores"]["clairvoyant"])
    assert all(one["mae"] == 0.0 for one in steps["scores"]["role + position"])  # two calls each
    told = page.read_text()
    assert told.startswith("before\n") and "<!-- assess end -->\nbetween\n" in told
    assert told.endswith("<!-- horizons end -->\nafter\n") and "autocoderover: steps left" in told
    assert "| clairvoyant | 1.000" in told and "old" not in told


def test_a_page_without_a_place_is_refused_before_the_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(ConfigError, match="<!-- assess end -->"):
        assess(tmp_path, page=page)
    with pytest.raises(ConfigError, match="there is no such folder"):
        assess(tmp_path / "none")

"""Measures of forecasts, on examples worked by hand; and the command on a small set."""

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from headway.cli.assess import assess
from headway.core.errors import ConfigError
from headway.core.prompts import features
from headway.sim.assess.labelled import KnownQuestion, LabelledSet, Pair
from headway.sim.assess.lengths import FORECASTERS, judge
from headway.sim.assess.measures import scores
from headway.sim.assess.returns import assess_returns
from headway.sim.assess.sets import KnownCall, KnownRun, KnownSet, halves, read_set
from headway.sim.assess.starts import assess_start
from headway.sim.assess.streams import WAYS, assess_stream
from headway.sim.assess.texts import assess_text
from headway.sim.assess.topologies import assess_topology


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
        "<!-- starts: too -->\nold\n<!-- starts end -->\n"
        "<!-- streams: too -->\nold\n<!-- streams end -->\n"
        "<!-- topologies: too -->\nold\n<!-- topologies end -->\n"
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
    assert "| clairvoyant | 1.000" in told and "\nold\n" not in told
    for picture in ("prediction-lengths.png", "prediction-horizons.png"):
        assert f"(results/{picture})" in told
        assert (tmp_path / "results" / picture).read_bytes().startswith(b"\x89PNG")
    (start,), (footprint,) = whole["starts"], whole["footprints"]
    assert set(start["scores"]) == {"names unread", "headway: names read"}
    assert all(one["reserved_4"] == 1.0 for one in footprint["scores"]["clairvoyant"])
    (stream,) = whole["streams"]
    assert set(stream["scores"]) == set(WAYS) and 0.0 <= stream["beyond"] <= 1.0
    assert whole["texts"] == []  # of labelled sets only
    assert whole["returns"] == []  # this set tells of no pauses


def test_calls_on_their_way_have_more_ahead_than_their_median_less_what_has_come() -> None:
    rng = Random(8)

    def run(number: int) -> KnownRun:
        tokens = int(rng.lognormvariate(5.0, 0.8)) + 1
        call = KnownCall(role="act", visit=1, step=1, prompt_tokens=9, output_tokens=tokens)
        return KnownRun(id=f"r{number}", graph="g", group=f"t{number}", calls=(call,))

    known = KnownSet(name="tails", source="made here", runs=tuple(map(run, range(600))))
    found = assess_stream(known, 2, advance=lambda doing: None)
    assert 0.3 < found.beyond < 0.7  # long answers are met more often
    ours, plain = found.scores["headway"], found.scores["P50 less what has come"]
    for one, other in zip(ours, plain, strict=True):
        assert one.together < other.together and one.beyond < other.beyond
        assert other.ratio < one.ratio < 1.2


def test_a_topology_that_is_told_says_what_is_left_of_first_runs() -> None:
    rng = Random(3)
    names = [f"phase {number:02}" for number in range(12)]

    def run(number: int) -> KnownRun:
        calls = tuple(
            KnownCall(
                role=name,
                visit=1,
                step=place,
                prompt_tokens=9,
                output_tokens=rng.randint(100, 400),
            )
            for place, name in enumerate(names, start=1)
        )
        return KnownRun(id=f"r{number}", graph="g", group=f"t{number}", calls=calls)

    known = KnownSet(name="phases", source="made here", runs=tuple(map(run, range(24))))
    found = assess_topology(known, 2, advance=lambda doing: None)
    assert found.nodes == 12
    for untold, told in zip(*found.scores.values(), strict=True):
        assert told.first < 0.5 * untold.first and told.three < untold.three


def test_what_a_text_tells_of_lengths() -> None:
    rng = Random(9)

    def question(number: int) -> KnownQuestion:
        long = bool(number % 2)
        text = (
            "List them all:\n" + "- a thing\n" * 20 if long else "Is it so? Say yes or no, please."
        )
        tokens = (500 if long else 20) + rng.randrange(10)
        return KnownQuestion(
            text=text,
            features=features(text),
            kind="",
            group=f"t{number}",
            small_ok=True,
            large_ok=True,
            small_tokens=tokens,
            large_tokens=2 * tokens,
        )

    questions = tuple(map(question, range(200)))
    pair = Pair(data="here", where={}, small="s", large="l")
    labelled = LabelledSet(name="asked", source="made here", pair=pair, questions=questions)
    found = assess_text(labelled, 2, clock=lambda: 0.0, advance=lambda doing: None)
    assert found.questions == 200
    for ours, median in zip(found.scores["headway"], found.scores["model"], strict=True):
        assert median.same_role == 0.5 and ours.same_role > 0.7
        assert ours.pinball_50 < 0.2 * median.pinball_50


def test_what_a_node_is_called_is_a_start() -> None:
    def run(number: int, names: tuple[str, ...]) -> KnownRun:
        lengths = {"route": 20, "judge": 25, "draft": 900, "report": 1100}
        calls = tuple(
            KnownCall(
                role=name, visit=1, step=2 * place, prompt_tokens=9, output_tokens=lengths[name]
            )
            for place, name in enumerate(names)
        )
        return KnownRun(id=f"r{number}", graph="g", group=f"t{number}", calls=calls)

    known = KnownSet(
        name="named",
        source="made here",
        runs=tuple(run(n, ("route", "draft", "judge", "report")) for n in range(12)),
    )
    found = assess_start(known, 2, advance=lambda doing: None)
    for unread, read in zip(*found.scores.values(), strict=True):
        assert read.nothing < unread.nothing
        assert read.unseen < 0.5 * unread.unseen
        assert read.first < unread.first


def test_pauses_are_judged_where_they_are_told() -> None:
    rng = Random(2)

    def run(number: int) -> KnownRun:
        calls = tuple(
            KnownCall(
                role="act",
                visit=1,
                step=2 * place,
                prompt_tokens=9,
                output_tokens=9,
                tool_s=rng.uniform(1.0, 3.0) if place % 2 else 0.0,
                think_s=0.0 if place % 2 else rng.uniform(100.0, 300.0),
            )
            for place in range(8)
        )
        return KnownRun(id=f"r{number}", graph="g", group=f"t{number}", calls=calls)

    known = KnownSet(name="pauses", source="made here", runs=tuple(map(run, range(40))))
    found = assess_returns(known, 2, advance=lambda doing: None)
    assert found is not None and found.pauses == 40 * 7
    ours, plain = found.scores["headway"], found.scores["constant"]
    for one, other in zip(ours, plain, strict=True):
        assert one.pinball_50 < 0.5 * other.pinball_50  # who is waited for says most
        assert one.late_pinball_50 < other.late_pinball_50


def test_a_page_without_a_place_is_refused_before_the_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here\n")
    with pytest.raises(ConfigError, match="<!-- assess end -->"):
        assess(tmp_path, page=page)
    with pytest.raises(ConfigError, match="there is no such folder"):
        assess(tmp_path / "none")

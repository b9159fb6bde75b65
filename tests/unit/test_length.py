"""What a run has shown tells how long its next answers are."""

from random import Random
from typing import Any

import msgspec
import pytest

from headway.core.past import Past
from headway.core.prompts import features
from headway.core.protocols import Query
from headway.predict.length import LEAST_JUDGED, MAX_TRAILS, OutputLength
from headway.predict.quantiles import output_length
from headway.predict.ridge import NodeRidge
from headway.predict.trails import FEATURES, Done, features_of, new_trail


def asked(run: str, node: str = "write", *, step: int = 1, prompt_tokens: int = 500) -> Query:
    return Query(graph="g", node=node, run=run, step=step, prompt_tokens=prompt_tokens)


def wordy_runs(predictor: OutputLength, runs: int, rng: Random) -> None:
    """Runs of three calls, each wordy or terse in all of them."""
    for number in range(runs):
        factor = 4.0 if number % 2 else 1.0
        for step, node in enumerate(("plan", "write", "check"), start=1):
            tokens = factor * {"plan": 50, "write": 300, "check": 20}[node] * rng.uniform(0.9, 1.1)
            predictor.learn(asked(f"r{number}", node, step=step), tokens)


@pytest.fixture
def taught() -> OutputLength:
    predictor = OutputLength()
    wordy_runs(predictor, 60, Random(1))
    return predictor


def test_a_run_that_was_wordy_so_far_stays_wordy(taught: OutputLength) -> None:
    taught.learn(asked("terse", "plan"), 50.0)
    taught.learn(asked("wordy", "plan"), 200.0)
    terse, wordy = (taught.estimate(asked(run, "write", step=2)) for run in ("terse", "wordy"))
    assert terse.p50 == pytest.approx(300.0, rel=0.15)
    assert wordy.p50 == pytest.approx(1200.0, rel=0.15)
    assert terse.p50 <= terse.p90 < wordy.p50 <= wordy.p90


def test_calls_beside_it_tell_nothing(taught: OutputLength) -> None:
    taught.learn(asked("fan", "plan", step=1), 200.0)
    before = taught.estimate(asked("fan", "write", step=2))
    taught.follow(asked("fan", "write", step=2), 20_000.0)
    assert taught.estimate(asked("fan", "write", step=2)) == before
    assert taught.estimate(asked("fan", "check", step=3)) != before


def test_what_is_only_followed_teaches_nothing_beyond_its_run(taught: OutputLength) -> None:
    before = taught.estimate(asked("new", "write", step=2))
    for number in range(50):
        taught.follow(asked(f"other{number}", "write", step=2), 9_000.0)
    assert taught.estimate(asked("new", "write", step=2)) == before


def test_where_the_place_says_all_the_sketch_is_believed() -> None:
    predictor, sketch = OutputLength(), output_length()
    rng = Random(2)
    for number in range(3 * LEAST_JUDGED):
        # two answers of no pattern: the median of the place is the best that can be said
        value = float(rng.choice((100, 100, 100, 1000)))
        for one in (predictor, sketch):
            one.learn(asked(f"r{number}"), value)
    query = asked("new")
    assert predictor.estimate(query) == sketch.estimate(query)


def test_a_place_that_is_new_is_foreseen_as_before() -> None:
    predictor, sketch = OutputLength(), output_length()
    for number in range(LEAST_JUDGED - 2):
        for one in (predictor, sketch):
            one.learn(asked(f"r{number}"), 100.0 + number)
    assert predictor.estimate(asked("new")) == sketch.estimate(asked("new"))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e12])
def test_counts_that_cannot_be_are_left_out(taught: OutputLength, value: float) -> None:
    before = taught.snapshot()
    taught.learn(asked("odd"), value)
    taught.follow(asked("odd"), value)
    assert taught.snapshot() == before


TOLD = {
    "tools offered": {"needs": ("tools",)},
    "a format": {"needs": ("response_format",)},
    "reasoning": {"needs": ("reasoning",)},
    "a limit": {"max_tokens": 4000},
    "tools called before": {"past": Past(position=1, tool_calls=2)},
    "a text of many lines": {"features": features("def f(x):\n    return x\n" * 40)},
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_what_the_request_says_is_learned(told: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"max_tokens": 100, "past": Past(), "features": features("Say yes.")}
    predictor, rng = OutputLength(), Random(6)
    for number in range(200):
        fields = {**usual, **(told if number % 2 else {})}
        query = msgspec.structs.replace(asked(f"r{number}"), **fields)
        predictor.learn(query, rng.uniform(0.9, 1.1) * (600.0 if number % 2 else 60.0))
    plain, special = (
        predictor.estimate(msgspec.structs.replace(asked("new"), **{**usual, **fields}))
        for fields in ({}, told)
    )
    assert plain.p90 < 100.0 and special.p50 == pytest.approx(600.0, rel=0.3)
    again = OutputLength()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(predictor.snapshot())))
    for one in (predictor, again):
        one.learn(msgspec.structs.replace(asked("next"), **{**usual, **told}), 500.0)
    assert again.snapshot() == predictor.snapshot()


def test_a_request_that_cannot_be_says_nothing(taught: OutputLength) -> None:
    odd = msgspec.structs.replace(
        asked("new"), max_tokens=-5, features=(-1, 1 << 70), past=Past(tool_calls=-3)
    )
    assert taught.estimate(odd) == taught.estimate(asked("new"))


def test_a_snapshot_of_the_version_before_is_taken_over() -> None:
    sketch, predictor = output_length(), OutputLength()
    for number in range(30):
        sketch.learn(asked(f"r{number}"), 777.0)
    predictor.restore(sketch.snapshot())
    assert predictor.estimate(asked("new")).p50 == pytest.approx(777.0, rel=0.3)


def test_memory_is_bounded() -> None:
    predictor = OutputLength()
    for number in range(MAX_TRAILS + 10):
        predictor.follow(asked(f"r{number}"), 10.0)
    assert len(predictor.snapshot()["trails"]) <= MAX_TRAILS


def test_with_a_regression_of_other_features_only_the_sketch_is_taken_over(
    taught: OutputLength,
) -> None:
    saved = taught.snapshot()
    fresh = OutputLength()
    fresh.restore({**saved, "ridge": {**saved["ridge"], "width": len(FEATURES) + 1}})
    assert fresh.snapshot() == {**OutputLength().snapshot(), "sketch": saved["sketch"]}


def test_features_by_hand() -> None:
    trail = new_trail()
    trail.append(Done(step=1, node="plan", prompt=5.0, answer=4.0, over=0.5, tokens=200))
    trail.append(Done(step=2, node="write", prompt=6.0, answer=7.0, over=-0.1, tokens=900))
    trail.append(Done(step=3, node="write", prompt=6.5, answer=6.0, over=0.3, tokens=950))
    found = dict(
        zip(
            FEATURES,
            features_of(
                trail,
                Query(graph="g", node="write", step=3, prompt_tokens=899),
                typical_prompt=6.0,
                visit_over=0.2,
            ),
            strict=True,
        )
    )
    assert found["mean answer of the run, over typical"] == pytest.approx(0.4 / 4.0)
    assert found["last answer at this node, over typical"] == -0.1
    assert found["longest answer of the run"] == 1.0
    assert found["times in a row at this node"] == pytest.approx(0.3)
    assert found["growth of the prompt since the last call"] == pytest.approx(
        6.80239 - 6.0, abs=1e-4
    )
    assert found["prompt tokens beyond the last call's prompt and answer"] < 0


def test_the_regression_finds_a_line_and_tells_what_is_left_over() -> None:
    ridge, rng = NodeRidge(2), Random(3)
    assert ridge.predict(("g", "n"), [1.0, 0.0]) is None
    for _ in range(400):
        x = rng.uniform(-1.0, 1.0)
        ridge.learn(("g", "n"), [1.0, x], 2.0 + 3.0 * x + rng.uniform(-0.1, 0.1))
    found = ridge.predict(("g", "n"), [1.0, 0.5])
    assert found is not None
    assert found[0] == pytest.approx(3.5, abs=0.05)
    assert found[1] - found[0] == pytest.approx(0.08, abs=0.03)
    # a node that nobody has seen is foreseen as all others are
    other = ridge.predict(("g", "new"), [1.0, 0.5])
    assert other is not None and other[0] == pytest.approx(3.5, abs=0.1)


def test_a_feature_that_nobody_tells_changes_nothing() -> None:
    narrow, wide, rng = NodeRidge(2), NodeRidge(4), Random(3)
    for number in range(200):
        x = rng.uniform(-1.0, 1.0)
        node = ("g", f"n{number % 3}")
        narrow.learn(node, [1.0, x], 3.0 * x)
        wide.learn(node, [1.0, 0.0, x, 0.0], 3.0 * x)
    assert narrow.predict(("g", "n1"), [1.0, 0.5]) == wide.predict(
        ("g", "n1"), [1.0, 0.0, 0.5, 0.0]
    )

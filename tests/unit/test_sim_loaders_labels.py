"""Label sets, and the chance that difficulty gives a model."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headway.sim.loaders import load
from headway.sim.loaders.difficulty import auc, calibrated, logistic, probability, with_chances
from headway.sim.loaders.labels import LARGE, SMALL
from headway.sim.trace import Label, Question, Trace, TraceRun
from headway.sim.tracefile import TraceError
from tests.unit.test_sim_loaders import put


def question(tmp_path: Path, name: str, **row: Any) -> Question:
    put(tmp_path, name, {"id": "q/1", "prompt": "why?", "prompt_tok": 12, **row})
    (run,) = load(name, tmp_path).runs
    assert (run.nodes, run.group) == ((), run.id)
    assert run.question is not None
    return run.question


def test_zeroeval_cuts_lengths_at_the_serving_limit(tmp_path: Path) -> None:
    asked = question(
        tmp_path, "zeroeval_routing", set="crux", gold="x", r={"a": [1, 90], "b": [0, 9000, 1]}
    )
    assert (asked.kind, asked.prompt_tokens, asked.text) == ("crux", 12, "why?")
    assert asked.labels == {
        "a": Label(ok=True, output_tokens=90), "b": Label(ok=False, output_tokens=4096),
    }  # fmt: skip


def test_mmlupro(tmp_path: Path) -> None:
    asked = question(tmp_path, "mmlupro_routing", id=70, cat="law", gold="A", r={"a": [0, 3996, 1]})
    assert (asked.kind, asked.labels["a"].output_tokens) == ("law", 2048)


def test_routellm_without_lengths_says_none(tmp_path: Path) -> None:
    row = {"set": "mmlu", "subject": "law", "small_ok": 0, "large_ok": 1}
    asked = question(tmp_path, "routellm_labels", **row)
    assert asked.labels == {
        SMALL: Label(ok=False, output_tokens=0), LARGE: Label(ok=True, output_tokens=0),
    }  # fmt: skip
    asked = question(tmp_path, "routellm_labels", **row, small_out=8, large_out=9)
    assert asked.labels[SMALL].output_tokens == 8


@pytest.mark.parametrize("name", ["arena_openended", "alpaca_lengths"])
def test_open_ended_sets_tell_lengths_only(tmp_path: Path, name: str) -> None:
    asked = question(tmp_path, name, set="s", cat="s", r={"a": [7], "b": [0, 3.5]})
    assert asked.labels == {
        "a": Label(ok=True, output_tokens=7), "b": Label(ok=True, output_tokens=1),
    }  # fmt: skip


@pytest.mark.parametrize("mark", [[2, 5], [1, -5], [1], "x"])
def test_wrong_labels_are_refused(tmp_path: Path, mark: Any) -> None:
    with pytest.raises(TraceError, match=r"zeroeval_routing\.xyz\.jsonl\.gz:1: not a row"):
        question(tmp_path, "zeroeval_routing", set="crux", r={"a": mark})


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def exam(rng: random.Random, count: int, *, kind: str = "k", models: int = 12) -> list[Question]:
    """Questions of known difficulty; model ``m11`` is the most able."""
    made = []
    for _ in range(count):
        hard = rng.gauss(0.0, 2.0)
        labels = {
            f"m{n:02}": Label(ok=rng.random() < sigmoid(0.3 * (n - 4) - hard), output_tokens=1)
            for n in range(models)
        }
        made.append(Question(kind=kind, prompt_tokens=1, labels=labels))
    return made


def test_chances_tell_easy_from_hard_and_are_calibrated() -> None:
    filled, quality = calibrated(exam(random.Random(1), 2000))
    assert set(quality) == {f"m{n:02}" for n in range(12)}
    assert all(0.75 < value < 0.97 for value in quality.values())
    told = [one.labels["m06"] for one in filled]
    for low in (0.0, 0.25, 0.5, 0.75):
        near = [x for x in told if x.chance is not None and low <= x.chance < low + 0.25]
        assert len(near) > 50
        mean = sum(x.chance or 0.0 for x in near) / len(near)
        assert sum(x.ok for x in near) / len(near) == pytest.approx(mean, abs=0.06)


def test_the_label_itself_does_not_tell_its_chance() -> None:
    coins = random.Random(2)
    asked = [
        Question(
            kind="k",
            prompt_tokens=1,
            labels={f"m{n}": Label(ok=coins.random() < 0.5, output_tokens=1) for n in range(8)},
        )
        for _ in range(2000)
    ]
    _, quality = calibrated(asked)
    assert all(abs(value - 0.5) < 0.05 for value in quality.values())


def test_a_large_kind_has_its_own_curve() -> None:
    rng = random.Random(3)
    usual = exam(rng, 400, kind="usual")
    # in this kind m00 is right exactly where the others are not
    turned = []
    for one in exam(rng, 400, kind="turned"):
        others = sum(label.ok for model, label in one.labels.items() if model != "m00")
        labels = {**one.labels, "m00": Label(ok=others < 6, output_tokens=1)}
        turned.append(Question(kind="turned", prompt_tokens=1, labels=labels))
    filled, quality = calibrated([*usual, *turned])
    assert quality["m00"] > 0.85
    right = [one.labels["m00"].chance for one in filled[400:] if one.labels["m00"].ok]
    assert min(chance or 0.0 for chance in right) > 0.5


def test_too_few_models_leave_the_chance_open_and_one_outcome_has_no_auc() -> None:
    few = Question(
        kind="k", prompt_tokens=1,
        labels={name: Label(ok=True, output_tokens=1) for name in ("a", "b", "c")},
    )  # fmt: skip
    filled, quality = calibrated([few] * 5)
    assert all(label.chance is None for label in filled[0].labels.values())
    assert quality == {}
    sure = [
        Question(
            kind="k", prompt_tokens=1,
            labels={f"m{n}": Label(ok=n > 0, output_tokens=1) for n in range(5)},
        )
    ] * 50  # fmt: skip
    filled, quality = calibrated(sure)
    assert quality == {}
    assert (filled[0].labels["m0"].chance or 0.0) < 0.05
    assert (filled[0].labels["m1"].chance or 0.0) > 0.95


def test_nothing_to_calibrate() -> None:
    assert calibrated([]) == ((), {})


def test_curves_and_areas_by_hand() -> None:
    assert auc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])) == 0.875
    assert auc(np.array([0.1]), np.array([True])) is None
    ease = np.array([0.0] * 100 + [1.0] * 100)
    right = np.array([1.0] * 20 + [0.0] * 80 + [1.0] * 70 + [0.0] * 30)
    told = probability(logistic(ease, right), np.array([0.0, 1.0]))
    assert told == pytest.approx([0.2, 0.7], abs=0.001)
    separable = probability(logistic(ease, ease), ease)
    assert np.isfinite(separable).all()
    assert separable[0] < 0.01 < 0.99 < separable[-1]


def test_a_trace_is_filled_and_runs_without_a_question_stay() -> None:
    plain = TraceRun(id="p", graph="g", group="p")
    asked = [
        TraceRun(id=f"q{n}", graph="g", group="q", question=one)
        for n, one in enumerate(exam(random.Random(4), 50))
    ]
    filled, quality = with_chances(Trace(name="t", source="", runs=(plain, *asked)))
    assert filled.runs[0] is plain
    assert [run.id for run in filled.runs] == ["p", *(run.id for run in asked)]
    assert all(run.question and run.question.labels["m00"].chance for run in filled.runs[1:])
    assert len(quality) == 12

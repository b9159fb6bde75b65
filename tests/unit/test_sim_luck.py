"""Luck: labels first, repeats as the world says, verdicts as good as asked, order-free."""

import statistics

import pytest

from headway.core.errors import ConfigError
from headway.sim.families import generate
from headway.sim.luck import WORLDS, Kinds, Luck, unit_draw
from headway.sim.trace import Label, Question

MANY = {
    run.id: run.question
    for run in generate("questions", runs=2000, seed=1).runs
    if run.question is not None
}


def same(ok: bool, chance: float | None, count: int = 2000) -> dict[str, Question]:
    """Questions of one kind, all labelled alike."""
    label = Label(ok=ok, output_tokens=100, chance=chance)
    return {
        f"r{n}": Question(kind="k", prompt_tokens=10, labels={"small": label}) for n in range(count)
    }


def test_draws_are_uniform_and_depend_on_every_name() -> None:
    drawn = [unit_draw(1, "x", n) for n in range(20_000)]
    assert all(0.0 < one < 1.0 for one in drawn)
    assert statistics.fmean(drawn) == pytest.approx(0.5, abs=0.01)
    assert statistics.pvariance(drawn) == pytest.approx(1 / 12, abs=0.002)
    assert len({unit_draw("ab", "c"), unit_draw("a", "bc"), unit_draw("abc")}) == 3


@pytest.mark.parametrize("rho", WORLDS.values(), ids=WORLDS)
def test_a_first_answer_follows_its_label(rho: float) -> None:
    luck = Luck(MANY, seed=5, rho=rho)
    for run, question in MANY.items():
        for model, label in question.labels.items():
            answer = luck.answer(run, model)
            assert (answer.ok, answer.output_tokens) == (label.ok, label.output_tokens)


def test_world_a_repeats_itself() -> None:
    luck = Luck(MANY, seed=5, rho=0.0)
    for run in MANY:
        assert luck.answer(run, "small", 3) == luck.answer(run, "small")


@pytest.mark.parametrize(("world", "expected"), [("a", 0.0), ("m", 0.15), ("b", 0.3)])
def test_a_repeat_is_right_as_often_as_the_world_says(world: str, expected: float) -> None:
    luck = Luck(same(False, 0.3), seed=1, rho=WORLDS[world])
    right = statistics.fmean(luck.answer(run, "small", 1).ok for run in luck.questions)
    assert right == pytest.approx(expected, abs=0.025)


def test_the_same_result_again_is_that_of_the_last_time() -> None:
    luck = Luck(same(False, 0.5), seed=1, rho=0.5)
    kept = [luck.answer(run, "small", 2) == luck.answer(run, "small", 1) for run in luck.questions]
    # half are kept, and half of the fresh ones come out alike
    assert statistics.fmean(kept) == pytest.approx(0.75, abs=0.03)


def test_repeats_are_independent_of_each_other_in_world_b() -> None:
    luck = Luck(same(False, 0.5), seed=1, rho=1.0)
    both = statistics.fmean(
        luck.answer(run, "small", 1).ok and luck.answer(run, "small", 2).ok
        for run in luck.questions
    )
    assert both == pytest.approx(0.25, abs=0.03)


def test_a_model_without_a_chance_has_its_base_rate() -> None:
    questions = same(False, None, 1500)
    for n in range(500):
        label = Label(ok=True, output_tokens=50)
        questions[f"good{n}"] = Question(kind="k", prompt_tokens=10, labels={"small": label})
    luck = Luck(questions, seed=1, rho=1.0)
    right = statistics.fmean(luck.answer(run, "small", 1).ok for run in questions)
    assert right == pytest.approx(0.25, abs=0.03)


def test_a_fresh_answer_has_the_length_of_its_kind_and_outcome() -> None:
    questions = {}
    for n in range(400):
        ok = n % 2 == 0
        kind = "short" if n % 4 < 2 else "long"
        tokens = (10 if ok else 20) * (1 if kind == "short" else 100)
        label = Label(ok=ok, output_tokens=tokens, chance=0.5)
        questions[f"r{n}"] = Question(kind=kind, prompt_tokens=1, labels={"small": label})
    luck = Luck(questions, seed=1, rho=1.0)
    seen = set()
    for run, question in questions.items():
        answer = luck.answer(run, "small", 1)
        seen.add((question.kind, answer.ok, answer.output_tokens))
    assert seen == {
        ("short", True, 10),
        ("short", False, 20),
        ("long", True, 1000),
        ("long", False, 2000),
    }


def test_without_such_an_outcome_the_length_is_its_own() -> None:
    luck = Luck(same(False, 1.0, 20), seed=1, rho=1.0)
    answers = [luck.answer(run, "small", 1) for run in luck.questions]
    assert all(answer.ok and answer.output_tokens == 100 for answer in answers)


def test_lengths_may_come_from_the_whole_trace() -> None:
    few = dict(list(MANY.items())[:3])
    whole = Kinds(MANY.values())
    luck, all_of_it = Luck(few, seed=1, rho=1.0, kinds=whole), Luck(MANY, seed=1, rho=1.0)
    for run in few:
        assert luck.answer(run, "small", 1) == all_of_it.answer(run, "small", 1)


@pytest.mark.parametrize("verifier", [1.0, 0.8])
@pytest.mark.parametrize("ok", [True, False])
def test_a_verdict_is_right_as_often_as_asked_both_ways(verifier: float, ok: bool) -> None:
    luck = Luck(MANY, seed=1, rho=0.0, verifier=verifier)
    right = statistics.fmean(luck.verdict(run, 0, ok) == ok for run in MANY)
    assert right == pytest.approx(verifier, abs=0.03 if verifier < 1 else 0.0)
    if verifier < 1:
        assert any(luck.verdict(run, 0, ok) != luck.verdict(run, 1, ok) for run in MANY)


def test_luck_does_not_depend_on_who_asked_what_before() -> None:
    asked = [(run, model, nth) for run in list(MANY)[:50] for model in ("small", "large")
             for nth in (0, 1, 2)]  # fmt: skip
    one, two = (Luck(MANY, seed=9, rho=0.5) for _ in range(2))
    forwards = {key: one.answer(*key) for key in asked}
    backwards = {key: two.answer(*key) for key in reversed(asked)}
    assert forwards == backwards
    shuffled = Luck(dict(reversed(MANY.items())), seed=9, rho=0.5)
    assert {key: shuffled.answer(*key) for key in asked} == forwards
    other = Luck(MANY, seed=10, rho=0.5)
    assert {key: other.answer(*key) for key in asked} != forwards


def test_kinds_count_by_kind_and_model() -> None:
    def asked(kind: str, ok: bool) -> Question:
        return Question(kind=kind, prompt_tokens=1, labels={"m": Label(ok=ok, output_tokens=9)})

    kinds = Kinds([asked("a", True), asked("a", False), asked("a", False), asked("b", True)])
    assert kinds.base_rate("a", "m") == pytest.approx(1 / 3) and kinds.base_rate("b", "m") == 1.0
    with pytest.raises(KeyError):
        kinds.base_rate("a", "other")


def test_what_nobody_knows_is_named() -> None:
    luck = Luck(MANY, seed=1, rho=0.0)
    with pytest.raises(ConfigError, match="'nobody' has no question"):
        luck.answer("nobody", "small")
    with pytest.raises(ConfigError, match="did you mean `small`"):
        luck.answer(next(iter(MANY)), "smal")
    with pytest.raises(ConfigError, match=r"^rho"):
        Luck(MANY, seed=1, rho=1.5)
    with pytest.raises(ConfigError, match=r"^verifier"):
        Luck(MANY, seed=1, rho=0.0, verifier=0.3)

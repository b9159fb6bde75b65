"""Confidence sources: as good as named, calibrated, still learning what failures teach."""

import statistics

import pytest

from headway.core.errors import ConfigError
from headway.core.protocols import Query
from headway.predict.confidence import BaseRates
from headway.sim.confidence import (
    ConfidenceSpec,
    NoisyScores,
    Oracle,
    make_confidence,
    parse_confidence,
)
from headway.sim.families import SKILLS, generate
from headway.sim.luck import Luck

QUALITY = {"small": 0.5, "middle": 0.6, "large": 0.7}
QUESTIONS = {
    run.id: run.question
    for run in generate("questions", runs=5000, seed=1).runs
    if run.question is not None
}
LUCK = Luck(QUESTIONS, seed=3, rho=0.5)


def place(run: str, model: str) -> Query:
    return Query(graph="questions", node="answer", model=model, run=run)


def auc_of(scored: list[tuple[float, bool]]) -> float:
    """Probability that a right answer was given the higher score (no ties here)."""
    ranks = {id(one): rank for rank, one in enumerate(sorted(scored), start=1)}
    good = [one for one in scored if one[1]]
    bad = len(scored) - len(good)
    return (sum(ranks[id(one)] for one in good) - len(good) * (len(good) + 1) / 2) / (
        len(good) * bad
    )


def calibration_error(scored: list[tuple[float, bool]]) -> float:
    """ECE over ten bins of equal width."""
    error = 0.0
    for low in range(10):
        inside = [one for one in scored if low <= one[0] * 10 < low + 1]
        if inside:
            told = statistics.fmean(chance for chance, _ in inside)
            true = statistics.fmean(ok for _, ok in inside)
            error += abs(told - true) * len(inside) / len(scored)
    return error


def scored_by(source: NoisyScores, model: str, kind: str = "") -> list[tuple[float, bool]]:
    return [
        (source.chance(place(run, model)), question.labels[model].ok)
        for run, question in QUESTIONS.items()
        if kind in ("", question.kind)
    ]


@pytest.mark.parametrize("auc", [0.6, 0.7, 0.85])
@pytest.mark.parametrize("model", SKILLS)
def test_noisy_scores_are_calibrated_and_have_their_auc_within_a_kind(
    auc: float, model: str
) -> None:
    source = NoisyScores(QUALITY, luck=LUCK, auc=auc)
    # one kind's AUC has a standard error of 0.015 at this size, their mean 0.009
    kinds = [auc_of(scored_by(source, model, kind)) for kind in ("arithmetic", "logic", "proof")]
    assert statistics.fmean(kinds) == pytest.approx(auc, abs=0.03)
    assert calibration_error(scored_by(source, model)) < 0.03


def test_noise_that_knows_nothing_says_the_base_rate() -> None:
    source = NoisyScores(QUALITY, luck=LUCK, auc=0.5)
    run, question = next(iter(QUESTIONS.items()))
    base = LUCK.kinds.base_rate(question.kind, "small")
    assert source.chance(place(run, "small")) == pytest.approx(base)


def test_scores_are_the_seeds_and_the_runs_alone() -> None:
    runs = list(QUESTIONS)[:100]
    one, two = (NoisyScores(QUALITY, luck=LUCK, auc=0.7) for _ in range(2))
    forwards = [one.chance(place(run, "small")) for run in runs]
    backwards = [two.chance(place(run, "small")) for run in reversed(runs)]
    assert forwards == backwards[::-1]
    other = NoisyScores(QUALITY, luck=Luck(QUESTIONS, seed=4, rho=0.5), auc=0.7)
    assert [other.chance(place(run, "small")) for run in runs] != forwards


def test_first_verdicts_do_not_move_a_score_but_repeats_are_learned() -> None:
    source = NoisyScores(QUALITY, luck=LUCK, auc=0.7)
    asked = place(next(iter(QUESTIONS)), "small")
    first, again = source.chance(asked), source.chance(asked, ("small",))
    assert again == pytest.approx(max(first * 0.6, 0.02))
    for run in list(QUESTIONS)[:200]:
        source.learn(place(run, "small"), False, source="loop")
        source.learn(place(run, "small"), False, source="loop", failed=("small",))
    assert source.chance(asked) == first
    assert source.chance(asked, ("small",)) < again / 3
    assert source.chance(asked, ("small",), explore=True) == first
    assert source.chance(asked, ("large",)) == pytest.approx(first * 0.9)


def test_what_repeats_are_worth_is_observed_over_told_by_the_score() -> None:
    source = NoisyScores(QUALITY, luck=LUCK, auc=0.85)
    low = min(QUESTIONS, key=lambda run: source.chance(place(run, "small")))
    told = source.chance(place(low, "small"))
    # as many repeats succeed as a chance so low promises: kappa goes to 1, not below
    for number in range(1000):
        ok = number < 1000 * told
        source.learn(place(low, "small"), ok, source="feedback", failed=("small",))
    source.learn(place(low, "small"), False, source="feedback")
    high = max(QUESTIONS, key=lambda run: source.chance(place(run, "small")))
    repeated = source.chance(place(high, "small"), ("small",))
    assert repeated == pytest.approx(source.chance(place(high, "small")), rel=0.25)


def test_an_oracle_knows_the_next_answer() -> None:
    oracle = Oracle(QUALITY, luck=LUCK)
    for run in list(QUESTIONS)[:200]:
        for failed in ((), ("small",), ("small", "large", "small")):
            nth = failed.count("small")
            chance = oracle.chance(place(run, "small"), failed)
            assert chance == (0.98 if LUCK.answer(run, "small", nth).ok else 0.02)
            assert oracle.chance(place(run, "small"), failed, explore=True) == chance


def test_texts_are_learned_from_in_the_cell() -> None:
    source = make_confidence(parse_confidence("learned"), quality=QUALITY, luck=LUCK)
    runs = list(QUESTIONS)
    for run in runs[:600]:
        ok = QUESTIONS[run].labels["small"].ok
        source.learn(place(run, "small"), ok, source="feedback")
    later = [
        (source.chance(place(run, "small")), QUESTIONS[run].labels["small"].ok)
        for run in runs[600:2600]
    ]
    # a synthetic text names its kind and its steps, and kinds are not equally hard
    assert len({round(chance, 3) for chance, _ in later}) > 3
    base = statistics.fmean(ok for _, ok in later)
    ours = statistics.fmean((chance - ok) ** 2 for chance, ok in later)
    assert ours < statistics.fmean((base - ok) ** 2 for _, ok in later) - 0.005


@pytest.mark.parametrize("text", ["base-rate", "learned", "noisy(auc=0.8)", "oracle"])
def test_a_run_without_a_question_is_judged_by_what_was_learned(text: str) -> None:
    source = make_confidence(parse_confidence(text), quality=QUALITY, luck=LUCK)
    counts = BaseRates(QUALITY)
    for asked in (place("", "small"), place("unknown", "small"), place("", "new")):
        for _ in range(5):
            source.learn(asked, False, source="loop", failed=("large",))
            counts.learn(asked, False, source="loop", failed=("large",))
        assert source.chance(asked, ("small",)) == counts.chance(asked, ("small",))
    fresh = make_confidence(parse_confidence(text), quality=QUALITY, luck=LUCK)
    fresh.restore(source.snapshot())
    assert fresh.snapshot() == source.snapshot() == counts.snapshot()


@pytest.mark.parametrize("text", ["base-rate", "learned", "noisy(auc=0.8)", "oracle"])
def test_asking_teaches_nothing(text: str) -> None:
    source = make_confidence(parse_confidence(text), quality=QUALITY, luck=LUCK)
    run = next(iter(QUESTIONS))
    source.learn(place(run, "small"), False, source="loop", failed=("small",))
    before = source.snapshot()
    chances = [source.chance(place(run, model), ("small",)) for model in SKILLS]
    assert source.snapshot() == before
    assert all(0.0 < chance < 1.0 for chance in chances)
    fresh = make_confidence(parse_confidence(text), quality=QUALITY, luck=LUCK)
    fresh.restore(before)
    assert [fresh.chance(place(run, model), ("small",)) for model in SKILLS] == chances


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("base-rate", ConfidenceSpec(name="base-rate")),
        ("learned", ConfidenceSpec(name="learned")),
        ("oracle", ConfidenceSpec(name="oracle")),
        ("noisy", ConfidenceSpec(name="noisy", auc=0.7)),
        (" noisy( auc = 0.85 ) ", ConfidenceSpec(name="noisy", auc=0.85)),
    ],
)
def test_a_source_is_read_and_written(text: str, spec: ConfidenceSpec) -> None:
    assert parse_confidence(text) == spec
    assert parse_confidence(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nosy(auc=0.7)", "did you mean `noisy`"),
        ("noisy(acu=0.7)", "did you mean `auc`"),
        ("oracle(auc=0.7)", "takes none"),
        ("noisy(auc=high)", "no number: 'high'"),
        ("noisy(auc=1)", "there is `oracle`"),
        ("noisy(auc=0.4)", "auc is at least 0.5"),
        ("noisy(auc=nan)", "auc is at least 0.5"),
        ("noisy(auc=0.6,auc=0.7)", "given twice"),
        ("noisy(auc=0.7", "write it as"),
        ("", "write it as"),
    ],
)
def test_what_is_no_source_is_explained(text: str, names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        parse_confidence(text)

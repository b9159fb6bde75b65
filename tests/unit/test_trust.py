"""What is known of predictors: whether they are used, by how their forecasts came true."""

from random import Random

import pytest

from headway.core.protocols import Estimate, Query
from headway.predict.quantiles import ShrunkQuantiles
from headway.predict.trust import EVERY, LEAST_JUDGED, Calibration, Guarded, Trust


class Says:
    """A predictor that says what it is told to."""

    def __init__(self) -> None:
        self.p50, self.p90 = 1.0, 2.0
        self.learned = 0

    def estimate(self, query: Query) -> Estimate:
        return Estimate(p50=self.p50, p90=self.p90, samples=1)

    def learn(self, query: Query, value: float) -> None:
        self.learned += 1

    def snapshot(self) -> dict[str, object]:
        return {}

    def restore(self, snapshot: dict[str, object]) -> None:
        pass


def plain() -> ShrunkQuantiles:
    return ShrunkQuantiles(levels=((),), prior=(100.0, 200.0))


def test_order_and_coverage_of_three_outcomes_by_hand() -> None:
    trust = Trust()
    trust.judge(Estimate(p50=1.0, p90=2.0), 10.0, "a")
    trust.judge(Estimate(p50=2.0, p90=30.0), 20.0, "b")  # right of a
    trust.judge(Estimate(p50=3.0, p90=30.0), 5.0, "c")  # wrong of both
    trust.judge(Estimate(p50=9.0, p90=9.0), 10.0, "a")  # of a run itself, no pair; wrong of b
    record = trust.record
    # pairs: 1, then 0 and 0, then b wrong and c right; weights nearly alike
    assert record.order == pytest.approx(2 / 5, abs=0.01)
    assert record.coverage == pytest.approx(2 / 4, abs=0.01)
    assert record.judged == 4 and record.trusted


def test_ties_of_truths_show_nothing_and_ties_of_forecasts_half() -> None:
    trust = Trust()
    trust.judge(Estimate(p50=1.0, p90=9.0), 5.0, "a")
    trust.judge(Estimate(p50=2.0, p90=9.0), 5.0, "b")
    assert trust.record.order is None
    trust.judge(Estimate(p50=1.0, p90=9.0), 6.0, "c")  # a: half; b: wrong
    assert trust.record.order == pytest.approx(0.25, abs=0.01)


def test_answers_that_are_all_alike_are_no_reason_to_mistrust_their_p90() -> None:
    trust = Trust()
    for number in range(3 * LEAST_JUDGED):
        truth = 100.0 + 100.0 * (number % 2)
        trust.judge(Estimate(p50=truth, p90=truth), truth * (1 + 1e-12), f"r{number}")
    assert trust.record.coverage == pytest.approx(0.9) and trust.trusted


def outcomes(guarded: Guarded, says: Says, rng: Random, *, good: bool, count: int) -> None:
    for number in range(count):
        truth = rng.uniform(10.0, 1000.0)
        says.p50 = truth if good else 1000.0 - truth
        says.p90 = truth * 1.2 if good and rng.random() < 0.9 else 0.9 * truth
        guarded.learn(Query(graph="g", node="n", run=f"r{good}{number}"), truth)


def test_one_that_errs_is_switched_off_and_on_again_when_it_is_right() -> None:
    says, rng = Says(), Random(1)
    guarded = Guarded(says, plain())
    query = Query(graph="g", node="n")
    outcomes(guarded, says, rng, good=True, count=LEAST_JUDGED * EVERY)
    assert guarded.record.trusted and guarded.estimate(query).p50 == says.p50
    outcomes(guarded, says, rng, good=False, count=400 * EVERY)
    assert not guarded.record.trusted
    assert guarded.estimate(query).p50 == pytest.approx(500.0, abs=120.0)  # what is usual
    outcomes(guarded, says, rng, good=True, count=600 * EVERY)
    assert guarded.record.trusted
    assert says.learned == (LEAST_JUDGED + 1000) * EVERY


def test_a_few_outcomes_switch_nothing_off() -> None:
    says, rng = Says(), Random(1)
    guarded = Guarded(says, plain())
    outcomes(guarded, says, rng, good=False, count=(LEAST_JUDGED - 1) * EVERY)
    assert guarded.record.trusted


def test_forecasts_without_evidence_are_not_held_against_it() -> None:
    guarded = Guarded(plain(), plain())
    guarded.learn(Query(graph="g", node="n"), 5.0)
    assert guarded.record.judged == 0


def test_what_was_watched_is_taken_back_whole() -> None:
    rng = Random(3)
    one, other = (Guarded(plain(), plain()) for _ in range(2))
    queries = [Query(graph="g", node="n", run=f"r{n}") for n in range(300)]
    for query in queries[:200]:
        one.learn(query, rng.lognormvariate(4.0, 1.0))
    other.restore(one.snapshot())
    for query in queries[200:]:
        value = rng.lognormvariate(4.0, 1.0)
        one.learn(query, value)
        other.learn(query, value)
    assert one.record == other.record and one.snapshot() == other.snapshot()


def test_calibration_error_by_hand() -> None:
    calibration = Calibration()
    for number in range(LEAST_JUDGED):
        calibration.judge(0.85, number % 2 == 0)
    assert calibration.error == pytest.approx(0.35, abs=0.02)
    again = Calibration()
    again.restore(calibration.snapshot())
    assert again.error == calibration.error


def test_too_little_evidence_is_no_error() -> None:
    calibration = Calibration()
    calibration.judge(1.0, ok=True)
    assert calibration.error is None


def test_a_p90_that_is_too_wide_is_mistrusted_unless_the_order_is_right() -> None:
    right, wrong = Trust(), Trust()
    rng = Random(2)
    for number in range(400):
        truth = rng.uniform(1.0, 100.0)
        right.judge(Estimate(p50=truth, p90=2.0 * truth), truth, f"r{number}")
        wrong.judge(Estimate(p50=rng.uniform(1.0, 100.0), p90=1e6), truth, f"r{number}")
    assert right.record.coverage == wrong.record.coverage == 1.0
    assert right.trusted and not wrong.trusted

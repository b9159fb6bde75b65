"""Quantiles and base rates on numbers worked by hand."""

import pytest

from headway.core.protocols import Query
from headway.predict.confidence import BaseRates
from headway.predict.foresight import OnlineForesight
from headway.predict.quantiles import ShrunkQuantiles, output_length
from headway.predict.window import WINDOW, QuantileWindow

PLACE = Query(graph="g", node="write", model="small")


def test_quantiles_of_a_window_are_linear_between_neighbours() -> None:
    window = QuantileWindow.loaded(5, [4.0, 1.0, 3.0, 2.0, 5.0])
    assert window.pair() == (3.0, 4.6)


def test_a_window_forgets_its_oldest_values() -> None:
    window = QuantileWindow()
    for value in range(WINDOW + 10):
        window.learn(float(value))
    assert (len(window), window.count, window.saved()[1][0]) == (WINDOW, WINDOW + 10, 10.0)
    again = QuantileWindow.loaded(*window.saved())
    again.learn(0.0)
    assert (again.saved()[1][0], again.count) == (11.0, WINDOW + 11)


def test_levels_are_mixed_by_their_samples() -> None:
    predictor = ShrunkQuantiles(levels=(("graph",), ("graph", "node")), prior=(100.0, 400.0))
    for value in (10.0, 20.0, 30.0, 40.0):
        predictor.learn(Query(graph="g", node="x"), value)
    # 4 samples weigh 4 / (4 + 4): p50 25 and p90 37 on both levels
    other = predictor.estimate(Query(graph="g", node="y"))
    assert (other.p50, other.p90) == pytest.approx((62.5, 218.5))
    here = predictor.estimate(Query(graph="g", node="x"))
    assert (here.p50, here.p90, here.samples) == pytest.approx((43.75, 127.75, 4))
    unknown = predictor.estimate(Query(graph="h", node="x"))
    assert (unknown.p50, unknown.p90, unknown.samples) == (100.0, 400.0, 0)


def test_late_visits_are_taken_together() -> None:
    predictor = output_length()
    for visit in (4, 5, 9):
        predictor.learn(Query(graph="g", node="n", visit=visit, model="m"), 50.0)
    fourth = predictor.estimate(Query(graph="g", node="n", visit=4, model="m"))
    assert fourth == predictor.estimate(Query(graph="g", node="n", visit=77, model="m"))
    assert fourth.samples == 3


def test_a_new_node_starts_with_what_its_model_writes() -> None:
    predictor = output_length()
    for _ in range(200):
        predictor.learn(Query(graph="g", node="a", model="chatty"), 900.0)
        predictor.learn(Query(graph="g", node="a", model="terse"), 100.0)
    chatty, terse = (
        predictor.estimate(Query(graph="new", node="new", model=model)).p50
        for model in ("chatty", "terse")
    )
    assert chatty > 800 and terse < 200


# -- confidence ------------------------------------------------------------------------------------


def test_a_prior_moves_with_what_was_judged() -> None:
    rates = BaseRates({"small": 0.5})
    assert rates.chance(PLACE) == 0.5
    assert rates.chance(Query(graph="g", node="write", model="unlisted")) == pytest.approx(0.7)
    for ok in (True, True, True, False):
        rates.learn(PLACE, ok, source="loop")
    # 6 prior samples at 0.5, then 3 of 4 good
    assert rates.chance(PLACE) == pytest.approx(6 / 10)


def test_a_source_that_never_saw_a_failure_tells_nothing() -> None:
    rates = BaseRates({"small": 0.5})
    for _ in range(100):
        rates.learn(PLACE, True, source="node")
    assert rates.chance(PLACE) == 0.5


def test_the_most_telling_source_counts() -> None:
    rates = BaseRates({"small": 0.5})
    for _ in range(6):
        rates.learn(PLACE, False, source="node")
        rates.learn(PLACE, True, source="loop")
    assert rates.chance(PLACE) == pytest.approx(3 / 12)
    rates.learn(PLACE, False, source="loop")
    assert rates.chance(PLACE) == pytest.approx(9 / 13)
    with pytest.raises(ValueError, match="no source 'gossip'"):
        rates.learn(PLACE, True, source="gossip")


def test_what_a_failure_of_this_or_another_model_means_at_first() -> None:
    rates = BaseRates({"small": 0.5})
    assert rates.chance(PLACE, ("small",)) == pytest.approx(0.5 * 0.6)
    assert rates.chance(PLACE, ("large",)) == pytest.approx(0.5 * 0.9)
    assert rates.chance(PLACE, ("small",), explore=True) == 0.5


def test_that_repeats_never_work_is_learned_and_can_be_unlearned() -> None:
    rates = BaseRates({"small": 0.5})
    rates.learn(PLACE, False, source="loop")
    for _ in range(60):
        rates.learn(PLACE, True, source="loop")
        rates.learn(PLACE, False, source="loop", failed=("small",))
    never = rates.chance(PLACE, ("small",)) / rates.chance(PLACE)
    assert never < 0.2
    for _ in range(200):
        rates.learn(PLACE, True, source="loop", failed=("small",))
    assert rates.chance(PLACE, ("small",)) / rates.chance(PLACE) > 0.8


def test_kappa_is_seen_over_expected_successes() -> None:
    rates = BaseRates({"small": 0.5})
    rates.learn(PLACE, False, source="loop")
    expected = rates.chance(PLACE)
    rates.learn(PLACE, False, source="loop", failed=("small",))
    kappa = (10 * 0.6 + 0) / (10 + expected)
    assert rates.chance(PLACE, ("small",)) == pytest.approx(rates.chance(PLACE) * kappa)


def test_an_answer_that_two_sources_judge_is_one_observation_of_a_repeat() -> None:
    told_twice, told_once = BaseRates({"small": 0.4}), BaseRates({"small": 0.4})
    for rates in (told_twice, told_once):
        rates.learn(PLACE, False, source="loop")
        for _ in range(30):
            rates.learn(PLACE, False, source="loop", failed=("small",))
    for _ in range(30):
        told_twice.learn(PLACE, True, source="node", failed=("small",))
    failed = ("small",)
    assert told_twice.chance(PLACE, failed) == told_once.chance(PLACE, failed)


def test_foresight_comes_back_from_its_snapshot() -> None:
    was, now = OnlineForesight({"small": 0.5}), OnlineForesight({"small": 0.5})
    was.output_tokens.learn(PLACE, 33.0)
    was.rest_s.learn(PLACE, 3.0)
    was.rest_tokens.learn(PLACE, 77.0)
    was.prefix_share.learn(PLACE, 0.5)
    was.confidence.learn(PLACE, False, source="loop", failed=("small",))
    now.restore(was.snapshot())
    assert now.snapshot() == was.snapshot()
    with pytest.raises(KeyError):
        now.restore({"output_tokens": {"windows": []}})


def test_general_levels_do_not_matter_where_the_specific_one_knows_enough() -> None:
    predictor = ShrunkQuantiles(levels=((), ("graph",), ("graph", "node")), prior=(1e9, 1e9))
    for number in range(2 * WINDOW):
        predictor.learn(Query(graph="g", node="x"), 10.0)
        predictor.learn(Query(graph="other", node=str(number)), 1e6)
    here = predictor.estimate(Query(graph="g", node="x"))
    assert (here.p50, here.p90) == (10.0, 10.0)


def test_a_length_that_never_changes_is_within_its_p90_after_some_calls() -> None:
    sketch = output_length()
    for number in range(12):
        sketch.learn(Query(graph="g", node="summary", model="small"), 30.0)
        sketch.learn(Query(graph="g", node="report", model="small"), 9000.0)
        if number >= 8:
            assert sketch.estimate(Query(graph="g", node="report", model="small")).p90 >= 9000.0

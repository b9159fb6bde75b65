"""Prediction against outcome, worked by hand."""

import pytest

from headway.core.hindsight import Foretold, by_place, foretold, hindsight
from tests.support.telling import Teller, endpoint, pool


def one(real: int, *, node: str = "step", real_s: float = 2.0) -> Foretold:
    return Foretold(
        place=("g", node, "small"),
        p50_tokens=100.0,
        p90_tokens=200.0,
        real_tokens=real,
        predicted_s=3.0,
        real_s=real_s,
    )


def test_three_calls_worked_by_hand() -> None:
    # ratios 100/50 = 2, 100/400 = 0.25, 100/100 = 1; two of three within 200
    found = hindsight([one(50), one(400, real_s=6.0), one(100)])
    assert (found.calls, found.predicted_tokens, found.real_tokens) == (3, 100.0, 100)
    assert found.token_ratio == 1.0
    assert found.p90_coverage == pytest.approx(2 / 3)
    assert (found.predicted_s, found.real_s, found.seconds_ratio) == (3.0, 2.0, 1.5)


def test_an_answer_of_nothing_divides_nothing_by_zero() -> None:
    found = hindsight([one(0, real_s=0.0)])
    assert (found.token_ratio, found.p90_coverage) == (100.0, 1.0)
    assert found.seconds_ratio == 3000.0


def test_the_place_with_most_calls_comes_first_then_by_name() -> None:
    told = [one(1, node="b"), one(1, node="a"), one(1, node="c"), one(1, node="c")]
    assert [place[1] for place, _ in by_place(told)] == ["c", "a", "b"]


def test_what_a_closed_call_says() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    told.ready("c1", at=1.0)
    told.ready("c2")
    told.ready("c3")
    told.ended("c1", at=4.0, output_tokens=70)
    told.ended("c2", outcome="error", error="500")
    told.ended("c3", output_tokens=None)
    good, failed, unknown = told.scheduler.books.recent
    found = foretold(good)
    assert found is not None and good.output is not None
    assert found.place == ("g", "step", "small")
    assert (found.real_tokens, found.real_s) == (70, 3.0)
    assert (found.p50_tokens, found.p90_tokens) == (good.output.p50, good.output.p90)
    assert foretold(failed) is None
    assert foretold(unknown) is None


def test_shadow_mode_says_nothing_of_predictions() -> None:
    told = Teller(pool(endpoint("a")).with_mode("shadow"))
    told.ready("c1")
    told.ended("c1", at=1.0)
    (call,) = told.scheduler.books.recent
    assert foretold(call) is None

"""What is ahead of an answer of which some has come."""

import itertools
import math
import random
from statistics import median

import pytest

from headway.core.remaining import MOST_OUTLIVED, ahead, pieces


def test_at_first_it_is_the_median() -> None:
    assert ahead(pieces(100.0, 300.0), 0.0) == 100.0


def test_beyond_the_median_it_is_that_of_the_tail() -> None:
    # lengths of which half are beyond 100, exponentially, and a tenth beyond 300
    rng = random.Random(1)
    rate = math.log(5.0) / 200.0
    tail = [100.0 + rng.expovariate(rate) for _ in range(20_000)]
    for written in (100.0, 150.0, 280.0):
        truth = median(one - written for one in tail if one > written)
        assert ahead(pieces(100.0, 300.0), written) == pytest.approx(truth, rel=0.05)


def test_a_sure_forecast_leaves_a_tenth_and_a_missed_one_grows_with_what_has_come() -> None:
    sure = pieces(100.0, 100.0)
    assert ahead(sure, 50.0) == 55.0
    assert ahead(sure, 100.0) == 10.0
    assert ahead(sure, 200.0) == 20.0
    assert ahead(sure, 1e9) == MOST_OUTLIVED * 10.0


@pytest.mark.parametrize(("p50", "p90"), [(0.0, 0.0), (80.0, 80.0), (10.0, 4000.0)])
def test_it_is_never_negative_and_has_no_jumps(p50: float, p90: float) -> None:
    course = pieces(p50, p90)
    for one, after in itertools.pairwise(course):
        assert one.left(after.start) == pytest.approx(after.left(after.start))
        assert after.left(after.start) >= 0.0
    assert ahead(course, -5.0) == p50


def test_a_median_of_nothing_leaves_the_tail() -> None:
    assert ahead(pieces(0.0, 50.0), 0.0) == pytest.approx(50.0 * math.log(2.0) / math.log(5.0))

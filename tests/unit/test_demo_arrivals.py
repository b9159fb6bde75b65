"""The demo's arrivals: seeded, bursty, of the rate and mix asked for."""

import itertools
import statistics
from collections import Counter

import pytest

from headway_samples.demo.arrivals import Share, draw_arrivals

MIX = (
    Share(sample="a", weight=0.5, tasks=4),
    Share(sample="b", weight=0.3, tasks=2),
    Share(sample="c", weight=0.2, tasks=1),
)


def test_same_seed_same_story_other_seed_another() -> None:
    first = draw_arrivals(seed=3, count=50, mix=MIX, variation=2.5)
    assert first == draw_arrivals(seed=3, count=50, mix=MIX, variation=2.5)
    assert first != draw_arrivals(seed=4, count=50, mix=MIX, variation=2.5)


def test_the_rate_is_exact_and_scales_the_same_story() -> None:
    arrivals = draw_arrivals(seed=1, count=40, mix=MIX, variation=2.5)
    assert arrivals[-1].at_s(rate=1.0) == pytest.approx(40.0)
    assert arrivals[-1].at_s(rate=8.0) == pytest.approx(5.0)
    assert [each.number for each in arrivals] == list(range(40))
    assert all(one.at <= two.at for one, two in itertools.pairwise(arrivals))


def test_the_mix_is_exact() -> None:
    counted = Counter(each.sample for each in draw_arrivals(seed=2, count=20, mix=MIX, variation=1))
    assert counted == {"a": 10, "b": 6, "c": 4}


def test_tasks_stay_within_their_sample() -> None:
    most = {share.sample: share.tasks for share in MIX}
    for each in draw_arrivals(seed=5, count=200, mix=MIX, variation=2.0):
        assert 0 <= each.task < most[each.sample]


@pytest.mark.parametrize("variation", [1.0, 2.5])
def test_gaps_vary_as_asked(variation: float) -> None:
    arrivals = draw_arrivals(seed=6, count=20_000, mix=MIX, variation=variation)
    gaps = [two.at - one.at for one, two in itertools.pairwise(arrivals)]
    measured = statistics.pstdev(gaps) / statistics.fmean(gaps)
    assert measured == pytest.approx(variation, rel=0.08)

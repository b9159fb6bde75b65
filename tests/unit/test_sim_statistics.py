"""Percentiles, intervals, pairs and equal success, on numbers worked by hand."""

import math

import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.sim.intervals import compare, intervals, pooled_row, spread
from headway.sim.measures import measures_of
from headway.sim.results import Place
from headway.sim.statistics import (
    Point,
    at_equal_success,
    bootstrap,
    completion_at,
    frontier,
    geometric_mean,
    means,
    paired_difference,
    paired_ratio,
    percentile,
    percentiles,
    reached,
)
from tests.support.made_results import made_tally

PLACE = Place(trace="t", load=1.0)
ENDLESS = math.inf


def generator() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ((3.0, 1.0, 2.0), 0.5, 2.0),
        ((1.0, 2.0), 0.25, 1.25),
        ((5.0,), 0.99, 5.0),
        ((1.0, 2.0, ENDLESS), 0.5, 2.0),
        ((1.0, 2.0, ENDLESS), 0.75, ENDLESS),  # between 2 and infinite
        ((1.0, ENDLESS, ENDLESS), 0.9, ENDLESS),
    ],
)
def test_percentiles_are_linear_and_know_infinity(
    values: tuple[float, ...], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


@pytest.mark.parametrize(
    ("n", "share", "expected"),
    [(20, 0.95, 19.0), (100, 0.99, 99.0), (100, 0.07, 7.0), (3, 0.95, 3.0), (1, 0.5, 1.0)],
)
def test_the_reached_value_is_one_of_the_values(n: int, share: float, expected: float) -> None:
    assert reached([float(i) for i in range(n, 0, -1)], share) == expected


def test_failures_under_the_share_leave_the_reached_value_finite() -> None:
    assert reached([*range(1, 20), ENDLESS], 0.95) == 19
    assert reached([*range(1, 19), ENDLESS, ENDLESS], 0.95) == ENDLESS


def test_nothing_has_no_quantile() -> None:
    for function in (percentile, reached):
        with pytest.raises(ValueError, match="no values"):
            function((), 0.5)
    with pytest.raises(ValueError, match="no values"):
        bootstrap((), means, generator=generator())


def test_a_bootstrap_interval_is_near_the_textbook_one_and_repeats() -> None:
    values = np.random.default_rng(1).normal(10.0, 2.0, size=400)
    found = bootstrap(values, means, generator=generator(), draws=4000)
    half = 1.96 * values.std(ddof=1) / 20
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.02)
    assert found.high == pytest.approx(values.mean() + half, abs=0.02)
    assert found == bootstrap(values, means, generator=generator(), draws=4000)


def test_a_bootstrap_of_a_tail_may_end_in_infinity() -> None:
    values = [*range(95), *[ENDLESS] * 5]
    found = bootstrap(values, lambda rows: percentiles(rows, 0.9), generator=generator())
    assert math.isfinite(found.value)
    assert found.high == ENDLESS
    assert not math.isnan(found.low)


def test_pairing_takes_out_what_the_runs_have_in_common() -> None:
    base = np.random.default_rng(2).exponential(10.0, size=200)
    found = paired_ratio(0.5 * base, base, generator=generator())
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_ratio([1.0], [1.0, 2.0], generator=generator())


def test_a_difference_over_seeds_has_a_t_interval() -> None:
    # differences 1, 2, 3: mean 2, sd 1, t(2) = 4.303, half = 4.303 / sqrt(3)
    found = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert (found.mean, found.sd, found.seeds) == (2.0, 1.0, 3)
    assert found.high - found.mean == pytest.approx(4.303 / math.sqrt(3))
    assert math.isnan(paired_difference([2.0], [1.0]).low)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_difference([], [])


def test_twice_and_half_cancel() -> None:
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    with pytest.raises(ValueError, match="above 0"):
        geometric_mean([])


SWEEP = (
    Point(success=0.5, completion_s=1.0),
    Point(success=0.7, completion_s=100.0),
    Point(success=0.6, completion_s=200.0),  # beaten by the one before
    Point(success=0.9, completion_s=ENDLESS),
)


def test_the_frontier_leaves_out_what_is_beaten() -> None:
    assert frontier(SWEEP) == SWEEP[:2]
    tied = (Point(success=0.4, completion_s=1.0), Point(success=0.5, completion_s=1.0))
    assert frontier(tied) == tied[1:]


def test_completion_between_settings_is_linear_in_its_logarithm() -> None:
    assert completion_at(SWEEP, 0.6) == pytest.approx(10.0)  # sqrt(1 * 100)
    assert completion_at(SWEEP, 0.7) == 100.0
    assert completion_at(SWEEP, 0.49) is None
    assert completion_at(SWEEP, 0.71) is None


def test_equal_success_is_read_at_the_rivals_settings_in_the_common_range() -> None:
    rival = (
        Point(success=0.6, completion_s=40.0),
        Point(success=0.7, completion_s=100.0),
        Point(success=0.8, completion_s=300.0),  # further than the policy gets
    )
    found = at_equal_success(SWEEP, rival)
    assert found is not None
    assert [at for at, _, _ in found.points] == [0.6, 0.7]
    assert found.ratio == pytest.approx(0.5)  # sqrt(10/40 * 100/100)
    assert at_equal_success(SWEEP, rival[2:]) is None


def test_every_run_measure_with_a_value_gets_an_interval_around_it() -> None:
    known = made_tally(1.0, 1.0, 3, 200)
    values, found = measures_of(known), intervals(known, generator=generator(), draws=200)
    assert {"mean_s", "p95_s", "req95", "success", "attainment", "time_to_success_s"} <= set(found)
    assert not {"p99_s", "req99"} & set(found)
    for name, (low, high) in found.items():
        assert low - 1e-9 <= getattr(values, name) <= high + 1e-9, name
    assert found["mean_s"][0] < found["mean_s"][1]


def test_the_spread_is_over_seeds() -> None:
    by_seed = {seed: measures_of(made_tally(1.0, 1.0, seed, 50)) for seed in (1, 2, 3)}
    each = [found.mean_s for found in by_seed.values()]
    assert spread(by_seed)["mean_s"] == pytest.approx(np.std(each, ddof=1))
    assert spread({1: by_seed[1]}) == {}


def test_two_policies_are_compared_on_the_runs_that_both_had() -> None:
    slow = {seed: made_tally(2.0, 1.0, seed, 100) for seed in (1, 2)}
    fast = {seed: made_tally(1.0, 1.0, seed, 60) for seed in (1, 2, 9)}
    found = compare(
        PLACE, policy=("a", fast), baseline=("b", slow), measure="mean_s", generator=generator()
    )
    assert (found.seeds, found.runs) == (2, 120)
    assert found.ratio is not None and found.low is not None and found.high is not None
    assert 0.5 < found.low < found.ratio < found.high < 1.0
    assert found.difference is not None and found.difference < 0


@pytest.mark.parametrize(
    ("measure", "seed", "text"),
    [("kv_saved", 1, "not compared run by run"), ("mean_s", 2, "no seed"), ("p99_s", 1, "2000")],
)
def test_what_cannot_be_compared_is_refused(measure: str, seed: int, text: str) -> None:
    known = made_tally(1.0, 1.0, 1, 10)
    with pytest.raises(ConfigError, match=text):
        compare(
            PLACE,
            policy=("a", {1: known}),
            baseline=("b", {seed: known}),
            measure=measure,
            generator=generator(),
        )


def test_a_row_keeps_its_distribution() -> None:
    row = pooled_row(
        PLACE,
        policy="p",
        tallies={1: made_tally(1.0, 1.0, 1, 300)},
        generator=generator(),
        draws=20,
    )
    assert len(row.completion_cdf) == 101
    assert row.completion_cdf == tuple(sorted(row.completion_cdf))
    assert row.completion_cdf[50] == pytest.approx(row.measures.p50_s, rel=0.05)

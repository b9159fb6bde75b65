"""Arrivals: rates and burstiness as asked, recordings stretched but not flattened."""

import itertools
import math
import random
import statistics

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.sim.arrivals import Arrivals, Window, draw, weibull_shape


class OneClient(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    windows: tuple[Window, ...]


STEADY = OneClient(
    id="steady", windows=tuple((600.0 * n, 0.5, 1.0, "G", 1.0, 2.0) for n in range(20))
)
BURSTY = OneClient(
    id="bursty", windows=tuple((600.0 * n, 2.0, 5.0, "W", 0.35, 0.1) for n in range(5, 15))
)
RARE = OneClient(id="rare", windows=((600.0, 0.002, 1.0, "G", 1.0, 500.0),))
CLIENTS = (STEADY, BURSTY, RARE)


def a_bursty_hour() -> tuple[float, ...]:
    """Batches of forty within a second, 30 to 90 s apart."""
    rng = random.Random(7)
    at, instants = 0.0, []
    while at < 3600.0:
        instants += [at + rng.random() for _ in range(40)]
        at += rng.uniform(30.0, 90.0)
    return tuple(sorted(instants))


HOUR = a_bursty_hour()
EVERY_KIND = (
    Arrivals(),
    Arrivals(kind="gamma", cv=3.0),
    Arrivals(kind="weibull", cv=2.0),
    Arrivals(kind="burst"),
    Arrivals(kind="burst", burst_runs=20, burst_rate=40.0),
    Arrivals(kind="recorded"),
    Arrivals(kind="azure", service="code"),
    Arrivals(kind="servegen", clients=2),
    Arrivals(kind="spaced"),
)
ANY = pytest.mark.parametrize("arrivals", EVERY_KIND, ids=lambda one: one.kind)


def drawn(arrivals: Arrivals, *, count: int, rate: float, seed: int = 1) -> tuple[float, ...]:
    return draw(arrivals, count=count, rate=rate, seed=seed, instants=HOUR, clients=CLIENTS)


def gaps_of(instants: tuple[float, ...]) -> list[float]:
    return [later - sooner for sooner, later in itertools.pairwise(instants)]


def cv_of(instants: tuple[float, ...]) -> float:
    gaps = gaps_of(instants)
    return statistics.pstdev(gaps) / statistics.fmean(gaps)


def dispersion(instants: tuple[float, ...], width: float) -> float:
    """Variance over mean of the counts in windows of `width` seconds."""
    counts = [0] * (int(instants[-1] / width) + 1)
    for at in instants:
        counts[int(at / width)] += 1
    return statistics.pvariance(counts) / statistics.fmean(counts)


@ANY
def test_instants_are_in_order_and_the_same_for_the_same_seed(arrivals: Arrivals) -> None:
    instants = drawn(arrivals, count=300, rate=2.0)
    assert len(instants) == 300 and instants[0] >= 0.0
    assert list(instants) == sorted(instants)
    assert instants == drawn(arrivals, count=300, rate=2.0)


@ANY
def test_a_single_run_has_an_instant_too(arrivals: Arrivals) -> None:
    (only,) = drawn(arrivals, count=1, rate=2.0)
    assert 0.0 <= only < 20.0


@pytest.mark.parametrize("kind", ["poisson", "gamma", "weibull", "azure", "servegen"])
def test_another_seed_is_another_draw(kind: str) -> None:
    arrivals = next(one for one in EVERY_KIND if one.kind == kind)
    assert drawn(arrivals, count=50, rate=1.0, seed=1) != drawn(
        arrivals, count=50, rate=1.0, seed=2
    )


@ANY
def test_the_mean_rate_is_as_asked(arrivals: Arrivals) -> None:
    rates = [5000 / drawn(arrivals, count=5000, rate=2.0, seed=seed)[-1] for seed in range(6)]
    assert statistics.fmean(rates) == pytest.approx(2.0, rel=0.04)


@pytest.mark.parametrize(
    ("arrivals", "cv"),
    [
        (Arrivals(), 1.0),
        (Arrivals(kind="gamma", cv=0.5), 0.5),
        (Arrivals(kind="gamma", cv=3.0), 3.0),
        (Arrivals(kind="weibull", cv=0.5), 0.5),
        (Arrivals(kind="weibull", cv=2.0), 2.0),
        (Arrivals(kind="spaced"), 0.0),
    ],
)
def test_the_gaps_vary_as_asked(arrivals: Arrivals, cv: float) -> None:
    assert cv_of(drawn(arrivals, count=20_000, rate=5.0)) == pytest.approx(cv, rel=0.05, abs=1e-9)


def test_a_weibull_law_of_cv_one_is_exponential() -> None:
    assert weibull_shape(1.0) == pytest.approx(1.0, abs=1e-6)
    shape = weibull_shape(2.0)
    mean = math.gamma(1 + 1 / shape)
    assert math.sqrt(math.gamma(1 + 2 / shape) / mean**2 - 1) == pytest.approx(2.0)


def test_burst_and_drain_by_hand() -> None:
    assert drawn(Arrivals(kind="burst"), count=4, rate=10.0) == pytest.approx((0.0, 0.1, 0.2, 0.3))
    every_two = Arrivals(kind="burst", burst_runs=2, burst_rate=4.0)
    assert drawn(every_two, count=5, rate=0.5) == pytest.approx((0.0, 0.25, 4.0, 4.25, 8.0))


def test_recorded_instants_keep_their_shape() -> None:
    arrivals = Arrivals(kind="recorded")
    found = draw(arrivals, count=4, rate=0.5, seed=1, instants=(10.0, 11.0, 13.0, 16.0))
    assert found == pytest.approx((0.0, 1.0, 3.0, 6.0))
    # the recording repeats after its mean gap (2 s)
    again = draw(arrivals, count=6, rate=5 / 9, seed=1, instants=(10.0, 11.0, 13.0, 16.0))
    assert again == pytest.approx((0.0, 1.0, 3.0, 6.0, 8.0, 9.0))


def test_batches_of_a_coarse_clock_are_spread_over_its_tick() -> None:
    batches = tuple(3.0 * (n // 10) for n in range(1000))
    found = draw(Arrivals(kind="recorded"), count=1000, rate=10 / 3, seed=1, instants=batches)
    assert len(set(found)) == 1000
    assert max(gaps_of(found)) < 3.0
    assert dispersion(found, 1.0) < 1.5 < dispersion(batches, 1.0)


def test_a_batch_before_a_silence_is_not_spread_over_the_silence() -> None:
    instants = (0.0, 1.0, 2.0, 2.0, 2.0, 100.0)
    found = draw(Arrivals(kind="recorded"), count=6, rate=5 / 100, seed=1, instants=instants)
    assert found[4] <= 3.0 + 1e-9 and found[5] == pytest.approx(100.0)


def test_azure_stays_as_bursty_when_its_time_is_scaled() -> None:
    arrivals = Arrivals(kind="azure", service="code")
    factor = 10.0
    own_rate = len(HOUR) / HOUR[-1]
    found = drawn(arrivals, count=len(HOUR), rate=own_rate * factor, seed=3)
    for width in (10.0, 60.0):
        # the same windows on both time axes hold the same bursts
        assert dispersion(found, width / factor) == pytest.approx(dispersion(HOUR, width), rel=0.15)
    assert dispersion(found, 10.0 / factor) > 10.0
    assert cv_of(found) == pytest.approx(cv_of(HOUR), rel=0.05)


def test_a_start_inside_the_recording_goes_on_after_its_end() -> None:
    ticks = tuple(float(n) for n in range(10))
    found = draw(Arrivals(kind="azure", service="conv"), count=25, rate=1.0, seed=1, instants=ticks)
    assert gaps_of(found) == pytest.approx([1.0] * 24)


def test_servegen_takes_its_bursts_from_heavy_clients() -> None:
    steady = draw(
        Arrivals(kind="servegen", clients=1), count=4000, rate=1.0, seed=1, clients=(STEADY,)
    )
    bursty = draw(
        Arrivals(kind="servegen", clients=1), count=4000, rate=1.0, seed=1, clients=(BURSTY,)
    )
    assert cv_of(steady) == pytest.approx(1.0, abs=0.1)
    assert cv_of(bursty) > 2.0


def test_servegen_draws_clients_by_how_much_they_ask() -> None:
    one = Arrivals(kind="servegen", clients=1)
    heavy = sum(cv_of(drawn(one, count=400, rate=1.0, seed=seed)) > 1.6 for seed in range(40))
    # bursty has 12,000 requests, steady 6,000, rare 1
    assert 18 <= heavy <= 35


def test_windows_without_a_client_are_left_out() -> None:
    apart = OneClient(
        id="a", windows=((0.0, 1.0, 1.0, "G", 1.0, 1.0), (864_000.0, 1.0, 1.0, "G", 1.0, 1.0))
    )
    found = draw(
        Arrivals(kind="servegen", clients=1), count=1200, rate=1.0, seed=1, clients=(apart,)
    )
    assert max(gaps_of(found)) < 15.0


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"kind": "poison"}, "did you mean `poisson`"),
        ({"kind": "gamma"}, "arrivals.cv"),
        ({"kind": "gamma", "cv": -1.0}, "arrivals.cv"),
        ({"kind": "weibull", "cv": math.nan}, "arrivals.cv"),
        ({"kind": "poisson", "cv": 2.0}, "arrivals.cv"),
        ({"kind": "burst", "burst_runs": -1}, "arrivals.burst_runs"),
        ({"kind": "burst", "burst_rate": -1.0}, "arrivals.burst_rate"),
        ({"kind": "burst", "burst_runs": 5}, "arrivals.burst_rate"),
        ({"kind": "azure", "service": "cod"}, "did you mean `code`"),
        ({"kind": "servegen"}, "arrivals.clients"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Arrivals(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "rate", "names"), [(0, 1.0, "count"), (5, 0.0, "rate"), (5, math.nan, "rate")]
)
def test_a_wrong_number_is_named(count: int, rate: float, names: str) -> None:
    with pytest.raises(ConfigError, match=f"^{names}"):
        drawn(Arrivals(), count=count, rate=rate)


def test_a_recording_of_no_use_is_refused() -> None:
    def refused(arrivals: Arrivals, match: str, **given: object) -> None:
        with pytest.raises(ConfigError, match=match):
            draw(arrivals, count=5, rate=1.0, seed=1, **given)  # type: ignore[arg-type]

    azure = Arrivals(kind="azure", service="code")
    refused(azure, "Azure's code", instants=())
    refused(azure, "not all finite", instants=(0.0, math.inf))
    refused(azure, "are the same", instants=(3.0, 3.0, 3.0))
    refused(Arrivals(kind="servegen", clients=4), "the recording has 3", clients=CLIENTS)
    odd = OneClient(id="odd", windows=((0.0, 1.0, 1.0, "X", 1.0, 1.0),))
    refused(Arrivals(kind="servegen", clients=1), "gap law 'X'", clients=(odd,))
    refused(Arrivals(kind="burst", burst_runs=2, burst_rate=0.5), "cannot keep up")

"""Percentiles, bootstrap, paired differences, equal success: the statistics of a claim.

Numbers in, numbers out; nothing here knows what a run is. Randomness is a NumPy
generator handed in. Infinite values are legal everywhere: they stand for runs that
failed.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Reduce = Callable[[Vector], Vector]
"""A statistic of each row: (rows, n) to (rows,)."""

DRAWS = 1000
LEVEL = 0.95

_CHUNK = 4_000_000
"""Values resampled at once: 32 MB of places."""

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t at 97.5 % for 1 to 30 degrees of freedom; beyond, the normal's 1.96 is near."""


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A value with the ends of its interval."""

    value: float
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A paired difference over seeds: mean, standard deviation, 95 % t-interval.

    With one seed there is neither deviation nor interval: all three are NaN.
    """

    mean: float
    sd: float
    low: float
    high: float
    seeds: int


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of a policy's knobs: what share succeeds, and how long a run takes."""

    success: float
    completion_s: float


class EqualSuccess(msgspec.Struct, frozen=True, kw_only=True):
    """A policy against a rival at the rival's success.

    `ratio` is the geometric mean of the policy's completion over the rival's (below 1: the
    policy is faster), over the rival's `points`, each (success, policy's, rival's completion).
    """

    ratio: float
    points: tuple[tuple[float, float, float], ...]


def percentile(values: Sequence[float] | Vector, share: float) -> float:
    """The quantile at `share` (0 to 1), linear between neighbours; infinite next to infinite.

    Raises ValueError if there are no values.
    """
    if not len(values):
        raise ValueError("no values, no percentile")
    return float(percentiles(np.asarray(values, dtype=np.float64)[None, :], share)[0])


def percentiles(rows: Vector, share: float) -> Vector:
    """`percentile` of each row."""
    place = share * (rows.shape[1] - 1)
    below = int(place)
    above = min(below + 1, rows.shape[1] - 1)
    ordered = np.partition(rows, (below, above), axis=1)
    low, high = ordered[:, below], ordered[:, above]
    part = place - below
    if not part:
        return low
    finite = np.isfinite(high)
    with np.errstate(invalid="ignore"):  # inf - inf, which is not taken
        return np.where(finite, low + (high - low) * part, high)


def reached(values: Sequence[float] | Vector, share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed: no interpolation.

    This is Req95 and Req99 of HexAGenT (arXiv 2605.16637): a run's own slowdown, never a
    number between a finite and an infinite one. Raises ValueError if there are no values.
    """
    if not len(values):
        raise ValueError("no values, no quantile")
    return float(reached_each(np.asarray(values, dtype=np.float64)[None, :], share)[0])


def reached_each(rows: Vector, share: float) -> Vector:
    """`reached` of each row."""
    # 0.07 * 100 is 7.000000000000001: without the margin the eighth value would be asked for
    place = max(0, math.ceil(share * rows.shape[1] - 1e-9) - 1)
    result: Vector = np.partition(rows, place, axis=1)[:, place]
    return result


def resamples(n: int, *, draws: int, generator: np.random.Generator) -> Iterator[Places]:
    """`draws` rows of `n` places drawn with replacement, in chunks that fit in memory."""
    step = max(1, _CHUNK // max(1, n))
    for start in range(0, draws, step):
        yield generator.integers(0, n, size=(min(step, draws - start), n))


def bounds(drawn: Vector, *, level: float = LEVEL) -> tuple[float, float]:
    """The ends of the percentile interval of bootstrap draws."""
    edge = (1 - level) / 2
    return percentile(drawn, edge), percentile(drawn, 1 - edge)


def bootstrap(
    values: Sequence[float] | Vector,
    reduce: Reduce,
    *,
    generator: np.random.Generator,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Interval:
    """A statistic of `values` with its percentile-bootstrap interval (Efron 1979).

    Raises ValueError if there are no values.
    """
    known = np.asarray(values, dtype=np.float64)
    if not len(known):
        raise ValueError("no values, no interval")
    drawn = np.concatenate(
        [reduce(known[at]) for at in resamples(len(known), draws=draws, generator=generator)]
    )
    low, high = bounds(drawn, level=level)
    return Interval(value=float(reduce(known[None, :])[0]), low=low, high=high)


def means(rows: Vector) -> Vector:
    """The mean of each row."""
    result: Vector = rows.mean(axis=1)
    return result


def paired_ratio(
    values: Sequence[float] | Vector,
    baseline: Sequence[float] | Vector,
    reduce: Reduce = means,
    *,
    generator: np.random.Generator,
    draws: int = DRAWS,
    level: float = LEVEL,
) -> Interval:
    """`reduce(values) / reduce(baseline)`, resampling both together: place i is the same run.

    Raises ValueError if the two differ in length or are empty.
    """
    ours = np.asarray(values, dtype=np.float64)
    theirs = np.asarray(baseline, dtype=np.float64)
    if len(ours) != len(theirs) or not len(ours):
        raise ValueError(f"{len(ours)} values cannot be paired with {len(theirs)}")
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = np.concatenate(
            [
                reduce(ours[at]) / reduce(theirs[at])
                for at in resamples(len(ours), draws=draws, generator=generator)
            ]
        )
        value = float(reduce(ours[None, :])[0] / reduce(theirs[None, :])[0])
    low, high = (
        bounds(drawn[~np.isnan(drawn)], level=level) if not math.isnan(value) else (value,) * 2
    )
    return Interval(value=value, low=low, high=high)


def paired_difference(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """`values` less `baseline`, seed by seed. Raises ValueError if they cannot be paired."""
    if len(values) != len(baseline) or not values:
        raise ValueError(f"{len(values)} seeds cannot be paired with {len(baseline)}")
    each = np.asarray(values, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    mean, n = float(each.mean()), len(each)
    if n == 1:
        return Difference(mean=mean, sd=math.nan, low=math.nan, high=math.nan, seeds=1)
    sd = float(each.std(ddof=1))
    t = _T_975[n - 2] if n - 2 < len(_T_975) else 1.96
    half = t * sd / math.sqrt(n)
    return Difference(mean=mean, sd=sd, low=mean - half, high=mean + half, seeds=n)


def geometric_mean(ratios: Iterable[float]) -> float:
    """The mean of ratios: twice as long and half as long cancel. Raises ValueError if none."""
    known = tuple(ratios)
    if not known or min(known) <= 0:
        raise ValueError("a geometric mean needs ratios above 0")
    return math.exp(sum(math.log(each) for each in known) / len(known))


def frontier(sweep: Iterable[Point]) -> tuple[Point, ...]:
    """The settings that no other beats in both: longer only for more success."""
    kept: list[Point] = []
    for point in sorted(sweep, key=lambda each: (each.completion_s, -each.success)):
        if math.isfinite(point.completion_s) and (not kept or point.success > kept[-1].success):
            kept.append(point)
    return tuple(kept)


def completion_at(sweep: Iterable[Point], success: float) -> float | None:
    """A sweep's completion at a success: log completion linear between its frontier's points.

    None outside of the success that the frontier spans: nothing is extrapolated.
    """
    points = frontier(sweep)
    for point in points:
        if point.success == success:
            return point.completion_s
    for left, right in itertools.pairwise(points):
        if left.success < success < right.success:
            part = (success - left.success) / (right.success - left.success)
            logs = math.log(left.completion_s), math.log(right.completion_s)
            return math.exp(logs[0] + (logs[1] - logs[0]) * part)
    return None


def at_equal_success(sweep: Iterable[Point], rival: Iterable[Point]) -> EqualSuccess | None:
    """A policy's sweep against its rival's, at the success of each of the rival's best settings.

    None if no point of the rival's frontier lies within the success that the policy spans.
    """
    ours = tuple(sweep)
    points = tuple(
        (point.success, found, point.completion_s)
        for point in frontier(rival)
        if (found := completion_at(ours, point.success)) is not None
    )
    if not points:
        return None
    return EqualSuccess(ratio=geometric_mean(a / b for _, a, b in points), points=points)

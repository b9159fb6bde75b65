"""How good forecasts of a quantity are: order, distance, and whether their quantiles hold."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

PAIRS = 400_000
"""Pairs that are drawn to judge an order."""

Column = NDArray[np.float64]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """One predictor on one split.

    `pairs` is the share of pairs of calls from different runs that it orders right (ties in
    truth dropped, ties in forecast half), `same_role` of pairs of one role. `log_error` is the
    mean distance of log(1 + tokens), `pinball_50` and `pinball_90` are losses in tokens. `covered`
    is the share of calls within P90, `width` the median of P90 over P50. `forecast_us`:
    microseconds of one forecast, P99.
    """

    pairs: float
    same_role: float
    log_error: float
    pinball_50: float
    pinball_90: float
    covered: float
    width: float
    forecast_us: float


LENGTH_COLUMNS: dict[str, tuple[str, str]] = {
    "pairs": ("pairs in order", ".3f"),
    "same_role": ("of one role", ".3f"),
    "log_error": ("MAE of log", ".3f"),
    "pinball_50": ("pinball P50", ".1f"),
    "pinball_90": ("pinball P90", ".1f"),
    "covered": ("within P90", ".3f"),
    "width": ("P90 / P50", ".2f"),
    "forecast_us": ("us, P99", ".0f"),
}
"""By measure: its heading and how it is written."""


def scores(
    *,
    p50: Sequence[float],
    p90: Sequence[float],
    truth: Sequence[float],
    runs: Sequence[int],
    roles: Sequence[int],
    forecast_us: Sequence[float],
) -> Scores:
    """Of all calls of a split, a column each; `runs` and `roles` tell theirs apart."""
    median, high, true = (np.array(one, dtype=np.float64) for one in (p50, p90, truth))
    of_run, of_role = np.array(runs), np.array(roles)
    return Scores(
        pairs=_order(median, true, of_run, None),
        same_role=_order(median, true, of_run, of_role),
        log_error=float(np.abs(np.log1p(median) - np.log1p(true)).mean()),
        pinball_50=pinball(median, true, 0.5),
        pinball_90=pinball(high, true, 0.9),
        covered=float((true <= high).mean()),
        width=float(np.median((high + 1.0) / (median + 1.0))),
        forecast_us=float(np.percentile(np.array(forecast_us), 99)) if len(forecast_us) else 0.0,
    )


def pinball(forecast: Column, truth: Column, quantile: float) -> float:
    """Mean loss of a quantile's forecasts, in the unit of the truth (Koenker and Bassett 1978)."""
    off = truth - forecast
    return float(np.maximum(quantile * off, (quantile - 1.0) * off).mean())


def _order(
    forecast: Column, truth: Column, runs: NDArray[Any], roles: NDArray[Any] | None
) -> float:
    """Pairs are drawn uniformly: of all calls, or of all pairs of one role."""
    generator = np.random.default_rng(0)
    count = len(truth)
    if roles is None:
        one, other = (generator.integers(0, count, PAIRS) for _ in range(2))
    else:
        by_role = np.argsort(roles, kind="stable")
        _, starts, counts = np.unique(roles[by_role], return_index=True, return_counts=True)
        weights = counts.astype(np.float64) ** 2
        drawn = generator.choice(len(counts), PAIRS, p=weights / weights.sum())
        one, other = (
            by_role[starts[drawn] + (generator.random(PAIRS) * counts[drawn]).astype(np.int64)]
            for _ in range(2)
        )
    kept = (runs[one] != runs[other]) & (truth[one] != truth[other])
    one, other = one[kept], other[kept]
    if not len(one):
        return 0.5
    agree = (forecast[one] - forecast[other]) * np.sign(truth[one] - truth[other])
    return float((agree > 0).mean() + 0.5 * (agree == 0).mean())

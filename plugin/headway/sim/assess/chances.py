"""How good forecasts of a probability are: order, distance, and whether they mean what they say."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.sim.loaders.difficulty import auc

BINS = 15
"""Of equal mass, for the calibration error; equal forecasts are never split."""
FLOOR_DRAWS = 100

Column = NDArray[np.float64]


class ChanceScores(msgspec.Struct, frozen=True, kw_only=True):
    """One forecaster of one outcome on one split.

    `auc` is the share of (right, wrong) pairs in order, ties half; `brier` the mean squared error
    and `gain` how much less it is than that of the train half's rate; `ece` the calibration
    error, `ece_floor` what it would come to on average for forecasts of the same values that are
    exactly right: at this number of answers less cannot be told from none.
    """

    answers: int
    right: float
    auc: float
    brier: float
    gain: float
    ece: float
    ece_floor: float


def chance_scores(
    forecast: Sequence[float] | Column, right: Sequence[bool], *, rate: float
) -> ChanceScores:
    """Of forecasts in [0, 1] and what came; `rate` is the train half's share of right answers."""
    told, came = np.asarray(forecast, dtype=np.float64), np.asarray(right, dtype=np.bool_)
    brier = float(np.mean((told - came) ** 2))
    order = auc(told, came)
    return ChanceScores(
        answers=len(came),
        right=float(came.mean()),
        auc=0.5 if order is None else order,
        brier=brier,
        gain=float(np.mean((rate - came) ** 2)) - brier,
        ece=ece(told, came),
        ece_floor=_floor(told),
    )


def ece(forecast: Column, right: NDArray[np.bool_]) -> float:
    """Mean distance of forecast and share over bins of equal mass (in [0, 1])."""
    edges = np.unique(np.quantile(forecast, np.arange(1, BINS) / BINS, method="lower"))
    places = np.searchsorted(edges, forecast, side="left")
    off = np.bincount(places, weights=forecast - right)
    return float(np.abs(off).sum() / len(forecast))


def _floor(forecast: Column) -> float:
    generator = np.random.default_rng(0)
    draws = [ece(forecast, generator.random(len(forecast)) < forecast) for _ in range(FLOOR_DRAWS)]
    return float(np.mean(draws))

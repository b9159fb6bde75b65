"""What success costs when a larger model is paid for only where it is thought worth it.

Prices are per output token, true lengths are paid, decisions know predicted ones. All questions
begin at the small model; they are moved to the large one, or (escalation) asked of it again
after the small one was seen to fail, in the order of what is forecast. Costs are told as shares of
what asking the large model everything costs.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.sim.assess.confidences import Questions, Told
from headway.sim.assess.tfidf import Linear, TfIdf

SMALL_PRICE, LARGE_PRICE = 1.0, 8.0
SHARES = (0.8, 0.9, 0.95)
"""Of the large model's gain in success, whose cost is told."""
GRID = 100

Column = NDArray[np.float64]
Curve = tuple[Column, Column]
"""Cost and success as questions are moved, one after the other."""


class Frontier(msgspec.Struct, frozen=True, kw_only=True):
    """One way to order questions on one split.

    `area` under success over cost, both from the small model's (0) to the large one's (1), summed
    at the right ends of `GRID` steps: 0.505 for a random order. `at_80`, `at_90` and `at_95` are
    the least costs for those shares of the large model's gain, as shares of its cost. `above` is
    the share of `GRID` costs at which success is no less than that of ``gain / cost, shrunk``,
    `least` the smallest difference.
    """

    area: float
    at_80: float
    at_90: float
    at_95: float
    above: float
    least: float


class Lengths:
    """Output tokens of both models foreseen from the text: least squares on TF-IDF, of logs."""

    def __init__(self, train: Questions) -> None:
        self._weigher = TfIdf([one.features for one in train])
        bags = [self._weigher.bag(one.features) for one in train]
        self._models = [
            Linear(bags, [math.log1p(tokens) for tokens in written], is_chance=False)
            for written in (
                [one.small_tokens for one in train],
                [one.large_tokens for one in train],
            )
        ]

    def cost(self, questions: Questions) -> tuple[Column, Column]:
        """Predicted costs of the small and of the large model's answer."""
        bags = [self._weigher.bag(one.features) for one in questions]
        small, large = (
            np.expm1(np.array([model.predict(bag) for bag in bags])).clip(1.0)
            for model in self._models
        )
        return SMALL_PRICE * small, LARGE_PRICE * large


def shrunk(foretold: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope (0 to 1) of the true gain on the gain that was forecast before.

    By least squares on the later half: what was forecast before anything was known says little.
    """
    late = np.array(foretold[len(foretold) // 2 :])
    told, true = late[:, 0], late[:, 1]
    spread = ((told - told.mean()) ** 2).sum() + 1.0
    slope = float(((told - told.mean()) * (true - true.mean())).sum() / spread)
    slope = min(max(slope, 0.0), 1.0)
    return float(true.mean() - slope * told.mean()), slope


def frontiers(
    test: Questions,
    told: dict[str, Told],
    *,
    predicted: tuple[Column, Column],
    line: tuple[float, float],
    encoded: Told | None = None,
) -> dict[str, Frontier]:
    """By order of questions. `told` holds ``headway`` and ``tf-idf``, `line` is `shrunk`'s;
    `encoded` is Headway's with an encoder.
    """
    small_ok, large_ok = (
        np.array([getattr(one, name) for one in test], dtype=np.float64)
        for name in ("small_ok", "large_ok")
    )
    small_paid = SMALL_PRICE * np.array([float(one.small_tokens) for one in test])
    large_paid = LARGE_PRICE * np.array([float(one.large_tokens) for one in test])
    small_cost, large_cost = predicted
    more = (large_cost - small_cost).clip(1.0)
    gains = {name: np.array(one.large) - np.array(one.small) for name, one in told.items()}
    ours = gains["headway"]
    priorities = {
        "gain": ours,
        "gain / cost": worth(ours, more),
        "gain / cost, shrunk": worth(line[0] + line[1] * ours, more),
        "gain / cost, tf-idf": worth(gains["tf-idf"], more),
        "cheapest first": -more,
        "clairvoyant": worth(large_ok - small_ok, (large_paid - small_paid).clip(1.0)),
    }
    if encoded is not None:
        by_encoder = np.array(encoded.large) - np.array(encoded.small)
        priorities["gain / cost, encoder"] = worth(by_encoder, more)
    start = (small_paid.sum(), small_ok.mean())
    end = (large_paid.sum(), large_ok.mean())
    steps = (large_ok - small_ok) / len(test), large_paid - small_paid
    curves = {
        name: curve(priority, start, success=steps[0], cost=steps[1])
        for name, priority in priorities.items()
    }
    straight = np.linspace(0.0, 1.0, GRID + 1)
    curves["random"] = (
        start[0] + straight * (end[0] - start[0]),
        start[1] + straight * (end[1] - start[1]),
    )
    failed = small_ok == 0.0
    again = large_ok[failed] / len(test), large_paid[failed]
    escalations = {
        "escalation": np.array(told["headway"].after) / large_cost[failed],
        "escalation, cheapest first": -large_cost[failed],
    }
    if encoded is not None:
        escalations["escalation, encoder"] = np.array(encoded.after) / large_cost[failed]
    for name, priority in escalations.items():
        curves[name] = curve(priority, start, success=again[0], cost=again[1])
    rival = curves["gain / cost, shrunk"]
    return {name: _frontier(one, start, end, rival) for name, one in curves.items()}


def worth(gain: Column, cost: Column) -> Column:
    """Order for spending: gain per cost while there is one, the dearest loss last."""
    return np.where(gain > 0.0, gain / cost, gain * cost)


def curve(priority: Column, start: tuple[float, float], *, success: Column, cost: Column) -> Curve:
    """From `start` (cost, success) on, the highest priority first."""
    order = np.argsort(-priority, kind="stable")
    return (
        start[0] + np.concatenate(([0.0], np.cumsum(cost[order]))),
        start[1] + np.concatenate(([0.0], np.cumsum(success[order]))),
    )


def _frontier(
    found: Curve, start: tuple[float, float], end: tuple[float, float], rival: Curve
) -> Frontier:
    cost, success = found
    gain = end[1] - start[1] or 1.0
    at = []
    for share in SHARES:
        reached = success >= start[1] + share * gain - 1e-9
        at.append(float(cost[reached].min() / end[0]) if reached.any() else math.nan)
    grid = np.linspace(start[0], end[0], GRID + 1)[1:]
    own, other = (_success_at(grid, one) for one in (found, rival))
    return Frontier(
        area=float(((own - start[1]) / gain).mean()),
        at_80=at[0],
        at_90=at[1],
        at_95=at[2],
        above=float((own >= other - 1e-9).mean()),
        least=float((own - other).min()),
    )


def _success_at(grid: Column, found: Curve) -> Column:
    """Success when so much may be spent: moves are made in order while they can be paid.

    A move may save money (the small model writes on and on), so costs need not grow.
    """
    cost, success = found
    spent = np.maximum.accumulate(cost)
    moved = np.searchsorted(spent, grid * (1.0 + 1e-9), side="right")
    return success[moved - 1]

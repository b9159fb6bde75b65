"""Gradient-boosted trees as a rival of our predictors on recorded runs, where there is LightGBM.

They are fitted once on the train half, on all that `headway.predict` may look at there, and learn
nothing later: what a larger model, which a daemon would have to fit anew, is worth.
"""

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

from headway.core.past import NO_PAST
from headway.sim.assess.sets import KnownCall, KnownRun

SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "deterministic": True,
    "seed": 0,
    "num_threads": 1,
    "verbosity": -1,
}
ROUNDS = 200
QUANTILES = (0.5, 0.9)


def installed() -> bool:
    """Whether there is a LightGBM to try, with the system's libraries that it needs."""
    try:
        importlib.import_module("lightgbm")
    except (ImportError, OSError):
        return False
    return True


class Boosted:
    """Quantile trees on the logarithm of `truth`, a number a call. A `lengths.Forecaster`."""

    def __init__(self, truth: Callable[[KnownRun], Sequence[float]]) -> None:
        self._of = truth
        self._rows: list[list[float]] = []
        self._truth: list[float] = []
        self._names: dict[str, int] = {}
        self._models: list[Any] = []

    def teach(self, run: KnownRun) -> None:
        """Kept until the first question."""
        for call, true in zip(run.calls, self._of(run), strict=True):
            self._rows.append(self._row(call, learning=True))
            self._truth.append(math.log1p(true))

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """P50 and P90 by the trees."""
        import numpy as np

        if not self._models:
            self._fit()
        row = np.array([self._row(run.calls[place], learning=False)])
        low, high = (max(math.expm1(float(one.predict(row)[0])), 0.0) for one in self._models)
        return low, max(low, high)

    def reveal(self, run: KnownRun, place: int) -> None:
        """What the run has shown is in each call's past."""

    def _fit(self) -> None:
        import lightgbm
        import numpy as np

        rows, truth = np.array(self._rows), np.array(self._truth)
        for quantile in QUANTILES:
            known = lightgbm.Dataset(rows, truth, categorical_feature=[0, 1, 2])
            settings = {**SETTINGS, "objective": "quantile", "alpha": quantile}
            self._models.append(lightgbm.train(settings, known, num_boost_round=ROUNDS))

    def _row(self, call: KnownCall, *, learning: bool) -> list[float]:
        past = call.past or NO_PAST
        counts = (past.position, past.streak, past.repeats, past.stretches, past.stretch)
        tokens = (
            call.prompt_tokens,
            past.last_output,
            past.second_last_output,
            past.own_output,
            past.outputs,
            past.outputs / max(past.position, 1),
            past.longest_output,
            past.last_prompt,
            past.first_prompt,
        )
        return [
            float(self._number(call.role, learning=learning)),
            float(self._number(past.last, learning=learning)),
            float(self._number(past.second_last, learning=learning)),
            float(call.visit),
            float(call.step),
            float(past.alike),
            float(past.entries),
            float(past.last_visits),
            float(past.longest_streak),
            float(past.tool_calls),
            float(past.width),
            *map(float, counts),
            *map(math.log1p, tokens),
        ]

    def _number(self, name: str, *, learning: bool) -> int:
        if learning:
            return self._names.setdefault(name, len(self._names))
        return self._names.get(name, -1)

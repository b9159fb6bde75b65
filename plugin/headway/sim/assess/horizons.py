"""Forecasts of what is left of a run, on recorded runs: ours, and the simple ones to beat.

What is left is counted from the start of a call, that call and those beside it (of its step)
included: calls, and tokens that they will write. As with lengths, each forecaster learns from the
train half, run after run, and stays as it is on the test half.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np

from headway.core.protocols import Predictor
from headway.predict.horizon import Horizons
from headway.predict.quantiles import rest_of_run
from headway.sim.assess.lengths import Clairvoyant, Forecaster, Truth, boosted, query_of, simple
from headway.sim.assess.measures import pinball
from headway.sim.assess.sets import KnownRun

CHECKPOINTS = {"at_start": 0.0, "at_25": 0.25, "at_50": 0.5, "at_75": 0.75}
"""Shares of a run's calls that are over when it is looked at."""


class HorizonScores(msgspec.Struct, frozen=True, kw_only=True):
    """One predictor of what is left, on one split, in calls or in tokens.

    `mae` is the mean error of the median over all calls, the next four that over runs of which
    a share is over; pinball losses and `covered` (the share within P90) are over all calls;
    `width` is the mean distance from P50 to P90. `forecast_us`: microseconds of one, P99.
    """

    mae: float
    at_start: float
    at_25: float
    at_50: float
    at_75: float
    pinball_50: float
    pinball_90: float
    covered: float
    width: float
    forecast_us: float


def steps_left(run: KnownRun) -> Sequence[float]:
    """For each call: the calls from its step on."""
    return _left(run, [1] * len(run.calls))


def tokens_left(run: KnownRun) -> Sequence[float]:
    """For each call: what the calls from its step on write."""
    return _left(run, [call.output_tokens for call in run.calls])


def _left(run: KnownRun, amounts: Sequence[int]) -> Sequence[float]:
    of_step: dict[int, int] = {}
    for call, amount in zip(run.calls, amounts, strict=True):
        of_step[call.step] = of_step.get(call.step, 0) + amount
    left, total = {}, 0
    for step in sorted(of_step, reverse=True):
        total += of_step[step]
        left[step] = float(total)
    return [left[call.step] for call in run.calls]


class Whole:
    """A predictor that learns at the end of a run what was left at each of its calls."""

    def __init__(self, predictor: Predictor, truth: Truth) -> None:
        self._predictor = predictor
        self._truth = truth

    def teach(self, run: KnownRun) -> None:
        """From the last call to the first, as the scheduler does when a run ends."""
        true = self._truth(run)
        for place in reversed(range(len(run.calls))):
            self._predictor.learn(query_of(run, place), true[place])

    def foresee(self, run: KnownRun, place: int) -> tuple[float, float]:
        """P50 and P90 of what is left."""
        found = self._predictor.estimate(query_of(run, place))
        return found.p50, found.p90

    def reveal(self, run: KnownRun, place: int) -> None:
        """Nothing: what a run has shown is part of each question."""


def _forecasters(truth: Truth, prior: tuple[float, float]) -> dict[str, Callable[[], Forecaster]]:
    return {
        **simple(truth),
        "sketch": lambda: Whole(rest_of_run(prior), truth),
        **boosted(truth),
        "headway": lambda: Whole(Horizons({"left": prior}).of("left"), truth),
        "clairvoyant": lambda: Clairvoyant(truth),
    }


QUANTITIES: dict[str, Truth] = {"steps": steps_left, "tokens": tokens_left}
HORIZON_FORECASTERS = {
    "steps": _forecasters(steps_left, (5.0, 20.0)),
    "tokens": _forecasters(tokens_left, (600.0, 2400.0)),
}
"""By quantity and name."""


def judge_horizon(
    quantity: str,
    make: Callable[[], Forecaster],
    train: Iterable[KnownRun],
    test: Sequence[KnownRun],
    *,
    clock: Callable[[], float],
) -> HorizonScores:
    """Teach, then foresee at every call of the test half; `clock` (seconds) times the forecasts."""
    truth = QUANTITIES[quantity]
    forecaster = make()
    for run in train:
        forecaster.teach(run)
    p50, p90, took = [], [], []
    true: list[float] = []
    looked: dict[str, list[int]] = {name: [] for name in CHECKPOINTS}
    for run in test:
        last = len(run.calls) - 1
        for name, share in CHECKPOINTS.items():
            if run.calls:
                looked[name].append(len(true) + min(int(share * len(run.calls)), last))
        for place, is_so in enumerate(truth(run)):
            true.append(is_so)
            began = clock()
            low, high = forecaster.foresee(run, place)
            took.append(1e6 * (clock() - began))
            p50.append(low)
            p90.append(high)
    median, high_end, ends = (np.array(one, dtype=np.float64) for one in (p50, p90, true))
    off = np.abs(median - ends)
    return HorizonScores(
        mae=float(off.mean()),
        **{name: float(off[places].mean()) for name, places in looked.items()},
        pinball_50=pinball(median, ends, 0.5),
        pinball_90=pinball(high_end, ends, 0.9),
        covered=float((ends <= high_end).mean()),
        width=float((high_end - median).mean()),
        forecast_us=float(np.percentile(np.array(took), 99)),
    )

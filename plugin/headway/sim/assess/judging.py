"""One labelled set judged on one split: every forecaster, the frontier, and what it took."""

from collections.abc import Callable

import msgspec

from headway.sim.assess.chances import ChanceScores, chance_scores
from headway.sim.assess.confidences import (
    LARGE,
    SIMPLE,
    SMALL,
    Questions,
    Reader,
    Told,
    failures,
    rate_of,
)
from headway.sim.assess.frontier import (
    LARGE_PRICE,
    SMALL_PRICE,
    Frontier,
    Lengths,
    frontiers,
    shrunk,
)
from headway.sim.assess.labelled import KnownQuestion

ENCODED = "headway + encoder"
FORECASTERS = (
    "constant",
    "kind",
    "tf-idf",
    "headway",
    "headway, ungated",
    ENCODED,
    f"{ENCODED}, ungated",
    "clairvoyant",
)
"""Those with an encoder only where one has read the texts."""
OUTCOMES = ("small", "large", "after failure")


class Took(msgspec.Struct, frozen=True, kw_only=True):
    """Microseconds of learning one answer (mean) and of forecasting both models from the text
    (mean and P99), and bytes of what was learned of both models.
    """

    learn_us: float
    forecast_us: float
    forecast_p99_us: float
    state_bytes: int


class JudgedSplit(msgspec.Struct, frozen=True, kw_only=True):
    """Scores by forecaster and outcome, frontiers by order (none without lengths)."""

    scores: dict[str, dict[str, ChanceScores]]
    frontiers: dict[str, Frontier]
    cost_ratio: float
    took: Took


def judge_split(
    train: Questions, test: Questions, *, has_lengths: bool, clock: Callable[[], float]
) -> JudgedSplit:
    """Teach on one half, judge on the other; `clock` (seconds) times the forecasts."""
    reader = Reader(train, clock=clock)
    told = {name: make(train, test) for name, make in SIMPLE.items()}
    told["headway"], told["headway, ungated"] = reader.believed(test), reader.ungated(test)
    reader.time(test)
    if train[0].embedding:
        taught, asked = _encoded(train), _encoded(test)
        by_encoder = Reader(taught, clock=clock)
        told[ENCODED] = by_encoder.believed(asked)
        told[f"{ENCODED}, ungated"] = by_encoder.ungated(asked)
    costs = reader.costs
    found: dict[str, Frontier] = {}
    if has_lengths:
        found = frontiers(
            test,
            told,
            predicted=Lengths(train).cost(test),
            line=shrunk(reader.foretold),
            encoded=told.get(ENCODED),
        )
    timed = sorted(costs.forecast_us)
    return JudgedSplit(
        scores={name: _scores(told[name], train, test) for name in FORECASTERS if name in told},
        frontiers=found,
        cost_ratio=_cost_ratio(test) if has_lengths else 0.0,
        took=Took(
            learn_us=sum(costs.learn_us) / len(costs.learn_us),
            forecast_us=sum(timed) / len(timed),
            forecast_p99_us=timed[int(0.99 * (len(timed) - 1))],
            state_bytes=costs.state_bytes,
        ),
    )


def _encoded(questions: Questions) -> list[KnownQuestion]:
    """As a daemon with an encoder sees them: embeddings before the hashed words."""
    return [
        msgspec.structs.replace(one, features=one.embedding + one.features) for one in questions
    ]


def _scores(told: Told, train: Questions, test: Questions) -> dict[str, ChanceScores]:
    failed = failures(test)
    chances = (
        (told.small, [one.small_ok for one in test], rate_of(train, SMALL)),
        (told.large, [one.large_ok for one in test], rate_of(train, LARGE)),
        (told.after, [one.large_ok for one in failed], rate_of(failures(train), LARGE)),
    )
    return {
        outcome: chance_scores(forecast, right, rate=rate)
        for outcome, (forecast, right, rate) in zip(OUTCOMES, chances, strict=True)
        if right
    }


def _cost_ratio(test: Questions) -> float:
    """What asking the large model everything costs over asking the small one everything."""
    large = LARGE_PRICE * sum(one.large_tokens for one in test)
    return large / (SMALL_PRICE * max(sum(one.small_tokens for one in test), 1))

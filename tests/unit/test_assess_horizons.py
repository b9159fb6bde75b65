"""Measures of what is left of runs, on examples worked by hand."""

import pytest

from headway.sim.assess.horizons import (
    HORIZON_FORECASTERS,
    judge_horizon,
    steps_left,
    tokens_left,
)
from headway.sim.assess.sets import KnownCall, KnownRun


def run(number: int, *calls: tuple[str, int, int]) -> KnownRun:
    """Calls are (role, step, tokens)."""
    return KnownRun(
        id=f"r{number}",
        graph="g",
        group=f"t{number}",
        calls=tuple(
            KnownCall(role=role, visit=1, step=step, prompt_tokens=10, output_tokens=tokens)
            for role, step, tokens in calls
        ),
    )


FAN = run(0, ("plan", 2, 5), ("left", 4, 7), ("right", 4, 9), ("sum", 6, 1))
SHORT = run(1, ("plan", 2, 5), ("sum", 4, 1))
LONG = run(2, ("plan", 2, 5), ("left", 4, 7), ("left", 6, 7), ("sum", 8, 1))


def test_what_is_left_counts_the_call_and_those_beside_it() -> None:
    assert steps_left(FAN) == [4, 3, 3, 1]
    assert tokens_left(FAN) == [22, 17, 17, 1]


def test_measures_by_hand() -> None:
    # taught 2 and 4 left at "plan", 1 at "sum": the median says 3 and 1 of SHORT, which has 2 and 1
    make = HORIZON_FORECASTERS["steps"]["role + position"]
    found = judge_horizon("steps", make, [SHORT, LONG], [SHORT], clock=lambda: 0.0)
    assert found.mae == found.at_50 / 2 + 0.5 * 1.0 == pytest.approx(0.5)
    assert (found.at_start, found.at_25, found.at_50, found.at_75) == (1.0, 1.0, 0.0, 0.0)
    assert found.pinball_50 == pytest.approx(0.5 / 2)
    # P90 of 2 and 4 is 3.8
    assert found.pinball_90 == pytest.approx(0.1 * 1.8 / 2)
    assert found.covered == 1.0 and found.width == pytest.approx(0.8 / 2)


@pytest.mark.parametrize("quantity", HORIZON_FORECASTERS)
def test_who_knows_the_truth_is_never_off(quantity: str) -> None:
    make = HORIZON_FORECASTERS[quantity]["clairvoyant"]
    found = judge_horizon(quantity, make, [SHORT], [FAN, LONG], clock=lambda: 0.0)
    assert found.mae == found.pinball_50 == found.pinball_90 == 0.0 and found.covered == 1.0

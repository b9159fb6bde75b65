"""The pilot: means of cut probes, deadlines and the search, worked by hand on made outcomes."""

import pytest

from headway.sim.knee import KneeSearch
from headway_samples.demo.arrivals import Share
from headway_samples.demo.driver import Outcome
from headway_samples.demo.measures import RunRecord
from headway_samples.demo.pilot import (
    DRAIN_S,
    MARGIN_S,
    Search,
    deadlines_of,
    mean_completion,
    search_knee,
)

MIX = (Share(sample="a", weight=1.0, tasks=1),)
PROBE_S = 6.0
ROUND_S = PROBE_S + DRAIN_S + MARGIN_S


def _outcome(
    *times: tuple[str, float | None],
    cut: tuple[float, ...] = (),
    spacing_s: float = 0.0,
    errors: tuple[str, ...] = (),
) -> Outcome:
    records = [
        RunRecord(sample=sample, completion_s=each, solved=True, deadline_s=1.0)
        for sample, each in times
    ]
    return Outcome(
        records=records,
        errors=list(errors),
        cut_ages_s=list(cut),
        spacing_s=spacing_s,
        wall_s=1.0,
    )


def test_deadlines_are_multiples_of_the_idle_time_on_the_largest_model() -> None:
    idle = _outcome(
        ("code_generation", 10.0),
        ("code_generation", 20.0),
        ("deep_research", 40.0),
        ("support_chat", 8.0),
    )
    assert deadlines_of(idle) == {
        "code_generation": 90.0,  # 6 x (10 + 20) / 2
        "deep_research": 240.0,
        "support_chat": 24.0,  # 3 x 8: interactive
    }


def test_runs_that_were_cut_count_as_if_they_drained_at_the_rate_of_the_others() -> None:
    outcome = _outcome(("a", 4.0), ("a", 6.0), cut=(10.0, 20.0), spacing_s=3.0)
    # Two were left, 6 s to drain both, 3 s on average: 4, 6, 10 + 3 and 20 + 3.
    assert mean_completion(outcome) == pytest.approx((4 + 6 + 13 + 23) / 4)


def test_a_pilot_of_failing_runs_is_an_error_that_says_why() -> None:
    with pytest.raises(RuntimeError, match="a 3: Boom"):
        mean_completion(_outcome(("a", 1.0), errors=("a 3: Boom()",)))
    with pytest.raises(RuntimeError, match="no run of the pilot ended"):
        mean_completion(_outcome())


class Probes:
    """A pool whose mean is idle x 3 (rate / knee)^2, on a clock that only probes move."""

    def __init__(self, *, knee: float, spent_s: float) -> None:
        self.knee = knee
        self.now_s = spent_s
        self.rates: list[float] = []

    async def __call__(self, rate: float) -> float:
        self.rates.append(rate)
        self.now_s += ROUND_S
        return 3.0 * (rate / self.knee) ** 2


async def _search(probes: Probes, *, guess: float, longest_s: float) -> KneeSearch:
    how = Search(mix=MIX, variation=1.0, seed=1, guess=guess, window_s=PROBE_S, longest_s=longest_s)
    return await search_knee(probes, how, passed_s=lambda: probes.now_s)


async def test_the_search_closes_in_on_the_knee() -> None:
    probes = Probes(knee=10.0, spent_s=0.0)
    search = await _search(probes, guess=6.0, longest_s=5 * ROUND_S)
    assert search.sureness == "bracketed"
    assert search.knee() == pytest.approx(10.0, rel=0.02)
    # 6 and 8.1 are below, 10.935 is above, then the geometric middle of 8.1 and 10.935, and on.
    assert probes.rates[:4] == pytest.approx([6.0, 8.1, 10.935, 9.4113], rel=1e-3)


async def test_no_probe_begins_that_would_not_end_in_time() -> None:
    probes = Probes(knee=10.0, spent_s=7.0)
    await _search(probes, guess=6.0, longest_s=7.0 + 2 * ROUND_S)
    assert len(probes.rates) == 2
    assert probes.now_s <= 7.0 + 2 * ROUND_S


async def test_without_time_for_a_probe_the_guess_is_taken() -> None:
    probes = Probes(knee=10.0, spent_s=50.0)
    search = await _search(probes, guess=6.0, longest_s=55.0)
    assert (search.knee(), search.sureness) == (6.0, "guessed")
    assert probes.rates == []

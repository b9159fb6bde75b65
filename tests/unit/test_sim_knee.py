"""The search for a knee in virtual time, on curves whose knee is known."""

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.sim.knee import TOLERANCE, FoundKnee, find_knee


@pytest.mark.parametrize("guess", [1.0, 7.0, 10.0, 40.0])
def test_it_is_found_within_the_tolerance(guess: float) -> None:
    tried: list[float] = []

    def mean_at(rate: float) -> float:
        tried.append(rate)
        return 2.0 * (1.0 + 2.0 * (rate / 10.0) ** 3)  # three times 2 s at 10 runs/s

    found = find_knee(mean_at, idle_s=2.0, guess=guess)
    assert found.rate == pytest.approx(10.0, rel=TOLERANCE)
    assert [rate for rate, _ in found.probes] == tried
    assert len(tried) <= 12


def test_a_knee_that_is_never_crossed_is_an_error_with_what_was_seen() -> None:
    with pytest.raises(ConfigError, match=r"no knee within 5 plays.*1\.50x at 4/s.*more runs"):
        find_knee(lambda rate: 3.0, idle_s=2.0, guess=4.0, plays=5)


def test_a_rate_at_which_runs_fail_is_too_much_and_can_be_written_down() -> None:
    found = find_knee(
        lambda rate: float("inf") if rate > 9.0 else 2.0 + rate / 3.0, idle_s=2.0, guess=4.0
    )
    assert 8.0 < found.rate <= 9.0
    assert [rate > 9.0 for rate, ratio in found.probes if ratio is None]
    assert msgspec.json.decode(msgspec.json.encode(found), type=FoundKnee) == found
    with pytest.raises(ConfigError, match="mean completion was infinite at 4/s"):
        find_knee(lambda rate: float("inf"), idle_s=2.0, guess=4.0, plays=2)


def test_a_failed_idle_cell_has_no_knee() -> None:
    with pytest.raises(ConfigError, match="idle completion"):
        find_knee(lambda rate: 3.0, idle_s=float("inf"), guess=4.0)

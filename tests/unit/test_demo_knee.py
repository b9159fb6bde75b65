"""The search for the knee, on curves whose knee is known."""

import pytest

from headway.sim.knee import KNEE_RATIO, KneeSearch


def _found(guess: float, knee: float, probes: int) -> KneeSearch:
    """Search on ratio = 3 (rate / knee)^2, which is 3 exactly at the knee."""
    search = KneeSearch(guess)
    for _ in range(probes):
        rate = search.next_rate()
        search.tell(rate, KNEE_RATIO * (rate / knee) ** 2)
    return search


@pytest.mark.parametrize("guess", [4.0, 9.0, 10.0, 11.0, 25.0])
def test_it_finds_the_knee_from_below_and_above(guess: float) -> None:
    search = _found(guess, knee=10.0, probes=6)
    assert search.sureness == "bracketed"
    assert search.knee() == pytest.approx(10.0, rel=0.03)


def test_without_a_bracket_it_answers_what_it_knows() -> None:
    search = KneeSearch(5.0)
    assert (search.knee(), search.sureness) == (5.0, "guessed")
    search.tell(5.0, 1.2)
    assert (search.knee(), search.sureness) == (5.0, "at least")
    assert search.next_rate() > 5.0
    high = KneeSearch(5.0)
    high.tell(5.0, 9.0)
    assert (high.knee(), high.sureness) == (5.0, "at most")
    assert high.next_rate() < 5.0


def test_the_knee_is_interpolated_between_two_probes() -> None:
    search = KneeSearch(4.0)
    search.tell(4.0, 2.0)
    search.tell(16.0, 4.0)
    assert search.next_rate() == pytest.approx(8.0)  # the geometric middle
    assert search.knee() == pytest.approx(8.0)  # ratio 3 is halfway between 2 and 4


def test_a_noisy_reversal_gives_the_lower_rate() -> None:
    search = KneeSearch(4.0)
    search.tell(8.0, 2.0)
    search.tell(6.0, 3.5)
    assert search.knee() == 6.0


def test_a_senseless_start_is_refused() -> None:
    with pytest.raises(ValueError, match="guess"):
        KneeSearch(0.0)

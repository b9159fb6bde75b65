"""Output limits, worked by hand, and what every learner must keep to."""

import msgspec
import pytest

from headway.core.protocols import Query
from headway.predict.limits import LEAST_SAMPLES, WINDOW, OutputLimits

PLACE = Query(graph="g", node="write", model="small")
# 50 answers of 11,100 tokens in all. At 0.01 s a token and F for a right answer lost:
#   no limit  111 s
#   900       (4000 + 1200 + 6 * 900) / 100 = 106 s
#   300       (4000 + 10 * 300) / 100 = 70 s + 1 F
#   100       50 * 100 / 100 = 50 s + 5 F
ANSWERS = [(1000, False)] * 5 + [(100, True)] * 40 + [(300, True)] * 4 + [(900, True)]


def taught(answers: list[tuple[int, bool]]) -> OutputLimits:
    limits = OutputLimits()
    for tokens, ok in answers:
        limits.learn(PLACE, tokens, ok)
    return limits


@pytest.mark.parametrize(("failure_s", "limit"), [(1.0, 100), (10.0, 300), (100.0, 900)])
def test_a_limit_is_where_writing_on_costs_more_than_stopping(failure_s: float, limit: int) -> None:
    assert taught(ANSWERS).limit(PLACE, s_per_token=0.01, failure_s=failure_s) == limit


@pytest.mark.parametrize(
    "answers",
    [
        ANSWERS[1:],  # too few
        [(100, True)] * 60,  # nothing to cut
        [(100, False)] * 60,  # nothing is right at any length: not a matter of length
    ],
)
def test_no_limit_where_none_pays_or_too_little_is_known(answers: list[tuple[int, bool]]) -> None:
    assert taught(answers).limit(PLACE, s_per_token=0.01, failure_s=10.0) is None


def test_places_are_apart_and_only_the_last_answers_count() -> None:
    limits = taught(ANSWERS)
    other = Query(graph="g", node="write", model="large", visit=3, run="r")
    assert limits.limit(other, s_per_token=0.01, failure_s=10.0) is None
    for _ in range(WINDOW):
        limits.learn(PLACE, 1000, True)
    assert limits.limit(PLACE, s_per_token=0.01, failure_s=10.0) is None


def test_asking_teaches_nothing_and_a_snapshot_is_all() -> None:
    limits = taught(ANSWERS[: LEAST_SAMPLES - 1])
    before = limits.snapshot()
    assert limits.limit(PLACE, s_per_token=0.01, failure_s=10.0) is None
    assert limits.snapshot() == before
    fresh = OutputLimits()
    fresh.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before)))
    assert fresh.snapshot() == before
    for each in (limits, fresh):
        each.learn(PLACE, *ANSWERS[-1])
        assert each.limit(PLACE, s_per_token=0.01, failure_s=10.0) == 300


def test_what_is_no_snapshot_is_refused() -> None:
    with pytest.raises((KeyError, TypeError)):
        OutputLimits().restore({"nonsense": 1})

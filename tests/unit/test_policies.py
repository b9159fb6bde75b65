"""Each policy on examples of a few calls, worked by hand."""

from typing import Any

import pytest

from headway.core.errors import ConfigError
from headway.core.facts import GraphSeen
from headway.core.protocols import Query
from headway.core.types import CallId, EndpointId
from headway.policy import make_policy
from tests.support.telling import Teller, endpoint, granted, grants, pool

# An answer is 200 tokens before anything was seen, the rest of a run 10 s: the small model takes
# 2 s and suffices in 6 of 10 cases, the large one 10 s and 9 of 10.
SMALL = {"step_s": 0.01, "prefill_s": 0.0}
LARGE = {"step_s": 0.05, "prefill_s": 0.0}
QUALITY = {"small": 0.6, "large": 0.9}
LOOP = (
    ("write", "test", "edge"),
    ("test", "repair", "branch"),
    ("test", "__end__", "branch"),
    ("repair", "test", "edge"),
)


def small_and_large(
    *, seats: int = 1, failure_price: float = 4.0, idle_grace_s: float = 2.0, **params: Any
) -> Teller:
    return Teller(
        pool(
            endpoint("s", "small", seats=seats, **SMALL),
            endpoint("l", "large", seats=seats, **LARGE),
            quality=QUALITY,
            idle_grace_s=idle_grace_s,
        ),
        policy="headway",
        failure_price=failure_price,
        **params,
    )


def costs(told: Teller, call: str) -> dict[str, float]:
    """What the policy says each endpoint would cost the call, in seconds."""
    for grant in grants(told.ready(call)):
        return {score.endpoint: score.cost_s for score in grant.scores}
    raise AssertionError("not granted")


def teach_rest(told: Teller, graph: str, rest_s: float, tokens: float) -> None:
    for _ in range(200):
        place = Query(graph=graph, node="write")
        told.scheduler.foresight.rest_s.learn(place, rest_s)
        told.scheduler.foresight.rest_tokens.learn(place, tokens)


# -- first come, least busy ------------------------------------------------------------------------


def test_fcfs_takes_the_oldest_counted_from_its_first_attempt() -> None:
    told = Teller(pool(endpoint("a", seats=1)), policy="fcfs+release")
    told.ready("c0", at=0.0)
    told.ready("c1", at=1.0)
    told.ready("c2", attempt=2, age_s=5.0, at=2.0)
    assert granted(told.ended("c0", at=3.0)) == [("c2", "a")]


def test_fcfs_goes_where_most_seats_are_free() -> None:
    of = pool(endpoint("a", seats=2), endpoint("b", "large", seats=4))
    told = Teller(of, policy="fcfs")
    assert [to for name in "123456" for _, to in granted(told.ready(name))] == list("abbabb")


def test_fcfs_lets_others_pass_only_where_the_first_may_not_go() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b", "large")), policy="fcfs+release")
    told.ready("c1", models=("small",))
    told.ready("c2", models=("small",))
    assert granted(told.ready("c3")) == [("c3", "b")]


def test_least_busy_binds_at_once_to_the_fewest_open_calls() -> None:
    of = pool(endpoint("a", seats=1), endpoint("b", "large", seats=9))
    told = Teller(of, policy="least-busy")
    assert [to for name in "12345" for _, to in granted(told.ready(name))] == list("ababa")


# -- headway ---------------------------------------------------------------------------------------


def test_the_large_model_where_a_failure_ends_the_run() -> None:
    # small 2 + 0.4 * 4 * 10 = 18, large 10 + 0.1 * 40 = 14
    told = small_and_large()
    (grant,) = grants(told.ready("c1"))
    assert grant.endpoint == "l"
    scores = {score.endpoint: score.cost_s for score in grant.scores}
    assert scores == {"l": pytest.approx(14.0), "s": pytest.approx(18.0)}


def test_a_small_price_of_failure_makes_it_the_small_one() -> None:
    told = small_and_large(failure_price=1.0)
    assert costs(told, "c1") == {"s": pytest.approx(6.0), "l": pytest.approx(11.0)}
    assert told.on("s") == ["c1"]


def test_the_small_model_where_a_failure_shows_and_costs_one_round() -> None:
    told = small_and_large(failure_price=6.0)  # of 20 / 3 s: 40
    nodes = ("write", "test", "repair")
    told.tell(GraphSeen(graph="g", nodes=nodes, edges=LOOP))
    told.scheduler.books.topology("g").most_visits.update(test=2)
    told.run_started("r1")
    told.node_started("w", "write", step=1)
    told.node_ended("w")
    told.node_started("t", "test", step=2, parents=("w",))  # type: ignore[arg-type]
    told.node_ended("t")
    told.scheduler.books.topology("g").most_visits.update(test=3)
    # one more answer is possible after this one: the large model has 0.9 * 0.9 after another's
    # failure, 10 + 0.19 * 40 = 17.6, the small one 0.6 * 0.6 = 0.36, 2 + 0.64 * 40 = 27.6
    (grant,) = grants(told.ready("c1", node="n", node_name="repair", parents=("t",), step=3))
    assert grant.endpoint == "s"
    after_small = 10 + (1 - 0.9 * 0.9) * 40
    # after the large one failed: itself 0.9 * 0.6, 10 + 0.46 * 40; small 0.6 * 0.9, 2 + 0.46 * 40
    after_large = 2 + (1 - 0.6 * 0.9) * 40
    assert {score.endpoint: score.cost_s for score in grant.scores} == {
        "s": pytest.approx(2 + 0.4 * after_small),
        "l": pytest.approx(10 + 0.1 * after_large),
    }


def test_load_spills_to_what_is_free() -> None:
    # behind a call of 10 s the large one costs 24, more than 18
    told = small_and_large()
    assert [to for name in "12" for _, to in granted(told.ready(name))] == ["l", "s"]


def test_a_call_waits_for_the_better_endpoint_but_not_beyond_its_grace() -> None:
    # price 8: small 34, large 18, behind a call of 10 s still only 28
    told = small_and_large(failure_price=8.0)
    told.ready("c1", at=0.3)
    assert granted(told.ready("c2", at=0.3)) == []
    assert granted(told.tick(2.2)) == []
    (grant,) = grants(told.tick(2.3))
    assert (grant.call, grant.endpoint) == ("c2", "s") and "waited 2.0 s" in grant.why


def test_a_call_waits_no_longer_than_waiting_was_to_gain_it() -> None:
    # nothing is known of answers (P50 200 tokens, P90 800), so the large one's call has 10 s ahead
    # and 0.29 s more for each that passes: after 4.6 s there is 34 - (18 + 11.3) to gain
    told = small_and_large(failure_price=8.0, idle_grace_s=100.0)
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0)
    assert granted(told.tick(4.6)) == []
    assert granted(told.tick(4.7)) == [("c2", "s")]


def test_within_its_grace_it_gets_the_better_endpoint() -> None:
    told = small_and_large(failure_price=8.0)
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0)
    (grant,) = grants(told.ended("c1", at=1.5, output_tokens=30))
    assert (grant.call, grant.endpoint) == ("c2", "l")


@pytest.mark.parametrize("ready_at", [0.1, 0.7, 123.456, 98765.4321])
def test_rounding_does_not_lose_the_end_of_the_grace(ready_at: float) -> None:
    told = small_and_large(failure_price=8.0)
    told.ready("c1", at=ready_at)
    told.ready("c2", at=ready_at)
    assert granted(told.tick(ready_at + 2.0)) == [("c2", "s")]


def test_a_run_stays_with_the_endpoint_that_has_its_prompt() -> None:
    told = Teller(
        pool(endpoint("a", prefill_s=0.01, seats=2), endpoint("b", prefill_s=0.01, seats=2)),
        policy="headway",
    )
    told.sent("c0", "b")
    told.ended("c0", run="r1", prompt_tokens=100, cached_tokens=0)
    told.endpoint("b").speed = 1.0
    (grant,) = grants(told.ready("c1"))
    assert grant.endpoint == "b" and "served last" in grant.why
    # another run knows no such place and takes the first of equals, which is idle
    assert granted(told.ready("c2", run="r2")) == [("c2", "a")]


def test_it_does_not_stay_where_waiting_costs_more_than_the_cache_saves() -> None:
    of = pool(endpoint("a", prefill_s=0.01), endpoint("b", prefill_s=0.01))
    told = Teller(of, policy="headway")
    told.sent("c0", "b")
    told.ended("c0", run="r1", prompt_tokens=100, cached_tokens=0)
    told.sent("other", "b", run="r2")
    assert granted(told.ready("c1")) == [("c1", "a")]


def test_an_endpoint_without_kv_is_not_taken_for_one_that_is_free() -> None:
    # both small: a is declared first but full for 2 s, so waiting there cannot be the best
    of = pool(endpoint("a", seats=9, kv_tokens=1000, **SMALL), endpoint("b", **SMALL))
    told = Teller(of, policy="headway")
    assert [to for name in "12" for _, to in granted(told.ready(name))] == ["a", "b"]


def test_less_work_goes_first() -> None:
    told = Teller(pool(endpoint("a", seats=1)), policy="headway")
    teach_rest(told, "long", 100.0, 5000.0)
    teach_rest(told, "short", 2.0, 50.0)
    told.ready("c0", run="r0", graph="short", at=0.0)
    told.ready("c1", run="r1", graph="long", at=0.0)
    told.ready("c2", run="r2", graph="short", at=1.0)
    assert granted(told.ended("c0", at=2.0)) == [("c2", "a")]


def test_among_equals_the_older_run_goes_first() -> None:
    told = Teller(pool(endpoint("a", seats=1)), policy="headway")
    told.ready("c0", run="r0", at=0.0)
    told.ready("c1", run="r1", at=0.0)
    told.ready("c2", run="r2", at=1.0, run_age_s=30.0)
    assert granted(told.ended("c0", at=2.0)) == [("c2", "a")]


def test_a_call_held_too_long_goes_before_everything() -> None:
    told = Teller(pool(endpoint("a", seats=1)), policy="headway", age_guard_s=60.0)
    teach_rest(told, "long", 1000.0, 1e5)
    teach_rest(told, "short", 2.0, 50.0)
    told.ready("c0", run="r0", graph="short", at=0.0)
    told.ready("c1", run="r1", graph="long", at=0.0)
    for name in ("c2", "c3"):
        told.ready(name, run=name, graph="short", at=50.0)
    assert granted(told.ended("c0", at=59.0)) == [("c2", "a")]
    assert granted(told.ended("c2", at=61.0)) == [("c1", "a")]


def test_after_a_failure_another_model_is_worth_more() -> None:
    # before: small 2 + 0.4 * 20 = 10, large 10 + 0.1 * 20 = 12
    # after:  small 2 + 0.64 * 20 = 14.8, large 10 + 0.19 * 20 = 13.8
    told = small_and_large(seats=4, failure_price=3.0)  # of 20 / 3 s: 20
    told.tell(GraphSeen(graph="g", nodes=("write", "test", "repair"), edges=LOOP))
    told.scheduler.books.topology("g").most_visits.update(repair=1)
    assert granted(told.ready("c1", node="n1", node_name="repair")) == [("c1", "s")]
    told.ended("c1", output_tokens=200)
    run = told.scheduler.books.runs["r1"]  # type: ignore[index]
    run.explores = False
    run.failed_models = ("small",)
    told.ready("c2", node="n2", node_name="repair")
    call = told.scheduler.books.calls[(CallId("c2"), 1)]
    view = told.scheduler.view(0.0)
    assert view.chance(call, "small", view.failed(call)) == pytest.approx(0.6 * 0.6)
    assert view.chance(call, "large", view.failed(call)) == pytest.approx(0.9 * 0.9)
    assert call.endpoint == EndpointId("l")
    assert call.grant is not None and "failed before in this run: small" in call.grant.why


# -- by name ---------------------------------------------------------------------------------------


def test_a_wrong_name_or_parameter_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no policy 'fcsf'; did you mean `fcfs`"):
        make_policy("fcsf")
    with pytest.raises(ConfigError, match="no parameter 'presure'; did you mean `pressure`"):
        make_policy("headway", {"presure": 1})
    with pytest.raises(ConfigError, match="must be >= 0"):
        make_policy("headway", {"pressure": -1})


def test_an_endpoint_that_turned_a_call_away_is_as_full_as_it_showed() -> None:
    told = Teller(pool(endpoint("a", seats=None), endpoint("b", seats=4)), policy="fcfs")
    for name in ("c1", "c2", "c3"):
        assert granted(told.ready(name, models=("a",))) == [(name, "a")]
    told.ended("c3", outcome="error", error="503")  # so two are its room
    told.ended("c2")
    assert granted(told.ready("c4")) == [("c4", "b")]
    assert granted(told.ready("c5")) == [("c5", "b")]  # one of four is less than one of two

"""The scheduler, call by call: events in, commands out."""

import pytest

from headway.core.calls import CallState
from headway.core.errors import HeadwayError
from headway.core.protocols import Release
from headway.core.scheduler import HOLD_SHARE
from headway.core.types import EndpointId, RunId
from tests.support.telling import (
    ALICE,
    BOB,
    Teller,
    endpoint,
    granted,
    grants,
    notices,
    pool,
    timer,
)


def one_seat(**fields: object) -> Teller:
    return Teller(pool(endpoint("a", seats=1), **fields))


def test_an_idle_pool_releases_at_once() -> None:
    told = one_seat()
    (grant,) = grants(told.ready(at=3.0))
    assert (grant.call, grant.attempt, grant.endpoint, grant.model) == ("c1", 1, "a", "small")
    assert (grant.client, grant.run, grant.held_s) == (ALICE, "r1", 0.0)
    assert told.on("a") == ["c1"]


def test_a_call_waits_for_a_seat_and_gets_the_one_that_is_freed() -> None:
    told = one_seat()
    told.ready("c1", at=0.0)
    assert granted(told.ready("c2", at=1.0)) == []
    (grant,) = grants(told.ended("c1", at=4.0))
    assert (grant.call, grant.held_s) == ("c2", 3.0)
    assert told.on("a") == ["c2"] and told.waiting() == []


def test_room_counts_what_calls_hold_together_and_the_p90_of_one_more() -> None:
    # the prior P90 of an output is 800 tokens, the prompt 100: two calls hold no 1800 together
    told = Teller(pool(endpoint("a", seats=9, kv_tokens=1900)))
    assert granted(told.ready("c1")) == [("c1", "a")]
    assert granted(told.ready("c2")) == [("c2", "a")]
    reserved = told.endpoint("a").kv_reserved()
    assert 1000 < reserved < 1800 and reserved + 900 > 1900
    assert granted(told.ready("c3")) == []
    roomy = Teller(pool(endpoint("a", seats=9, kv_tokens=2600)))  # three times 900 is more
    assert [granted(roomy.ready(f"c{n}")) for n in range(3)] == [[(f"c{n}", "a")] for n in range(3)]


def test_max_tokens_bounds_the_kv_that_is_reserved() -> None:
    told = Teller(pool(endpoint("a", seats=9, kv_tokens=300)))
    assert granted(told.ready("c1", max_tokens=50)) == [("c1", "a")]
    assert granted(told.ready("c2", max_tokens=50)) == [("c2", "a")]
    assert granted(told.ready("c3", max_tokens=50)) == []


def test_one_call_larger_than_the_kv_still_goes_to_an_idle_endpoint() -> None:
    told = Teller(pool(endpoint("a", seats=9, kv_tokens=50)))
    assert granted(told.ready("c1")) == [("c1", "a")]
    assert granted(told.ready("c2")) == []


def test_the_same_question_twice_is_answered_twice_and_booked_once() -> None:
    told = one_seat()
    first = grants(told.ready("c1", at=0.0))
    (again,) = grants(told.ready("c1", at=1.0, client=BOB))
    assert (again.endpoint, again.client) == (first[0].endpoint, BOB)
    assert told.on("a") == ["c1"]


def test_a_waiting_question_asked_again_over_another_connection_is_answered_there() -> None:
    told = one_seat()
    told.ready("c1")
    told.ready("c2")
    assert told.ready("c2", client=BOB) == ()
    (grant,) = grants(told.ended("c1"))
    assert (grant.call, grant.client) == ("c2", BOB)
    assert told.waiting() == []


def test_an_end_told_twice_frees_one_seat() -> None:
    told = one_seat()
    for name in ("c1", "c2", "c3"):
        told.ready(name)
    assert granted(told.ended("c1")) == [("c2", "a")]
    assert granted(told.ended("c1")) == []
    assert told.on("a") == ["c2"]


def test_a_question_that_comes_after_its_own_end_is_not_asked() -> None:
    told = one_seat()
    told.ended("c1")
    assert granted(told.ready("c1")) == []
    assert told.on("a") == [] and told.waiting() == []


def test_a_retry_closes_the_attempt_before_and_asks_again() -> None:
    told = one_seat()
    told.ready("c1", at=0.0)
    (grant,) = grants(told.ready("c1", attempt=2, at=1.0))
    assert grant.attempt == 2
    assert list(told.endpoint("a").loads) == [("c1", 2)]
    assert told.ended("c1", attempt=1) == ()
    assert told.state("c1", 2) is CallState.RUNNING


def test_an_absurd_attempt_number_costs_nothing() -> None:
    told = one_seat()
    told.ready("c1")
    (grant,) = grants(told.ready("c1", attempt=2**60))
    assert grant.attempt == 2**60 and len(told.on("a")) == 1


def test_the_end_of_a_node_closes_the_calls_it_still_has() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", node="n1")
    told.ready("c2", node="n1")
    told.ready("c3", node="n2")
    assert granted(told.node_ended("n1", "error")) == [("c3", "a")]
    assert told.call("c1") is None and told.call("c2") is None
    assert granted(told.ready("c1", node="n1")) == []


def test_the_end_of_a_run_closes_its_calls_and_those_of_graphs_inside() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    told.run_started("r1")
    told.run_started("child", graph="inner", parent_run="r1", parent_node="n1")
    told.ready("c1", run="r1", node="n1")
    told.ready("c2", run="child", graph="inner")
    told.ready("c3", run="r2")
    assert granted(told.run_ended("r1")) == [("c3", "a")]
    assert told.on("a") == ["c3"]
    assert told.scheduler.explain("child")["state"] == "ended"


def test_a_question_needs_nothing_told_before() -> None:
    told = one_seat()
    told.ready("c1", at=10.0, run="new", run_age_s=4.0, node="n7", visit=3)
    run = told.scheduler.books.runs["new"]  # type: ignore[index]
    assert run.age_s(10.0) == 4.0 and run.visits == {"step": 3}


def test_a_run_whose_end_overtook_a_question_is_open_again() -> None:
    told = one_seat()
    told.run_started("r1")
    told.run_ended("r1")
    assert granted(told.ready("c1", run="r1")) == [("c1", "a")]
    assert "r1" in told.scheduler.books.runs


# -- sent without a grant --------------------------------------------------------------------------


def test_a_call_sent_without_a_grant_takes_a_seat() -> None:
    told = one_seat()
    told.sent("c1", "a")
    assert told.on("a") == ["c1"]
    assert granted(told.ready("c2")) == []


def test_a_waiting_call_that_fell_open_moves_to_where_it_went() -> None:
    told = Teller(pool(endpoint("a", seats=1), endpoint("b", seats=1)))
    for name in ("c1", "c2", "c3"):
        told.ready(name)
    assert told.waiting() == ["c3"]
    told.sent("c3", "b")
    assert told.waiting() == [] and told.on("b") == ["c2", "c3"]


def test_a_granted_call_that_went_elsewhere_is_booked_only_there() -> None:
    told = Teller(pool(endpoint("a", seats=1), endpoint("b", seats=1)))
    told.ready("c1")
    told.sent("c1", "b")
    assert told.on("a") == [] and told.on("b") == ["c1"]
    told.sent("c1", "nowhere")
    assert told.on("b") == [] and told.call("c1").endpoint is None  # type: ignore[union-attr]


def test_a_call_sent_long_ago_is_booked_from_then() -> None:
    told = one_seat()
    told.now = 50.0
    told.sent("c1", "a", sent_s=8.0)
    (load,) = told.endpoint("a").loads.values()
    assert load.released_at == 42.0


def test_what_is_over_cannot_be_sent() -> None:
    told = one_seat()
    told.ready("c1")
    told.ended("c1")
    told.sent("c1", "a")
    assert told.on("a") == []


# -- promises to clients ---------------------------------------------------------------------------


def test_the_hold_limit_forces_a_grant() -> None:
    told = one_seat()
    told.ready("c1", at=0.0)
    told.ready("c2", at=1.0, hold_limit_s=20.0)
    due = 1.0 + HOLD_SHARE * 20.0
    assert granted(told.tick(due - 0.1)) == []
    (grant,) = grants(told.tick(due))
    assert (grant.call, grant.endpoint) == ("c2", "a")
    assert "20 s" in grant.why and grant.held_s == due - 1.0


def test_the_timer_is_asked_for_and_set_anew_when_it_fired() -> None:
    told = one_seat()
    told.ready("c1", at=0.0)
    assert timer(told.ready("c2", at=1.0, hold_limit_s=100.0)) == 91.0
    assert timer(told.tick(80.0)) == 91.0


def test_nothing_can_serve_it_is_said_at_once_and_noticed_once() -> None:
    told = one_seat()
    commands = told.ready("c1", needs=("vision",))
    (grant,) = grants(commands)
    assert grant.endpoint == "" and "vision" in grant.why
    assert notices(commands) == [("no_candidate", "g/step asking for 'agent'")]
    assert notices(told.ready("c2", needs=("vision",))) == []
    assert told.state("c2") is CallState.RUNNING and told.on("a") == []


def test_a_policy_that_names_no_candidate_is_a_defect_told_with_the_story() -> None:
    class Wrong:
        name = "wrong"
        binds_early = False

        def choose(self, view):  # type: ignore[no-untyped-def]
            return Release(
                call=next(iter(view.waiting)),
                endpoint=EndpointId("zzz"),
                urgency=0.0,
                why="because",
            )

    told = one_seat()
    told.scheduler.policy = Wrong()
    with pytest.raises(HeadwayError, match=r"policy wrong released call c1#1 .* 'zzz'"):
        told.ready("c1")


def test_a_call_that_stood_in_the_engines_queue_tells_nothing_of_its_speed() -> None:
    told = Teller(pool(endpoint("a", seats=1, step_s=0.01)), policy="fcfs")
    told.ready("c1", max_tokens=100)
    told.ready("c2", run="r2", max_tokens=100)  # bound at once, behind the first
    told.ended("c2", run="r2", at=30.0, output_tokens=100)
    assert told.endpoint("a").speed_samples == 0
    told.ended("c1", at=30.0, output_tokens=100)
    assert told.endpoint("a").speed_samples == 1


def test_a_graph_that_takes_the_advice_to_stop_shows_that_its_answer_failed() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    told.ready("c1", node_name="solve")
    told.ended("c1", output_tokens=10)
    scheduler = told.scheduler
    told.ready("c2", node_name="solve", visit=2, node="n2", parents=("n-c1",))
    told.ended("c2", output_tokens=10)
    run = scheduler.books.run(RunId("r1"))
    assert run is not None and len(run.pending) == 1 and run.failed_models == ("small",)
    assert scheduler.worth_retrying(RunId("r1"), "solve", told.now)  # headway gives no such advice
    assert len(run.pending) == 1
    scheduler.policy.worth_retrying = lambda *_: False  # type: ignore[attr-defined]
    assert not scheduler.worth_retrying(RunId("r1"), "solve", told.now)
    assert not run.pending and run.failed_models == ("small", "small")

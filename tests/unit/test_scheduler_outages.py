"""The scheduler when clients or endpoints go away and come back, and when the pool changes."""

import msgspec
import pytest

from headway.core.calls import CallState
from headway.core.desk import ORPHAN_GRACE_S
from headway.core.errors import HeadwayError
from headway.core.facts import EndpointSeen, ModeSet, PoolSet
from headway.core.lookout import OUTAGE_GRACE_S
from headway.core.protocols import Release
from headway.core.scheduler import LOST_RUN_GRACE_S
from headway.core.types import EndpointId
from headway.core.view import View
from headway.policy import make_scheduler
from headway.policy.binding import BoundAtOnce, ReleasedLate
from headway.policy.fcfs import Fcfs
from headway.policy.gateways import LeastBusy
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

# -- clients ---------------------------------------------------------------------------------------


def test_a_lost_client_drops_what_it_held_and_keeps_what_runs_for_a_while() -> None:
    told = Teller(pool(endpoint("a", seats=1, step_s=0.02, prefill_s=0.0)))
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0)
    told.ready("c3", at=0.0, client=BOB, run="r2")
    commands = told.lost(at=1.0)
    assert granted(commands) == [] and told.waiting() == ["c3"]
    assert told.state("c1") is CallState.ORPHANED
    # 200 tokens of 20 ms are 4 s, the P90 (800) four times that
    over = 1.0 + 16.0 + ORPHAN_GRACE_S
    assert granted(told.tick(over - 0.01)) == []
    assert granted(told.tick(over)) == [("c3", "a")]
    assert told.call("c1") is None


def test_a_dropped_call_that_its_client_then_sends_is_booked() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1")
    told.ready("c2")
    told.lost()
    told.sent("c2", "a", client=BOB)
    assert told.on("a") == ["c1", "c2"]


def test_a_dropped_call_may_be_asked_again_on_the_next_connection() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1")
    told.ready("c2")
    told.lost()
    told.ready("c2", client=BOB)
    told.sent("c1", "a", client=BOB)
    (grant,) = grants(told.ended("c1"))
    assert (grant.call, grant.client) == ("c2", BOB)


def test_an_orphan_that_is_told_of_again_does_not_expire() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0)
    told.lost(at=1.0)
    told.sent("c1", "a", client=BOB)
    told.ready("c2", client=BOB)
    assert told.state("c1") is told.state("c2") is CallState.RUNNING
    told.tick(10_000.0)
    assert sorted(told.on("a")) == ["c1", "c2"]


def test_an_orphan_that_ends_is_closed() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    told.lost(at=1.0)
    told.ended("c1", at=2.0)
    assert told.on("a") == [] and told.call("c1") is None


def test_runs_of_a_lost_client_end_unless_it_comes_back() -> None:
    told = Teller(pool(endpoint("a")))
    told.run_started("r1", at=0.1)
    told.run_started("r2", at=0.1)
    told.lost(at=0.1)
    told.run_started("r2", client=BOB, at=5.0)
    told.tick(0.1 + LOST_RUN_GRACE_S)
    assert sorted(told.scheduler.books.runs) == ["r2"]
    assert told.scheduler.explain("r1")["outcome"] == "cancelled"


def test_a_lost_clients_run_with_a_call_of_another_process_goes_on() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.run_started("r1")
    told.ready("c0", run="other", client=BOB)
    told.run_started("child", graph="inner", parent_run="r1", client=BOB)
    told.ready("c1", run="child", graph="inner", client=BOB, at=1.0)
    told.lost(ALICE, at=2.0)
    told.tick(2.0 + LOST_RUN_GRACE_S)
    assert granted(told.ended("c0", at=40.0)) == [("c1", "a")]
    told.ended("c1", at=50.0)
    told.tick(2.0 + 3 * LOST_RUN_GRACE_S)
    assert "r1" not in told.scheduler.books.runs


def test_a_client_that_returns_after_its_run_was_given_up_is_booked() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0, hold_limit_s=900.0)
    told.lost(at=0.0)
    run = told.scheduler.books.runs["r1"]  # type: ignore[index]
    told.scheduler._runs.end(run, "cancelled", 1.0)
    told.sent("c1", "a", client=BOB)
    assert told.on("a") == ["c1"] and "r1" in told.scheduler.books.runs


# -- endpoints -------------------------------------------------------------------------------------


def test_down_and_up_are_noticed_once_each() -> None:
    told = Teller(pool(endpoint("a")))
    assert notices(told.seen("a", reachable=False, error="refused")) == [("endpoint_down", "a")]
    assert notices(told.seen("a", reachable=False, error="refused")) == []
    assert notices(told.seen("a")) == [("endpoint_up", "a")]
    assert notices(told.seen("a")) == []
    assert notices(told.seen("a", reachable=False)) == [("endpoint_down", "a")]


def test_an_endpoint_found_dead_while_it_rests_is_noticed_too() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    for name in ("c1", "c2"):
        told.ready(name)
    for name in ("c1", "c2"):
        told.ended(name, outcome="error", error="connect")
    assert not told.endpoint("a").up(0.5)
    assert notices(told.seen("a", reachable=False, at=0.5)) == [("endpoint_down", "a")]


def test_a_call_waits_for_an_endpoint_to_come_back() -> None:
    told = Teller(pool(endpoint("a")))
    told.seen("a", reachable=False, at=0.0)
    assert granted(told.ready("c1", at=0.0)) == []
    assert granted(told.seen("a", at=3.0)) == [("c1", "a")]


def test_after_the_outage_grace_it_goes_out_anyway() -> None:
    told = Teller(pool(endpoint("a")))
    told.seen("a", reachable=False, at=0.0)
    told.ready("c1", at=1.0)
    assert granted(told.tick(1.0 + OUTAGE_GRACE_S - 0.1)) == []
    (grant,) = grants(told.tick(1.0 + OUTAGE_GRACE_S))
    assert grant.endpoint == "a" and "down" in grant.why


def test_the_outage_grace_starts_when_a_waiting_calls_last_endpoint_goes_down() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    for name in ("c1", "c2", "c3"):
        told.ready(name, at=0.0)
    told.seen("a", reachable=False, at=2.0)
    told.seen("b", reachable=False, at=4.0)
    assert granted(told.tick(2.0 + OUTAGE_GRACE_S)) == [("c3", "a")]


def test_a_forced_call_prefers_an_endpoint_that_is_up() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0)
    told.ready("c3", at=0.0, hold_limit_s=10.0)
    told.seen("a", reachable=False, at=1.0)
    assert granted(told.tick(9.0)) == [("c3", "b")]


def test_seats_that_a_scrape_shows_are_taken_over_where_none_were_declared() -> None:
    told = Teller(pool(endpoint("a", seats=None)))
    told.seen("a", seats=1)
    told.ready("c1")
    assert granted(told.ready("c2")) == []
    told.seen("a", seats=0)
    told.seen("a", seats=-3, kv_tokens=0)
    assert told.endpoint("a").seats == 1 and told.endpoint("a").kv_tokens is None


def test_a_limit_that_shows_itself_is_learned() -> None:
    told = Teller(pool(endpoint("a", seats=None)))
    for name in ("c1", "c2", "c3"):
        assert granted(told.ready(name)) == [(name, "a")]
    for looks in range(3):
        assert told.endpoint("a").seats is None, f"one look may catch a queue moving up ({looks})"
        told.seen("a", running=2, waiting=1, kv_used=0.3)
    assert told.endpoint("a").seats == 2
    told.ended("c1", output_tokens=10)
    told.ended("c2", output_tokens=10)
    told.ready("c4")
    assert granted(told.ready("c5")) == []
    # full and nothing waits: there may be more seats than were seen, so it is tried
    assert granted(told.seen("a", running=2, waiting=0)) == [("c5", "a")]


def test_foreign_traffic_takes_seats() -> None:
    told = Teller(pool(endpoint("a", seats=3), endpoint("b", seats=3)))
    told.seen("a", running=2, waiting=0)
    assert told.endpoint("a").foreign == 2
    assert [to for name in "1234" for _, to in granted(told.ready(name))] == ["a", "b", "b", "b"]


# -- operators -------------------------------------------------------------------------------------


def test_the_mode_travels_with_the_pool() -> None:
    told = Teller(pool(endpoint("a")))
    told.tell(ModeSet(mode="shadow"))
    assert told.scheduler.pool.mode == "shadow" and told.scheduler.status(0.0)["mode"] == "shadow"


def test_a_new_pool_keeps_what_is_known_of_endpoints_that_stay() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.ready("c1")
    told.ready("c2")
    told.ready("c3")
    changed = pool(endpoint("a", seats=2), endpoint("c", "big"))
    assert granted(told.tell(PoolSet(pool=changed))) == [("c3", "a")]
    assert told.on("a") == ["c1", "c3"] and told.endpoint("a").seats == 2
    assert told.on("b") == ["c2"]
    told.ended("c2")
    assert told.call("c2") is None and "b" not in told.scheduler.endpoints


def test_an_endpoint_that_moved_is_a_new_one() -> None:
    before = endpoint("a")
    told = Teller(pool(before))
    told.ready("c1")
    told.tell(PoolSet(pool=pool(msgspec.structs.replace(before, url="http://other/v1"))))
    assert told.on("a") == []


def test_waiting_calls_that_the_new_pool_cannot_serve_are_told_so() -> None:
    told = Teller(pool(endpoint("a")))
    told.ready("c1")
    told.ready("c2")
    (grant,) = grants(told.tell(PoolSet(pool=pool(endpoint("x", "other"), names=()))))
    assert (grant.call, grant.endpoint) == ("c2", "")
    assert told.waiting() == []


# -- a new scheduler in the old one's place --------------------------------------------------------


def rebased(told: Teller, at: float) -> Teller:
    """A fresh scheduler that begins with what this one learned and is told what is open."""
    events = told.scheduler.open_facts(at)
    learned = told.scheduler.snapshot()
    fresh = Teller(make_scheduler(told.scheduler.pool, policy="fcfs+release", learned=learned))
    for event in events:
        fresh.tell(event.fact, event.client, at=event.at)
    return fresh


def test_open_calls_stand_where_they_stood() -> None:
    told = Teller(pool(endpoint("a", seats=1), endpoint("b", seats=1)))
    for at, name in enumerate(("c1", "c2", "c3")):
        told.ready(name, at=float(at), hold_limit_s=100.0)
    fresh = rebased(told, 10.0)
    assert (fresh.on("a"), fresh.on("b"), fresh.waiting()) == (["c1"], ["c2"], ["c3"])
    assert [load.released_at for load in fresh.endpoint("b").loads.values()] == [1.0]
    assert granted(fresh.ended("c2", at=11.0)) == [("c3", "b")]


def test_the_promise_to_a_held_call_outlives_the_scheduler() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0, hold_limit_s=100.0)
    fresh = rebased(told, 80.0)
    assert granted(fresh.tick(98.5)) == [("c2", "a")]


def test_an_orphan_expires_in_the_new_scheduler() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    told.lost(at=1.0)
    fresh = rebased(told, 2.0)
    assert fresh.state("c1") is CallState.ORPHANED
    fresh.tick(100.0)
    assert fresh.on("a") == []
    fresh.tick(200.0)
    assert not fresh.scheduler.books.runs


def test_an_interrupted_run_is_resumed_in_the_new_scheduler() -> None:
    told = Teller(pool(endpoint("a")))
    told.run_started("r1", thread="t", at=0.0)
    told.run_ended("r1", "interrupted", at=10.0)
    fresh = rebased(told, 20.0)
    fresh.run_started("r9", thread="t", resumed=True, at=100.0)
    assert list(fresh.scheduler.books.runs) == ["r1"]
    assert fresh.scheduler.books.run("r9").age_s(101.0) == 11.0  # type: ignore[union-attr, arg-type]


def test_a_resumed_run_answers_to_its_later_id_in_the_new_scheduler() -> None:
    told = Teller(pool(endpoint("a")))
    told.run_started("r1", thread="t", at=0.0)
    told.run_ended("r1", "interrupted", at=10.0)
    told.run_started("r2", thread="t", resumed=True, at=15.0)
    fresh = rebased(told, 16.0)
    fresh.ready("c1", run="r2", at=17.0)
    assert list(fresh.scheduler.books.runs) == ["r1"]
    fresh.run_ended("r2", at=18.0)
    assert not fresh.scheduler.books.runs


def test_what_was_learned_that_cannot_be_read_says_so() -> None:
    with pytest.raises(HeadwayError, match="delete it"):
        make_scheduler(pool(endpoint("a")), learned={"foresight": {"nonsense": 1}})


def test_the_timer_still_comes_when_its_reason_is_older_than_the_fact() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    assert timer(told.ready("c2", at=0.1, hold_limit_s=1.0)) == 1.0
    # the shell is late: another fact arrives first and the forced grant comes with it
    assert granted(told.run_started("zz", at=2.0)) == [("c2", "a")]


def test_one_call_of_ours_finds_room_whatever_a_scrape_says() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    told.tell(EndpointSeen(endpoint=EndpointId("a"), reachable=True, running=99, waiting=99))
    assert granted(told.ready("c1")) == [("c1", "a")]
    assert granted(told.ready("c2")) == []


class _Broken(ReleasedLate):
    """Releases once, then fails, as a policy with a defect would."""

    def choose(self, view: View) -> Release | None:
        if len(view.waiting) == 1:
            raise RuntimeError("a defect")
        return super().choose(view)


def test_what_was_released_before_a_defect_is_still_told() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    for call in ("c1", "c2", "c3"):
        told.ready(call)
    told.scheduler.policy = _Broken("broken", Fcfs())
    with pytest.raises(RuntimeError):
        told.ended("c1", at=1.0)
    assert granted(told.scheduler.made()) == [("c2", "a")]


class _Overfull(BoundAtOnce):
    """Binds early and does not say so."""

    binds_early = False


def test_a_policy_is_held_to_the_room_that_there_is() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.scheduler.policy = _Overfull("overfull", LeastBusy())
    told.ready("c1")
    with pytest.raises(HeadwayError, match="which has no room for it"):
        told.ready("c2")


def test_an_endpoint_that_is_removed_keeps_its_seat_until_its_last_call_ends() -> None:
    first = pool(endpoint("a", seats=1), endpoint("b", seats=1))
    without = pool(endpoint("b", seats=1))
    told = Teller(first)
    told.ready("c1")
    assert told.on("a") == ["c1"]
    told.tell(PoolSet(pool=without))
    assert [one["id"] for one in told.scheduler.status(1.0)["endpoints"]] == ["b", "a"]
    told.ready("c2")
    assert told.on("b") == ["c2"] and granted(told.ready("c3")) == []
    told.tell(PoolSet(pool=first))  # back before the call is over: its seat is taken
    assert told.on("a") == ["c1"] and told.waiting() == ["c3"]
    told.tell(PoolSet(pool=without))
    told.ended("c1")
    assert list(told.scheduler.endpoints) == ["b"]


def test_a_removed_endpoint_still_takes_seats_of_a_shared_server() -> None:
    told = Teller(pool(endpoint("a", server="gpu", seats=2), endpoint("b", server="gpu", seats=2)))
    told.ready("c1", models=("a",))
    told.ready("c2", models=("b",))
    told.tell(PoolSet(pool=pool(endpoint("b", server="gpu", seats=2))))
    assert granted(told.ready("c3")) == []
    assert granted(told.ended("c1")) == [("c3", "b")]


def test_an_implied_run_is_as_old_in_the_new_scheduler() -> None:
    told = Teller(pool(endpoint("a")))
    told.ready("c1", run_age_s=5.0, at=0.0)
    fresh = rebased(told, 60.0)
    assert fresh.scheduler.books.runs["r1"].age_s(60.0) == 65.0  # type: ignore[index]


# -- shadow mode: calls run where their clients sent them ------------------------------------------


def test_in_shadow_mode_a_call_that_only_its_client_knows_is_on_the_books() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")).with_mode("shadow"))
    told.sent("c1", "b", sent_s=3.0)
    assert told.on("b") == ["c1"] and told.state("c1") is CallState.RUNNING


def test_in_shadow_mode_a_call_that_waits_goes_on_running_for_the_new_scheduler() -> None:
    told = Teller(pool(endpoint("a")).with_mode("shadow"))
    told.ready("c1", at=0.0)
    told.sent("c1", "a")
    told.ready("c2", at=0.0)
    told.sent("c2", "a")  # it waits for what would have been decided
    fresh = rebased(told, 10.0)
    assert fresh.on("a") == ["c1"] and fresh.waiting() == ["c2"]
    fresh.ended("c1", run="r1", at=20.0)
    fresh.ended("c2", run="r1", at=30.0)
    assert fresh.endpoint("a").served == 2


def test_in_shadow_mode_the_new_scheduler_does_not_believe_what_was_only_decided() -> None:
    told = Teller(pool(endpoint("a")).with_mode("shadow"))
    told.ready("c1", at=0.0)  # goes who knows where
    fresh = rebased(told, 10.0)
    fresh.ended("c1", run="r1", at=20.0)
    assert fresh.endpoint("a").served == 0


def test_an_endpoint_that_leaves_is_gone_when_its_last_call_moves() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.ready("c1")
    told.tell(PoolSet(pool=pool(endpoint("b"))))
    told.sent("c1", "b")
    assert list(told.scheduler.endpoints) == ["b"] and told.on("b") == ["c1"]

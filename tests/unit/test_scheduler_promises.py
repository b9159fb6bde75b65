"""What users were promised, each once broken: idle endpoints used, timers that go on, no leaks."""

from typing import Any

import pytest

from headway.core.books import ALIASES_KEPT, TOPOLOGIES_KEPT
from headway.core.commands import SetTimer
from headway.core.facts import GraphSeen, ModeSet, TimerFired
from headway.core.pool import Pool, PoolName
from headway.core.protocols import Query
from headway.core.types import CallId
from headway.policy import make_scheduler
from headway.policy.headway import LOOK_AHEAD
from headway.predict import places
from headway.predict.quantiles import output_length
from tests.support.telling import Teller, endpoint, granted, grants, pool, timer


def test_an_idle_endpoint_is_used_however_many_wait_for_another() -> None:
    of = Pool(
        endpoints=(endpoint("l", "large", seats=1), endpoint("s", "small", seats=4)),
        names=(PoolName(name="L", models=("large",)), PoolName(name="S", models=("small",))),
    )
    told = Teller(of, policy="headway")
    for number in range(LOOK_AHEAD + 8):
        told.ready(f"l{number}", pool_name="L", run=f"l{number}")
    assert granted(told.ready("s1", pool_name="S", run="s", at=1.0)) == [("s1", "s")]


def test_the_scheduler_wakes_when_waiting_was_long_enough() -> None:
    # the large one's call ends in 10 s by belief; going there gains (2 + 0.4 * 10) - (...) s
    of = pool(
        endpoint("s", "small", seats=1, step_s=0.01, prefill_s=0.0),
        endpoint("l", "large", seats=1, step_s=0.05, prefill_s=0.0),
        quality={"small": 0.6, "large": 0.9},
        idle_grace_s=60.0,
    )
    told = Teller(of, policy="headway", failure_price=8.0)
    told.ready("c1", at=0.0)
    due = timer(told.ready("c2", at=0.0))
    looks = 0
    while due is not None and not grants(commands := told.tick(due)):
        due, looks = timer(commands) or due + 1.0, looks + 1
        assert looks < 100 and due < 60.0, "it was not looked at before the end of its grace"
    assert granted(commands) == [("c2", "s")]


def test_shadow_mode_teaches_nothing_about_models_that_did_not_answer() -> None:
    told = Teller(pool(endpoint("a", seats=4)), policy="headway")
    told.tell(ModeSet(mode="shadow"))
    before = told.scheduler.snapshot()
    told.ready("c1", at=0.0)
    told.ended("c1", at=50.0, output_tokens=999)
    after = told.scheduler.snapshot()
    assert after["speeds"] == before["speeds"]
    assert after["foresight"]["output_tokens"] == before["foresight"]["output_tokens"]


def test_time_goes_on_after_a_defect_in_a_wake_up(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", at=0.0)
    told.ready("c2", at=0.0, hold_limit_s=10.0)
    told.ready("c3", at=0.0, hold_limit_s=20.0)

    def broken(*_: Any) -> None:
        raise RuntimeError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(told.scheduler, "_force", broken)
        with pytest.raises(RuntimeError):
            told.tick(9.0)
    later = [one.at for one in told.scheduler.made() if isinstance(one, SetTimer)]
    assert later == [18.0]
    assert granted(told.tell(TimerFired(timer="wake"), at=18.0)) == [("c3", "a")]


def test_a_new_scheduler_is_told_which_endpoints_are_down() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.seen("a", reachable=False, error="connection refused")
    fresh = make_scheduler(told.scheduler.pool, policy="fcfs+release")
    for event in told.scheduler.open_facts(told.now):
        fresh.handle(event)
    assert [one.up(told.now) for one in fresh.endpoints.values()] == [False, True]


def test_a_run_that_a_late_call_opened_again_ends_with_that_call() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    told.run_started("r1")
    told.run_ended("r1")
    told.ready("c1", run="r1")
    assert told.scheduler.books.runs
    told.ended("c1", run="r1", output_tokens=5)
    assert not told.scheduler.books.runs


def test_a_thread_that_pauses_for_ever_keeps_few_names() -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    told.run_started("r0", thread="t")
    for number in range(1, 100):
        told.run_ended("r0" if number == 1 else f"r{number - 1}", outcome="interrupted")
        told.run_started(f"r{number}", thread="t", resumed=True)
    assert len(told.scheduler.books.aliases) <= ALIASES_KEPT + 1
    assert len(told.scheduler.books.runs) == 1


def test_graphs_named_anew_with_each_run_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Teller(pool(endpoint("a", seats=2)))
    for number in range(TOPOLOGIES_KEPT + 50):
        told.tell(GraphSeen(graph=f"g{number}", nodes=("a",), edges=()))
    assert len(told.scheduler.books.topologies) <= TOPOLOGIES_KEPT
    monkeypatch.setattr(places, "MAX_PLACES", 100)
    lengths = output_length()
    for number in range(500):
        place = Query(graph=f"g{number}", node="n", model="m")
        lengths.estimate(place)
        lengths.learn(place, 7.0)
    assert len(lengths.snapshot()["windows"]) <= 110
    assert lengths.estimate(Query(graph="g499", node="n", model="m")).samples == 1


def test_asking_leaves_no_trace() -> None:
    lengths = output_length()
    for number in range(100):
        lengths.estimate(Query(graph=f"g{number}", node="n"))
    assert len(lengths._places) == 0 and lengths._places._chains == {}


def test_the_end_of_a_run_names_it_among_those_that_can_be_explained() -> None:
    told = Teller(pool(endpoint("a")))
    told.run_started("r1")
    told.ready("c1", run="r1")
    told.ended("c1", run="r1")
    told.run_ended("r1")
    assert told.scheduler.ended_runs() == ("r1",)
    assert told.scheduler.explain("last")["run"] == "r1"
    assert CallId("c1") in [call["call"] for call in told.scheduler.explain("r1")["calls"]]


@pytest.mark.parametrize("policy", ["headway", "fcfs+release", "fcfs", "least-busy"])
def test_a_retry_keeps_away_from_where_it_failed(policy: str) -> None:
    told = Teller(pool(endpoint("a", seats=9), endpoint("b", seats=9)), policy=policy)
    assert granted(told.ready("c1")) == [("c1", "a")]
    told.ended("c1", outcome="error", error="500")
    assert granted(told.ready("c1", attempt=2)) == [("c1", "b")]
    told.ended("c1", attempt=2, outcome="error", error="500")
    (last,) = granted(told.ready("c1", attempt=3))
    assert last[0] == "c1", "with nothing else left it goes where it failed"


def test_an_answer_to_an_older_call_does_not_end_a_trouble() -> None:
    told = Teller(pool(endpoint("a", seats=9), endpoint("b", seats=9)))
    for name in ("old", "new1", "new2"):
        told.now = 0.0 if name == "old" else 5.0
        told.sent(name, "a")
    told.ended("new1", outcome="error", error="connect", at=6.0)
    told.ended("old", output_tokens=5, at=6.5)
    assert told.endpoint("a").faults == 1
    told.ended("new2", outcome="error", error="connect", at=7.5)
    assert not told.endpoint("a").up(7.6)


def test_visits_go_on_where_a_person_paused_the_run() -> None:
    told = Teller(pool(endpoint("a", seats=9)))
    told.run_started("r1", thread="t")
    told.ready("c1", run="r1", node="n1", node_name="answer", visit=1)
    told.ended("c1", run="r1")
    told.node_ended("n1")
    told.node_started("p1", "ask", step=2)
    told.run_ended("r1", outcome="interrupted")
    told.run_started("r2", thread="t", resumed=True)
    told.node_started("p1", "ask", run="r2", step=1)
    told.node_ended("p1", run="r2")
    told.ready("c2", run="r2", node="n2", node_name="answer", visit=1)
    told.ended("c2", run="r2")
    told.node_started("p2", "ask", run="r2", visit=2, step=3)
    run = told.scheduler.books.runs["r1"]  # type: ignore[index]
    assert run.visits == {"answer": 2, "ask": 2}
    assert [call.ask.visit for call in run.calls] == [1, 2]


def test_who_looks_does_not_move_decisions() -> None:
    def played(*, looked: bool) -> list[object]:
        told = Teller(pool(endpoint("a", seats=8), endpoint("b", seats=8)), policy="headway")
        commands: list[object] = [told.ready("c1", at=0.0), told.ready("c2", at=1.0)]
        if looked:
            told.scheduler.status(1.5)
            told.scheduler.overview(1.5)
        return [*commands, told.ready("c3", at=1.505), told.ready("c4", at=1.51)]

    assert played(looked=True) == played(looked=False)

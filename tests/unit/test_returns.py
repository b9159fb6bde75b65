"""Return times: when a run that waits for a tool or a person asks again."""

from random import Random

import pytest

from headway.core.protocols import Estimate, Query
from headway.core.returning import PERSON
from headway.core.types import RunId
from headway.predict.quantiles import return_time
from tests.support.telling import Teller, endpoint, pool

SEARCH = Query(graph="g", node="search")


def test_what_is_still_to_come_is_of_those_that_took_longer() -> None:
    times = return_time()
    for seconds in [1.0] * 50 + [11.0] * 50:
        times.learn(SEARCH, seconds)
    assert times.left(SEARCH, 0.0) == times.estimate(SEARCH)
    late = times.left(SEARCH, 2.0)
    assert late.p50 == pytest.approx(9.0, abs=0.3) and late.samples == 50
    assert times.left(SEARCH, 10.0).p50 == pytest.approx(1.0, abs=0.3)


def test_longer_than_anything_is_as_long_again() -> None:
    times = return_time()
    for _ in range(50):
        times.learn(SEARCH, 1.0)
    assert times.left(SEARCH, 100.0) == Estimate(p50=100.0, p90=900.0, samples=0)


def test_a_tool_stands_on_its_own_and_a_new_one_starts_with_its_graph() -> None:
    times, rng = return_time(), Random(1)
    for _ in range(100):
        times.learn(SEARCH, rng.uniform(9.0, 11.0))
        times.learn(Query(graph="g", node="build"), rng.uniform(50.0, 150.0))
    # each leans a little on what is usual in the graph
    assert times.estimate(SEARCH).p50 == pytest.approx(10.0, abs=3.0)
    assert times.estimate(Query(graph="g", node="build")).p50 == pytest.approx(100.0, abs=20.0)
    assert times.estimate(Query(graph="g", node="new")).samples == 200


class Program:
    """A run of calls with a tool between them, told to a scheduler in virtual time."""

    def __init__(self) -> None:
        self.told = Teller(pool(endpoint("a", seats=4)))
        self.run = RunId("r1")
        self.told.run_started(thread="t")

    def call(self, name: str, *, takes: float = 1.0) -> None:
        self.told.ready(name, run=self.run, node_name="model")
        self.told.now += takes
        self.told.ended(name)
        self.told.node_ended(f"n-{name}")

    def tool(self, name: str, takes: float) -> None:
        self.told.node_started(name, "search")
        self.told.now += takes
        self.told.node_ended(name)

    def back(self) -> Estimate | None:
        view = self.told.scheduler.view(self.told.now)
        return view.return_s(view.runs[self.run])

    def learned(self, what: str) -> Estimate:
        foresight = self.told.scheduler.foresight
        return foresight.return_s.estimate(Query(graph="g", node=what))


def test_tools_and_pauses_are_learned_as_a_run_goes_on() -> None:
    program = Program()
    for number in range(6):
        program.call(f"c{number}")
        program.tool(f"t{number}", takes=3.0)
    assert program.learned("search").samples == 6
    assert program.learned("search").p50 == pytest.approx(3.0, abs=1.0)
    assert program.learned("(after model)").samples == 5


def test_where_a_run_is_says_when_it_is_back() -> None:
    program = Program()
    program.call("c0")
    assert program.back() is not None  # after its call
    program.told.node_started("t", "search")
    program.told.now += 40.0
    long = program.back()
    assert long is not None and long.p50 == pytest.approx(40.0, rel=0.3)
    program.told.ready("c1", run=program.run, node_name="model")
    assert program.back() is None  # it has asked


def test_a_person_is_waited_for_and_learned_of() -> None:
    program = Program()
    program.call("c0")
    program.told.run_ended(outcome="interrupted")
    program.told.now += 600.0
    waiting = program.back()
    assert waiting is not None and waiting.p50 > 100.0
    program.told.run_started(thread="t", resumed=True)
    assert program.learned(PERSON).samples == 1


def test_times_outlive_a_restart() -> None:
    program = Program()
    program.call("c0")
    program.tool("t0", takes=3.0)
    learned = program.told.scheduler.snapshot()
    fresh = Program()
    fresh.told.scheduler.foresight.restore(learned["foresight"])
    assert fresh.learned("search") == program.learned("search")

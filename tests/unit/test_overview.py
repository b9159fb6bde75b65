"""What `headway top` is told: queue, runs, predictions, in bounded size."""

import msgspec
import pytest

from headway.core.books import RECENT_CALLS_KEPT
from headway.core.overview import LONGEST_NAME, PLACES_TOLD, QUEUE_TOLD, RUNS_TOLD
from headway.core.protocols import Query
from tests.support.telling import Teller, ask, endpoint, pool


def test_queue_and_runs_the_oldest_first() -> None:
    told = Teller(
        pool(endpoint("a", seats=1), endpoint("b", "large", seats=1), class_deadlines={"fast": 9.0})
    )
    told.seen("b", reachable=False, at=0.0)
    told.run_started("r1", deadline_s=30.0)
    told.node_started("n-c1", "write")
    told.ready("c1")  # runs on a
    told.run_started("r2", at=2.0, service_class="fast")
    told.node_started("n-c2", "plan", run="r2")
    told.ready("c2", run="r2", node_name="plan")
    told.ready("c3", run="r2", node_name="plan", models=("small",), age_s=5.0)
    body = told.scheduler.overview(at=6.0)
    assert [(call["call"], call["waited_s"]) for call in body["queue"]] == [
        ("c3", 4.0),  # its first attempt was earlier
        ("c2", 4.0),
    ]
    assert body["queue"][0]["deadline_left_s"] == 5.0
    assert body["queue_total"] == 2
    assert body["waiting_for"] == {"a": 2, "b": 1}
    first, second = body["runs"]
    assert (first["run"], first["age_s"], first["deadline_left_s"]) == ("r1", 6.0, 24.0)
    assert (first["nodes"], first["running"], first["waiting"]) == (["write"], 1, 0)
    assert (second["run"], second["nodes"], second["waiting"]) == ("r2", ["plan"], 2)
    assert second["deadline_left_s"] == 5.0
    # nothing is known but the prior, 10 s and 40 s at P90: r2's call has not begun, and r1's runs
    # for 6 s, so that it may well be of the longer ones
    assert (first["rest_s"], second["rest_s"]) == (pytest.approx(11.75, abs=0.01), 10.0)
    assert first["rest_calls"] == 3.0
    assert body["predictions"] == [] and body["predictions_all"] is None


def test_waiting_before_the_release_is_no_progress() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    told.ready("c1", run="r1", at=0.0)
    told.node_started("n-c2", "write", run="r2")
    told.ready("c2", run="r2")
    told.ended("c1", at=50.0, run="r1")
    told.run_ended("r1")
    place = Query(graph="g", node="write")
    for _ in range(300):
        told.scheduler.foresight.rest_s.learn(place, 9.0)
    seconds = []
    for at in (53.0, 54.0, 90.0):
        (only,) = told.scheduler.overview(at=at)["runs"]
        assert (only["run"], only["running"]) == ("r2", 1)
        seconds.append(only["rest_s"])
    # for sure a tenth of it is left at its end, and the more the longer it takes after that
    assert 0.9 < seconds[1] == pytest.approx(seconds[0] - 0.9, abs=0.05)
    assert seconds[2] > 2.0


def test_predictions_by_node_and_over_all() -> None:
    told = Teller(pool(endpoint("a", seats=9)))
    for number, tokens in enumerate((50, 60, 400)):
        told.ready(f"c{number}", at=float(number), node_name="write" if number else "plan")
        told.ended(f"c{number}", at=number + 0.5, output_tokens=tokens)
    body = told.scheduler.overview(at=9.0)
    assert [(one["node"], one["calls"]) for one in body["predictions"]] == [
        ("write", 2),
        ("plan", 1),
    ]
    assert body["predictions_all"]["calls"] == 3
    assert body["predictions_all"]["real_tokens"] == 60


def test_however_much_there_is_the_answer_stays_small() -> None:
    told = Teller(pool(endpoint("a", seats=1)))
    for number in range(400):
        name = f"{number}-{'x' * 50_000}"
        told.ready(f"c{number}", run=f"r{number}", graph=name, node_name=name, at=float(number))
    for number in range(400):
        told.ended(f"c{number}", at=500.0, output_tokens=5)
        told.ready(f"d{number}", run=f"r{number}", graph=f"{number}-{'x' * 50_000}")
    body = told.scheduler.overview(at=1000.0)
    assert len(told.scheduler.books.recent) == RECENT_CALLS_KEPT
    assert len(body["queue"]) == QUEUE_TOLD < body["queue_total"]
    assert len(body["runs"]) == RUNS_TOLD < body["runs_total"] == 400
    assert len(body["predictions"]) <= PLACES_TOLD
    assert all(len(run["graph"]) <= LONGEST_NAME for run in body["runs"])
    assert len(msgspec.msgpack.encode(body)) < 200_000


def test_asking_changes_nothing() -> None:
    one, other = (Teller(pool(endpoint("a", seats=1))) for _ in range(2))
    for teller in (one, other):
        teller.ready("c1", at=0.0)
        teller.ready("c2", at=1.0)
    one.scheduler.overview(at=2.0)
    assert one.ended("c1", at=3.0) == other.ended("c1", at=3.0)
    assert one.tell(ask("c4"), at=4.0) == other.tell(ask("c4"), at=4.0)


def test_calls_that_an_open_node_had_answered_are_no_more_to_come() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    told.run_started("r1")
    told.node_started("n1", "agent", run="r1")
    for number in range(2):
        told.ready(f"c{number}", run="r1", node="n1", node_name="agent")
        told.ended(f"c{number}", run="r1")
    (only,) = told.scheduler.overview(at=told.now)["runs"]
    assert only["rest_calls"] == 1.0

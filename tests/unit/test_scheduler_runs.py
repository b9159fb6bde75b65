"""Runs: age and pauses, interrupts and resumes, graphs inside graphs, the DAG that is revealed."""

import pytest

from headway.core.errors import HeadwayError
from headway.core.facts import Feedback
from headway.core.graph import Node, Run, Topology
from headway.core.runs import IDLE_LOOKS_S, IMPLIED_CALLS_KEPT, IMPLIED_RUN_TTL_S
from headway.core.types import ClientId, NodeId, RunId
from tests.support.telling import BOB, Teller, endpoint, granted, pool, timer


def telling() -> Teller:
    return Teller(pool(endpoint("a", seats=4)))


def run_of(told: Teller, run: str) -> Run:
    found = told.scheduler.books.run(RunId(run))
    assert found is not None
    return found


def test_age_counts_from_what_the_client_says_and_not_the_pause() -> None:
    told = telling()
    told.run_started("r1", thread="t", age_s=2.0, at=10.0)
    assert run_of(told, "r1").age_s(15.0) == 7.0
    told.run_ended("r1", "interrupted", at=15.0)
    assert run_of(told, "r1").age_s(100.0) == 7.0
    told.run_started("r2", thread="t", resumed=True, at=115.0)
    assert run_of(told, "r1").age_s(116.0) == 8.0


def test_a_resume_goes_on_with_the_interrupted_run_under_both_ids() -> None:
    told = telling()
    told.run_started("r1", thread="t", deadline_s=30.0)
    told.run_ended("r1", "interrupted")
    told.run_started("r2", thread="t", resumed=True, client=BOB)
    assert run_of(told, "r2") is run_of(told, "r1")
    assert run_of(told, "r2").client == BOB
    assert granted(told.ready("c1", run="r2")) == [("c1", "a")]
    assert [call.ask.call for call in run_of(told, "r1").calls] == ["c1"]
    told.run_ended("r2", at=9.0)
    assert run_of(told, "r1").state == "ended" and told.on("a") == []


def test_a_resume_of_another_thread_or_graph_is_a_new_run() -> None:
    told = telling()
    told.run_started("r1", thread="t")
    told.run_ended("r1", "interrupted")
    told.run_started("r2", thread="other", resumed=True)
    told.run_started("r3", thread="t", graph="h", resumed=True)
    assert sorted(told.scheduler.books.runs) == ["r1", "r2", "r3"]


def test_a_resume_that_its_own_question_overtook_goes_on_as_that_run() -> None:
    told = telling()
    told.run_started("r1", thread="t")
    told.run_ended("r1", "interrupted")
    told.ready("c1", run="r2")
    told.run_started("r2", thread="t", resumed=True)
    assert list(told.scheduler.books.runs) == ["r2"]
    assert [call.ask.call for call in run_of(told, "r2").calls] == ["c1"]
    told.run_ended("r2")
    assert told.on("a") == []


def test_any_other_start_on_the_thread_is_a_new_run() -> None:
    told = telling()
    told.run_started("r1", thread="t", at=0.0)
    told.run_ended("r1", "interrupted")
    told.run_started("r2", thread="t", at=5.0)
    assert run_of(told, "r2") is not run_of(told, "r1")


def test_an_interrupted_run_that_nobody_can_resume_is_over() -> None:
    told = telling()
    told.run_started("r1")
    told.run_ended("r1", "interrupted")
    told.run_started("r2", thread="t")
    told.run_ended("r2", "interrupted", at=3.0)
    told.run_started("r3", thread="t")
    told.run_ended("r3", "interrupted")
    assert list(told.scheduler.books.runs) == ["r3"]
    assert run_of(told, "r1").outcome == "interrupted"


def test_a_graph_inside_a_graph_shares_its_runs_age_and_deadline() -> None:
    told = telling()
    told.run_started("r1", at=0.0, deadline_s=40.0)
    told.run_started("child", graph="inner", parent_run="r1", parent_node="n1", at=8.0)
    told.ready("c1", run="child", graph="inner", at=9.0)
    view = told.scheduler.view(10.0)
    call = told.call("c1")
    assert call is not None
    assert view.age_s(call) == 10.0 and view.deadline_s(call) == 40.0
    assert run_of(told, "child").root is run_of(told, "r1")


def test_a_child_may_be_told_of_before_its_parent() -> None:
    told = telling()
    told.run_started("child", graph="inner", parent_run="r1", parent_node="n1", at=3.0)
    told.run_started("r1", age_s=5.0, at=4.0)
    assert run_of(told, "child").root is run_of(told, "r1")
    assert run_of(told, "child").parent_node == "n1"
    told.run_ended("r1", at=9.0)
    assert run_of(told, "child").state == "ended"


def test_runs_cannot_be_inside_each_other() -> None:
    told = telling()
    told.run_started("r1")
    told.run_started("r2", parent_run="r1")
    told.run_started("r1", parent_run="r2")
    assert run_of(told, "r1").root is run_of(told, "r1")


def test_a_late_start_fills_in_what_the_question_did_not_say() -> None:
    told = telling()
    told.ready("c1", at=5.0, run_age_s=5.0)
    told.run_started("r1", deadline_s=12.0, service_class="batch", tenant="x", at=6.0)
    run = run_of(told, "r1")
    assert (run.deadline_s, run.service_class, run.tenant, run.started_at) == (
        12.0,
        "batch",
        "x",
        0,
    )


def test_a_start_that_comes_after_the_end_changes_nothing() -> None:
    told = telling()
    told.run_started("r1")
    told.run_ended("r1")
    told.run_started("r1")
    assert not told.scheduler.books.runs and run_of(told, "r1").state == "ended"


def test_siblings_of_a_step_count_by_their_maximum() -> None:
    told = telling()
    told.run_started("r1", at=0.0)
    for node, start, end in (("x", 0.0, 2.0), ("y", 0.0, 5.0), ("z", 0.0, 3.0)):
        told.node_started(node, node, step=1, at=start)
        told.node_ended(node, at=end)
    told.node_started("w", "w", step=2, at=5.0)
    told.node_ended("w", at=6.0)
    assert run_of(told, "r1").attained_s == 6.0


def test_time_spent_held_is_no_work() -> None:
    # 100 tokens at 20 ms and 100 prompt tokens at 0.2 ms: 2.02 s alone, whatever it waited
    told = Teller(pool(endpoint("a", seats=1, step_s=0.02, prefill_s=0.0002)))
    told.ready("c0", run="other", node="o", at=0.0)
    told.run_started("r1", at=0.0)
    told.node_started("n1", "step", step=1, at=0.0)
    told.ready("c1", node="n1", at=0.0)
    told.endpoint("a").speed = 1.0
    told.ended("c0", at=50.0)
    speed = told.endpoint("a").speed
    told.ended("c1", at=54.0, output_tokens=100)
    told.node_ended("n1", at=55.0)
    node = run_of(told, "r1").nodes[NodeId("n1")]
    assert node.calls_s == 54.0
    assert node.length_s == pytest.approx(1.0 + 2.02 * speed)


def test_a_node_that_is_run_again_starts_anew() -> None:
    told = telling()
    told.run_started("r1", thread="t", at=0.0)
    told.node_started("n1", "ask", step=1, at=0.0)
    told.node_ended("n1", "interrupted", at=1.0)
    told.run_ended("r1", "interrupted", at=1.0)
    told.run_started("r2", thread="t", resumed=True, at=500.0)
    told.node_started("n1", "ask", run="r2", step=1, at=500.0)
    told.node_ended("n1", run="r2", at=502.0)
    node = run_of(told, "r1").nodes[NodeId("n1")]
    assert (node.length_s, node.outcome) == (2.0, "ok")


def diamond() -> Run:
    """a (2 s, 10 tokens) -> b (3 s, 20), c (5 s, 30) -> d (1 s, 40)."""
    run = Run(id=RunId("r"), graph="g", client=ClientId("x"), started_at=0.0)
    for name, start, end, tokens, parents, step in (
        ("a", 0.0, 2.0, 10, (), 1),
        ("b", 2.0, 5.0, 20, ("a",), 2),
        ("c", 2.001, 7.001, 30, ("a",), 2),
        ("d", 7.001, 8.001, 40, ("b", "c"), 3),
    ):
        run.nodes[NodeId(name)] = Node(
            id=NodeId(name),
            name=name,
            visit=1,
            step=step,
            parents=tuple(NodeId(one) for one in parents),
            started_at=start,
            ended_at=end,
            output_tokens=tokens,
            calls=1,
        )
    return run


def test_what_was_left_at_each_node_of_a_diamond() -> None:
    left = {rest.node.name: rest for rest in diamond().rest_of_path()}
    told = {name: (rest.tokens, rest.calls) for name, rest in left.items()}
    assert told == {"d": (40, 1), "c": (90, 3), "b": (90, 3), "a": (100, 4)}
    seconds = {name: pytest.approx(rest.seconds) for name, rest in left.items()}
    assert seconds == {"d": 1.0, "c": 6.0, "b": 4.0, "a": 8.0}


def test_without_steps_what_started_at_the_same_moment_started_together() -> None:
    run = diamond()
    for node in run.nodes.values():
        node.step = 0
    run.nodes[NodeId("c")].started_at = 2.0
    assert {rest.node.name: rest.tokens for rest in run.rest_of_path()}["b"] == 90


def test_loops_of_a_topology() -> None:
    graph = Topology()
    for source, target in (
        ("step", "test"),
        ("test", "repair"),
        ("repair", "test"),
        ("test", "end"),
        ("solo", "solo"),
    ):
        graph.add_edge(source, target)
    assert graph.loop_of("test") == graph.loop_of("repair") == {"test", "repair"}
    assert graph.loop_of("step") == frozenset() and graph.loop_of("solo") == {"solo"}
    other = Topology()
    other.restore(*graph.snapshot())
    assert other.followers == graph.followers


def test_feedback_reaches_each_answer_once() -> None:
    told = telling()
    told.ready("c1", node="n1")
    told.ended("c1")
    told.tell(Feedback(run=RunId("r1"), ok=False))
    told.tell(Feedback(run=RunId("r1"), ok=False))
    told.tell(Feedback(run=RunId("unknown"), ok=False))
    counts = told.scheduler.snapshot()["foresight"]["confidence"]["counts"]
    assert counts == [[["feedback", "g", "step", "small"], [0.0, 1.0]]]


def test_explain_finds_runs_by_a_beginning_and_says_what_is_wrong() -> None:
    told = telling()
    with pytest.raises(HeadwayError, match="no run has been seen yet"):
        told.scheduler.explain("last")
    told.ready("c1", run="abc-1")
    told.ready("c2", run="abd-2")
    assert told.scheduler.explain("abc")["run"] == "abc-1"
    with pytest.raises(HeadwayError, match="could be abc-1, abd-2"):
        told.scheduler.explain("ab")
    with pytest.raises(HeadwayError, match="no run 'zz'"):
        told.scheduler.explain("zz")
    told.ended("c1")
    told.run_ended("abc-1")
    assert told.scheduler.explain("last")["calls"][0]["endpoint"] == "a"


def test_a_run_that_only_its_calls_tell_of_ends_by_itself() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    commands = told.ready("c1", at=0.0)
    assert timer(commands) is not None
    told.ended("c1", at=10.0)
    told.tick(IMPLIED_RUN_TTL_S)
    assert told.scheduler.books.runs["r1"].state == "open"  # its last call ended at 10
    told.tick(10.0 + IMPLIED_RUN_TTL_S)
    run = told.scheduler.books.run(RunId("r1"))
    assert run is not None and (run.state, run.outcome, run.ended_at) == ("ended", "ok", 10.0)
    assert [node.ended_at for node in run.nodes.values()] == [10.0]


def test_a_run_whose_calls_go_on_does_not() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    told.ready("c1", at=0.0)
    told.tick(IMPLIED_RUN_TTL_S)
    told.tick(2 * IMPLIED_RUN_TTL_S)
    assert told.scheduler.books.runs["r1"].state == "open"
    told.ready("c2", at=2 * IMPLIED_RUN_TTL_S + 1)  # and a run that is told of ends when told
    told.run_started("r1")
    for call in ("c1", "c2"):
        told.ended(call)
    told.tick(9 * IMPLIED_RUN_TTL_S)
    assert told.scheduler.books.runs["r1"].state == "open"


def test_many_implied_runs_share_one_look() -> None:
    told = Teller(pool(endpoint("a", seats=400)))
    for number in range(100):
        told.ready(f"c{number}", run=f"r{number}", at=float(number) / 10)
        told.ended(f"c{number}")
    looks = sum(1 for _, _, why, _ in told.scheduler.books._wakes if why == "idle")
    assert looks == 1
    at = IMPLIED_RUN_TTL_S
    while told.scheduler.books.runs and at < IMPLIED_RUN_TTL_S + 20:
        told.tick(at)
        at += 1.0
    assert not told.scheduler.books.runs


def test_looks_at_implied_runs_keep_their_distance() -> None:
    told = Teller(pool(endpoint("a", seats=400)))
    for number in range(100):
        told.ready(f"c{number}", run=f"r{number}", at=float(number) / 10)
        told.ended(f"c{number}")
    looks, due = [], timer(told.tick(IMPLIED_RUN_TTL_S))
    while due is not None:
        looks.append(due)
        due = timer(told.tick(due))
    assert looks == [IMPLIED_RUN_TTL_S + IDLE_LOOKS_S]
    assert not told.scheduler.books.runs


def test_a_session_that_goes_on_after_its_time_is_a_new_run() -> None:
    told = telling()
    told.ready("c1", at=0.0)
    told.ended("c1", at=10.0)
    told.tick(10.0 + IMPLIED_RUN_TTL_S)
    first = run_of(told, "r1")
    told.ready("c2", at=1000.0)
    second = run_of(told, "r1")
    assert second is not first and second.age_s(1001.0) == 1.0
    told.ended("c2", at=1010.0)
    assert second.state == "open"  # more of its calls may come
    told.tick(1010.0 + IMPLIED_RUN_TTL_S)
    assert (second.state, second.outcome) == ("ended", "ok")


def test_an_implied_run_belongs_to_the_client_that_made_its_latest_call() -> None:
    told = telling()
    told.ready("c1", at=0.0)
    told.ended("c1", at=1.0)
    told.ready("c2", client=BOB, at=2.0)
    told.lost(at=3.0)
    told.ended("c2", at=4.0)
    told.tick(100.0)
    assert run_of(told, "r1").state == "open"


def test_an_endless_session_does_not_grow_for_ever() -> None:
    told = telling()
    told.ready("open", run="r1", at=0.0)
    for number in range(4 * IMPLIED_CALLS_KEPT):
        told.ready(f"c{number}", run="r1", at=float(number))
        told.ended(f"c{number}")
    run = run_of(told, "r1")
    assert len(run.calls) <= 2 * IMPLIED_CALLS_KEPT and len(run.nodes) <= 2 * IMPLIED_CALLS_KEPT
    assert len(run.unsaid) <= 2 * IMPLIED_CALLS_KEPT
    assert run.calls[0].ask.call == "open" and "n-open" in run.nodes
    assert told.ended("open") is not None and not told.on("a")


def test_a_story_of_shadow_mode_keeps_what_happened_apart_from_what_was_chosen() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")).with_mode("shadow"))
    told.ready("c1")
    told.sent("c1", "b")
    told.ready("c2")
    first, second = told.scheduler.explain("r1")["calls"]
    assert (first["shadow"], first["endpoint"], first["chosen"]) == (True, "b", "a")
    assert (second["shadow"], second["endpoint"], second["chosen"]) == (True, None, "a")


def test_a_run_is_found_by_the_beginning_or_the_end_of_its_id() -> None:
    told = telling()
    for run in ("0199-aa-77", "0199-bb-88"):
        told.ready(f"c-{run}", run=run)
    found = [told.scheduler.explain(name)["run"] for name in ("0199-a", "..88", "-77")]
    assert found == ["0199-aa-77", "0199-bb-88", "0199-aa-77"]
    for name in ("0199", "..", "99"):
        with pytest.raises(HeadwayError):
            told.scheduler.explain(name)

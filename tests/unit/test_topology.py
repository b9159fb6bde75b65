"""What a graph has ahead of its nodes; and what that says of a first run."""

import pytest

from headway.core.facts import GraphSeen
from headway.core.graph import MOST_SETTLED, Topology
from headway.core.protocols import Query
from headway.predict.rest import PlainRest
from tests.support.telling import Teller, endpoint, pool


def topology(*edges: str) -> Topology:
    """Of edges like ``a b``; ``__end__`` is the end."""
    found = Topology()
    for edge in edges:
        found.add_edge(*edge.split())
    return found


def test_the_longest_way_counts() -> None:
    one = topology("a b", "b c", "c __end__", "a c", "a d", "d __end__")
    assert [one.ahead(name) for name in "abcd"] == [3, 2, 1, 1]


def test_nodes_of_a_loop_count_once_each() -> None:
    one = topology("plan write", "write test", "test write", "test say", "say __end__")
    assert [one.ahead(name) for name in ("plan", "write", "test", "say")] == [4, 3, 3, 1]
    assert topology("a b", "b c", "c b").ahead("a") == 3  # whose loop is not seen to end


def test_it_follows_what_runs_show() -> None:
    one = topology("a __end__")
    assert one.ahead("a") == 1
    one.add_edge("a", "b")
    one.add_edge("b", "__end__")
    assert one.ahead("a") == 2


def test_where_nobody_told_it_is_not_known() -> None:
    one = topology("a b")
    assert (one.ahead("b"), one.ahead("stranger")) == (0, 0)
    many = topology(*(f"n{number} n{number + 1}" for number in range(MOST_SETTLED + 1)))
    assert many.ahead("n0") == 0


def test_nodes_that_lead_nowhere_change_nothing() -> None:
    one = topology("a b", "b __end__")
    one.nodes.update(f"n{number}" for number in range(2 * MOST_SETTLED))
    again = Topology()
    again.restore(*one.snapshot())
    assert one.ahead("a") == again.ahead("a") == 2


def test_a_new_node_is_foreseen_by_the_nodes_ahead_of_it() -> None:
    rest = PlainRest((600.0, 2400.0))
    known, far, untold = (Query(graph="g", node="x", ahead=ahead) for ahead in (3, 6, 0))
    assert rest.at_visit(known).p50 == rest.at_visit(untold).p50 == 600.0
    assert rest.at_visit(far).p50 == 1200.0
    for _ in range(200):
        rest.learn(Query(graph="g", node="seen", ahead=2), 100.0, 0)
    assert rest.at_visit(far).p50 == pytest.approx(300.0, rel=0.1)  # 50 for each of six
    assert rest.at_visit(Query(graph="g", node="seen", ahead=6)).p50 == pytest.approx(100, rel=0.1)
    again = PlainRest((1.0, 2.0))
    again.load(rest.saved())
    assert again.at_position(far) == rest.at_position(far)


def test_on_the_first_day_a_run_that_begins_has_more_ahead_than_one_that_ends() -> None:
    told = Teller(pool(endpoint("a", "small", seats=4)))
    edges = tuple((*pair, "edge") for pair in (("a", "b"), ("b", "c"), ("c", "__end__")))
    told.tell(GraphSeen(graph="g", nodes=("a", "b", "c"), edges=edges))
    told.run_started("r1")
    seconds = []
    for step, name in enumerate("abc", start=1):
        told.node_started(f"n{step}", name, step=step)
        told.ready(f"c{step}", node=f"n{step}", node_name=name, step=step)
        seconds.append(told.scheduler.view(told.now).horizon(told.call(f"c{step}"))[0])
        told.ended(f"c{step}")
        told.node_ended(f"n{step}")
    assert seconds[0] > seconds[1] > seconds[2] > 0.0

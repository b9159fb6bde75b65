"""What is left of runs: trees by hand, and runs that only their shape tells apart."""

from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.past import History
from headway.core.protocols import Query
from headway.predict import forest, trees
from headway.predict.foresight import OnlineForesight
from headway.predict.forest import RollingForest
from headway.predict.horizon import ALL_JUDGED, JUDGED_LATER, MAX_GRAPHS, Horizons
from headway.predict.shape import ALL, STRANGE, Names, row_of

ROWS = [(bytes([unit % 2, 7]), (90.0 if unit % 2 else 10.0,), unit) for unit in range(40)]


def test_a_tree_finds_the_cut_and_reads_its_quantiles_off() -> None:
    tree = trees.grown(ROWS, (0, 1), 0, Random(1))
    assert trees.leaf_of(tree, bytes([0, 7])) == ((10.0,) * trees.KEPT,)
    assert trees.leaf_of(tree, bytes([8, 0])) == ((90.0,) * trees.KEPT,)
    assert tree[0] == 0  # the other column says nothing


def test_a_tree_without_anything_to_tell_is_one_leaf() -> None:
    rows = [(b"\0", (float(value),), value) for value in range(101)]
    ((leaf,),) = trees.grown(rows, (0,), 0, Random(1))
    assert leaf == pytest.approx([4.1 + 10.2 * part for part in range(trees.KEPT)])


def test_what_trees_say_is_taken_together_not_averaged() -> None:
    """Two trees know of nothing but 1, the third of 100: one value in three is 100."""
    said = [(1.0,) * 4, (1.0,) * 4, (100.0,) * 4]
    assert trees.pooled(said) == (1.0, 100.0)
    low, high = trees.pooled([tuple(float(value) for value in range(101))])
    assert (low, high) == (50.0, pytest.approx(90.4))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.binary(min_size=3, max_size=3), st.floats(0, 1e6), st.integers(0, 5)),
        min_size=1,
        max_size=80,
    )
)
def test_leaves_hold_quantiles_of_what_was_seen(rows: list[tuple[bytes, float, int]]) -> None:
    told = [(row, (value, 2.0 * value), unit) for row, value, unit in rows]
    tree = trees.grown(told, (0, 1, 2), 1, Random(3))
    assert tree == trees.grown(told, (0, 1, 2), 1, Random(3))
    least, most = min(one[1] for one in rows), max(one[1] for one in rows)
    for row, _, _ in rows:
        leaf, twice = trees.leaf_of(tree, row)
        assert least <= leaf[0] and list(leaf) == sorted(leaf) and leaf[-1] <= most
        assert twice == pytest.approx([2 * value for value in leaf])
        p50, p90 = trees.pooled([leaf])
        assert leaf[0] <= p50 <= p90 <= leaf[-1]
    assert trees.restored(msgspec.json.decode(msgspec.json.encode(tree))) == tree


def test_a_forest_keeps_few_rows_and_few_trees() -> None:
    made = RollingForest(((0,), (1,)), 1)
    for number in range(3 * forest.ROWS):
        made.learn(bytes([number % 3, 1]), (float(number % 3),), number // 10, {0})
    saved = made.snapshot()
    assert len(saved["rows"]) == forest.ROWS
    believed, other = saved["trees"]
    assert len(believed) <= forest.TREES and len(other) <= forest.TREES
    assert made.predict(0, bytes([2, 1])) == [(2.0, 2.0)]


def test_names_have_codes_and_strange_ones_one() -> None:
    names = Names()
    for number in range(300):
        names.add(f"n{number}")
    assert (names.code(""), names.code("n0"), names.code("n299")) == (0, 1, STRANGE)
    row = row_of(Query(graph="g", node="n1", visit=10**9, prompt_tokens=10**9), names)
    assert len(row) == len(ALL) and row[4] == 255


def visits(rounds: int, run: str) -> list[Query]:
    """A run that goes round so often as its first answer said: 10 tokens each round."""
    history, found = History(), []
    names = ["plan", *["write", "test"] * rounds]
    for step, name in enumerate(names, start=1):
        past = history.node_started(name, step)
        visit = names[:step].count(name)
        ahead = {"plan": 3, "write": 2, "test": 2}[name]
        found.append(
            Query(graph="g", node=name, visit=visit, run=run, step=step, past=past, ahead=ahead)
        )
        history.answered(name, 100, 10 * rounds if name == "plan" else 50)
    return found


def teach(horizons: Horizons, runs: int, quantities: tuple[str, ...]) -> None:
    rng = Random(5)
    for number in range(runs):
        run = visits(rng.randint(1, 6), f"r{number}")
        for place in reversed(range(len(run))):
            for quantity in quantities:
                horizons.of(quantity).learn(run[place], float(len(run) - place))


def test_the_run_so_far_is_worth_more_than_the_place() -> None:
    horizons = Horizons({"steps": (5.0, 20.0)})
    teach(horizons, 120, ("steps",))
    off, plain_off = 0.0, 0.0
    for rounds in range(1, 7):
        for place, query in enumerate(run := visits(rounds, "new")):
            if place:
                left = len(run) - place
                off += abs(horizons.of("steps").estimate(query).p50 - left)
                bare = msgspec.structs.replace(query, past=None, graph="other")
                plain_off += abs(horizons.of("steps").estimate(bare).p50 - left)
    assert off < 0.5 * plain_off


def acting(tools: int, run: str) -> list[Query]:
    """A run that acts once for each tool that its first answer called, in answers all alike."""
    history, found = History(), []
    names = ["agent", *["act"] * tools, "answer"]
    for step, name in enumerate(names, start=1):
        past = history.node_started(name, step)
        visit = names[:step].count(name)
        found.append(Query(graph="g", node=name, visit=visit, run=run, step=step, past=past))
        history.answered(name, 100, 50, tools if name == "agent" else 0)
    return found


def test_tools_that_were_called_tell_how_much_follows() -> None:
    horizons, rng = Horizons({"steps": (5.0, 20.0)}), Random(5)
    steps = horizons.of("steps")
    for number in range(200):
        run = acting(rng.choice((1, 8)), f"r{number}")
        for place in reversed(range(len(run))):
            steps.learn(run[place], float(len(run) - place))
    few, many = (steps.estimate(acting(tools, "new")[1]).p50 for tools in (1, 8))
    assert few == pytest.approx(2.0, abs=0.5) and many == pytest.approx(9.0, abs=0.5)


def test_quantities_are_learned_together_and_a_snapshot_is_all() -> None:
    was = Horizons({"s": (1.0, 2.0), "tokens": (5.0, 9.0)})
    teach(was, 60, ("s", "tokens"))
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(was.snapshot()))
    fresh = Horizons({"s": (1.0, 2.0), "tokens": (5.0, 9.0)})
    fresh.restore(saved)
    assert fresh.snapshot() == was.snapshot()
    for each in (was, fresh):
        teach(each, 30, ("s", "tokens"))
    assert fresh.snapshot() == was.snapshot()
    query = visits(3, "new")[2]
    assert was.of("s").estimate(query) == fresh.of("s").estimate(query)
    later = was.snapshot()["graphs"][0][3][1]
    assert any(trust[2] != [0, 0] for trust in later)  # trees are believed


def test_where_nothing_helps_forecasts_are_as_wide_as_the_truth() -> None:
    rng, horizons = Random(2), Horizons({"left": (5.0, 20.0)})
    left = horizons.of("left")
    for number in range(400):
        (query, *_) = visits(1, f"r{number}")
        left.learn(query, rng.uniform(0.0, 100.0))
    ((_, _, _, (((judged, _, _, shift),), (later,)), _),) = horizons.snapshot()["graphs"]
    found = left.estimate(query)
    assert later[0] == 0  # no node but first ones
    assert judged >= 250
    assert found.p50 == pytest.approx(50.0, abs=12.0) and found.p90 == pytest.approx(90.0, abs=12.0)
    assert abs(shift) < 0.2


def test_what_is_believed_when_a_run_begins_is_a_choice_of_its_own() -> None:
    horizons = Horizons({"steps": (5.0, 20.0)})
    teach(horizons, 200, ("steps",))
    name, forest_, names, (starts, later), counts = horizons.snapshot()["graphs"][0]
    assert 100 <= starts[0][0] <= 200 < later[0][0]  # judged: one a run, and the others
    assert starts[0][2] != [0, 0] != later[0][2]
    starts[0][2], starts[0][3] = [0, 0], 0.0
    plain = Horizons({"steps": (5.0, 20.0)})
    plain.restore(
        {**horizons.snapshot(), "graphs": [[name, forest_, names, (starts, later), counts]]}
    )
    first, *others = visits(3, "new")
    bare = msgspec.structs.replace(first, past=None, graph="g")
    assert plain.of("steps").estimate(first).p50 == plain._quantities[0].at_visit(bare).p50
    for query in others:
        assert plain.of("steps").estimate(query) == horizons.of("steps").estimate(query)


@pytest.mark.parametrize("length", [2, 4, 5, 10])
def test_in_the_long_run_every_tenth_node_is_judged_whatever_the_runs_length(length: int) -> None:
    horizons, rng = Horizons({"left": (5.0, 20.0)}), Random(1)
    left = horizons.of("left")
    nodes = 12_000
    for number in range(nodes // length):
        history = History()
        run = [
            Query(
                graph="g", node=f"n{at}", run=f"r{number}", past=history.node_started(f"n{at}", at)
            )
            for at in range(1, length + 1)
        ]
        for query in reversed(run):
            left.learn(query, rng.uniform(1.0, 9.0))
    ((starts,), (later,)) = horizons.snapshot()["graphs"][0][3]
    for trust, all_of_them in ((starts, nodes / length), (later, nodes - nodes / length)):
        most = ALL_JUDGED + max(all_of_them - ALL_JUDGED, 0) / JUDGED_LATER
        assert 0.8 * min(most, all_of_them) - 100 <= trust[0] <= most + 1


def test_nodes_that_begin_a_run_together_are_not_judged_by_each_other() -> None:
    horizons, rng = Horizons({"left": (5.0, 20.0)}), Random(1)
    left = horizons.of("left")
    for number in range(300):
        history = History()
        run = [
            Query(
                graph="g", node=f"n{at}", run=f"r{number}", past=history.node_started(f"n{at}", 1)
            )
            for at in range(4)
        ]
        truth = rng.uniform(1.0, 9.0)
        for query in reversed(run):
            left.learn(query, truth)
    ((starts,), _) = horizons.snapshot()["graphs"][0][3]
    assert 200 <= starts[0] <= 300  # one of four


def test_what_a_version_before_foresaw_of_the_rest_is_left() -> None:
    was = Horizons({"s": (1.0, 2.0)})
    teach(was, 60, ("s",))
    old = {**was.snapshot(), "graphs": [["of", "another", "shape"]]}
    del old["format"]
    fresh = Horizons({"s": (1.0, 2.0)})
    fresh.restore(old)
    assert fresh.snapshot() == Horizons({"s": (1.0, 2.0)}).snapshot()


def test_graphs_are_bounded_and_nonsense_is_left_out() -> None:
    horizons = Horizons({"left": (5.0, 20.0)})
    left = horizons.of("left")
    for number in range(3 * MAX_GRAPHS):
        (query, *_) = visits(1, "r")
        left.learn(msgspec.structs.replace(query, graph=f"g{number}"), 1.0)
    before = horizons.snapshot()
    assert len(before["graphs"]) == MAX_GRAPHS
    for value in (float("nan"), float("inf"), -1.0, 1e12):
        left.learn(visits(1, "r")[0], value)
    assert horizons.snapshot() == before


def test_a_snapshot_of_a_version_before_is_no_error() -> None:
    foresight = OnlineForesight({})
    saved = foresight.snapshot()
    del saved["horizons"]
    foresight.restore({**saved, "rest_s": {"windows": []}, "rest_tokens": {"windows": []}})
    with pytest.raises(KeyError):
        foresight.restore(saved)

"""What is typical of a place: a mean of logarithms that neither jumps nor fills the memory."""

from math import log1p

import msgspec
import pytest

from headway.core.protocols import Query
from headway.predict import places
from headway.predict.typical import MOST_COUNTED, Typical

LEVELS = ((), ("graph", "node"), ("graph", "node", "visit"))


def at(node: str, visit: int = 1) -> Query:
    return Query(graph="g", node=node, visit=visit)


def test_a_place_stands_on_its_own_after_some_values_and_lends_to_new_ones() -> None:
    one = Typical(LEVELS, prior=100.0)
    assert one.log(at("a")) == log1p(100.0)
    for _ in range(200):
        one.learn(at("a"), 3.0)
        one.learn(at("b"), 5.0)
    assert one.log(at("a")) == pytest.approx(3.0, abs=0.05)
    assert one.log(at("a", 9)) == one.log(at("a", 7))  # nothing was seen of either
    assert 3.5 < one.log(at("new")) < 4.5
    assert one.over(at("new")) == 0.0


def test_by_how_much_a_visit_is_more_than_its_node() -> None:
    one = Typical(LEVELS, prior=100.0)
    for _ in range(100):
        one.learn(at("a", 1), 3.0)
        one.learn(at("a", 2), 5.0)
    assert one.over(at("a", 2)) == pytest.approx(1.0, abs=0.1)
    assert one.over(at("a", 1)) == pytest.approx(-1.0, abs=0.1)


def test_of_two_lengths_it_stays_between_and_follows_what_changes() -> None:
    one = Typical(LEVELS, prior=100.0)
    seen = []
    for number in range(400):
        one.learn(at("a"), 6.0 if number % 2 else 2.0)
        seen.append(one.log(at("a")))
    assert all(3.7 < each < 4.3 for each in seen[100:])
    for _ in range(int(3 * MOST_COUNTED)):
        one.learn(at("a"), 9.0)
    assert one.log(at("a")) == pytest.approx(9.0, abs=0.4)


def test_places_are_bounded_and_a_snapshot_is_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MAX_PLACES", 50)
    one, again = Typical(LEVELS, prior=100.0), Typical(LEVELS, prior=100.0)
    for number in range(500):
        one.learn(at(f"n{number}"), 3.0)
    saved = one.saved()
    assert len(saved) <= 52
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(saved)))
    assert again.saved() == saved and again.log(at("n499")) == one.log(at("n499"))
    for each in (one, again):
        each.learn(at("n499"), 4.0)
        each.learn(at("new"), 4.0)
    assert again.saved() == one.saved()
    with pytest.raises((TypeError, ValueError)):
        again.load([["no"]])

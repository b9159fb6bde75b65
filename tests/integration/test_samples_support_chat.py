"""The support sample: its cases, its graph with a pause, its simulated customer."""

import pytest
from langgraph.types import Command

import headway
from headway_samples.sample import Job
from headway_samples.support_chat.cases import cases, handbook_of, is_right, order_book
from headway_samples.support_chat.graph import ROUNDS, SAMPLE
from tests.support.direct_chat import GENIUS, NOVICE, drive, graph_with

DELIVERY = next(case.number for case in cases() if case.order)
PLAIN = next(case.number for case in cases() if not case.order)


def test_an_answer_needs_the_resolution_and_the_order_status() -> None:
    case = cases()[DELIVERY]
    status = order_book(case.order)
    assert is_right(case, f"{status}; {case.resolution}")
    assert not is_right(case, case.resolution)
    assert not is_right(case, status)
    assert order_book("A1") == "there is no order A1"


def test_no_case_is_solved_by_anothers_resolution() -> None:
    for case in cases():
        for other in cases():
            same = case.number == other.number
            assert (case.resolution in other.resolution) == same


def test_an_unknown_category_gives_the_whole_handbook() -> None:
    assert len(handbook_of("billing").splitlines()) == 6
    assert len(handbook_of("nonsense").splitlines()) == len(cases())


@pytest.mark.parametrize("task", [DELIVERY, PLAIN])
async def test_good_models_solve_in_one_round(task: int) -> None:
    driven = await drive(SAMPLE, graph_with(SAMPLE, skill=GENIUS), task=task)
    assert driven.solved
    assert driven.state["round"] == 1


async def test_bad_models_give_up_after_three_rounds() -> None:
    driven = await drive(SAMPLE, graph_with(SAMPLE, skill=NOVICE), task=DELIVERY)
    assert not driven.solved
    assert driven.state["round"] == ROUNDS


async def test_a_wrong_category_costs_one_round() -> None:
    graph = graph_with(SAMPLE, skill=GENIUS, only={"classify": NOVICE})
    driven = await drive(SAMPLE, graph, task=DELIVERY)
    assert driven.solved
    assert driven.state["round"] == 2


async def test_the_graph_pauses_and_tells_what_the_person_said(monkeypatch) -> None:
    told = []
    monkeypatch.setattr(headway, "feedback", told.append)
    graph = graph_with(SAMPLE, skill=GENIUS)
    config = Job(task=PLAIN, variant=0, thread="t").config()
    paused = await graph.ainvoke({"task": PLAIN, "variant": 0}, config)
    assert "__interrupt__" in paused
    assert told == []
    ended = await graph.ainvoke(Command(resume={"solved": True, "says": "Thanks."}), config)
    assert "__interrupt__" not in ended
    assert told == [True]
    assert ended["history"].endswith("Customer: Thanks.\n")

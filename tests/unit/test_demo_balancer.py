"""The baselines' balancer: fewest open calls, fair ties, the models it is allowed."""

import asyncio
from collections import Counter

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from headway_samples.demo.arms import BASELINES, STATIC
from headway_samples.demo.balancer import BalancedChat, Balancer, Lane


def _lane(name: str, model: str) -> Lane:
    answers = iter([AIMessage(name)] * 50)
    return Lane(endpoint=name, model=model, chat=GenericFakeChatModel(messages=answers))


def test_the_lane_with_fewest_open_calls_is_picked() -> None:
    lanes = [_lane("a", "m"), _lane("b", "m"), _lane("c", "m")]
    lanes[0].open_calls, lanes[1].open_calls, lanes[2].open_calls = 2, 1, 3
    assert Balancer(lanes).pick(("m",)).endpoint == "b"


def test_only_the_models_allowed_are_picked() -> None:
    balancer = Balancer([_lane("a", "small"), _lane("b", "large")])
    balancer.lanes[1].open_calls = 9
    assert balancer.pick(("large",)).endpoint == "b"
    with pytest.raises(ValueError, match="no endpoint serves any of huge"):
        balancer.pick(("huge",))


def test_ties_are_spread_evenly_and_by_seed() -> None:
    lanes = [_lane(name, "m") for name in "abc"]

    def picks(seed: int) -> list[str]:
        balancer = Balancer(lanes, seed=seed)
        return [balancer.pick(("m",)).endpoint for _ in range(300)]

    assert picks(1) == picks(1)
    assert min(Counter(picks(1)).values()) > 70


async def test_calls_are_counted_while_they_run_and_after_an_error() -> None:
    lane = _lane("a", "m")
    chat = BalancedChat(balancer=Balancer([lane]), models=("m",))
    assert (await chat.ainvoke("hello")).text == "a"
    lane.chat = GenericFakeChatModel(messages=iter([]))
    with pytest.raises(RuntimeError):
        await chat.ainvoke("hello")
    assert (lane.calls, lane.open_calls) == (2, 0)


async def test_calls_at_once_spread_over_the_lanes() -> None:
    gate = asyncio.Event()
    lanes = [_lane(name, "m") for name in "ab"]
    chat = BalancedChat(balancer=Balancer(lanes), models=("m",))

    class Waiting(GenericFakeChatModel):
        async def _agenerate(self, *args, **kwargs):
            await gate.wait()
            return self._generate(args[0])

    for lane in lanes:
        lane.chat = Waiting(messages=iter([AIMessage(lane.endpoint)] * 4))
    asking = [asyncio.create_task(chat.ainvoke("hello")) for _ in range(4)]
    while sum(lane.open_calls for lane in lanes) < 4:
        await asyncio.sleep(0)
    assert [lane.open_calls for lane in lanes] == [2, 2]
    gate.set()
    assert sorted(answer.text for answer in await asyncio.gather(*asking)) == ["a", "a", "b", "b"]


def test_tools_are_bound_in_openais_form() -> None:
    @tool
    def look(place: str) -> str:
        """Look somewhere."""
        return place

    bound = BalancedChat(balancer=Balancer([_lane("a", "m")]), models=("m",)).bind_tools([look])
    assert bound.kwargs["tools"][0]["function"]["name"] == "look"


def test_every_baseline_says_for_every_node_which_models_it_may_use() -> None:
    for allowed in BASELINES.values():
        assert set(allowed) == set(STATIC)
        assert all(allowed.values())

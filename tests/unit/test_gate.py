"""What the simulator's gate stands on: prompts of exact ids, verdicts, its page."""

from itertools import pairwise, takewhile
from random import Random

import pytest

from headway.core.scheduler import Scheduler
from headway.predict.foresight import OnlineForesight
from headway.sim.bodies import blocks, prepared
from headway.sim.families import generate
from headway.sim.plans import WORDS_ABOUT_A_FAILURE
from headway.sim.pools import SimPool, Site
from headway.sim.poolspec import POOL_NAME
from headway.sim.sources import Sources
from headway.sim.workload import prepare
from tests.support.telling import Teller, endpoint, granted, pool
from tests.validity.prompts import NodePrompt, Talk
from tests.validity.ways import Wanted
from tests.vllm.gate.comparing import Pair, Virtual
from tests.vllm.gate.lagging import least_busy
from tests.vllm.gate.page import page
from tests.vllm.gate.prompts import ANSWER, completion, ids_of
from tests.vllm.gate.results import Results, gains, swapped
from tests.vllm.gate.setting import (
    BLOCK_TOKENS,
    CELLS,
    EARLY,
    HEADWAY,
    LEAST_TOKENS,
    LITELLM,
    SHARE,
    SIZES,
    material_of,
)


def alike(one: list[int], other: list[int]) -> int:
    """Tokens that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


@pytest.mark.parametrize("family", ["chain", "fanout", "single", "loop", "sharegpt-like"])
def test_prompts_have_the_tokens_and_share_the_blocks_that_the_trace_says(family: str) -> None:
    for run in generate(family, runs=10, seed=3).runs:
        body = prepared(run, BLOCK_TOKENS)
        asked = [place for place, node in enumerate(run.nodes) if node.prompt_tokens]
        prompts = {place: NodePrompt(run="r1", body=run, place=place) for place in asked}
        for place, prompt in prompts.items():
            assert len(ids_of(prompt)) == run.nodes[place].prompt_tokens
        for first, second in pairwise(asked):
            prefixes = (blocks(body.nodes[place].prefix, 0) for place in (first, second))
            wanted = alike(*map(list, prefixes))
            found = alike(ids_of(prompts[first]), ids_of(prompts[second]))
            assert found // BLOCK_TOKENS == wanted


def test_runs_share_nothing() -> None:
    run = generate("chain", runs=1, seed=3).runs[0]
    one, other = (ids_of(NodePrompt(run=name, body=run, place=0)) for name in ("r1", "r2"))
    assert alike(one, other) < 2


def test_a_conversation_repeats_what_was_asked_and_answered() -> None:
    first = ids_of(Talk(run="r1", prompt_tokens=70, answers=()))
    second = ids_of(Talk(run="r1", prompt_tokens=70, answers=(20,)))
    third = ids_of(Talk(run="r1", prompt_tokens=70, answers=(20, 5)))
    assert (len(first), len(second)) == (70, 70 + 20 + WORDS_ABOUT_A_FAILURE)
    assert second[:90] == first + [ANSWER] * 20
    assert third[: len(second)] == second


def test_a_request_asks_for_exactly_the_tokens_within_its_limit() -> None:
    prompt = Talk(run="r1", prompt_tokens=8, answers=())
    sent = completion("small", Wanted(prompt=prompt, tokens=50), 30)
    assert sent.path == "completions"
    assert sent.body["max_tokens"] == sent.body["min_tokens"] == 30
    assert sent.body["ignore_eos"] and sent.body["allowed_token_ids"] == [ANSWER]


def pair(policy: str, live: float, virtual: float, *, spread: float = 0.01) -> Pair:
    """A pair of one second's tails."""
    return Pair(
        cell="sizes/agents at 1",
        about="chains",
        load=1.0,
        rate=2.0,
        policy=policy,
        plays=1,
        runs=200,
        calls=2000,
        live_mean_s=live,
        live_p95_s=2 * live,
        live_p99_s=1.0,
        p99_interval=(0.9, 1.1),
        virtual=Virtual(
            mean_s=virtual,
            p95_s=2 * virtual,
            p99_s=1.05,
            mean_range=(virtual, virtual),
            p99_range=(1.0, 1.1),
            p99_spread=spread,
            calls_on={"small": 2000},
        ),
        charged_s=0.002,
        heard_late_s=0.0,
        slipped=0.001,
        cpu=0.4,
        lived_at="abc1234567",
        virtual_at="def1234567",
        calls_on={"small": 2000},
    )


def results(*pairs: Pair) -> Results:
    """Of one cell."""
    return Results(
        command="python -m tests.vllm.gate",
        commit="0000000",
        machine="a test",
        vllm="0",
        litellm="0",
        seed=1,
        quick=False,
        stands={"sizes": "three sizes"},
        fitted={},
        pairs=pairs,
    )


def test_a_cell_passes_within_both_bounds_and_in_the_same_order() -> None:
    good = results(pair(HEADWAY, 10.0, 10.5), pair(EARLY, 12.0, 12.0), pair(LITELLM, 20.0, 19.0))
    assert [one.passes for one in good.pairs] == [True] * 3
    assert good.passed and not list(swapped(good.cells))
    off = results(pair(HEADWAY, 10.0, 10.7), pair(EARLY, 12.0, 12.0), pair(LITELLM, 20.0, 19.0))
    assert not off.passed and not off.pairs[0].passes


def test_policies_that_change_places_are_found() -> None:
    turned = results(pair(HEADWAY, 10.0, 10.5), pair(EARLY, 10.2, 10.1), pair(LITELLM, 20.0, 20.0))
    (swap,) = swapped(turned.cells)
    assert swap.policies == (HEADWAY, EARLY) and not turned.passed


def test_a_gain_is_as_predicted_within_what_two_means_may_be_off() -> None:
    cells = results(
        pair(HEADWAY, 10.0, 10.0), pair(EARLY, 12.0, 13.0), pair(LITELLM, 20.0, 24.0)
    ).cells
    early, litellm = gains(cells)
    assert early.within and not litellm.within
    assert litellm.live == pytest.approx(2.0)


def test_the_page_tells_losses_too() -> None:
    told = page(
        results(pair(HEADWAY, 13.0, 10.5), pair(EARLY, 12.0, 12.0), pair(LITELLM, 20.0, 19.0)),
        scatter="a.png",
        release="b.png",
    )
    assert "2 of 3 cells are within both" in told and "**no**" in told
    assert "Headway took 1.083 of bound at once live, 0.875 in virtual time" in told
    assert "**12.00, 24.00 s**" in told  # the best of the cell is not Headway


@pytest.mark.parametrize(("spread", "plays"), [(0.05, 1), (0.06, 2), (0.1, 2), (0.11, 3)])
def test_what_is_chaotic_is_lived_more_than_once(spread: float, plays: int) -> None:
    assert pair(HEADWAY, 1.0, 1.0, spread=spread).virtual.live_plays == plays


def test_an_answer_leaves_litellms_count_when_it_is_heard_of() -> None:
    of = pool(endpoint("a", seats=9), endpoint("b", seats=9))
    foresight = OnlineForesight({})
    told = Teller(Scheduler(of, least_busy(0.5), foresight=foresight, rng=Random(1)))
    assert granted(told.ready("c1", run="r1", at=0.0)) == [("c1", "a")]
    told.ended("c1", at=1.0)
    assert granted(told.ready("c2", run="r2", at=1.4)) == [("c2", "b")]
    told.ended("c2", at=1.45)
    assert granted(told.ready("c3", run="r3", at=1.6)) == [("c3", "a")]  # c1 was heard of at 1.5


def test_what_is_played_is_a_share_of_what_was_generated() -> None:
    servers = SimPool(
        name=SIZES.name,
        sites=tuple(
            Site(id=one.name, model=one.model, profile=one.profile) for one in SIZES.servers
        ),
        names={POOL_NAME: SIZES.names},
        reference=SIZES.names[-1],
    )
    trace = CELLS[0].trace
    spec = next(bodies for bodies in trace.bodies if bodies.family == "chain")
    made = prepare(trace, servers, Sources(data=None, base=None), max_tokens=1 << 16)
    generated = next(part.test for part in made.parts if part.test[0].graph == spec.family)
    played = {run.id: run for part in material_of(trace, servers).parts for run in part.test}
    for run in generated:
        for node, short in zip(run.nodes, played[run.id].nodes, strict=True):
            assert short.prompt_tokens == node.prompt_tokens
            assert short.output_tokens == max(round(SHARE * node.output_tokens), LEAST_TOKENS)

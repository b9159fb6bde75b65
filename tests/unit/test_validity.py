"""What comparing both worlds stands on: prompts as the trace says, one pool in two scales."""

from itertools import pairwise, takewhile
from pathlib import Path

import msgspec
import pytest

from headway.daemon.config import load_config as daemon_config
from headway.emulate import Answer
from headway.emulate import load_config as emulator_config
from headway.emulate.protocol import block_hashes, read_request, rendered, token_count
from headway.sim.bodies import blocks, prepared
from headway.sim.families import generate
from headway.sim.plans import WORDS_ABOUT_A_FAILURE
from headway.sim.trace import TraceRun
from tests.validity.compare import Pair, Times, verdicts
from tests.validity.prompts import Messages, conversation, node_prompt, said
from tests.validity.setting import free_urls, make_pool, make_workload, write_config

BLOCK = 16
MODEL = "qwen-7b"


def as_read(messages: Messages, model: str = MODEL) -> str:
    """The prompt as the emulator sees it."""

    body = msgspec.json.encode({"model": model, "messages": messages})
    return rendered(read_request(body, kind="chat", headers={}))


def hashed(prompt: str, answer: str = "") -> tuple[int, ...]:
    return block_hashes(prompt, Answer(text=answer, output_tokens=1), block_tokens=BLOCK)


def alike(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def calls(run: TraceRun) -> list[int]:
    return [place for place, node in enumerate(run.nodes) if node.prompt_tokens]


@pytest.mark.parametrize("family", ["chain", "fanout", "single", "loop"])
@pytest.mark.parametrize("model", ["qwen-7b", "qwen-72b"])
def test_a_prompt_has_exactly_the_tokens_of_its_node(family: str, model: str) -> None:
    for run in generate(family, runs=20, seed=3).runs:
        for place in calls(run):
            text = as_read(node_prompt("r1", run, place, model), model)
            assert token_count(text) == run.nodes[place].prompt_tokens


@pytest.mark.parametrize("family", ["chain", "fanout", "loop"])
def test_prompts_share_the_blocks_that_the_trace_says(family: str) -> None:
    shared = 0
    for run in generate(family, runs=20, seed=3).runs:
        body = prepared(run, BLOCK)
        for first, second in pairwise(calls(run)):
            wanted = alike(
                blocks(body.nodes[first].prefix, 0), blocks(body.nodes[second].prefix, 0)
            )
            found = alike(
                hashed(as_read(node_prompt("r1", run, first, MODEL))),
                hashed(as_read(node_prompt("r1", run, second, MODEL))),
            )
            # a prompt that ends with a block ends with the chat's own last character
            whole = run.nodes[first].prompt_tokens % run.block_tokens == 0
            assert found in ((wanted, wanted - 1) if whole else (wanted,))
            shared += found
    assert shared > 100


def test_runs_share_nothing() -> None:
    run = generate("chain", runs=1, seed=3).runs[0]
    one, other = (hashed(as_read(node_prompt(name, run, 0, MODEL))) for name in ("r1", "r2"))
    assert alike(one, other) == 0


def test_a_conversation_begins_with_what_was_asked_and_answered() -> None:
    first = as_read(conversation("r1", 200, (), MODEL))
    second = as_read(conversation("r1", 200, (300,), MODEL))
    third = as_read(conversation("r1", 200, (300, 50), MODEL))
    failure = WORDS_ABOUT_A_FAILURE
    assert [token_count(text) for text in (first, second, third)] == [
        200,
        200 + 300 + failure,
        200 + 300 + failure + 50 + failure,
    ]
    held = hashed(first, said(300))
    assert alike(held, hashed(second)) == len(held) == (200 + 300) // BLOCK
    assert alike(hashed(second, said(50)), hashed(third)) == (590 // BLOCK)


def test_a_prompt_too_short_for_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        conversation("r1", 16, (), MODEL)


def test_the_daemon_believes_the_truth_in_wall_seconds(tmp_path: Path) -> None:
    pool = make_pool()
    path = write_config(
        tmp_path / "headway.yaml",
        pool,
        urls=free_urls(pool),
        policy="headway",
        speedup=10.0,
        seed=4,
    )
    believed, true = daemon_config(path), emulator_config(path)
    assert (believed.policy, believed.seed) == ("headway", 4)
    assert believed.params == {"age_guard_s": 6.0}
    assert believed.pool.name("agent").idle_grace_s == pytest.approx(0.2)
    assert true.speedup == 10.0
    for site, spec, served in zip(pool.sites, believed.pool.endpoints, true.endpoints, strict=True):
        assert served.profile == site.profile
        profile = spec.profile
        assert profile is not None and profile.seats == site.profile.seats
        assert profile.step_s * 10.0 == pytest.approx(site.profile.step_s)
        assert profile.prefill_s * 10.0 == pytest.approx(site.profile.prefill_s)


def test_twice_the_load_is_the_same_runs_in_half_the_time() -> None:
    pool = make_pool()
    one, other = (make_workload(pool, runs=20, load=load, seed=1).planned for load in (0.4, 0.8))
    assert [plan.run for plan in one] == [plan.run for plan in other]
    assert other[-1].arrival_s * 2.0 == pytest.approx(one[-1].arrival_s)


def pair(seed: int, live: float, virtual: float, *, late: float = 0.01) -> Pair:
    return Pair(
        policy="headway",
        seed=seed,
        speedup=10.0,
        live=Times(mean_s=live, p95_s=2.0 * live),
        virtual=Times(mean_s=virtual, p95_s=2.0 * live),
        uncharged=Times(mean_s=virtual, p95_s=virtual),
        flutter=0.0,
        decision_s=0.0,
        transport_s=0.0,
        lateness=late,
        cpu=0.5,
        hits=(0, 0),
    )


def test_the_verdict_is_the_median_and_needs_every_light_green() -> None:
    pairs = [pair(1, 10.0, 10.0), pair(2, 12.0, 10.0), pair(3, 10.5, 10.0)]
    (verdict,) = verdicts(pairs)
    assert verdict.mean == pytest.approx(1.05)
    assert verdict.mean_spread == pytest.approx((1.0, 1.2))
    assert verdict.p95 == 1.0
    assert verdict.green and verdict.agrees() and not verdict.agrees(within=0.04)
    (late,) = verdicts([*pairs, pair(4, 10.0, 10.0, late=0.06)])
    assert not late.green

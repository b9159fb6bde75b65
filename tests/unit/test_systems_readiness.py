"""Readiness apart from release: budgets, order and what is heard of queues, worked by hand.

Work is prompt tokens + 4 * 200 tokens of output before anything was seen.
"""

from typing import Any

import msgspec
import pytest

from headway.core.types import RunId
from headway.policy import make_scheduler
from headway.policy.readiness import LOOK_EVERY, Readiness, _committed, _work
from tests.support.telling import Teller, endpoint, granted, pool

CHARS = 4  # of a token


def one_endpoint(**params: Any) -> Teller:
    return Teller(pool(endpoint("a", seats=64, prefill_s=0.0)), policy="readiness", **params)


def budget(told: Teller) -> dict[str, float]:
    assert isinstance(told.scheduler.policy, Readiness)
    return dict(told.scheduler.policy.snapshot()["budgets"])


def answered(told: Teller, *, calls: int, first_token_s: float) -> None:
    """So many calls, one after the other, each a run of its own that takes no time."""
    for place in range(calls):
        name = f"{told.now}-{place}"
        told.ready(name, run=name)
        told.ended(name, first_token_s=first_token_s)
        told.run_ended(name)
    told.tick(told.now + 1.0)


def test_work_is_committed_up_to_the_budget() -> None:
    # 120,000: one of 100,000 + 800 fits, with 18,000 + 800 it is 119,600, with 800 more 120,500
    told = one_endpoint()
    assert granted(told.ready("c1", prompt_chars=100_000 * CHARS)) == [("c1", "a")]
    assert granted(told.ready("c2", prompt_chars=18_000 * CHARS)) == [("c2", "a")]
    assert granted(told.ready("c3", prompt_chars=100 * CHARS)) == []
    assert granted(told.ended("c2")) == [("c3", "a")]


def test_one_of_any_size_is_taken_when_nothing_is_committed() -> None:
    told = one_endpoint()
    assert granted(told.ready("c1", prompt_chars=500_000 * CHARS)) == [("c1", "a")]
    assert granted(told.ready("c2", prompt_chars=500_000 * CHARS)) == []
    assert granted(told.ended("c1")) == [("c2", "a")]


def test_least_work_goes_first_unless_a_run_is_in_the_tail() -> None:
    # Weight of the tail 0.5: cost 0.5, in the tail 0.5 + 0.5 / 0.05 = 10.5.
    # c1: 20,800 of work; c2: 2,800; c3: 40,800 in the tail, 10.5 / 40,800 > 0.5 / 2,800
    told = one_endpoint(tail_weight=0.5)
    answered(told, calls=20, first_token_s=0.0)
    told.ready("big", run="r0", prompt_chars=500_000 * CHARS)
    told.ready("c1", run="r1", prompt_chars=20_000 * CHARS)
    told.ready("c2", run="r2", prompt_chars=2_000 * CHARS)
    told.ready("c3", run="r3", prompt_chars=40_000 * CHARS, run_age_s=0.5)
    assert [call for call, _ in granted(told.ended("big"))] == ["c3", "c2", "c1"]


def test_too_few_runs_have_no_tail() -> None:
    told = one_endpoint(tail_weight=0.5)
    answered(told, calls=19, first_token_s=0.0)
    told.ready("big", run="r0", prompt_chars=500_000 * CHARS)
    told.ready("c2", run="r2", prompt_chars=2_000 * CHARS)
    told.ready("c3", run="r3", prompt_chars=40_000 * CHARS, run_age_s=0.5)
    assert [call for call, _ in granted(told.ended("big"))] == ["c2", "c3"]


def test_a_turn_held_too_long_goes_first_and_nothing_passes_it() -> None:
    told = one_endpoint()
    told.ready("c0", prompt_chars=100_000 * CHARS)
    told.ready("big", run="r1", prompt_chars=90_000 * CHARS, hold_limit_s=1000.0)
    assert granted(told.ready("c1", run="r2", at=179.0)) == [("c1", "a")]
    assert granted(told.ready("c2", run="r3", at=181.0)) == []
    assert [call for call, _ in granted(told.ended("c0"))] == ["big", "c2"]


@pytest.mark.parametrize(
    ("first_token_s", "waiting", "tokens"),
    [
        (0.5, 0, 140_000.0),  # within all targets: a step up
        (1.5, 0, 96_000.0),  # mean wait over 1 s: down by a fifth
        (0.5, 3, 96_000.0),  # more than 2 wait
    ],
)
def test_the_budget_follows_the_queue(first_token_s: float, waiting: int, tokens: float) -> None:
    told = one_endpoint(step_tokens=20_000.0)
    told.seen("a", waiting=waiting)
    answered(told, calls=LOOK_EVERY, first_token_s=first_token_s)
    assert budget(told) == {"a": pytest.approx(tokens)}


def test_the_budget_stays_within_its_bounds() -> None:
    told = one_endpoint(step_tokens=20_000.0)
    answered(told, calls=40 * LOOK_EVERY, first_token_s=0.0)
    assert budget(told) == {"a": 300_000.0}
    told.seen("a", waiting=9)
    answered(told, calls=40 * LOOK_EVERY, first_token_s=0.0)
    assert budget(told) == {"a": 30_000.0}


def test_a_run_stays_where_its_prefix_is_if_the_budget_has_room() -> None:
    of = pool(endpoint("a", seats=9), endpoint("b", seats=9))
    told = Teller(of, policy="readiness")
    told.sent("c0", "b")
    told.ended("c0", run="r1")
    told.sent("other", "b", run="r9")
    assert granted(told.ready("c1")) == [("c1", "b")]
    assert granted(told.ready("c2", run="r2")) == [("c2", "a")]


def test_a_turn_waits_for_its_prefix_while_that_pays() -> None:
    # home b: committed 119,000 of 120,000. 50,000 tokens at 0.01 s are 500 s if computed anew, and
    # waiting for budget takes a fraction of one call there: c1 waits; c2 has no prefix and passes
    of = pool(endpoint("a", seats=9, prefill_s=0.01), endpoint("b", seats=9, prefill_s=0.01))
    told = Teller(of, policy="readiness")
    told.sent("c0", "b")
    told.ended("c0", run="r1", prompt_tokens=50_000, cached_tokens=0)
    told.endpoint("b").speed = told.endpoint("a").speed = 1.0
    big = 4 * 118_200
    assert granted(told.ready("x", run="x", prompt_chars=big, models=("b",))) == [("x", "b")]
    assert granted(told.ready("c1", prompt_chars=4 * 50_000)) == []
    assert granted(told.ready("c2", run="r2", prompt_chars=4 * 50_000)) == [("c2", "a")]
    assert ("c1", "b") in granted(told.ended("x", run="x"))


def test_a_short_prefix_is_not_waited_for() -> None:
    # computed anew it takes 1 s, waiting for budget about half of a call of 1,182 s
    of = pool(endpoint("a", seats=9, prefill_s=0.01), endpoint("b", seats=9, prefill_s=0.01))
    told = Teller(of, policy="readiness")
    told.sent("c0", "b")
    told.ended("c0", run="r1")
    told.endpoint("b").speed = told.endpoint("a").speed = 1.0
    told.ready("x", run="x", prompt_chars=4 * 119_190, models=("b",))
    assert granted(told.ready("c1", prompt_chars=400)) == [("c1", "a")]


def test_cached_tokens_are_no_work() -> None:
    # the share cached before anything was seen is counted out at home, not elsewhere
    of = pool(endpoint("a", seats=9), endpoint("b", seats=9))
    told = Teller(of, policy="readiness")
    told.sent("c0", "b")
    told.ended("c0", run="r1")
    told.ready("c1", prompt_chars=4 * 10_000)
    call = told.call("c1")
    assert call is not None and call.endpoint == "b"
    (load,) = told.endpoint("b").inflight.loads.values()
    assert 0 < load.uncached_tokens < 10_000
    view = told.scheduler.view(told.now)
    there = _committed(view, told.endpoint("b"))
    assert there.tokens == load.uncached_tokens + 4 * load.output_tokens
    assert _work(view, call, told.endpoint("b")) == pytest.approx(there.tokens)
    assert _work(view, call, told.endpoint("a")) == 10_000 + 4 * load.output_tokens


def test_a_slow_endpoint_s_prefill_is_no_wait() -> None:
    # 100 tokens at 0.01 s, twice as slow: of 3 s to the first token 2 s are prefill
    told = Teller(pool(endpoint("a", seats=64, prefill_s=0.01)), policy="readiness")
    told.endpoint("a").speed = 2.0
    told.ready("c1", prompt_chars=400)
    told.endpoint("a").speed = 2.0
    told.ended("c1", first_token_s=3.0, prompt_tokens=100, cached_tokens=0)
    policy = told.scheduler.policy
    assert isinstance(policy, Readiness)
    (wait,) = policy._budgets[told.endpoint("a").id].waits
    assert wait == pytest.approx(3.0 - told.endpoint("a").speed)


def test_a_scrape_does_not_look_at_a_queue_that_nothing_is_for() -> None:
    told = one_endpoint()
    told.ready("c0", prompt_chars=119_190 * CHARS)
    told.ready("c1", run="r1", prompt_chars=100 * CHARS)
    policy = told.scheduler.policy
    assert isinstance(policy, Readiness)
    looked: list[str] = []
    policy._order = lambda view, call: looked.append(call.ask.call)  # type: ignore
    told.seen("a", waiting=0)
    assert looked == []
    with pytest.raises(TypeError):
        told.ready("c2", run="r2")
    assert looked


def test_a_snapshot_is_all_that_it_learned_of_the_past() -> None:
    told = one_endpoint()
    answered(told, calls=40, first_token_s=9.0)
    named = told.scheduler.snapshot()["policy"]
    assert named["name"] == "readiness"
    before = named["own"]
    assert len(before["flows"]) == 40 and before["budgets"][0][1] < 120_000
    fresh = Readiness()
    fresh.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before)))
    assert fresh.snapshot() == before
    with pytest.raises((KeyError, TypeError)):
        fresh.restore({"nonsense": 1})


def test_runs_that_are_over_are_forgotten() -> None:
    told = one_endpoint()
    answered(told, calls=300, first_token_s=0.0)
    assert isinstance(told.scheduler.policy, Readiness)
    assert RunId("0.0-0") not in told.scheduler.policy._open
    assert len(told.scheduler.policy._open) <= 64


def test_what_another_policy_learned_is_left_and_the_rest_taken() -> None:
    told = one_endpoint()
    answered(told, calls=40, first_token_s=9.0)
    learned = msgspec.msgpack.decode(msgspec.msgpack.encode(told.scheduler.snapshot()))
    other = make_scheduler(told.scheduler.pool, policy="cascade", learned=learned)
    foresight = other.snapshot()["foresight"]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(foresight)) == learned["foresight"]

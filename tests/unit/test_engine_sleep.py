"""Sleep, waking, measured batches and prompts whose KV was transferred, by hand."""

import pytest

from headway.engine import Engine, EngineProfile, Finished, FirstToken

# A decode step of n sequences takes 1 + n/8 s; a prompt of 10 tokens or fewer one step of 1 s.
ROUND = {
    "prefill_s": 0.1,
    "step_s": 1.0,
    "seq_s": 0.125,
    "seats": 2,
    "kv_tokens": 1000,
    "block_tokens": 10,
    "step_tokens": 100,
}


def engine(*, asleep=False, **changes) -> Engine:
    return Engine(EngineProfile(**{**ROUND, **changes}), asleep=asleep)


def submit(server, name, *, at, prompt=10, output=1, **more):
    server.submit(name, prompt_tokens=prompt, output_tokens=output, at=at, **more)


def ends(happened) -> dict[str, float]:
    return {h.id: h.at for h in happened if isinstance(h, Finished)}


def firsts(happened) -> dict[str, float]:
    return {h.id: h.at for h in happened if isinstance(h, FirstToken)}


def test_a_request_wakes_a_sleeping_engine_and_waits_for_it():
    server = engine(asleep=True, wake_s=30.0)
    assert server.gauges().asleep and server.next_at() is None
    submit(server, "a", at=5.0)
    submit(server, "b", at=20.0)
    server.advance(34.0)
    assert (server.gauges().asleep, server.gauges().waiting, server.next_at()) == (True, 2, 35.0)
    happened = server.advance(100.0)
    # Awake at 35; both prompts fit into the first step, which ends at 37: 20 tokens of 0.1 s.
    assert ends(happened) == {"a": 37.0, "b": 37.0}
    assert [h.waited_s for h in happened if isinstance(h, Finished)] == [30.0, 15.0]
    assert not server.gauges().asleep


def test_an_idle_engine_falls_asleep_and_forgets_its_cache():
    server = engine(wake_s=4.0, sleep_after_s=10.0, prefix_cache=True)
    submit(server, "a", at=0.0, prompt=25, prefix=(1, 2))
    # Idle from 2.5 on. At 12 it is still awake and knows the prefix; idle again from 13.
    submit(server, "b", at=12.0, prompt=25, prefix=(1, 2))
    server.advance(22.5)
    assert not server.gauges().asleep
    server.advance(23.0)
    assert server.gauges().asleep and server.next_at() is None
    submit(server, "c", at=23.0, prompt=25, prefix=(1, 2))
    done = {h.id: h for h in server.advance(100.0) if isinstance(h, Finished)}
    assert (done["c"].at, done["c"].cached_tokens) == (23.0 + 4.0 + 2.5, 0)
    assert server.gauges().cached_tokens == 20


def test_it_can_be_woken_before_it_is_needed():
    server = engine(asleep=True, wake_s=4.0, sleep_after_s=10.0)
    server.wake(at=1.0)
    assert server.next_at() == 5.0
    submit(server, "a", at=14.0)
    assert ends(server.advance(20.0)) == {"a": 15.0}
    # Idle since 15: asleep at 25, unless it is told to stay awake.
    server.wake(at=24.0)
    server.advance(33.5)
    assert not server.gauges().asleep
    server.advance(34.0)
    assert server.gauges().asleep


def test_a_request_cancelled_while_it_wakes_leaves_it_idle():
    server = engine(asleep=True, wake_s=4.0)
    submit(server, "a", at=0.0)
    assert server.cancel("a", at=1.0)
    assert server.advance(10.0) == ()
    assert not server.gauges().asleep and server.next_at() is None


def test_what_can_never_fit_wakes_nobody():
    server = engine(asleep=True, wake_s=4.0)
    submit(server, "a", at=0.0, prompt=5000)
    server.advance(10.0)
    assert server.gauges().asleep


def test_a_transferred_prompt_decodes_in_its_first_step():
    server = engine(context_s=0.5)
    submit(server, "a", at=0.0, prompt=21, output=2, prefilled=True)
    assert server.gauges().kv_used == 3 / 100
    # Steps of 1.125 s, and 21, then 22 tokens of context.
    happened = server.advance(100.0)
    assert firsts(happened) == {"a": 1.125 + 10.5}
    assert ends(happened) == {"a": 2 * 1.125 + 10.5 + 11.0}
    assert server.gauges().kv_used == 0.0
    assert server.gauges().generation_tokens == 2


def test_a_transferred_prompt_of_one_token_more():
    happened = []
    server = engine()
    submit(server, "a", at=0.0, output=1, prefilled=True)
    happened += server.advance(100.0)
    assert [type(h) for h in happened] == [FirstToken, Finished]
    assert [h.at for h in happened] == [1.125, 1.125]


def test_a_transferred_prompt_joins_others_after_the_step_in_progress():
    server = engine()
    submit(server, "a", at=0.0, output=9)
    submit(server, "b", at=1.5, output=3, prefilled=True)
    # a alone until 2.125; then both in steps of 1.25.
    assert firsts(server.advance(100.0)) == {"a": 1.0, "b": 2.125 + 1.25}


def test_a_transferred_prompt_that_is_evicted_is_computed_here():
    server = engine(kv_tokens=40)
    submit(server, "best", at=0.0, output=21, priority=0, prefilled=True)
    submit(server, "worst", at=0.0, output=21, priority=1, prefilled=True)
    done = {h.id: h for h in server.advance(1000.0) if isinstance(h, Finished)}
    # best decodes alone to 1.125; both until their third blocks: worst has 10 tokens and goes.
    assert (done["best"].preemptions, done["worst"].preemptions) == (0, 1)
    # best: 1.125, ten steps of 1.25, ten alone. worst then prefills 20 tokens (2 s, its 11th
    # token) and decodes ten more.
    best = 1.125 + 10 * 1.25 + 10 * 1.125
    assert done["best"].at == best
    assert done["worst"].at == best + 2.0 + 10 * 1.125


def test_measured_batches_stand_for_the_line():
    profile = EngineProfile(
        **{**ROUND, "context_s": 0.5}, batch_points=((1, 1.5), (3, 1.75), (5, 3.0))
    )

    def step_s(n, **more):
        return profile.step_time_s(sequences=n, context_tokens=0, **more)

    assert [step_s(n) for n in range(8)] == [1.0, 1.5, 1.625, 1.75, 2.375, 3.0, 3.625, 4.25]
    assert step_s(3, prefill_tokens=10) == 1.75
    assert step_s(3, prefill_tokens=30) == 3.75
    assert profile.step_time_s(sequences=1, context_tokens=4) == 3.5
    server = Engine(profile)
    submit(server, "a", at=0.0, prompt=4, output=3)
    # 1 s of prefill, then 1.5 s and 5, then 6 tokens of context.
    assert ends(server.advance(100.0)) == {"a": 1.0 + 4.0 + 4.5}
    assert profile.alone_s(prompt_tokens=4, output_tokens=3) == 9.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wake_s": -1.0}, "wake_s"),
        ({"sleep_after_s": -1.0}, "sleep_after_s"),
        ({"batch_points": ((2, 1.0), (2, 2.0))}, "rising"),
        ({"batch_points": ((0, 1.0),)}, "rising"),
        ({"batch_points": ((1, 0.0),)}, "above zero"),
        ({"batch_points": ((1, 3.0), (2, 2.0))}, "shorter"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EngineProfile(**wrong)

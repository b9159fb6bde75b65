"""The engine against examples worked by hand, with steps of round lengths."""

import pytest

from headway.engine import Engine, EngineProfile, Finished, FirstToken, Rejected

# A decode step of n sequences takes 1 + n/8 s; a prompt of 10 tokens or fewer one step of 1 s.
ROUND = {
    "prefill_s": 0.1,
    "step_s": 1.0,
    "seq_s": 0.125,
    "context_s": 0.0,
    "seats": 2,
    "kv_tokens": 1000,
    "block_tokens": 10,
    "step_tokens": 100,
}


def engine(**changes) -> Engine:
    return Engine(EngineProfile(**{**ROUND, **changes}))


def times(happened, kind=Finished) -> dict[str, float]:
    return {h.id: h.at for h in happened if isinstance(h, kind)}


def test_one_request_alone():
    server = engine()
    server.submit("a", prompt_tokens=10, output_tokens=3, at=5.0)
    first, last = server.advance(100.0)
    # Prefill 5..6 gives the first token; two decode steps of 1.125 s the others.
    assert (first.id, first.at) == ("a", 6.0)
    assert last == Finished(
        id="a",
        at=8.25,
        submitted_at=5.0,
        first_token_at=6.0,
        output_tokens=3,
        cached_tokens=0,
        waited_s=0.0,
        preemptions=0,
    )
    assert last.at - 5.0 == server.profile.alone_s(prompt_tokens=10, output_tokens=3)
    assert server.next_at() is None


def test_three_requests_two_seats():
    server = engine()
    for name in "abc":
        server.submit(name, prompt_tokens=10, output_tokens=3, at=0.0)
    happened = server.advance(100.0)
    # 0..1 prefill a. 1..2.125 decode a, prefill b. 2.125..3.375 decode a, b: a is through.
    # 3.375..4.5 decode b, prefill c: b is through. Then c alone: 5.625, 6.75.
    assert times(happened, FirstToken) == {"a": 1.0, "b": 2.125, "c": 4.5}
    assert times(happened) == {"a": 3.375, "b": 4.5, "c": 6.75}
    assert [h.waited_s for h in happened if isinstance(h, Finished)] == [0.0, 1.0, 3.375]


def test_lower_priority_number_is_served_first_with_one_seat():
    server = engine(seats=1)
    server.submit("running", prompt_tokens=10, output_tokens=2, at=0.0, priority=9)
    for number, name in [(5, "late"), (1, "first"), (5, "later"), (-3, "urgent")]:
        server.submit(name, prompt_tokens=10, output_tokens=2, at=0.5, priority=number)
    finished = [h.id for h in server.advance(100.0) if isinstance(h, Finished)]
    assert finished == ["running", "urgent", "first", "late", "later"]


def test_attention_makes_steps_longer_with_context():
    server = engine(context_s=0.5)
    server.submit("a", prompt_tokens=4, output_tokens=3, at=0.0)
    # Prefill 1 s; decode steps attend to 5, then 6 tokens: 1.125 + 2.5, 1.125 + 3.
    assert times(server.advance(100.0)) == {"a": 1.0 + 3.625 + 4.125}


def test_long_prompts_are_chunked_beside_decoding():
    server = engine(step_tokens=20, prefill_s=0.125)
    server.submit("a", prompt_tokens=1, output_tokens=9, at=0.0)
    server.submit("b", prompt_tokens=40, output_tokens=1, at=0.5)
    # From 1.0 a decodes; b gets 19, 19 and 2 tokens: steps of 2.375, 2.375, 1 s, and 1/8 for a.
    assert times(server.advance(7.2)) == {"b": 1.0 + 2.5 + 2.5 + 1.125}


def test_skipping_ahead_equals_stepping_and_asking_changes_nothing():
    def play(server: Engine, ask: bool):
        happened = []
        server.submit("a", prompt_tokens=10, output_tokens=50, at=0.0)
        for tick in range(1, 60) if ask else []:
            happened += server.advance(tick / 10)
            server.next_at()
            server.gauges()
        server.submit("b", prompt_tokens=30, output_tokens=20, at=6.3)
        for tick in range(64, 90) if ask else []:
            happened += server.advance(tick / 10)
        server.cancel("a", at=9.1)
        return (*happened, *server.advance(1000.0))

    quiet = play(engine(context_s=0.001), ask=False)
    assert quiet == play(engine(context_s=0.001), ask=True)
    assert [h.id for h in quiet if isinstance(h, Finished)] == ["b"]


def test_produced_and_gauges_in_the_middle_of_a_stretch():
    server = engine()
    server.submit("a", prompt_tokens=10, output_tokens=100, at=0.0)
    server.advance(1.0 + 10 * 1.125)
    assert server.produced("a") == 11
    gauges = server.gauges()
    assert (gauges.running, gauges.waiting, gauges.generation_tokens) == (1, 0, 11)
    # 20 tokens are in the cache: the last one's keys are computed by the step to come.
    assert gauges.kv_used == 2 / 100
    assert gauges.prompt_tokens == 10


def test_cancel_frees_the_seat_at_once():
    server = engine(seats=1)
    server.submit("a", prompt_tokens=10, output_tokens=100, at=0.0)
    server.submit("b", prompt_tokens=10, output_tokens=1, at=0.0)
    assert server.cancel("a", at=4.0)
    assert server.gauges().running == 1
    assert times(server.advance(100.0)) == {"b": 5.0}
    assert not server.cancel("a", at=100.0)
    assert server.gauges().cancelled == 1


def test_cancelling_one_of_two_keeps_the_step_in_progress():
    server = engine()
    server.submit("a", prompt_tokens=10, output_tokens=100, at=0.0)
    server.submit("b", prompt_tokens=10, output_tokens=4, at=0.0)
    # b's first token at 2.125, then steps of 1.25 for two: 3.375, 4.625. The step at 3.375 was
    # begun with both, the last one is b's alone.
    server.cancel("a", at=3.5)
    assert times(server.advance(100.0)) == {"b": 4.625 + 1.125}


def test_cancelled_head_of_the_queue_lets_others_in():
    server = engine(seats=3, kv_tokens=100)
    server.submit("long", prompt_tokens=10, output_tokens=60, at=0.0)
    server.submit("large", prompt_tokens=95, output_tokens=2, at=0.5)
    server.submit("small", prompt_tokens=10, output_tokens=1, at=0.5)
    server.advance(3.0)
    assert server.gauges().waiting == 2
    server.cancel("large", at=3.0)
    # Steps of long end at 1 + 1.125 k: 3.25 is the next, small is prefilled beside it.
    assert times(server.advance(10.0)) == {"small": 3.25 + 1.125}


def test_the_worst_is_preempted_when_blocks_run_out_and_finishes_later():
    server = engine(kv_tokens=40)
    server.submit("best", prompt_tokens=10, output_tokens=21, at=0.0, priority=0)
    server.submit("worst", prompt_tokens=10, output_tokens=21, at=0.0, priority=1)
    done = {h.id: h for h in server.advance(1000.0) if isinstance(h, Finished)}
    assert (done["best"].preemptions, done["worst"].preemptions) == (0, 1)
    assert done["best"].at < done["worst"].at
    assert done["worst"].output_tokens == 21
    assert server.gauges().preemptions == 1
    assert server.gauges().kv_used == 0.0


def test_prefix_cache_skips_what_an_earlier_prompt_computed():
    server = engine(prefill_s=1.0)
    server.submit("a", prompt_tokens=25, output_tokens=1, at=0.0, prefix=(11, 12))
    server.submit("b", prompt_tokens=25, output_tokens=1, at=50.0, prefix=(11, 13))
    server.submit("c", prompt_tokens=20, output_tokens=1, at=100.0, prefix=(11, 12))
    done = {h.id: h for h in server.advance(200.0) if isinstance(h, Finished)}
    assert {name: h.cached_tokens for name, h in done.items()} == {"a": 0, "b": 10, "c": 10}
    assert {name: h.at for name, h in done.items()} == {"a": 25.0, "b": 65.0, "c": 110.0}
    assert server.gauges().cached_tokens == 20


def test_output_is_found_by_the_next_turn():
    server = engine()
    server.submit("a", prompt_tokens=10, output_tokens=11, at=0.0, prefix=(1, 2))
    server.submit("b", prompt_tokens=30, output_tokens=1, at=50.0, prefix=(1, 2, 3))
    done = {h.id: h for h in server.advance(100.0) if isinstance(h, Finished)}
    assert done["b"].cached_tokens == 20


def test_cached_blocks_make_room_least_recently_used_first():
    server = engine(kv_tokens=40)
    server.submit("a", prompt_tokens=20, output_tokens=1, at=0.0, prefix=(1, 2))
    server.submit("b", prompt_tokens=10, output_tokens=1, at=10.0, prefix=(7,))
    server.submit("big", prompt_tokens=20, output_tokens=1, at=20.0)
    # The tail of a's prefix went; its head and b's block are still there.
    server.submit("b2", prompt_tokens=11, output_tokens=1, at=30.0, prefix=(7,))
    server.submit("a2", prompt_tokens=21, output_tokens=1, at=40.0, prefix=(1, 2))
    done = {h.id: h for h in server.advance(100.0) if isinstance(h, Finished)}
    assert (done["b2"].cached_tokens, done["a2"].cached_tokens) == (10, 10)


def test_what_can_never_fit_and_a_full_queue_are_rejected():
    server = engine(seats=1, kv_tokens=100, queue_limit=1)
    server.submit("huge", prompt_tokens=90, output_tokens=12, at=0.0)
    server.submit("fits", prompt_tokens=90, output_tokens=11, at=0.0)
    server.submit("waits", prompt_tokens=1, output_tokens=1, at=0.0)
    server.submit("refused", prompt_tokens=1, output_tokens=1, at=0.0)
    refused = [h for h in server.advance(0.0) if isinstance(h, Rejected)]
    assert [(h.id, h.kind) for h in refused] == [("huge", "too_long"), ("refused", "busy")]
    assert "102" not in refused[0].why and "101" in refused[0].why


def test_misuse_is_named():
    server = engine()
    server.submit("a", prompt_tokens=1, output_tokens=5, at=1.0)
    with pytest.raises(ValueError, match="already"):
        server.submit("a", prompt_tokens=1, output_tokens=1, at=1.0)
    with pytest.raises(ValueError, match="at least one token"):
        server.submit("b", prompt_tokens=0, output_tokens=1, at=1.0)
    with pytest.raises(ValueError, match="backwards"):
        server.advance(0.5)
    with pytest.raises(ValueError, match="step_s"):
        EngineProfile(step_s=0.0)


def test_a_request_cancelled_in_mid_step_had_the_blocks_of_that_step() -> None:
    # blocks of one token: r1 leaves 7 idle blocks of the 16; r2 then holds its 7 and one more for
    # each step it began, at the cost of idle ones, until it is cancelled in its fourth step
    profile = EngineProfile(
        prefill_s=0.0, step_s=0.25, seq_s=0.0, seats=1, kv_tokens=16, block_tokens=1
    )
    engine = Engine(profile)
    prefix = tuple(range(7))
    engine.submit("r1", prompt_tokens=7, output_tokens=1, at=0.0, prefix=prefix)
    engine.advance(0.25)
    engine.submit("r2", prompt_tokens=7, output_tokens=4, at=0.25)
    engine.cancel("r2", at=1.0)  # three steps are over, the fourth begins
    assert engine._blocks.idle == 16 - 10

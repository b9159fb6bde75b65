"""What must hold for any requests: capacity, completion, order, determinism, equal time."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engine import PRESETS, Engine, EngineProfile, Finished, FirstToken, Rejected

profiles = st.builds(
    EngineProfile,
    prefill_s=st.sampled_from([0.0, 0.01, 0.3]),
    step_s=st.sampled_from([0.1, 1.0]),
    seq_s=st.sampled_from([0.0, 0.05]),
    context_s=st.sampled_from([0.0, 0.001]),
    seats=st.integers(1, 4),
    kv_tokens=st.integers(16, 200),
    block_tokens=st.integers(1, 8),
    step_tokens=st.integers(1, 64),
    queue_limit=st.sampled_from([None, None, 0, 2]),
    prefix_cache=st.booleans(),
)
requests = st.lists(
    st.tuples(
        st.floats(0.0, 5.0),  # gap to the one before
        st.integers(1, 60),  # prompt tokens
        st.integers(1, 40),  # output tokens
        st.integers(-2, 2),  # priority
        st.integers(0, 2),  # which conversation
        st.one_of(st.none(), st.floats(0.0, 20.0)),  # cancelled so long after
    ),
    min_size=1,
    max_size=14,
)


def script(wanted):
    """The requests as timed actions, in order of time."""
    at, actions = 0.0, []
    for number, (gap, prompt, output, priority, talk, cancel_after) in enumerate(wanted):
        at += gap
        prefix = tuple(talk * 1000 + block for block in range(prompt + output))
        actions.append((at, number, "submit", (prompt, output, priority, prefix)))
        if cancel_after is not None:
            actions.append((at + cancel_after, number, "cancel", ()))
    return sorted(actions, key=lambda action: (action[0], action[1], action[2]))


def play(profile, wanted, watch=lambda server: None):
    server = Engine(profile)
    happened, cancelled = [], set()
    for at, number, what, details in script(wanted):
        while (due := server.next_at()) is not None and due <= at:
            happened += server.advance(max(due, 0.0))
            watch(server)
        if what == "submit":
            prompt, output, priority, prefix = details
            server.submit(
                f"r{number}",
                prompt_tokens=prompt,
                output_tokens=output,
                priority=priority,
                prefix=prefix,
                at=at,
            )
        elif server.cancel(f"r{number}", at=at):
            cancelled.add(f"r{number}")
        watch(server)
    for _ in range(100_000):
        due = server.next_at()
        if due is None:
            break
        happened += server.advance(due)
        watch(server)
    return happened, cancelled, server


@settings(max_examples=150, deadline=None)
@given(profiles, requests)
def test_capacity_completion_and_truth_of_the_books(profile, wanted):
    def watch(server):
        gauges = server.gauges()
        assert 0 <= gauges.running <= profile.seats
        assert gauges.waiting >= 0
        assert 0.0 <= gauges.kv_used <= 1.0
        assert server._blocks.held + server._blocks.idle <= profile.kv_blocks

    happened, cancelled, server = play(profile, wanted, watch)
    finished = {h.id: h for h in happened if isinstance(h, Finished)}
    rejected = {h.id for h in happened if isinstance(h, Rejected)}
    everyone = {f"r{number}" for number in range(len(wanted))}
    assert finished.keys() | rejected | cancelled == everyone
    assert len(finished) + len(rejected) + len(cancelled) == len(everyone)
    assert [h.at for h in happened] == sorted(h.at for h in happened)
    for name, end in finished.items():
        assert end.output_tokens == wanted[int(name[1:])][2]
        assert end.submitted_at <= end.first_token_at <= end.at
    gauges = server.gauges()
    assert (gauges.running, gauges.waiting, gauges.kv_used) == (0, 0, 0.0)
    assert gauges.succeeded == len(finished)
    assert gauges.generation_tokens >= sum(h.output_tokens for h in finished.values())


@settings(max_examples=60, deadline=None)
@given(profiles, requests)
def test_same_input_same_happenings_however_often_it_is_asked(profile, wanted):
    stepped, _, _ = play(profile, wanted)
    server = Engine(profile)
    skipped = []
    for at, number, what, details in script(wanted):
        if what == "submit":
            prompt, output, priority, prefix = details
            server.submit(
                f"r{number}",
                prompt_tokens=prompt,
                output_tokens=output,
                priority=priority,
                prefix=prefix,
                at=at,
            )
        else:
            server.cancel(f"r{number}", at=at)
    skipped += server.advance(1e9)
    assert skipped == stepped


class OneStepAtATime(Engine):
    """The same rules without skipping ahead."""

    def _identical_steps(self, decoding):
        return 1


@settings(max_examples=100, deadline=None)
@given(profiles, requests)
def test_skipping_ahead_equals_single_steps(profile, wanted):
    # Times in eighths add up without rounding, so both must agree to the last bit.
    exact = replace(profile, prefill_s=0.125, step_s=0.5, seq_s=0.125, context_s=0.125)
    ends = []
    for kind in (Engine, OneStepAtATime):
        server = kind(exact)
        for at, number, what, details in script(
            [
                (round(gap * 8) / 8, *rest, cancel and round(cancel * 8) / 8)
                for gap, *rest, cancel in wanted
            ]
        ):
            if what == "cancel":
                server.cancel(f"r{number}", at=at)
                continue
            prompt, output, priority, prefix = details
            server.submit(
                f"r{number}",
                prompt_tokens=prompt,
                output_tokens=output,
                priority=priority,
                prefix=prefix,
                at=at,
            )
        ends.append((server.advance(1e9), server.gauges()))
    assert ends[0] == ends[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 9)), min_size=1, max_size=12))
def test_one_seat_serves_by_priority_then_arrival(queue):
    server = Engine(EngineProfile(seats=1))
    server.submit("r", prompt_tokens=1, output_tokens=50, at=0.0)
    for number, (priority, output) in enumerate(queue):
        server.submit(
            f"{number}", prompt_tokens=9, output_tokens=output, priority=priority, at=0.001
        )
    order = [int(h.id) for h in server.advance(1e6)[2:] if isinstance(h, FirstToken)]
    assert order == sorted(range(len(queue)), key=lambda number: (queue[number][0], number))


@given(st.integers(1, 9000), st.integers(1, 2000), st.sampled_from(sorted(PRESETS)))
def test_alone_in_closed_form_is_what_the_engine_does(prompt, output, preset):
    server = Engine(PRESETS[preset])
    server.submit("r", prompt_tokens=prompt, output_tokens=output, at=0.0)
    end = server.advance(1e9)[-1]
    alone_s = PRESETS[preset].alone_s(prompt_tokens=prompt, output_tokens=output)
    assert abs(end.at - alone_s) < 1e-6 * alone_s


def test_presets_are_in_the_range_of_public_measurements():
    small, middle, large = (PRESETS[f"qwen2.5-{size}@a100"] for size in ("7b", "32b", "72b"))
    # One sequence, no context: about 80, 40 and 35 tokens a second.
    assert 60 < 1 / small.step_s < 100
    assert 30 < 1 / middle.step_s < 50
    assert 25 < 1 / large.step_s < 45
    assert small.prefill_s < middle.prefill_s < large.prefill_s
    assert all(profile.kv_tokens > 100_000 for profile in PRESETS.values())

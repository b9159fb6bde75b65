"""The fast engine against the plain one: the same happenings at the same times."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.engine import Engine, EngineProfile, Finished, Rejected
from tests.support.naive_engine import NaiveEngine

# Times in eighths add up without rounding: both must agree to the last bit, ties included.
eighths = st.integers(0, 40).map(lambda n: n / 8)
profiles = st.builds(
    EngineProfile,
    prefill_s=st.sampled_from([0.0, 0.125]),
    step_s=st.sampled_from([0.25, 1.0]),
    seq_s=st.sampled_from([0.0, 0.125]),
    context_s=st.sampled_from([0.0, 0.125]),
    seats=st.integers(1, 5),
    kv_tokens=st.integers(16, 160),
    block_tokens=st.integers(1, 8),
    step_tokens=st.integers(1, 40),
    queue_limit=st.sampled_from([None, None, 0, 2]),
    prefix_cache=st.booleans(),
    wake_s=st.sampled_from([0.0, 2.5]),
    sleep_after_s=st.sampled_from([None, 0.0, 4.0]),
    batch_points=st.sampled_from([(), ((1, 0.5), (2, 0.5), (4, 1.5)), ((3, 4.0),)]),
)
requests = st.lists(
    st.tuples(
        eighths,  # gap to the one before
        st.integers(1, 60),  # prompt tokens
        st.integers(1, 40),  # output tokens
        st.integers(-1, 1),  # priority
        st.integers(0, 3),  # where its text leaves the common one, in eighths of its length
        st.integers(0, 80),  # how many of its blocks are named
        st.booleans(),  # whether its KV is transferred
        st.one_of(st.none(), eighths),  # cancelled so long after
    ),
    min_size=1,
    max_size=16,
)


def prefix_of(number: int, leaves: int, length: int) -> tuple[int, ...]:
    """Ids of blocks, each naming all text before it: common at first, then the request's own."""
    common = length if leaves == 3 else leaves * length // 8
    own = (1000 * (number % 3 + 1) + common * 100_000 + block for block in range(common, length))
    return (*range(common), *own)


def script(wanted):
    at, actions = 0.0, []
    for number, (gap, prompt, output, priority, leaves, named, moved, cancel) in enumerate(wanted):
        at += gap
        details = {
            "prompt_tokens": prompt,
            "output_tokens": output,
            "priority": priority,
            "prefix": prefix_of(number, leaves, named),
            "prefilled": moved,
        }
        actions.append((at, number, details))
        if cancel is not None:
            actions.append((at + cancel, number, None))
    return sorted(actions, key=lambda action: (action[0], action[1], action[2] is None))


def play(server, actions, ask=()):
    happened = []
    asked = iter(sorted(ask))
    due = next(asked, None)
    for at, number, details in actions:
        while due is not None and due <= at:
            happened += server.advance(due)
            due = next(asked, None)
        if details is None:
            server.cancel(f"r{number}", at=at)
        else:
            server.submit(f"r{number}", at=at, **details)
    return [*happened, *server.advance(1e9)]


def plain(happened):
    """Without the wording of refusals."""
    return [
        Rejected(id=h.id, at=h.at, kind=h.kind, why="") if isinstance(h, Rejected) else h
        for h in happened
    ]


@settings(max_examples=400, deadline=None)
@given(profiles, requests, st.booleans(), st.lists(eighths.map(lambda t: 5 * t), max_size=20))
def test_the_fast_engine_is_the_plain_one(profile, wanted, asleep, ask):
    actions = script(wanted)
    fast = Engine(profile, asleep=asleep)
    naive = NaiveEngine(profile, asleep=asleep)
    assert plain(play(fast, actions, ask)) == plain(play(naive, actions))
    assert (fast.gauges().kv_used, fast._blocks.idle) == (0.0, len(naive.idle))


@pytest.mark.parametrize("seed", range(8))
def test_under_load_the_times_differ_by_rounding_only(seed):
    rng = random.Random(seed)
    profile = EngineProfile(
        prefill_s=0.000317,
        step_s=0.0113,
        seq_s=0.000191,
        context_s=3.7e-7,
        seats=12,
        kv_tokens=rng.choice([1500, 6000]),
        step_tokens=256,
    )
    wanted = [
        (
            rng.expovariate(12.0),
            rng.randint(1, 500),
            rng.randint(1, 150),
            rng.randint(0, 2),
            rng.randint(0, 3),
            rng.randint(0, 40),
            rng.random() < 0.1,
            rng.expovariate(0.3) if rng.random() < 0.1 else None,
        )
        for _ in range(120)
    ]
    actions = script(wanted)
    ask = [rng.uniform(0.0, 12.0) for _ in range(50)]
    fast, naive = play(Engine(profile), actions, ask), play(NaiveEngine(profile), actions)
    assert [(type(h), h.id) for h in fast] == [(type(h), h.id) for h in naive]
    assert [h.at for h in fast] == pytest.approx([h.at for h in naive], rel=1e-9)
    ends = [(h, other) for h, other in zip(fast, naive, strict=True) if isinstance(h, Finished)]
    assert len(ends) > 90
    for one, other in ends:
        assert replace_times(one) == replace_times(other)
    if profile.kv_tokens == 1500:
        assert sum(one.preemptions for one, _ in ends) > 0


def replace_times(end: Finished) -> tuple[int, int, int]:
    return (end.output_tokens, end.cached_tokens, end.preemptions)


def test_the_comparison_can_fail():
    profile = EngineProfile(seats=2)
    slower = replace(profile, seq_s=0.01)
    actions = script([(0.0, 10, 10, 0, 0, 0, False, None)])
    assert play(Engine(slower), actions) != play(NaiveEngine(profile), actions)

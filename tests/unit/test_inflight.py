"""What is in flight on a server: sums that are kept, against a look at every call."""

import random

import pytest

from headway.core.calls import CallKey
from headway.core.inflight import InFlight, Load
from headway.core.pool import Profile
from headway.core.remaining import ahead, pieces
from headway.core.types import CallId


def key(name: object) -> CallKey:
    return (CallId(str(name)), 1)


def load(output: float, *, at: float = 0.0, prompt: int = 100, p90: float = 0.0) -> Load:
    """Without a `p90` the output is taken to be sure."""
    most = prompt + (p90 or output)
    return Load(prompt_tokens=prompt, output_tokens=output, kv_tokens=most, released_at=at)


def test_progress_is_counted_in_steps_and_what_is_ahead_falls_to_a_tenth() -> None:
    one = InFlight()
    one.pace(0.0, Profile(step_s=0.01), 1.0)
    one.add(key("x"), load(300), room=None)
    one.add(key("y"), load(100), room=None)
    assert one.tokens_left(0.0) == 400
    # 50 steps: 255 and 55 are ahead; both attend to their prompts and 50 tokens each
    assert one.tokens_left(0.5) == pytest.approx(310)
    assert one.least_left(0.5) == pytest.approx(55)
    assert one.context_tokens(0.5) == 300
    # 100 steps: y has come as far as was foreseen, and is taken to have a tenth ahead
    assert one.tokens_left(1.0) == pytest.approx(210 + 10)
    # 200 steps: and the more the more it has written
    assert one.tokens_left(2.0) == pytest.approx(120 + 20)
    assert one.least_left(2.0) == pytest.approx(20)
    assert one.context_tokens(2.0) == 200 + 400


def test_a_call_with_a_long_tail_has_the_more_ahead_the_more_has_come() -> None:
    one = InFlight()
    one.pace(0.0, Profile(step_s=0.01), 1.0)
    one.add(key("x"), load(100, p90=1000), room=None)
    assert one.tokens_left(0.0) < one.tokens_left(0.5) < one.tokens_left(1.0)
    assert one.tokens_left(1.0) == pytest.approx(one.tokens_left(9.0))
    assert one.tokens_left(9.0) < one.tokens_left(20.0)


def test_calls_beyond_the_seats_stand_in_line_and_do_not_progress() -> None:
    one = InFlight()
    one.pace(0.0, Profile(step_s=0.01), 1.0)
    for name in "abc":
        one.add(key(name), load(100), room=2)
    assert one.seated == 2
    assert one.tokens_left(0.5) == pytest.approx(55 + 55 + 100)
    one.remove(key("a"), 0.5, room=2)  # c gets the seat, at step 50
    assert one.seated == 2
    assert one.tokens_left(0.7) == pytest.approx(37 + 82)
    assert one.remove(key("a"), 0.7, room=2) is None


def test_a_call_told_late_began_before() -> None:
    one = InFlight()
    one.pace(0.0, Profile(step_s=0.01), 1.0)
    one.add(key("a"), load(100), room=None)
    one.tokens_left(0.5)
    one.add(key("late"), load(100, at=0.2), room=None)
    assert one.tokens_left(0.5) == pytest.approx(55 + 73)


@pytest.mark.parametrize("p50", [0.0, 1e-12, 0.5])
def test_an_answer_of_next_to_nothing_leaves_the_sums_of_others_as_they_were(p50: float) -> None:
    one = InFlight()
    one.pace(0.0, Profile(step_s=0.01), 1.0)
    one.add(key("long"), load(300), room=None)
    one.add(key("other"), load(1e6), room=None)
    one.tokens_left(1.0)
    one.add(key("none"), load(p50, at=1.0, p90=500), room=None)
    one.remove(key("none"), 1.0, room=None)
    one.remove(key("other"), 1.0, room=None)
    assert one.tokens_left(1.0) == pytest.approx(210.0)


@pytest.mark.parametrize("seed", range(20))
def test_the_sums_are_those_of_all_calls(seed: int) -> None:
    rng = random.Random(seed)
    room = rng.choice([None, 3, 8])
    one, at, naive, line = InFlight(), 0.0, {}, []  # type: ignore[var-annotated]
    steps, step_s = 0.0, 0.02
    one.pace(0.0, Profile(step_s=step_s), 1.0)
    for number in range(200):
        dt = rng.random() * 0.3
        at, steps = at + dt, steps + dt / step_s
        if naive and rng.random() < 0.45:
            gone = rng.choice(sorted(naive))
            one.remove(key(gone), at, room)
            del naive[gone]
            line = [name for name in line if name != gone]
            while line and (room is None or len(naive) - len(line) < room):
                first = line.pop(0)
                naive[first] = (*naive[first][:2], steps)
        else:
            output = float(rng.randint(1, 60))
            p90 = output * rng.choice([1.0, 1.5, 5.0])
            seated = room is None or len(naive) - len(line) < room
            one.add(key(number), load(output, at=at, p90=p90), room)
            naive[number] = (output, p90, steps)
            if not seated:
                line.append(number)
        left = sum(
            output if name in line else ahead(pieces(output, p90), steps - begun)
            for name, (output, p90, begun) in naive.items()
        )
        assert one.tokens_left(at) == pytest.approx(left, abs=1e-6)
        written = sum(steps - begun for name, (*_, begun) in naive.items() if name not in line)
        assert one.context_tokens(at) == pytest.approx(100 * one.seated + written, abs=1e-6)
        assert one.seated == len(naive) - len(line)
        assert one.kv_bound == pytest.approx(sum(100 + p90 for _, p90, _ in naive.values()))


def test_asking_changes_nothing() -> None:
    often, once = InFlight(), InFlight()
    for one in (often, once):
        one.pace(0.0, Profile(step_s=0.01), 1.0)
        for number in range(5):
            one.add(key(number), load(50.0 * (number + 1)), room=3)
    for moment in range(100):
        often.tokens_left(moment / 100)
        often.least_left(moment / 100)
    assert often.tokens_left(1.0) == pytest.approx(once.tokens_left(1.0))
    assert often.least_left(1.0) == pytest.approx(once.least_left(1.0))

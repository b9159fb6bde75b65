"""KV footprints: quantiles of a sum, on cases that can be worked out."""

from random import Random

import pytest

from headway.core.footprint import OVERFLOW, Holding, peak
from headway.core.inflight import InFlight, Load
from headway.core.types import CallId


def holding(prompt: float, p50: float, p90: float, written: float = 0.0) -> Holding:
    return Holding(prompt=prompt, written=written, p50=p50, p90=p90)


def test_nothing_holds_nothing_and_a_sure_call_what_it_will_write() -> None:
    assert peak([]).tokens == 0.0
    assert peak([holding(1000.0, 200.0, 200.0)]).tokens == pytest.approx(1200.0, rel=0.02)


def test_calls_that_end_one_after_the_other_do_not_hold_their_most_together() -> None:
    calls = [holding(100.0, 100.0 * number, 100.0 * number) for number in range(1, 9)]
    each = sum(one.prompt + one.p90 for one in calls)
    # n calls of 100 + 100 s tokens each are there after s hundreds
    truth = max((8 - s) * (100.0 + 100.0 * (s + 1)) for s in range(8))
    assert peak(calls).tokens == pytest.approx(truth, rel=0.15)
    assert peak(calls).tokens < 0.7 * each


def test_the_chance_of_more_is_as_stated() -> None:
    rng = Random(3)
    median, high = 200.0, 600.0
    spread = holding(0.0, median, high).spread
    over = 0
    for _ in range(600):
        calls, lengths = [], []
        for _ in range(12):
            prompt = rng.uniform(50.0, 500.0)
            length = median * 2.718281828 ** (spread * rng.gauss(0.0, 1.0))
            calls.append(holding(prompt, median, high))
            lengths.append((length, prompt))
        held = max(
            sum(prompt + at for length, prompt in lengths if length >= at) for at, _ in lengths
        )
        over += held > peak(calls).tokens
    # the chance is stated for each moment: that any of them overflows is somewhat likelier
    assert OVERFLOW < over / 600 < 8 * OVERFLOW


def test_answers_that_stray_are_allowed_for() -> None:
    """One call in a thousand is beyond three spreads of a log-normal; of real ones, more are."""
    spread = holding(0.0, 200.0, 720.0).spread
    kept = holding(100.0, 200.0, 720.0, written=200.0 * 2.718281828 ** (1.2 * spread))
    strays = holding(100.0, 200.0, 720.0, written=200.0 * 2.718281828 ** (2.5 * spread))
    for one, share in ((kept, 0.1), (strays, 0.25)):
        held = 10 * (one.prompt + one.written)
        assert peak([one] * 10).tokens > (1.0 + share) * held


def test_more_has_been_written_than_was_foreseen() -> None:
    late = holding(100.0, 50.0, 60.0, written=5000.0)
    assert 5100.0 < peak([late]).tokens < 12_000.0


def load(run: str = "", **changes: float) -> Load:
    fields: dict[str, float] = {
        "prompt_tokens": 1000,
        "output_tokens": 100.0,
        "kv_tokens": 1200.0,
        "released_at": 0.0,
        "uncached_tokens": 1000.0,
        **changes,
    }
    return Load(run=run, **fields)  # type: ignore[arg-type]


def test_what_calls_of_a_run_share_counts_once() -> None:
    def reserved(*loads: Load) -> float:
        books = InFlight()
        for number, one in enumerate(loads):
            books.add((CallId(f"c{number}"), 1), one, None)
        assert books.kv_tokens <= books.kv_bound
        return books.kv_tokens

    apart = reserved(load("r1"), load("r2", uncached_tokens=100.0))
    together = reserved(load("r1"), load("r1", uncached_tokens=100.0))
    assert apart - together == pytest.approx(900.0)
    assert reserved(load(), load(uncached_tokens=100.0)) == pytest.approx(apart)


def test_asking_changes_nothing_and_ends_free_what_was_held() -> None:
    books = InFlight()
    for number in range(4):
        books.add((CallId(f"c{number}"), 1), load(f"r{number}"), None)
    first = books.kv_tokens
    assert books.kv_tokens == first
    books.remove((CallId("c0"), 1), 1.0, None)
    assert books.kv_tokens < first
    for number in range(1, 4):
        books.remove((CallId(f"c{number}"), 1), 1.0, None)
    assert books.kv_tokens == books.kv_bound == 0.0

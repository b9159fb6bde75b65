"""The processor time of the engine model per request: submitted, seated, computed, decoded, ended.

A closed loop keeps every seat taken and a few requests waiting. `engine_N_seats` stands beside
the plain engine of the tests, which visits every step; `engine_long_prefix` has prompts of
100,000 tokens in named blocks, most of which the one before had too.
The ratios are to that plain engine.
"""

import random
import time
from collections.abc import Callable
from dataclasses import replace

from headway.engine import PRESETS, Engine, Finished
from tests.bench.measure import Result, percentile, quartiles
from tests.support.naive_engine import NaiveEngine

SEATS = (32, 64)
WAITING = 4
ROUNDS = 5
PLAIN_SHARE = 10
"""The plain engine does so many times fewer requests, or it would take minutes."""
SMALL = PRESETS["qwen2.5-7b@a100"]


def closed_loop(server: Engine | NaiveEngine, *, seats: int, requests: int, seed: int) -> float:
    """Microseconds of processor time per request."""
    rng = random.Random(seed)
    sizes = [(rng.randint(100, 2000), rng.randint(50, 500)) for _ in range(requests)]
    began = time.process_time()
    sent = 0

    def submit(at: float) -> None:
        nonlocal sent
        if sent < requests:
            prompt, output = sizes[sent]
            server.submit(str(sent), prompt_tokens=prompt, output_tokens=output, at=at)
            sent += 1

    for _ in range(seats + WAITING):
        submit(0.0)
    while (due := server.next_at()) is not None:
        for happened in server.advance(due):
            if isinstance(happened, Finished):
                submit(happened.at)
    return (time.process_time() - began) / requests * 1e6


def long_prefixes(server: Engine | NaiveEngine, *, requests: int) -> float:
    """Microseconds of processor time per request of 1,600 blocks, 1,560 of them known."""
    common = tuple(range(1560))
    prefixes = [
        (*common, *range(10_000 + 100 * one, 10_045 + 100 * one)) for one in range(requests)
    ]
    began = time.process_time()
    for number, prefix in enumerate(prefixes):
        server.submit(
            str(number),
            prompt_tokens=100_040,
            output_tokens=200,
            prefix=prefix,
            at=100.0 * number,
        )
    server.advance(1e9)
    return (time.process_time() - began) / requests * 1e6


def _result(name: str, rounds: list[float], plain: list[float], requests: int) -> Result:
    ratios = [one / other for one, other in zip(rounds, plain, strict=True)]
    return Result(
        name=name,
        value=percentile(rounds, 50),
        unit="us",
        ratio_to="plain engine",
        ratio=percentile(ratios, 50),
        n=requests * len(rounds),
        spread=quartiles(ratios),
    )


def measure(*, requests: int, step: Callable[[], None]) -> list[Result]:
    """Microseconds of processor time per request; `requests` a round."""
    results = []
    few = max(requests // PLAIN_SHARE, 10)
    for seats in SEATS:
        profile = replace(SMALL, seats=seats)
        fast: list[float] = []
        plain: list[float] = []
        for seed in range(ROUNDS):
            fast.append(closed_loop(Engine(profile), seats=seats, requests=requests, seed=seed))
            plain.append(closed_loop(NaiveEngine(profile), seats=seats, requests=few, seed=seed))
            step()
        results.append(_result(f"engine_{seats}_seats", fast, plain, requests))
    profile = replace(SMALL, seats=8, block_tokens=64)
    fast, plain = [], []
    for _ in range(ROUNDS):
        fast.append(long_prefixes(Engine(profile), requests=few))
        plain.append(long_prefixes(NaiveEngine(profile), requests=few))
        step()
    return [*results, _result("engine_long_prefix", fast, plain, few)]

"""Paced servers at their limits: one seat, a full KV cache, and the end of what started them."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headway.engine import Engine
from tests.paced.servers import PacedError, PacedPool, PacedServer
from tests.vllm.asking import are_gone, body, client, complete, forks, gauge, until
from tests.vllm.conftest import SMALL

pytestmark = pytest.mark.vllm
QUEUED = 8
REQUESTS = 4
ONE_SEAT = replace(SMALL.profile, seats=1)
URGENT = PacedServer(name="urgent", model="urgent", profile=ONE_SEAT)
FIFO = PacedServer(name="fifo", model="fifo", profile=ONE_SEAT, priority=False)
TIGHT = PacedServer(
    name="tight",
    model="tight",
    # A step is so long that all requests have come before the second one.
    profile=replace(SMALL.profile, step_s=0.1, kv_tokens=10 * 32, prefix_cache=False),
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PacedPool]:
    with PacedPool([URGENT, FIFO, TIGHT], tmp_path_factory.mktemp("limits")) as pool:
        yield pool


def order_of_ends(pool: PacedPool, server: PacedServer) -> list[int]:
    """Queue requests with priority 7 to 0 behind one that holds the only seat: who ends when."""
    url, ended = pool.url(server.name), []

    def ask(priority: int) -> None:
        complete(url, server.model, prompt=[300] * 8, output=3, priority=priority)
        ended.append(priority)

    def waiting() -> float:
        return gauge(url, "vllm:num_requests_waiting")

    with ThreadPoolExecutor(QUEUED) as threads, client(url) as http:
        first = body(server.model, output=6000, prompt=[300], priority=-1, stream=True)
        with http.stream("POST", "completions", json=first) as answer:
            lines = answer.iter_lines()  # Kept: the connection is closed with it.
            next(lines)
            asked = []
            for count, priority in enumerate(reversed(range(QUEUED)), start=1):
                asked.append(threads.submit(ask, priority))
                until(lambda: waiting() == count)  # noqa: B023
    for one in asked:
        one.result()
    return ended


def test_with_one_seat_the_lower_priority_goes_first(pool: PacedPool) -> None:
    assert order_of_ends(pool, URGENT) == list(range(QUEUED))


def test_a_server_without_priorities_takes_them_and_ignores_them(pool: PacedPool) -> None:
    assert order_of_ends(pool, FIFO) == list(reversed(range(QUEUED)))


def test_a_full_cache_evicts_and_computes_again_as_the_engine_model_does(pool: PacedPool) -> None:
    url, engine = pool.url("tight"), Engine(TIGHT.profile)
    before = pool.late()["tight"]
    with ThreadPoolExecutor(REQUESTS) as threads:
        asked: list[Future[Any]] = []
        for number in range(REQUESTS):
            engine.submit(str(number), prompt_tokens=60, output_tokens=60, at=0.001 * number)
            ask = partial(complete, url, "tight", prompt=[300 + number] * 60, output=60)
            asked.append(threads.submit(ask))
    assert [one.result()["usage"]["completion_tokens"] for one in asked] == [60] * REQUESTS
    last_s = max(happened.at for happened in engine.advance(1e6))
    after = pool.late()["tight"]
    preemptions = gauge(url, "vllm:num_preemptions_total")
    assert preemptions == engine.gauges().preemptions > 0
    # Not all of them come within the same step as in the engine.
    assert after.paced_s - before.paced_s == pytest.approx(last_s, rel=0.05)


# The end


def lone(folder: Path, **changes: Any) -> PacedPool:
    return PacedPool([replace(SMALL, **changes)], folder)


def test_nothing_is_left_when_a_pool_ends(tmp_path: Path) -> None:
    with lone(tmp_path) as pool:
        processes = forks(pool.pid)
        assert len(processes) == 2
    assert are_gone(processes)


def test_nothing_is_left_when_the_process_above_the_servers_is_killed(tmp_path: Path) -> None:
    with lone(tmp_path) as pool:
        processes = forks(pool.pid)
        os.kill(pool.pid, signal.SIGKILL)
        until(lambda: are_gone(processes))
        with pytest.raises(PacedError, match="is gone"):
            pool.start("small")


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    with pytest.raises(PacedError, match="max-model-len-of-my-own"):
        lone(tmp_path, args=("--max-model-len-of-my-own", "7")).__enter__()

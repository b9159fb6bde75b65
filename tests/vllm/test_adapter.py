"""The adapter, `headway profile` and urgency on real vLLM servers."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from headway.calling.body import Answer
from headway.client.engines import hints
from headway.core.errors import ConfigError
from headway.core.pool import EndpointSpec
from headway.core.types import EndpointId
from headway.engine import EngineProfile
from headway_vllm.metrics import read_metrics
from headway_vllm.profiling.asking import Asker
from headway_vllm.profiling.ladder import Limits
from headway_vllm.profiling.measuring import choose_model, found_limits, measure
from tests.integration.test_daemon_scrape import watching
from tests.paced.servers import PacedPool, PacedServer, free_ports
from tests.support.daemons import until
from tests.vllm.asking import body, client, complete
from tests.vllm.conftest import SMALL
from tests.vllm.test_paced import tokens

pytestmark = pytest.mark.vllm
QUEUE = 8
QUICK = EngineProfile(
    step_s=0.002,
    prefill_s=0.00002,
    seats=1,
    kv_tokens=2048,
    block_tokens=32,
    step_tokens=512,
    queue_limit=QUEUE,
)
EVENTS = '{{"enable_kv_cache_events":true,"publisher":"zmq","endpoint":"tcp://*:{port}"}}'
"""Without the * vLLM connects instead of binding."""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PacedPool, int]]:
    """One seat, a short queue, development mode and KV events; two seats by arrival."""
    with free_ports(1) as (port,):
        pass
    narrow = PacedServer(
        name="narrow",
        model="narrow",
        profile=QUICK,
        args=("--kv-events-config", EVENTS.format(port=port)),
        env={"VLLM_SERVER_DEV_MODE": "1"},
    )
    plain = PacedServer(
        name="plain",
        model="plain",
        profile=EngineProfile(
            step_s=0.005,
            seats=2,
            kv_tokens=8192,
            block_tokens=32,
            step_tokens=512,
        ),
        priority=False,
        args=("--enable-per-request-metrics",),
    )
    with PacedPool([narrow, plain], tmp_path_factory.mktemp("odd")) as pool:
        yield pool, port


def spec(pool: PacedPool, name: str, **fields: object) -> EndpointSpec:
    given = {"model": name, "engine": "vllm", **fields}
    return EndpointSpec(id=EndpointId(name), url=pool.url(name), **given)  # type: ignore[arg-type]


# -- what the adapter sees -------------------------------------------------------------------------


async def test_sizes_version_and_load(paced: PacedPool) -> None:
    async with (
        watching(spec(paced, "small")) as seen,
        httpx.AsyncClient(base_url=paced.url("small"), timeout=60) as http,
    ):
        await until(lambda: seen)
        asked = body("small", output=60, prompt=tokens(64, seed=40))
        running = [asyncio.create_task(http.post("completions", json=asked)) for _ in range(11)]
        await until(lambda: seen[-1].waiting)
        await asyncio.gather(*running)
        await until(lambda: seen[-1].running == 0)
    first = seen[0]
    assert first.reachable and first.version.startswith("0.32")
    assert first.context_tokens == SMALL.longest_tokens
    # vLLM keeps one block for itself, and counts it
    assert first.kv_tokens == SMALL.profile.kv_tokens + SMALL.profile.block_tokens
    assert (first.asleep, first.restarted) == (False, False)
    assert max(one.running or 0 for one in seen) == SMALL.profile.seats
    assert max(one.waiting or 0 for one in seen) == 3


async def test_another_model_than_configured_is_left_out(paced: PacedPool) -> None:
    async with watching(spec(paced, "small", model="huge")) as seen:
        await until(lambda: seen)
    assert not seen[0].reachable
    assert seen[0].error.startswith("serves small, not huge")


async def test_a_killed_server_is_gone_and_its_next_life_is_a_restart(paced: PacedPool) -> None:
    complete(paced.url("middle"), "middle", prompt=tokens(40, seed=41), output=2)
    async with watching(spec(paced, "middle")) as seen:
        await until(lambda: seen)
        await asyncio.to_thread(paced.kill, "middle")
        await until(lambda: not seen[-1].reachable)
        await asyncio.to_thread(paced.start, "middle")
        await until(lambda: any(one.restarted for one in seen), timeout_s=30.0)
    assert [one.restarted for one in seen if one.restarted] == [True]


async def test_flags_are_read_where_vllm_tells_them(odd: tuple[PacedPool, int]) -> None:
    pool, _ = odd
    async with watching(spec(pool, "narrow")) as seen:
        # at first vLLM takes seconds for this page; looks do not wait for it
        await until(lambda: seen and seen[-1].heeds_urgency)
    assert seen[-1].seats == 1


async def test_one_that_sleeps_is_left_out_until_it_is_woken(odd: tuple[PacedPool, int]) -> None:
    pool, _ = odd
    root = pool.url("narrow").removesuffix("/v1")
    async with (
        watching(spec(pool, "narrow")) as seen,
        httpx.AsyncClient(base_url=root, timeout=30) as http,
    ):
        await until(lambda: seen)
        (await http.post("/sleep?level=1")).raise_for_status()
        await until(lambda: not seen[-1].reachable)
        assert seen[-1].asleep and "wake_up" in seen[-1].error
        (await http.post("/wake_up")).raise_for_status()
        await until(lambda: seen[-1].reachable)


async def test_a_run_whose_prefix_was_evicted_is_told(odd: tuple[PacedPool, int]) -> None:
    pool, port = odd
    watched = spec(pool, "narrow", kv_events=f"tcp://127.0.0.1:{port}")
    async with (
        watching(watched) as seen,
        httpx.AsyncClient(base_url=pool.url("narrow"), timeout=60) as http,
    ):
        await until(lambda: seen)
        await asyncio.sleep(0.3)  # ZMQ has subscribed by then

        async def ask(run: str, seed: int) -> None:
            asked = body("narrow", output=2, prompt=tokens(960, seed=seed))
            headers = hints("vllm", 0.0, run=run).headers
            (await http.post("completions", json=asked, headers=headers)).raise_for_status()

        await ask("run-1", 50)
        await asyncio.sleep(0.3)
        assert not any(one.lost_prefixes for one in seen)
        for number in (2, 3, 4):  # two of them fill the cache of 2,048 tokens
            await ask(f"run-{number}", 50 + number)
        await until(lambda: any("run-1" in one.lost_prefixes for one in seen))


# -- urgency ---------------------------------------------------------------------------------------


async def test_with_one_seat_the_order_of_first_tokens_is_that_of_urgency(
    odd: tuple[PacedPool, int],
) -> None:
    """Early binding, distinct urgencies: in 100 of 100 trials."""
    pool, _ = odd
    async with httpx.AsyncClient(base_url=pool.url("narrow"), timeout=60) as http:
        for trial in range(100):
            urgencies = [float((trial * 7 + place * 5) % 11) for place in range(5)]
            order = await _first_tokens(http, urgencies)
            assert order == sorted(urgencies, reverse=True), f"trial {trial}"


async def _first_tokens(http: httpx.AsyncClient, urgencies: list[float]) -> list[float]:
    """Urgencies in the order in which they were served, sent while the one seat was taken."""
    order: list[float] = []
    seated = asyncio.Event()

    async def ask(urgency: float, output: int) -> None:
        told = hints("vllm", urgency, run="r")
        asked = body("narrow", output=output, prompt=[300, 301], stream=True, **told.body)
        async with http.stream("POST", "completions", json=asked, headers=told.headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:") and not seated.is_set():
                    seated.set()
                elif line.startswith("data:") and urgency not in order:
                    order.append(urgency)

    holder = asyncio.create_task(ask(-1.0, 1500))
    await seated.wait()
    waiting = [asyncio.create_task(ask(urgency, 2)) for urgency in urgencies]
    while await _waiting(http) < len(urgencies):
        await asyncio.sleep(0.01)
    holder.cancel()  # its connection ends, and vLLM frees the seat
    await asyncio.gather(*waiting)
    return [urgency for urgency in order if urgency >= 0]


async def _waiting(http: httpx.AsyncClient) -> int:
    root = str(http.base_url).removesuffix("/v1/")
    page = (await http.get(f"{root}/metrics")).raise_for_status().text
    return read_metrics(page, "narrow").waiting or 0


# -- headway profile -------------------------------------------------------------------------------


async def test_a_profile_is_measured_and_says_whether_urgency_is_heeded(
    paced: PacedPool,
) -> None:
    async with Asker(paced.url("small"), "small") as asker:
        limits = await found_limits(asker, await choose_model(asker))
        measured = await measure(asker, limits=limits, prove=True, told=lambda *_: None)
    truth, found = SMALL.profile, measured.fitted
    assert measured.heeds_urgency is True
    assert (measured.limits.seats, measured.limits.context_tokens) == (8, SMALL.longest_tokens)
    # wide: the machine may be busy
    assert found.step_s == pytest.approx(truth.step_s, rel=0.5)
    assert found.prefill_s == pytest.approx(truth.prefill_s, rel=0.5)


async def test_a_server_that_goes_by_arrival_is_found_out(odd: tuple[PacedPool, int]) -> None:
    pool, _ = odd
    async with Asker(pool.url("plain"), "plain") as asker:
        limits = Limits(seats=2, context_tokens=4096, kv_tokens=8192, step_tokens=512)
        measured = await measure(asker, limits=limits, prove=True, told=lambda *_: None)
    assert measured.heeds_urgency is False


async def test_a_full_queue_is_told_by_name(odd: tuple[PacedPool, int]) -> None:
    pool, _ = odd
    async with Asker(pool.url("narrow"), "narrow") as asker:
        with pytest.raises(ConfigError, match="answers 503"):
            await asker.together(QUEUE + 4, 8, 100)


# -- what answers say ------------------------------------------------------------------------------


def test_time_in_the_queue_is_on_the_answer(odd: tuple[PacedPool, int]) -> None:
    pool, _ = odd
    with client(pool.url("plain")) as http:
        asked = body("plain", output=2, prompt=[300, 301])
        said = http.post("completions", json=asked).raise_for_status().json()
    answer = Answer()
    answer.absorb(said)
    assert answer.queue_s is not None and answer.queue_s == said["metrics"]["queue_time_ms"] / 1000

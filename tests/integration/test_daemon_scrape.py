"""Scraping: real HTTP endpoints that answer, fail, hang, lie and come back."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway.daemon.scrape import Scraper
from headway_vllm.metrics import read_metrics
from tests.support.daemons import until

PAGE = """\
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="1000"} 1.0
headway_emulate:seats{model_name="m"} 8.0
vllm:e2e_request_latency_seconds_bucket{le="0.3",model_name="m"} 1
garbage that is not ours { is skipped
"""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """A server whose every path is answered by `answer`; its base URL with /v1."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def watching(
    *specs: EndpointSpec, timeout_s: float = 2.0
) -> AsyncIterator[list[EndpointSeen]]:
    seen: list[EndpointSeen] = []
    scraper = Scraper(seen.append, every_s=0.05, timeout_s=timeout_s)
    await scraper.watch(Pool(endpoints=specs))
    try:
        yield seen
    finally:
        await scraper.stop()


def spec(url: str, *, engine: str = "vllm", name: str = "a", api_key: str = "") -> EndpointSpec:
    return EndpointSpec(
        id=EndpointId(name),
        url=url,
        model="m",
        engine=engine,
        api_key=api_key,
        heeds_urgency=None if engine == "openai" else True,
    )


def text(body: str, status: int = 200) -> Answer:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, status=status)

    return answer


async def test_the_gauges_of_a_vllm_page() -> None:
    async with served(text(PAGE)) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
    assert seen[0] == EndpointSeen(
        endpoint=EndpointId("a"),
        reachable=True,
        running=3,
        waiting=2,
        kv_used=0.25,
        kv_tokens=16000,
        seats=8,
        heeds_urgency=True,
    )
    assert len(seen) == 1  # what did not change is not told again at once


@pytest.mark.parametrize(
    ("body", "field", "complaint"),
    [
        (PAGE.replace("3.0", "-3"), "running", "num_requests_running is -3"),
        (PAGE.replace("3.0", "NaN"), "running", "num_requests_running is nan"),
        (PAGE.replace("3.0", "+Inf"), "running", "num_requests_running is inf"),
        (PAGE.replace("0.25", "7"), "kv_used", "kv_cache_usage_perc is 7"),
        (PAGE.replace('"1000"', '"-5"'), "kv_tokens", "cache_config_info is -80"),
        (PAGE.replace('"m"', '"other"'), "running", "metrics are of 'other', not of 'm'"),
        (PAGE.replace("3.0", "three"), "running", "cannot be read"),
    ],
)
def test_a_lie_is_not_believed(body: str, field: str, complaint: str) -> None:
    gauges = read_metrics(body, "m")
    assert getattr(gauges, field) is None
    assert complaint in gauges.complaint


def test_a_lie_in_one_gauge_leaves_the_others() -> None:
    gauges = read_metrics(PAGE.replace("0.25", "-1"), "m")
    assert (gauges.running, gauges.waiting, gauges.kv_used) == (3, 2, None)


def test_a_page_that_says_nothing_is_no_lie() -> None:
    gauges = read_metrics("", "m")
    assert (gauges.running, gauges.seats, gauges.kv_tokens, gauges.complaint) == (
        None,
        None,
        None,
        "",
    )


def test_engines_of_one_server_are_added_up_and_other_models_left_out() -> None:
    page = "\n".join(
        f'vllm:num_requests_running{{engine="{engine}",model_name="{model}"}} {value}'
        for engine, model, value in (("0", "m", 2), ("1", "m", 5), ("0", "other", 90))
    )
    assert read_metrics(page, "m").running == 7


async def test_down_500_and_hanging_endpoints_are_unreachable_with_the_reason() -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with (
        served(text("oops", 500)) as broken,
        served(hang) as hanging,
        watching(
            spec("http://127.0.0.1:9/v1", name="down"),
            spec(broken, name="broken"),
            spec(broken, name="broken-openai", engine="openai"),
            spec(hanging, name="hanging"),
            timeout_s=0.2,
        ) as seen,
    ):
        await until(lambda: len({each.endpoint for each in seen}) == 4)
    said = {each.endpoint: each for each in seen}
    assert not any(each.reachable for each in seen)
    assert "cannot connect" in said[EndpointId("down")].error
    assert "answers 500" in said[EndpointId("broken")].error
    assert "answers 500" in said[EndpointId("broken-openai")].error
    assert "no answer within 0.2 s" in said[EndpointId("hanging")].error


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429])
async def test_an_engine_that_keeps_its_metrics_to_itself_is_there(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status if request.path == "/metrics" else 200)

    with caplog.at_level(logging.WARNING, "headway.daemon.scrape"):
        async with served(answer) as url, watching(spec(url)) as seen:
            await until(lambda: len(asked) >= 8)
    assert set(asked) == {"/metrics", "/v1/models", "/version", "/server_info"}
    (only,) = seen
    assert only.reachable
    assert (only.running, only.waiting, only.kv_used, only.seats) == (None, None, None, None)
    assert only.error.startswith("its metrics cannot be had: http")
    assert only.error.endswith(f"/metrics answers {status}")
    assert len(caplog.records) == 1


async def test_metrics_without_an_api_at_the_url_are_told_until_it_is_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served_at = {"/metrics"}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, status=200 if request.path in served_at else 404)

    with caplog.at_level(logging.WARNING, "headway.daemon.scrape"):
        async with served(answer) as url, watching(spec(url.removesuffix("/v1"))) as seen:
            await until(lambda: seen)
            served_at.add("/models")
            await until(lambda: len(seen) > 1)
    assert seen[0].reachable and seen[0].running == 3
    assert seen[0].error.startswith("answers, but not at this URL: http")
    assert seen[0].error.endswith("/models is 404; is /v1 missing?")
    assert seen[1].error == ""
    assert len(caplog.records) == 2
    assert "not used" not in caplog.records[0].message


async def test_models_that_fail_are_no_trouble_of_their_own() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, status=200 if request.path == "/metrics" else 500)

    async with served(answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
    assert seen[0].reachable and seen[0].error == ""


async def test_a_gateway_without_metrics_whose_backend_fails_is_down() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=404 if request.path == "/metrics" else 502)

    async with served(answer) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
    assert not seen[0].reachable
    assert "/v1/models answers 502" in seen[0].error


async def test_an_endless_page_ends() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b"x" * (1 << 20))
        return response

    async with served(endless) as url, watching(spec(url)) as seen:
        await until(lambda: seen)
    assert not seen[0].reachable


async def test_other_engines_are_asked_for_their_models_and_may_refuse_us() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=401)

    async with served(answer) as url, watching(spec(url, engine="openai")) as seen:
        await until(lambda: seen)
    assert seen[0] == EndpointSeen(endpoint=EndpointId("a"), reachable=True)
    assert asked == ["/v1/models"]


async def test_only_the_endpoints_own_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, str | None] = {}

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/metrics"):
            sent[request.path] = request.headers.get("Authorization")
        return web.Response(text=PAGE)

    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-this")
    monkeypatch.setenv("OWN_KEY", "own")
    async with (
        served(answer) as url,
        watching(
            spec(url + "/one/v1", name="one"),
            spec(url + "/two/v1", name="two", api_key="os.environ/OWN_KEY"),
            spec(url + "/three/v1", name="three", api_key="os.environ/NOT_SET_HERE"),
        ),
    ):
        await until(lambda: len(sent) == 3)
    assert sent == {
        "/v1/one/metrics": None,
        "/v1/two/metrics": "Bearer own",
        "/v1/three/metrics": None,
    }


async def test_a_change_is_told_once_and_a_lie_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = {"status": 200, "page": PAGE, "asked": 0}

    async def answer(request: web.Request) -> web.Response:
        state["asked"] += 1
        return web.Response(text=state["page"], status=state["status"])

    async def asked_more() -> None:
        before = state["asked"]
        await until(lambda: state["asked"] > before + 4)

    with caplog.at_level(logging.WARNING, "headway.daemon.scrape"):
        async with served(answer) as url, watching(spec(url)) as seen:
            await asked_more()
            state["status"] = 503
            await until(lambda: not seen[-1].reachable)
            await asked_more()
            state.update(status=200, page=PAGE.replace("3.0", "-1"))
            await until(lambda: seen[-1].reachable)
            await asked_more()
            state["page"] = PAGE
            await until(lambda: seen[-1].running is not None)
    assert [each.reachable for each in seen] == [True, False, True, True]
    assert [record.message for record in caplog.records] == [
        "endpoint a: its metrics cannot be true, not used: vllm:num_requests_running is -1",
        "endpoint a: its metrics can be used again",
    ]


async def test_a_new_pool_is_watched_instead() -> None:
    async with served(text(PAGE)) as url:
        seen: list[EndpointSeen] = []
        scraper = Scraper(seen.append, every_s=0.05)
        await scraper.watch(Pool(endpoints=(spec(url, name="old"),)))
        await until(lambda: seen)
        await scraper.watch(Pool(endpoints=(spec(url, name="new"),)))
        await until(lambda: seen[-1].endpoint == "new")
        await scraper.stop()
    names = [each.endpoint for each in seen]
    assert names == sorted(names, reverse=True), "the old one is not looked at any more"

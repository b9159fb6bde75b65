"""The emulated pool through the real OpenAI SDK and over plain HTTP."""

import asyncio
import time

import aiohttp
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headway.core.errors import ConfigError
from headway.emulate import (
    Answer,
    ChatRequest,
    EmulateConfig,
    EmulatedPool,
    EmulatedSpec,
    ToolCall,
    running,
)
from headway.engine import EngineProfile

QUICK = EngineProfile(prefill_s=0.0001, step_s=0.01, seats=4, kv_tokens=40_000)
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        },
    }
]


def spec(name: str = "small", **changes) -> EmulatedSpec:
    base = {
        "id": name,
        "host": "127.0.0.1",
        "port": 0,
        "path": "/v1",
        "model": f"model-{name}",
        "server": name,
        "profile": QUICK,
    }
    return EmulatedSpec(**{**base, **changes})


def config(*specs: EmulatedSpec, speedup: float = 20.0) -> EmulateConfig:
    return EmulateConfig(endpoints=specs or (spec(),), speedup=speedup)


class Scripted:
    """Answers with as many tokens as the last message says, as one word each."""

    def answer(self, request: ChatRequest) -> Answer:
        if request.last_text == "tool":
            call = ToolCall(name="search", arguments='{"query": "' + "x" * 40 + '"}')
            return Answer(text="", output_tokens=30, tool_calls=(call,))
        if request.last_text == "raise":
            raise KeyError("lost")
        tokens = int(request.last_text.split()[-1])
        return Answer(text="word " * tokens, output_tokens=tokens)


@pytest.fixture
async def pool():
    async with EmulatedPool(config(), answers=Scripted()) as served:
        yield served


@pytest.fixture
async def client(pool):
    async with openai.AsyncOpenAI(base_url=pool.urls["small"], api_key="k", max_retries=0) as made:
        yield made


def said(text: str) -> list:
    return [{"role": "user", "content": text}]


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


async def test_chat_with_usage_and_cache(client):
    long = "much to read " * 100 + " 12"
    first = await client.chat.completions.create(model="model-small", messages=said(long))
    assert first.choices[0].message.content == "word " * 12
    assert first.choices[0].finish_reason == "stop"
    assert first.usage.completion_tokens == 12
    assert first.usage.prompt_tokens == pytest.approx(len(long) / 4, rel=0.05)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    again = await client.chat.completions.create(model="model-small", messages=said(long))
    assert again.usage.prompt_tokens_details.cached_tokens > 300


async def test_stream_with_usage(client):
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="model-small",
            messages=said("400"),
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert "".join(texts) == "word " * 400
    assert len([text for text in texts if text]) > 1
    assert chunks[-1].usage.completion_tokens == 400
    assert chunks[-2].choices[0].finish_reason == "stop"


async def test_length_limits(client):
    for limit in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
        reply = await client.chat.completions.create(
            model="model-small", messages=said("10"), **limit
        )
        assert reply.choices[0].finish_reason == "length"
        assert reply.choices[0].message.content == "word " * 5
        assert reply.usage.completion_tokens == 5
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        await client.chat.completions.create(
            model="model-small", messages=said("10"), max_tokens=50_000
        )


async def test_tool_calls_whole_and_streamed(client):
    reply = await client.chat.completions.create(
        model="model-small", messages=said("tool"), tools=TOOLS
    )
    call = reply.choices[0].message.tool_calls[0]
    assert reply.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "search"
    pieces, name = [], ""
    async for chunk in await client.chat.completions.create(
        model="model-small", messages=said("tool"), tools=TOOLS, stream=True
    ):
        for part in chunk.choices[0].delta.tool_calls or []:
            name = part.function.name or name
            pieces.append(part.function.arguments)
        reason = chunk.choices[0].finish_reason
    assert (name, "".join(pieces), reason) == ("search", call.function.arguments, "tool_calls")


class Telling:
    """Says which model it is asked as, and how skilled it is."""

    def answer(self, request: ChatRequest) -> Answer:
        return Answer(text=f"{request.model} {request.skill}", output_tokens=5)


async def test_pool_names_are_further_names_of_the_model():
    specs = (spec(skill=0.4, aliases=("agent",)), spec("large", aliases=("agent", "judge")))
    async with (
        EmulatedPool(config(*specs), answers=Telling()) as served,
        openai.AsyncOpenAI(base_url=served.urls["small"], api_key="k", max_retries=0) as small,
    ):
        for name in ("agent", "model-small"):
            reply = await small.chat.completions.create(model=name, messages=said("1"))
            assert reply.choices[0].message.content == "model-small 0.4"
            assert reply.model == "model-small"
        long = said("much to read " * 100)
        await small.chat.completions.create(model="agent", messages=long)
        again = await small.chat.completions.create(model="model-small", messages=long)
        assert again.usage.prompt_tokens_details.cached_tokens > 300
        stream = await small.chat.completions.create(model="agent", messages=said("1"), stream=True)
        assert {chunk.model async for chunk in stream} == {"model-small"}
        assert (await small.responses.create(model="agent", input="1")).model == "model-small"
        assert (await small.completions.create(model="agent", prompt="1")).model == "model-small"
        listed = [(model.id, model.root) async for model in small.models.list()]
        assert listed == [("model-small", "model-small"), ("agent", "model-small")]
        with pytest.raises(openai.NotFoundError, match="serves model-small, agent"):
            await small.chat.completions.create(model="judge", messages=said("1"))
        log = served.server("small").log.listing()
        assert [entry["model"] for entry in log[:2]] == ["agent", "model-small"]


async def test_of_two_models_on_one_server_a_name_means_itself_then_the_first_that_has_it():
    specs = (
        spec("a", model="a", server="box", aliases=("agent", "b")),
        spec("b", model="b", server="box", aliases=("agent",)),
    )
    async with (
        EmulatedPool(config(*specs), answers=Telling()) as served,
        openai.AsyncOpenAI(base_url=served.urls["a"], api_key="k", max_retries=0) as client,
    ):
        for asked, model in (("a", "a"), ("b", "b"), ("agent", "a")):
            reply = await client.chat.completions.create(model=asked, messages=said("1"))
            assert reply.model == model


async def test_plain_completions(client):
    whole = await client.completions.create(model="model-small", prompt="7")
    assert whole.choices[0].text == "word " * 7
    streamed = await client.completions.create(model="model-small", prompt="7", stream=True)
    assert "".join([c.choices[0].text async for c in streamed]) == "word " * 7


async def test_models_and_unknown_model(client):
    assert [model.id async for model in client.models.list()] == ["model-small"]
    with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
        await client.chat.completions.create(model="gpt", messages=said("1"))
    assert caught.value.body["param"] == "model"


async def test_answers_that_raise_are_one_requests_error(client):
    with pytest.raises(openai.InternalServerError, match="KeyError"):
        await client.chat.completions.create(model="model-small", messages=said("raise"))
    await client.chat.completions.create(model="model-small", messages=said("1"))


async def test_faults_on_demand(client, pool):
    faults = pool.server("small").faults

    def call():
        return client.chat.completions.create(model="model-small", messages=said("20"))

    faults.add("500", count=2)
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            await call()
    for kind, expected in [("429", openai.RateLimitError), ("503", openai.InternalServerError)]:
        faults.add(kind)
        with pytest.raises(expected):
            await call()
    for kind in ("drop", "down"):
        faults.add(kind)
        with pytest.raises(openai.APIConnectionError):
            await call()
    faults.add("hang")
    with pytest.raises(openai.APITimeoutError):
        await client.with_options(timeout=0.1).chat.completions.create(
            model="model-small", messages=said("20")
        )
    with pytest.raises(openai.RateLimitError):
        await client.chat.completions.create(
            model="model-small", messages=said("20"), extra_headers={"X-Emulate-Fault": "429"}
        )
    with pytest.raises(openai.BadRequestError, match="'down' is none of"):
        await client.chat.completions.create(
            model="model-small", messages=said("20"), extra_headers={"X-Emulate-Fault": "down"}
        )
    assert (await call()).usage.completion_tokens == 20
    outcomes = [entry["outcome"] for entry in pool.server("small").log.listing()]
    assert outcomes == ["500", "500", "429", "503", "drop", "hang", "429", "error", "ok"]


async def test_a_dropped_stream_breaks_in_the_middle(client, pool):
    pool.server("small").faults.add("drop")
    got = []
    with pytest.raises(Exception, match=r"(?i)peer|closed|connection|disconnect"):
        async for chunk in await client.chat.completions.create(
            model="model-small", messages=said("500"), stream=True
        ):
            got.append(chunk)
    assert got
    assert pool.server("small").engine.gauges().running == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_seat_at_once(client, pool, stream):
    server = pool.server("small")

    async def call():
        reply = await client.chat.completions.create(
            model="model-small", messages=said("30000"), stream=stream
        )
        if stream:
            async for _ in reply:
                pass

    task = asyncio.create_task(call())
    await until(lambda: server.engine.gauges().running == 1)
    task.cancel()
    await until(lambda: server.engine.gauges().running == 0)
    await until(lambda: server.log.listing()[-1]["outcome"] == "cancelled")
    assert server.engine.gauges().cancelled == 1


async def test_a_server_that_dies_breaks_what_is_in_flight_and_loses_no_seat(client, pool):
    server = pool.server("small")
    task = asyncio.create_task(
        client.chat.completions.create(model="model-small", messages=said("30000"))
    )
    await until(lambda: server.engine.gauges().running == 1)
    await pool.take_down("small")
    with pytest.raises(openai.APIConnectionError):
        await task
    assert server.engine.gauges().running == 0
    await pool.bring_up("small")
    reply = await client.chat.completions.create(
        model="model-small", messages=said("3"), extra_headers={"X-Request-Id": "mine"}
    )
    assert reply.id == "chatcmpl-mine"


async def test_priority_orders_the_queue_of_one_seat():
    one_seat = spec(profile=EngineProfile(seats=1, step_s=0.02))
    async with (
        EmulatedPool(config(one_seat), answers=Scripted()) as pool,
        openai.AsyncOpenAI(base_url=pool.urls["small"], api_key="k") as client,
    ):
        engine = pool.server("small").engine
        done = []

        async def call(name, tokens, **options):
            await client.chat.completions.create(
                model="model-small", messages=said(str(tokens)), **options
            )
            done.append(name)

        tasks = [asyncio.create_task(call("running", 1000))]
        await until(lambda: engine.gauges().running == 1)
        queue = [
            ("low", {"extra_body": {"priority": 9}}),
            ("middle", {"extra_body": {"priority": 5}}),
            (
                "header",
                {"extra_body": {"priority": 99}, "extra_headers": {"X-Vllm-Priority": "-1"}},
            ),
        ]
        for count, (name, options) in enumerate(queue, start=1):
            tasks.append(asyncio.create_task(call(name, 20, **options)))
            await until(lambda count=count: engine.gauges().waiting == count)
        await asyncio.gather(*tasks)
        assert done == ["running", "header", "middle", "low"]


async def test_a_full_queue_answers_503():
    busy = spec(profile=EngineProfile(seats=1, queue_limit=0))
    async with (
        EmulatedPool(config(busy), answers=Scripted()) as pool,
        openai.AsyncOpenAI(base_url=pool.urls["small"], api_key="k", max_retries=0) as client,
    ):
        first = asyncio.create_task(
            client.chat.completions.create(model="model-small", messages=said("30000"))
        )
        await until(lambda: pool.server("small").engine.gauges().running == 1)
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError, match="busy") as caught:
                await client.chat.completions.create(
                    model="model-small", messages=said("1"), stream=stream
                )
            assert caught.value.status_code == 503
        first.cancel()


async def page(pool, path="/metrics") -> str:
    root = pool.urls["small"].removesuffix("/v1")
    async with aiohttp.ClientSession() as session, session.get(root + path) as reply:
        assert reply.status == 200
        return await reply.text()


def samples(text: str) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_speak_vllms_names(client, pool):
    await client.chat.completions.create(model="model-small", messages=said("50"))
    task = asyncio.create_task(
        client.chat.completions.create(model="model-small", messages=said("30000"))
    )
    await until(lambda: pool.server("small").engine.gauges().running == 1)
    text = await page(pool)
    told = samples(text)
    assert told["vllm:num_requests_running"] == 1
    assert told["vllm:num_requests_waiting"] == 0
    assert 0 < told["vllm:kv_cache_usage_perc"] < 1
    assert told["vllm:generation_tokens_total"] >= 50
    assert told["vllm:request_success_total"] == 1
    assert told["headway_emulate:seats"] == 4
    assert "headway_emulate:lateness_ratio" in told
    assert 'vllm:cache_config_info{num_gpu_blocks="2500",block_size="16"}' in text
    assert 'vllm:num_requests_running{model_name="model-small"}' in text
    pool.server("small").faults.add("lie_metrics")
    pool.server("small").faults.add("garble_metrics")
    assert samples(await page(pool))["vllm:num_requests_running"] == 0
    assert samples(await page(pool))["vllm:num_requests_running"] == -7
    assert samples(await page(pool))["vllm:num_requests_running"] == 1
    task.cancel()


async def test_control_endpoint(client, pool):
    root = pool.urls["small"].removesuffix("/v1")
    await client.chat.completions.create(
        model="model-small",
        messages=said("5"),
        extra_headers={"traceparent": "00-ab-cd-03", "X-Headway-Run": "r1"},
        extra_body={"priority": 3},
    )
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{root}/_emulate/log") as reply:
            (entry,) = await reply.json()
        assert entry["headers"] == {"traceparent": "00-ab-cd-03", "x-headway-run": "r1"}
        assert list(entry["secrets"]) == ["authorization"]
        assert (entry["priority"], entry["status"], entry["outcome"]) == (3, 200, "ok")
        assert entry["received_s"] < entry["first_token_s"] < entry["ended_s"]
        order = {"kind": "500", "count": None}
        async with session.post(f"{root}/_emulate/faults", json=order) as reply:
            assert await reply.json() == [order]
        async with session.post(f"{root}/_emulate/faults", json={"kind": "sulk"}) as reply:
            assert reply.status == 400
            assert "garble_metrics" in (await reply.json())["error"]
        async with session.delete(f"{root}/_emulate/faults") as reply:
            assert await reply.json() == []
        async with session.get(f"{root}/_emulate/lateness") as reply:
            late = await reply.json()
    assert late["requests"] == 1
    assert 0 <= late["p50"] <= late["p95"] <= late["worst"]


async def test_lateness_shows_a_loop_that_was_held_up(client, pool):
    task = asyncio.create_task(
        client.chat.completions.create(model="model-small", messages=said("100"))
    )
    await until(lambda: pool.server("small").engine.gauges().running == 1)
    time.sleep(0.3)  # the fault itself: 6 emulated seconds against the request's one
    await task
    assert pool.server("small").engine.lateness().worst > 1.0


async def test_a_request_takes_its_emulated_time(client, pool):
    await client.chat.completions.create(model="model-small", messages=said("400"))
    (entry,) = pool.server("small").log.listing()
    alone_s = QUICK.alone_s(prompt_tokens=entry["prompt_tokens"], output_tokens=400)
    took_s = entry["ended_s"] - entry["received_s"]
    # Never faster than the engine; the rest is the machine, reported as lateness.
    assert alone_s <= took_s
    late = pool.server("small").engine.lateness().worst
    assert took_s <= alone_s * (1.5 + late)


async def test_models_on_one_server_share_its_seats():
    shared = [spec(name, model=name, server="box", profile=EngineProfile(seats=1)) for name in "ab"]
    async with EmulatedPool(config(*shared), answers=Scripted()) as pool:
        assert pool.urls["a"] == pool.urls["b"]
        async with openai.AsyncOpenAI(base_url=pool.urls["a"], api_key="k") as client:
            calls = [
                asyncio.create_task(
                    client.chat.completions.create(model=name, messages=said("30000"))
                )
                for name in "ab"
            ]
            gauges = pool.server("b").engine.gauges
            await until(lambda: (gauges().running, gauges().waiting) == (1, 1))
            for call in calls:
                call.cancel()


def test_from_a_thread_with_the_sync_sdk_and_a_server_that_dies():
    with running(config(spec("small"), spec("large")), answers=Scripted()) as pool:
        client = openai.OpenAI(base_url=pool.urls["large"], api_key="k", max_retries=0)

        def call(**options):
            return client.chat.completions.create(
                model="model-large", messages=said("9"), **options
            )

        assert call().usage.completion_tokens == 9
        text = "".join(chunk.choices[0].delta.content or "" for chunk in call(stream=True))
        assert text == "word " * 9
        pool.take_down("large")
        with pytest.raises(openai.APIConnectionError):
            call()
        pool.bring_up("large")
        assert call().usage.completion_tokens == 9
        pool.add_fault("large", "500")
        with pytest.raises(openai.InternalServerError):
            call()
        assert [entry["status"] for entry in pool.log("large")] == [200, 200, 200, 500]
        client.close()


def test_a_taken_port_is_named():
    with running(config()) as pool:
        port = int(pool.urls["small"].rsplit(":", 1)[1].split("/")[0])
        with (
            pytest.raises(ConfigError, match=f"{port}.*stop what uses the port"),
            running(config(spec(port=port))),
        ):
            pytest.fail("it must not start")

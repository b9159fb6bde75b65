"""The Responses API of the emulated pool and of the recording fake, through the real clients."""

import asyncio
import time

import msgspec
import openai
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from headway.emulate import (
    Answer,
    ChatRequest,
    EmulateConfig,
    EmulatedPool,
    EmulatedSpec,
    FillerAnswers,
    ToolCall,
    running,
)
from headway.engine import EngineProfile
from tests.support.fake_openai import FakeOpenAI

MODEL = "model-small"
SPEC = EmulatedSpec(
    id="small",
    host="127.0.0.1",
    port=0,
    path="/v1",
    model=MODEL,
    server="small",
    profile=EngineProfile(prefill_s=0.0001, step_s=0.01, seats=4, kv_tokens=40_000),
)
TOOL = {
    "type": "function",
    "name": "search",
    "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
    "strict": False,
}
ARGUMENTS = '{"query": "' + "x" * 40 + '"}'


class Verdict(BaseModel):
    ok: bool
    why: str


class Scripted:
    """As many words as the last message says; a tool call or JSON where that is asked for."""

    def __init__(self) -> None:
        self.asked: list[ChatRequest] = []

    def answer(self, request: ChatRequest) -> Answer:
        self.asked.append(request)
        if request.response_format:
            return FillerAnswers().answer(request)
        if request.tools and request.messages[-1]["role"] != "tool":
            call = ToolCall(name="search", arguments=ARGUMENTS)
            return Answer(text="let me look", output_tokens=30, tool_calls=(call,))
        if request.last_text == "raise":
            raise KeyError("lost")
        tokens = int(request.last_text.split()[-1])
        return Answer(text="word " * tokens, output_tokens=tokens)


def config(profile: EngineProfile = SPEC.profile) -> EmulateConfig:
    spec = msgspec.structs.replace(SPEC, profile=profile)
    return EmulateConfig(endpoints=(spec,), speedup=20.0)


async def until(condition, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.005)


@pytest.fixture
def answers() -> Scripted:
    return Scripted()


@pytest.fixture
async def pool(answers):
    async with EmulatedPool(config(), answers=answers) as served:
        yield served


@pytest.fixture
async def client(pool):
    async with openai.AsyncOpenAI(base_url=pool.urls["small"], api_key="k", max_retries=0) as made:
        yield made


def chat(url: str) -> ChatOpenAI:
    return ChatOpenAI(model=MODEL, base_url=url, api_key="k", max_retries=0, use_responses_api=True)


@pytest.fixture
def llm(pool):
    return chat(pool.urls["small"])


async def test_a_text_with_usage_and_cache(client):
    long = "much to read " * 100 + " 12"
    first = await client.responses.create(model=MODEL, input=long, instructions="Be brief.")
    assert first.output_text == "word " * 12
    assert (first.status, first.instructions) == ("completed", "Be brief.")
    assert first.usage.output_tokens == 12
    assert first.usage.input_tokens == pytest.approx(len(long) / 4, rel=0.05)
    assert first.usage.total_tokens == first.usage.input_tokens + 12
    assert first.usage.input_tokens_details.cached_tokens == 0
    again = await client.responses.create(model=MODEL, input=long, instructions="Be brief.")
    assert again.usage.input_tokens_details.cached_tokens > 300


async def test_chat_and_responses_share_the_cache_and_the_engine(client, pool):
    long = "much to read " * 100 + " 12"
    await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": long}])
    reply = await client.responses.create(model=MODEL, input=long)
    assert reply.usage.input_tokens_details.cached_tokens > 300
    assert pool.server("small").engine.gauges().succeeded == 2


async def test_stream_helper_and_final_response(client):
    texts = []
    async with client.responses.stream(model=MODEL, input="400") as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                texts.append(event.delta)
                assert event.snapshot == "".join(texts)
        final = await stream.get_final_response()
    assert "".join(texts) == final.output_text == "word " * 400
    assert len(texts) > 1
    assert final.usage.output_tokens == 400


async def test_a_stream_comes_at_the_pace_of_the_engine(client, pool):
    """The opening comes when the request is taken, the text no sooner than it is made."""
    server = pool.server("small")
    stream = await client.responses.create(model=MODEL, input="1000", stream=True)
    arrived = [(server.engine.now(), event) async for event in stream]
    (entry,) = server.log.listing()
    deltas = [at for at, event in arrived if event.type == "response.output_text.delta"]
    assert arrived[0][1].type == "response.created"
    assert arrived[-1][1].type == "response.completed"
    assert len(deltas) > 2
    assert entry["first_token_s"] <= deltas[0]
    assert deltas[-1] - deltas[0] > 0.5 * (entry["ended_s"] - entry["first_token_s"])
    assert [event.sequence_number for _, event in arrived] == list(range(len(arrived)))


async def test_the_opening_does_not_wait_for_a_seat(answers):
    async with (
        EmulatedPool(config(EngineProfile(seats=1)), answers=answers) as pool,
        openai.AsyncOpenAI(base_url=pool.urls["small"], api_key="k") as client,
    ):
        engine = pool.server("small").engine
        first = asyncio.create_task(client.responses.create(model=MODEL, input="30000"))
        await until(lambda: engine.gauges().running == 1)
        stream = await client.responses.create(model=MODEL, input="5", stream=True)
        kinds = [(await anext(stream)).type, (await anext(stream)).type]
        assert kinds == ["response.created", "response.in_progress"]
        assert engine.gauges().waiting == 1
        first.cancel()
        assert [event.type async for event in stream][-1] == "response.completed"


@pytest.mark.parametrize("stream", [False, True])
async def test_max_output_tokens_cuts(client, stream):
    reply = await client.responses.create(
        model=MODEL, input="10", max_output_tokens=5, stream=stream
    )
    if stream:
        last = [event async for event in reply][-1]
        assert last.type == "response.incomplete"
        reply = last.response
    assert reply.status == "incomplete"
    assert reply.incomplete_details.reason == "max_output_tokens"
    assert reply.output_text == "word " * 5
    assert reply.usage.output_tokens == 5


async def test_a_tool_loop_by_items(client, answers):
    items = [{"role": "user", "content": "find it"}]
    asked = await client.responses.create(model=MODEL, input=items, tools=[TOOL])
    message, call = asked.output
    assert (asked.output_text, message.type) == ("let me look", "message")
    assert (call.name, call.arguments) == ("search", ARGUMENTS)
    items += asked.output
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "7"})
    done = await client.responses.create(model=MODEL, input=items, tools=[TOOL])
    assert done.output_text == "word " * 7
    turn, result = answers.asked[-1].messages[-2:]
    assert turn["tool_calls"][0]["id"] == result["tool_call_id"] == call.call_id
    assert done.usage.input_tokens_details.cached_tokens > 0


async def test_tool_calls_streamed(client):
    pieces = []
    async with client.responses.stream(model=MODEL, input="find", tools=[TOOL]) as stream:
        async for event in stream:
            if event.type == "response.function_call_arguments.delta":
                pieces.append(event.delta)
        final = await stream.get_final_response()
    call = final.output[1]
    assert "".join(pieces) == call.arguments == ARGUMENTS
    assert final.output_text == "let me look"


async def test_parse_gives_the_model_back(client):
    parsed = await client.responses.parse(model=MODEL, input="judge", text_format=Verdict)
    assert parsed.output_parsed == Verdict(ok=True, why="text")
    async with client.responses.stream(model=MODEL, input="judge", text_format=Verdict) as stream:
        assert (await stream.get_final_response()).output_parsed == Verdict(ok=True, why="text")


async def test_what_needs_a_memory_is_refused(client, pool):
    for name, value in [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("background", True),
    ]:
        with pytest.raises(openai.BadRequestError, match="stores nothing") as caught:
            await client.responses.create(model=MODEL, input="5", **{name: value})
        assert caught.value.body["param"] == name
        assert caught.value.body["code"] == 400
    with pytest.raises(openai.BadRequestError, match="one answer"):
        await client.responses.create(model=MODEL, input="5", extra_body={"n": 2})
    outcomes = [entry["outcome"] for entry in pool.server("small").log.listing()]
    assert outcomes == ["error"] * 4


async def test_errors_are_openais(client):
    with pytest.raises(openai.NotFoundError, match="does not exist") as caught:
        await client.responses.create(model="gpt", input="1")
    assert caught.value.body["param"] == "model"
    with pytest.raises(openai.BadRequestError, match="max_output_tokens is 50000") as limit:
        await client.responses.create(model=MODEL, input="1", max_output_tokens=50_000)
    assert limit.value.body["param"] == "max_output_tokens"
    with pytest.raises(openai.InternalServerError, match="KeyError"):
        await client.responses.create(model=MODEL, input="raise")


@pytest.mark.parametrize("stream", [False, True])
async def test_faults_on_demand(client, pool, stream):
    faults = pool.server("small").faults

    async def call(**options):
        reply = await client.responses.create(model=MODEL, input="500", stream=stream, **options)
        return [event.type async for event in reply] if stream else reply

    for kind, expected in [
        ("500", openai.InternalServerError),
        ("503", openai.InternalServerError),
        ("429", openai.RateLimitError),
        ("down", openai.APIConnectionError),
    ]:
        faults.add(kind)
        with pytest.raises(expected):
            await call()
    faults.add("hang")
    with pytest.raises(openai.APITimeoutError):
        await call(timeout=0.1)
    faults.add("drop")
    with pytest.raises(Exception, match=r"(?i)peer|closed|connection|disconnect"):
        await call()
    assert pool.server("small").engine.gauges().running == 0
    await call()
    outcomes = [entry["outcome"] for entry in pool.server("small").log.listing()]
    assert outcomes == ["500", "503", "429", "hang", "drop", "ok"]


async def test_a_stream_dropped_in_the_middle_has_said_something(client, pool):
    pool.server("small").faults.add("drop")
    got = []
    with pytest.raises(Exception, match=r"(?i)peer|closed|connection|disconnect"):
        async for event in await client.responses.create(model=MODEL, input="500", stream=True):
            got.append(event.type)
    assert "response.output_text.delta" in got
    assert "response.completed" not in got


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_seat_at_once(client, pool, stream):
    server = pool.server("small")

    async def call():
        reply = await client.responses.create(model=MODEL, input="30000", stream=stream)
        if stream:
            async for _ in reply:
                pass

    task = asyncio.create_task(call())
    await until(lambda: server.engine.gauges().running == 1)
    task.cancel()
    await until(lambda: server.engine.gauges().running == 0)
    assert server.engine.gauges().waiting == 0 and task.cancelled()
    await until(lambda: server.log.listing()[-1]["outcome"] == "cancelled")


async def test_the_log_knows_priority_headers_and_id(client, pool):
    reply = await client.responses.create(
        model=MODEL,
        input="5",
        extra_headers={"X-Request-Id": "mine", "X-Vllm-Priority": "-8", "X-Headway-Run": "r"},
        extra_body={"priority": 3},
    )
    await client.responses.create(model=MODEL, input="5", extra_body={"priority": 3})
    assert reply.id == "resp_mine"
    first, second = pool.server("small").log.listing()
    assert (first["path"], first["priority"], second["priority"]) == ("/v1/responses", -8, 3)
    assert first["headers"]["x-headway-run"] == "r"
    assert (first["status"], first["outcome"], first["output_tokens"]) == (200, "ok", 5)
    assert "input" in first["keys"]
    assert first["received_s"] < first["first_token_s"] < first["ended_s"]


def test_from_a_thread_with_the_sync_sdk():
    with (
        running(config(), answers=Scripted()) as pool,
        openai.OpenAI(base_url=pool.urls["small"], api_key="k", max_retries=0) as client,
    ):
        assert client.responses.create(model=MODEL, input="9").output_text == "word " * 9
        with client.responses.stream(model=MODEL, input="9") as stream:
            assert stream.get_final_response().output_text == "word " * 9
        parsed = client.responses.parse(model=MODEL, input="judge", text_format=Verdict)
        assert parsed.output_parsed.ok is True
        pool.add_fault("small", "429")
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model=MODEL, input="9")


async def test_langchain_invokes_and_streams(llm, pool):
    reply = await llm.ainvoke("7")
    assert reply.text == "word " * 7
    assert reply.usage_metadata["output_tokens"] == 7
    assert reply.response_metadata["status"] == "completed"
    whole = None
    async for chunk in llm.astream([HumanMessage("200")]):
        whole = chunk if whole is None else whole + chunk
    assert whole.text == "word " * 200
    assert whole.usage_metadata["output_tokens"] == 200
    cut = await llm.bind(max_output_tokens=3).ainvoke("7")
    assert cut.response_metadata["incomplete_details"]["reason"] == "max_output_tokens"
    paths = {entry["path"] for entry in pool.server("small").log.listing()}
    assert paths == {"/v1/responses"}


@pytest.mark.parametrize("stream", [False, True])
async def test_langchain_runs_a_tool_loop(llm, stream):
    bound = llm.bind_tools([TOOL])
    question = HumanMessage("find it")
    if stream:
        asked = None
        async for chunk in bound.astream([question]):
            asked = chunk if asked is None else asked + chunk
    else:
        asked = await bound.ainvoke([question])
    (call,) = asked.tool_calls
    assert (call["name"], call["args"]) == ("search", {"query": "x" * 40})
    assert asked.text == "let me look"
    result = ToolMessage("11", tool_call_id=call["id"])
    done = await bound.ainvoke([question, asked, result])
    assert done.text == "word " * 11


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_langchain_gets_structured_output(method):
    async with EmulatedPool(config()) as pool:
        structured = chat(pool.urls["small"]).with_structured_output(Verdict, method=method)
        assert await structured.ainvoke("judge") == Verdict(ok=True, why="text")
        last = [verdict async for verdict in structured.astream("judge")][-1]
        assert last == Verdict(ok=True, why="text")


def test_the_recording_fake_speaks_it_too():
    with (
        FakeOpenAI() as fake,
        openai.OpenAI(base_url=fake.url, api_key="k", max_retries=0) as client,
    ):
        fake.fail()
        with pytest.raises(openai.InternalServerError):
            client.responses.create(model="m", input="hello")
        reply = client.responses.create(model="m", input="hello", extra_headers={"x-a": "b"})
        assert reply.output_text == "hello there"
        assert reply.usage.input_tokens_details.cached_tokens == 5
        with client.responses.stream(model="m", input="json") as stream:
            assert stream.get_final_response().output_text == '{"a": 1}'
        items = [{"role": "user", "content": "use the tool"}]
        for streamed in (False, True):
            if streamed:
                with client.responses.stream(model="m", input=items, tools=[TOOL]) as stream:
                    asked = stream.get_final_response()
            else:
                asked = client.responses.create(model="m", input=items, tools=[TOOL])
            (call,) = asked.output
            assert (call.type, call.name, call.arguments) == ("function_call", "search", "{}")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "found"}
        done = client.responses.create(model="m", input=[*items, call, result], tools=[TOOL])
        assert done.output_text == "hello there"
        assert fake.requests[1].headers["x-a"] == "b"
        assert {request.path for request in fake.requests} == {"/v1/responses"}
        assert fake.bodies[1] == {"model": "m", "input": "hello"}


async def test_langchain_speaks_with_the_recording_fake():
    with FakeOpenAI() as fake:
        llm = chat(fake.url)
        assert (await llm.ainvoke("hello")).text == "hello there"
        assert "".join([chunk.text async for chunk in llm.astream("hello")]) == "hello there"
        asked = await llm.bind_tools([TOOL]).ainvoke("use the tool")
        assert asked.tool_calls[0]["name"] == "search"

"""Decisions applied to real clients of the Responses API, against two fake servers."""

import gc
from typing import Any

import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

import headway.calling.calls as calls_module
from headway.calling.calls import get_calls
from headway.core.facts import CallEnded, CallReady, CallSent, FirstToken
from headway.core.types import EndpointId
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_nodes import run
from tests.support.scheduled import State, assert_clean, two_endpoints, using

FUNCTION: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B with urgency 2."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.0)


def raw(server: FakeOpenAI, **kwargs: Any) -> openai.OpenAI:
    options: Any = {"api_key": "user-key", "max_retries": 0, **kwargs}
    return openai.OpenAI(base_url=server.url, **options)


def araw(server: FakeOpenAI, **kwargs: Any) -> openai.AsyncOpenAI:
    options: Any = {"api_key": "user-key", "max_retries": 0, **kwargs}
    return openai.AsyncOpenAI(base_url=server.url, **options)


def chat(server: FakeOpenAI) -> ChatOpenAI:
    options: Any = {"api_key": "user-key", "model": "small", "max_retries": 0}
    return ChatOpenAI(base_url=server.url, use_responses_api=True, **options)


class Number(BaseModel):
    a: int


@tool
def look_up(word: str = "") -> str:
    """Look up a word."""
    return word


def ways(server: FakeOpenAI) -> dict[str, Any]:  # noqa: C901 - a table of small functions
    """Nodes that make one call each, by the way in which they make it."""
    llm, sdk, asdk = chat(server), raw(server).responses, araw(server).responses
    hi: Any = {"model": "small", "input": "hi"}

    def create(state: State) -> State:
        assert sdk.create(**hi).output_text == "hello there"
        return {}

    async def acreate(state: State) -> State:
        assert (await asdk.create(**hi)).output_text == "hello there"
        return {}

    def stream(state: State) -> State:
        assert [event.type for event in sdk.create(**hi, stream=True)][-1] == "response.completed"
        return {}

    async def astream(state: State) -> State:
        events = [event async for event in await asdk.create(**hi, stream=True)]
        assert events[-1].type == "response.completed"
        return {}

    def stream_helper(state: State) -> State:
        with sdk.stream(**hi) as events:
            assert events.get_final_response().output_text == "hello there"
        return {}

    async def astream_helper(state: State) -> State:
        async with asdk.stream(**hi) as events:
            assert (await events.get_final_response()).output_text == "hello there"
        return {}

    def parse(state: State) -> State:
        answer = sdk.parse(model="small", input="json", text_format=Number)
        assert answer.output_parsed == Number(a=1)
        return {}

    async def aparse(state: State) -> State:
        answer = await asdk.parse(model="small", input="json", text_format=Number)
        assert answer.output_parsed == Number(a=1)
        return {}

    def raw_response(state: State) -> State:
        assert sdk.with_raw_response.create(**hi).parse().output_text == "hello there"
        return {}

    def raw_stream(state: State) -> State:
        assert list(sdk.with_raw_response.create(**hi, stream=True).parse())
        return {}

    async def araw_stream(state: State) -> State:
        response = await asdk.with_raw_response.create(**hi, stream=True)
        assert [event async for event in response.parse()]
        return {}

    def streaming_response(state: State) -> State:
        with sdk.with_streaming_response.create(**hi) as response:
            assert response.parse().output_text == "hello there"
        return {}

    def tools(state: State) -> State:
        answer = sdk.create(model="small", input="tool", tools=[FUNCTION])
        assert answer.output[0].type == "function_call"
        return {}

    def chat_invoke(state: State) -> State:
        assert llm.invoke("hi").text == "hello there"
        return {}

    async def chat_ainvoke(state: State) -> State:
        assert (await llm.ainvoke("hi")).text == "hello there"
        return {}

    def chat_stream(state: State) -> State:
        assert "".join(chunk.text for chunk in llm.stream("hi")) == "hello there"
        return {}

    async def chat_astream(state: State) -> State:
        assert "".join([chunk.text async for chunk in llm.astream("hi")]) == "hello there"
        return {}

    def chat_structured(state: State) -> State:
        assert llm.with_structured_output(Number).invoke("json") == Number(a=1)
        return {}

    def chat_tools(state: State) -> State:
        assert llm.bind_tools([look_up]).invoke("tool").tool_calls  # type: ignore[attr-defined]
        return {}

    found = (
        *(create, acreate, stream, astream, stream_helper, astream_helper, parse, aparse),
        *(raw_response, raw_stream, araw_stream, streaming_response, tools),
        *(chat_invoke, chat_ainvoke, chat_stream, chat_astream, chat_structured, chat_tools),
    )
    return {way.__name__: way for way in found}


WAYS = (
    *("create", "acreate", "stream", "astream", "stream_helper", "astream_helper"),
    *("parse", "aparse", "raw_response", "raw_stream", "araw_stream", "streaming_response"),
    *("tools", "chat_invoke", "chat_ainvoke", "chat_stream", "chat_astream"),
    *("chat_structured", "chat_tools"),
)


@pytest.mark.parametrize("way", WAYS)
async def test_each_way_is_decided_applied_and_closed(
    way: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using(client) as installed:
        await run(ways(a)[way])
        assert_clean(installed)
    assert a.requests == []
    (request,) = b.requests
    assert request.path == "/v1/responses"
    assert (request.body["model"], request.body["priority"]) == ("large", -2000)
    assert "stream_options" not in request.body
    assert request.headers["x-vllm-priority"] == "-2000"
    assert "user-key" not in str(request.headers)
    (ready,) = client.of(CallReady)
    (ended,) = client.of(CallEnded)
    assert request.headers["x-session-id"] == ready.run
    assert (ready.graph, ready.node_name, ready.pool_name) == ("g", "n", "small")
    assert ready.prompt_chars == (4 if ready.needs else 2)
    assert ready.call == ended.call and ended.outcome == "ok"
    assert (ended.prompt_tokens, ended.cached_tokens, ended.output_tokens) == (11, 5, 7)
    asks_tools = way.endswith("tools")
    assert ended.tool_calls == asks_tools
    assert ended.finish_reason == ("tool_calls" if asks_tools else "stop")
    streams = "stream" in way and way != "streaming_response"
    assert (ended.first_token_s is not None) == streams
    assert len(client.of(FirstToken)) == streams
    (covered,) = client.covered
    assert covered.way == ("chat_openai" if way.startswith("chat") else "openai")


async def test_the_first_token_is_the_first_of_the_answer(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        before = []
        for event in raw(a).responses.create(model="small", input="hi", stream=True):
            before.append((event.type, len(client.of(FirstToken))))
        said = [kind for kind, told in before if told]
        assert said[0] == "response.output_text.delta"
        assert [kind for kind, told in before if not told] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
        ]
        return {}

    with using(client):
        await run(node)


async def test_the_question_says_all_that_a_decision_needs(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    image: Any = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
    said: Any = [{"role": "user", "content": [{"type": "input_text", "text": "look"}, image]}]

    def node(state: State) -> State:
        raw(a).responses.create(
            model="small",
            input=said,
            instructions="be brief",
            max_output_tokens=99,
            tools=[FUNCTION],
            reasoning={"effort": "low"},
            timeout=8,
        )
        return {}

    with using(client):
        await run(node)
    (ask,) = client.asks
    assert ask.needs == ("tools", "vision", "reasoning")
    assert (ask.prompt_chars, ask.max_tokens, ask.hold_limit_s) == (12, 99, 4.0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_names_its_model(
    stream: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        sdk = raw(a).responses
        said: list[Any] = [{"role": "user", "content": "use the tool"}]
        for _ in range(2):
            request: Any = {"model": "small", "input": said, "tools": [FUNCTION]}
            if stream:
                with sdk.stream(**request) as events:
                    answer: Any = events.get_final_response()
            else:
                answer = sdk.create(**request)
            said += [item.to_dict() for item in answer.output]
            for item in answer.output:
                if item.type == "function_call":
                    said.append(
                        {"type": "function_call_output", "call_id": item.call_id, "output": "x"}
                    )
        return {"x": [answer.output_text]}

    with using(client) as installed:
        await run(node)
        assert_clean(installed)
    assert [ask.loop_model for ask in client.asks] == ["", "large"]
    assert len(b.requests) == 2


async def test_an_agent_of_langchains_stays_in_its_loop(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    from langchain.agents import create_agent

    with using(client):
        agent = schedule(create_agent(chat(a), [look_up]))
        answer = await agent.ainvoke({"messages": [("user", "use the tool")]})
    assert "hello there" in [message.text for message in answer["messages"]]
    assert [ask.loop_model for ask in client.asks] == ["", "large"]


SEALED: Any = {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"}


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "m"}]}, "item_reference"),
        ({"input": [SEALED, {"role": "user", "content": "hi"}]}, "reasoning"),
        ({"extra_body": {"previous_response_id": "resp_1"}}, "previous_response_id"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_server_keeps_stays_with_it(
    more: Any, named: str, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    request: Any = {"model": "small", "input": "hi", **more}

    def node(state: State) -> State:
        raw(a).responses.create(**request)
        return {}

    async def anode(state: State) -> State:
        await araw(a).responses.create(**request)
        return {}

    with using(client) as installed:
        await run(anode if is_async else node)
        assert_clean(installed)
    assert b.requests == [] and client.asks == [] and client.of(CallEnded) == []
    (request,) = a.requests
    assert request.headers["authorization"] == "Bearer user-key"
    assert request.body["model"] == "small" and "priority" not in request.body
    (passed,) = client.passed
    assert passed.why.startswith("responses api: ") and named in passed.why


async def test_reasoning_that_was_seen_goes_back_to_its_model(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headway.calling.calls import Call

    host_close = Call.close

    def close(call: Call, *args: Any, **kwargs: Any) -> None:
        # The fake has no reasoning of its own to seal.
        call.answer.absorb({"object": "response", "status": "completed", "output": [SEALED]})
        host_close(call, *args, **kwargs)

    def node(state: State) -> State:
        sdk = raw(a).responses
        sdk.create(model="small", input="hi")
        monkeypatch.undo()
        sdk.create(model="small", input=[SEALED, {"role": "user", "content": "hi"}])
        return {}

    with using(client):
        monkeypatch.setattr(Call, "close", close)
        await run(node)
    assert [ask.loop_model for ask in client.asks] == ["", "large"]
    assert client.passed == []


async def test_other_requests_about_responses_are_no_calls(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        a.fail(3, 404)
        sdk = raw(a).responses
        for ask in (sdk.cancel, sdk.retrieve, sdk.delete):
            with pytest.raises(openai.APIError):
                ask("resp_1")
        with pytest.raises(openai.APIError):
            sdk.compact(model="small", input="hi")
        return {}

    with using(client):
        await run(node)
    assert client.asks == [] and client.passed == [] and b.requests == []


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_that_comes_as_an_answer_is_one(
    stream: bool, a: FakeOpenAI, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tests.support.fake_openai as fake_module

    host_response = fake_module._response

    def failing(body: Any, status: str, output: Any, usage: Any) -> Any:
        answer = host_response(body, status, output, usage)
        if status == "completed":
            answer |= {"status": "failed", "error": {"code": "server_error", "message": "no"}}
        return answer

    def node(state: State) -> State:
        answer: Any = raw(a).responses.create(model="small", input="hi", stream=stream)
        assert list(answer) if stream else answer.status == "failed"
        return {}

    monkeypatch.setattr(fake_module, "_response", failing)
    with using(client):
        await run(node)
    (ended,) = client.of(CallEnded)
    assert (ended.outcome, ended.error) == ("error", "server_error")


@pytest.mark.parametrize("how", ["close", "drop"])
async def test_an_abandoned_stream_is_closed(
    how: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        stream = raw(a).responses.create(model="small", input="stall", stream=True)
        for event in stream:
            if event.type.endswith(".delta"):
                break
        if how == "close":
            stream.close()
        else:
            del stream
            gc.collect()
        assert [end.outcome for end in client.of(CallEnded)] == ["cancelled"]
        return {}

    with using(client) as installed:
        await run(node)
        assert_clean(installed)
    assert len(client.of(CallEnded)) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_no_credential_follows_to_another_host(
    is_async: bool,
    stream: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POOL_KEY", "pool-key")
    client.pool = two_endpoints(a.url, b.url, api_key="os.environ/POOL_KEY")
    secrets: Any = {
        "api_key": "secret-0",
        "organization": "secret-org",
        "default_headers": {"api-key": "secret-1", "Cookie": "secret-2", "x-plain": "stays"},
    }
    request: Any = {"model": "small", "input": "hi", "stream": stream}

    def node(state: State) -> State:
        answer = raw(a, **secrets).responses.create(**request)
        assert list(answer) if stream else answer.output_text
        return {}

    async def anode(state: State) -> State:
        answer = await araw(a, **secrets).responses.create(**request)
        assert [event async for event in answer] if stream else answer.output_text
        return {}

    with using(client):
        await run(anode if is_async else node)
        client.choose = lambda ask: "a"
        await run(anode if is_async else node)
    (foreign,) = b.requests
    assert "secret" not in str(foreign.headers)
    assert foreign.headers["authorization"] == "Bearer pool-key"
    assert foreign.headers["x-plain"] == "stays"
    (own,) = a.requests
    assert own.headers["authorization"] == "Bearer secret-0"
    assert "pool-key" not in str(own.headers)


def chain(server: FakeOpenAI, *, is_async: bool, stream: bool) -> Any:
    """A node that asks, and then asks on from the stored answer."""

    def node(state: State) -> State:
        sdk = raw(server).responses
        if stream:
            with sdk.stream(model="small", input="hi") as events:
                first: Any = events.get_final_response()
        else:
            first = sdk.create(model="small", input="hi")
        sdk.create(model="small", input="and?", previous_response_id=first.id)
        return {}

    async def anode(state: State) -> State:
        sdk = araw(server).responses
        if stream:
            async with sdk.stream(model="small", input="hi") as events:
                first: Any = await events.get_final_response()
        else:
            first = await sdk.create(model="small", input="hi")
        await sdk.create(model="small", input="and?", previous_response_id=first.id)
        return {}

    return anode if is_async else node


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_what_continues_a_moved_answer_goes_where_that_is_stored(
    stream: bool, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using(client) as installed:
        await run(chain(a, is_async=is_async, stream=stream))
        assert_clean(installed)
    assert a.requests == [] and client.passed == []
    _, second = b.requests
    assert second.body["previous_response_id"] == "resp_x" and second.body["model"] == "large"
    assert second.body["priority"] == -2000 and "user-key" not in str(second.headers)
    assert [ask.endpoints for ask in client.asks] == [(), ("b",)]
    assert [end.outcome for end in client.of(CallEnded)] == ["ok", "ok"]


@pytest.mark.parametrize("then", ["no decision", "shadow", "elsewhere"])
async def test_a_stored_answer_is_found_without_a_decision_too(
    then: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def choose(ask: CallReady) -> str | None:
        if ask.endpoints:
            client.source = "shadow" if then == "shadow" else "daemon"
            return {"no decision": None, "shadow": "a", "elsewhere": "a"}[then]
        return "b"

    client.choose = choose
    with using(client) as installed:
        await run(chain(a, is_async=False, stream=False))
        assert_clean(installed)
    assert a.requests == []
    assert b.requests[1].body["previous_response_id"] == "resp_x"
    (sent,) = client.of(CallSent)
    assert sent.endpoint == "b"


async def test_what_continues_an_answer_that_was_not_moved_is_not_either(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """Of several models at its URL only the caller's own name tells which one it was."""
    client.source = "shadow"
    get_calls().remember_answer("resp_x", EndpointId("gone"))
    with using(client) as installed:
        await run(chain(a, is_async=False, stream=False))
        assert_clean(installed)
    assert [body["model"] for body in a.bodies] == ["small", "small"]
    assert len(client.asks) == len(client.passed) == 1 and b.requests == []


async def test_an_answer_whose_endpoint_is_gone_is_the_callers_matter(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        raw(a).responses.create(model="small", input="x", previous_response_id="resp_gone")
        return {}

    get_calls().remember_answer("resp_gone", EndpointId("gone"))
    with using(client):
        await run(node)
    assert client.asks == [] and b.requests == [] and len(a.requests) == 1
    assert [passed.target for passed in client.passed] == [a.url]


def test_the_memory_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "ANSWERS_KEPT", 2)
    calls = calls_module.Calls()
    for number in range(4):
        calls.remember_answer(f"resp_{number}", EndpointId("b"))
    assert [calls.home_of(f"resp_{number}") for number in range(4)] == ["", "", "b", "b"]

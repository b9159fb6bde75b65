"""Decisions applied to real ChatOpenAI and openai clients, against two fake servers."""

import asyncio
from typing import Any

import msgspec
import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

from headway.core.facts import CallEnded, CallReady, CallSent, FirstToken
from headway.core.pool import PoolName
from headway.core.prompts import features
from headway.core.types import EndpointId
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, assert_clean, two_endpoints, using

HI: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B with urgency 2."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.0)


@pytest.mark.parametrize("asked_for", [False, True])
async def test_words_are_told_where_the_pool_asks_for_them(a: FakeOpenAI, asked_for: bool) -> None:
    pool = two_endpoints(a.url, a.url)
    name = PoolName(name="agent", models=("small", "large"), send_text=asked_for)
    client = FakeClient(msgspec.structs.replace(pool, names=(name,)), choose=lambda ask: "a")

    async def node(state: State) -> State:
        chat = ChatOpenAI(model="agent", base_url=a.url, api_key="k")  # type: ignore[arg-type]
        await chat.ainvoke("divide by zero")
        return {"x": []}

    with using(client):
        await run(node)
    (ask,) = client.asks
    assert ask.features == (features("divide by zero") if asked_for else ())


def graph_of(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    return schedule(graph.compile(name="g"))


async def run(node: Any, config: Any = None) -> None:
    """Run a graph of one node, which may be a function or a coroutine function."""
    graph = graph_of(node)
    if asyncio.iscoroutinefunction(node):
        await graph.ainvoke({"x": []}, config)
    else:
        await asyncio.to_thread(graph.invoke, {"x": []}, config)


def chat(server: FakeOpenAI, **kwargs: Any) -> ChatOpenAI:
    options = {"max_retries": 0, "model": "small", "api_key": "user-key", **kwargs}
    return ChatOpenAI(base_url=server.url, **options)


def raw(server: FakeOpenAI, **kwargs: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="user-key", max_retries=0, **kwargs)


def araw(server: FakeOpenAI, **kwargs: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=server.url, api_key="user-key", max_retries=0, **kwargs)


class Number(BaseModel):
    a: int


@tool
def look_up(word: str = "") -> str:
    """Look up a word."""
    return word


def ways(server: FakeOpenAI) -> dict[str, Any]:  # noqa: C901 - a table of small functions
    """Nodes that make one call each, by the way in which they make it."""
    llm, sdk, asdk = chat(server), raw(server), araw(server)

    def chat_stream(state: State) -> State:
        return {"x": [chunk.content for chunk in llm.stream("hi")]}

    async def chat_astream(state: State) -> State:
        return {"x": [chunk.content async for chunk in llm.astream("hi")]}

    async def chat_ainvoke(state: State) -> State:
        return {"x": [(await llm.ainvoke("hi")).content]}

    def chat_structured(state: State) -> State:
        answer = llm.with_structured_output(Number).invoke("json")
        assert answer == Number(a=1)
        return {}

    def chat_tools(state: State) -> State:
        assert llm.bind_tools([look_up]).invoke("tool").tool_calls  # type: ignore[attr-defined]
        return {}

    def raw_create(state: State) -> State:
        assert sdk.chat.completions.create(model="small", messages=HI).choices[0].message.content
        return {}

    async def raw_acreate(state: State) -> State:
        assert (await asdk.chat.completions.create(model="small", messages=HI)).usage
        return {}

    def raw_stream(state: State) -> State:
        for _ in sdk.chat.completions.create(model="small", messages=HI, stream=True):
            continue
        return {}

    async def raw_astream(state: State) -> State:
        stream = await asdk.chat.completions.create(model="small", messages=HI, stream=True)
        async for _ in stream:
            continue
        return {}

    def raw_stream_helper(state: State) -> State:
        with sdk.chat.completions.stream(model="small", messages=HI) as stream:
            assert [event.type for event in stream]
        return {}

    def raw_response(state: State) -> State:
        response = sdk.chat.completions.with_raw_response.create(model="small", messages=HI)
        assert response.parse().choices
        return {}

    def raw_raw_stream(state: State) -> State:
        response = sdk.chat.completions.with_raw_response.create(
            model="small", messages=HI, stream=True
        )
        assert list(response.parse())
        return {}

    def raw_completion(state: State) -> State:
        assert sdk.completions.create(model="small", prompt="hi").choices[0].text == "four"
        return {}

    def llm_completion(state: State) -> State:
        old = OpenAI(model="small", base_url=server.url, api_key="user-key", max_retries=0)
        assert old.invoke("hi") == "four"
        return {}

    def in_a_thread(state: State) -> State:
        return {"x": [llm.batch(["hi"])[0].content]}

    return {
        "chat_openai": lambda state: {"x": [llm.invoke("hi").content]},
        **{
            way.__name__: way
            for way in (
                chat_stream,
                chat_astream,
                chat_ainvoke,
                chat_structured,
                chat_tools,
                raw_create,
                raw_acreate,
                raw_stream,
                raw_astream,
                raw_stream_helper,
                raw_response,
                raw_raw_stream,
                raw_completion,
                llm_completion,
                in_a_thread,
            )
        },
    }


WAYS = (
    *("chat_openai", "chat_stream", "chat_astream", "chat_ainvoke", "chat_structured"),
    *("chat_tools", "raw_create", "raw_acreate", "raw_stream", "raw_astream"),
    *("raw_stream_helper", "raw_response", "raw_raw_stream", "raw_completion"),
    *("llm_completion", "in_a_thread"),
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
    assert request.body["model"] == "large"
    assert request.body["priority"] == -2000
    assert "user-key" not in str(request.headers)
    (ready,) = client.of(CallReady)
    (ended,) = client.of(CallEnded)
    assert (ready.graph, ready.node_name, ready.pool_name) == ("g", "n", "small")
    assert ready.attempt == ended.attempt == 1
    assert ready.call == ended.call and ready.run == ended.run
    assert (ended.outcome, ended.error) == ("ok", "")
    assert ended.duration_s > 0
    streams = "stream" in way
    assert (ended.first_token_s is not None) == streams
    assert len(client.of(FirstToken)) == streams
    if not streams or way.startswith("chat"):
        assert (ended.prompt_tokens, ended.cached_tokens, ended.output_tokens) == (11, 5, 7)
    tools = way == "chat_tools"
    assert ended.tool_calls == tools
    expected = "tool_calls" if tools else "length" if "completion" in way else "stop"
    assert ended.finish_reason == expected
    (covered,) = client.covered
    langchain = way.startswith("chat") or way in ("in_a_thread", "llm_completion")
    assert covered.way == ("chat_openai" if langchain else "openai")


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_direct_generate_is_covered_too(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    from langchain_core.messages import HumanMessage

    llm = chat(a)

    def node(state: State) -> State:
        llm.generate([[HumanMessage("hi")], [HumanMessage("ho")]])
        return {}

    async def anode(state: State) -> State:
        await llm.agenerate([[HumanMessage("hi")], [HumanMessage("ho")]])
        return {}

    with using(client) as installed:
        await run(anode if is_async else node)
        assert_clean(installed)
    assert len(b.requests) == 2 and a.requests == []


async def test_usage_is_asked_for_only_where_langchain_reads_it(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using(client):
        await run(ways(a)["chat_stream"])
        await run(ways(a)["raw_stream"])

        def both(state: State) -> State:
            # The mark of a model run must not stick to what its node does next.
            chat(a).invoke("hi")
            for _ in raw(a).chat.completions.create(model="small", messages=HI, stream=True):
                continue
            return {}

        await run(both)
    asked = ["stream_options" in body for body in b.bodies]
    assert asked == [True, False, False, False]


async def test_the_question_says_all_that_a_decision_needs(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def node(state: State) -> State:
        raw(a, timeout=40.0).chat.completions.create(
            model="small",
            messages=[
                {"role": "system", "content": "abc"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "defgh"},
                        {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                    ],
                },
            ],
            tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
            response_format={"type": "json_object"},
            logprobs=True,
            n=2,
            reasoning_effort="low",
            max_tokens=99,
        )
        return {}

    with using(client):
        await run(node, {"metadata": {"headway_deadline_s": 9, "headway_class": "batch"}})
    (ask,) = client.asks
    assert ask.prompt_chars == 8
    assert ask.needs == ("tools", "response_format", "vision", "logprobs", "n", "reasoning")
    assert ask.max_tokens == 99
    assert ask.hold_limit_s == 20.0
    assert (ask.deadline_s, ask.service_class) == (9.0, "batch")
    assert (ask.visit, ask.step) == (1, 1)
    assert ask.run_age_s > 0


async def test_a_hold_is_at_most_five_minutes(a: FakeOpenAI, client: FakeClient) -> None:
    def node(state: State) -> State:
        raw(a).chat.completions.create(model="small", messages=HI)
        raw(a, timeout=None).chat.completions.create(model="small", messages=HI)
        raw(a).chat.completions.create(model="small", messages=HI, timeout=10)
        return {}

    with using(client):
        await run(node)
    assert [ask.hold_limit_s for ask in client.asks] == [300.0, 300.0, 5.0]


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_sdk_retry_asks_again(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.choose = lambda ask: EndpointId("b" if ask.attempt == 1 else "a")
    b.fail(1, 503)
    llm = chat(a, max_retries=2)

    async def anode(state: State) -> State:
        return {"x": [(await llm.ainvoke("hi")).content]}

    with using(client) as installed:
        await run(anode if is_async else lambda state: {"x": [llm.invoke("hi").content]})
        assert_clean(installed)
    assert (len(a.requests), len(b.requests)) == (1, 1)
    assert a.bodies[0]["model"] == "small"
    story = [
        (type(fact).__name__, fact.attempt, getattr(fact, "error", ""))
        for fact in client.of(CallReady, CallEnded)
    ]
    assert story == [
        ("CallReady", 1, ""),
        ("CallEnded", 1, "503"),
        ("CallReady", 2, ""),
        ("CallEnded", 2, ""),
    ]
    assert len({fact.call for fact in client.of(CallReady, CallEnded)}) == 1
    # Back at the client's own host, its own key is the right one again.
    assert a.requests[0].headers["authorization"] == "Bearer user-key"


@pytest.mark.parametrize("is_async", [False, True])
async def test_errors_have_kinds(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    b.fail(1, 429)

    def node(state: State) -> State:
        raw(a).chat.completions.create(model="small", messages=HI)
        return {}

    async def anode(state: State) -> State:
        await araw(a).chat.completions.create(model="small", messages=HI)
        return {}

    with using(client) as installed:
        with pytest.raises(openai.RateLimitError):
            await run(anode if is_async else node)
        assert_clean(installed)
    (ended,) = client.of(CallEnded)
    assert (ended.outcome, ended.error) == ("error", "429")


async def test_no_connection_and_no_answer_in_time(a: FakeOpenAI, client: FakeClient) -> None:
    with FakeOpenAI() as gone:
        url = gone.url
    client.pool = two_endpoints(a.url, url)

    def refused(state: State) -> State:
        raw(a).chat.completions.create(model="small", messages=HI)
        return {}

    def late(state: State) -> State:
        client.choose = lambda ask: "a"
        raw(a).chat.completions.create(
            model="small", messages=[{"role": "user", "content": "slow"}], timeout=0.05
        )
        return {}

    with using(client):
        with pytest.raises(openai.APIConnectionError):
            await run(refused)
        with pytest.raises(openai.APITimeoutError):
            await run(late)
    assert [end.error for end in client.of(CallEnded)] == ["connect", "timeout"]


async def test_a_tool_loop_names_its_model(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    from langchain.agents import create_agent

    with using(client) as installed:
        for streaming in (False, True):
            client.clear()
            agent = schedule(create_agent(chat(a, streaming=streaming), [look_up]))
            answer = await agent.ainvoke({"messages": [("user", "use the tool")]})
            assert answer["messages"][-1].content == "hello there"
            assert [ask.loop_model for ask in client.asks] == ["", "large"]
            assert client.asks[0].needs == ("tools",)
        assert_clean(installed)


async def test_parallel_calls_keep_apart(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
    client.choose = lambda ask: "a" if ask.prompt_chars % 2 else "b"
    llm = chat(a)

    async def node(state: State) -> State:
        await asyncio.gather(*(llm.ainvoke("x" * (1 + i)) for i in range(6)))
        return {}

    with using(client) as installed:
        await run(node)
        assert_clean(installed)
    assert len(a.requests) == len(b.requests) == 3
    for server, odd, model in ((a, 1, "small"), (b, 0, "large")):
        for body in server.bodies:
            assert len(body["messages"][0]["content"]) % 2 == odd
            assert body["model"] == model
    assert len({end.call for end in client.of(CallEnded)}) == 6


async def test_in_shadow_mode_the_daemon_is_told_where_the_call_went(
    a: FakeOpenAI, b: FakeOpenAI
) -> None:
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", source="shadow")

    async def node(state: State) -> State:
        await chat(a).ainvoke("hi")
        return {}

    with using(client):
        await run(node)
    assert len(a.requests) == 1 and not b.requests and "priority" not in a.bodies[0]
    assert [fact.endpoint for fact in client.of(CallSent)] == ["a"]

"""What callers do or say themselves is kept: their chunks, priorities, credentials and readers."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI, OpenAI
from langgraph.graph import START, StateGraph

from headway.calling.guard import complaints
from headway.core.facts import CallEnded
from headway_langgraph import schedule
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, assert_clean, two_endpoints, using

HI: Any = [{"role": "user", "content": "hi"}]
STALL: Any = [{"role": "user", "content": "stall"}]


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B with urgency 2."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.0)


def graph_of(node: Any) -> Any:
    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    return schedule(graph.compile(name="g"))


def raw(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="user-key", max_retries=0)


class OwnModel(BaseChatModel):
    """A LangChain model over the raw SDK that trusts each chunk to have a choice."""

    url: str

    @property
    def _llm_type(self) -> str:
        return "own"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise AssertionError("streams only")

    def _chunks(self) -> Iterator[ChatGenerationChunk]:
        stream = raw(self.url).chat.completions.create(model="small", messages=HI, stream=True)
        for chunk in stream:
            text = chunk.choices[0].delta.content or ""
            yield ChatGenerationChunk(message=AIMessageChunk(content=text))

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        return self._chunks()

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks():
            yield chunk


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_model_of_its_own_gets_the_chunks_it_expects(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    model = OwnModel(url=a.url)

    def node(state: State) -> State:
        return {"x": ["".join(str(chunk.content) for chunk in model.stream("hi"))]}

    async def anode(state: State) -> State:
        return {"x": ["".join([str(chunk.content) async for chunk in model.astream("hi")])]}

    with using(client) as installed:
        graph = graph_of(anode if is_async else node)
        result = await graph.ainvoke({"x": []}) if is_async else graph.invoke({"x": []})
        assert_clean(installed)
    assert result["x"] == ["hello there"]
    assert "stream_options" not in b.bodies[0]
    assert [one.way for one in client.covered] == ["openai"]


def test_langchains_own_models_and_what_is_derived_are_asked_for_usage(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    class Derived(ChatOpenAI):
        """Of the user's."""

    options: Any = {"model": "small", "base_url": a.url, "api_key": "k", "max_retries": 0}

    def node(state: State) -> State:
        for kind in (ChatOpenAI, Derived):
            list(kind(stream_usage=False, **options).stream("hi"))
        OpenAI(**options).invoke("hi")
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    usage = {"include_usage": True}
    assert [body.get("stream_options") for body in b.bodies] == [usage, usage, None]
    assert [end.output_tokens for end in client.of(CallEnded)] == [7, 7, 7]
    assert [ask.way for ask in client.covered] == ["chat_openai"] * len(client.covered)


def test_the_callers_own_priority_is_kept(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def node(state: State) -> State:
        for extra in ({"priority": 77, "cache_salt": "z"}, {"priority": 78}, {"cache_salt": "y"}):
            raw(a.url).chat.completions.create(model="small", messages=HI, extra_body=extra)
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
        assert complaints.counts == {"own urgency": 1}
        complaints.counts.clear()
    assert [body["priority"] for body in b.bodies] == [77, 78, -2000]
    assert [body.get("cache_salt") for body in b.bodies] == ["z", None, "y"]
    assert len([r for r in caplog.records if "'priority'" in r.getMessage()]) == 1


def test_a_base_url_with_a_password_is_left_alone(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    secret = a.url.replace("http://", "http://user:pass@")

    def node(state: State) -> State:
        raw(secret).chat.completions.create(model="small", messages=HI)
        return {}

    with using(client):
        graph_of(node).invoke({"x": []})
    node({})
    scheduled, bare = (request.headers["authorization"] for request in a.requests)
    assert scheduled == bare
    assert client.asks == [] and b.requests == []
    (passed,) = client.passed
    assert passed.why == "the base URL holds a user name or password"
    assert "pass@" not in passed.target


def read(how: str, response: Any) -> Any:
    if how == "json":
        response.json()
    elif how == "lines":
        list(response.iter_lines())
    elif how == "parse":
        response.parse()
    elif how == "a bit":
        lines = response.iter_lines()
        next(lines)
        return lines  # dropping it would end the response like a reader who is done
    return None


@pytest.mark.parametrize(
    ("how", "stream", "outcome", "tokens"),
    [
        ("json", False, "ok", 7),
        ("lines", False, "ok", None),
        ("lines", True, "ok", None),
        ("parse", False, "ok", 7),
        ("nothing", False, "cancelled", None),
        ("a bit", True, "cancelled", None),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_streaming_response_is_over_when_it_is_read(
    is_async: bool,
    how: str,
    stream: bool,
    outcome: str,
    tokens: int | None,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
) -> None:
    request: Any = {"model": "small", "messages": STALL if how == "a bit" else HI}
    request["stream"] = stream
    kept: list[Any] = []

    def node(state: State) -> State:
        create = raw(a.url).chat.completions.with_streaming_response.create
        with create(**request) as response:
            kept.append(read(how, response))
        return {}

    async def anode(state: State) -> State:
        sdk = openai.AsyncOpenAI(base_url=a.url, api_key="user-key", max_retries=0)
        async with sdk.chat.completions.with_streaming_response.create(**request) as response:
            if how in ("json", "parse"):
                await getattr(response, how)()
            elif how != "nothing":
                async for _ in response.iter_lines():
                    if how == "a bit":
                        break
        return {}

    with using(client) as installed:
        if is_async:
            await graph_of(anode).ainvoke({"x": []})
        else:
            graph_of(node).invoke({"x": []})
        assert_clean(installed)
    (ended,) = client.of(CallEnded)
    assert (ended.outcome, ended.output_tokens) == (outcome, tokens)

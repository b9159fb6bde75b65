"""Scheduled graphs of one node that makes one request with the openai SDK."""

import asyncio
from typing import Any

import openai
from langgraph.graph import START, StateGraph

from headway_langgraph import schedule
from tests.support.scheduled import State

HI: Any = [{"role": "user", "content": "hi"}]


async def run(node: Any) -> None:
    """Run a graph of one node, which may be a function or a coroutine function."""
    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    compiled = schedule(graph.compile(name="g"))
    if asyncio.iscoroutinefunction(node):
        await compiled.ainvoke({"x": []})
    else:
        await asyncio.to_thread(compiled.invoke, {"x": []})


def asking_node(
    options: dict[str, Any], request: dict[str, Any], *, form: str, is_async: bool
) -> Any:
    """A node that makes one request of this form (``chat``, ``responses``), read to its end.

    `options` make the SDK's client; `request` is what is asked, without the words.
    """
    options = {"api_key": "user-key", "max_retries": 2, **options}
    stream = request.get("stream", False)
    words = {"messages": HI} if form == "chat" else {"input": "hi"}

    def create(sdk: Any) -> Any:
        return sdk.chat.completions.create if form == "chat" else sdk.responses.create

    def node(state: State) -> State:
        answer = create(openai.OpenAI(**options))(**request, **words)
        assert list(answer) if stream else answer.id
        return {}

    async def anode(state: State) -> State:
        answer = await create(openai.AsyncOpenAI(**options))(**request, **words)
        assert [part async for part in answer] if stream else answer.id
        return {}

    return anode if is_async else node

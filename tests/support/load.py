"""A program of its own that runs scheduled graphs for a while, as a user's would.

``python -m tests.support.load BASE_URL RUNS WINDOW_S [MODEL [TIMEOUT_S]]`` starts RUNS runs evenly
over WINDOW_S seconds, each two LLM calls in a row, and prints the errors of those that failed, as
JSON.
"""

import asyncio
import json
import sys
from typing import Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from headway_langgraph import schedule


class State(TypedDict, total=False):
    text: str


def build(chat: ChatOpenAI) -> Any:
    async def draft(state: State) -> State:
        return {"text": (await chat.ainvoke("write something")).text}

    async def polish(state: State) -> State:
        return {"text": (await chat.ainvoke(f"make it better: {state['text'][:80]}")).text}

    builder = StateGraph(State)
    builder.add_node("draft", draft)
    builder.add_node("polish", polish)
    builder.add_edge(START, "draft")
    builder.add_edge("draft", "polish")
    builder.add_edge("polish", END)
    return schedule(builder.compile(name="load"))


async def main(base_url: str, runs: int, window_s: float, model: str, timeout_s: float) -> None:
    chat = ChatOpenAI(
        model=model,
        base_url=base_url,
        api_key="none",  # type: ignore[arg-type]
        max_tokens=60,  # type: ignore[call-arg]
        timeout=timeout_s,
    )
    graph = build(chat)

    async def one(number: int) -> None:
        await asyncio.sleep(window_s * number / runs)
        await graph.ainvoke({"text": ""})

    ended = await asyncio.gather(*map(one, range(runs)), return_exceptions=True)
    failed = [repr(each) for each in ended if isinstance(each, BaseException)]
    print(json.dumps({"runs": runs, "failed": failed}))


if __name__ == "__main__":
    url, count, window, *rest = sys.argv[1:]
    model, timeout = rest + ["agent", "600"][len(rest) :]
    asyncio.run(main(url, int(count), float(window), model, float(timeout)))

"""The ways to call through LiteLLM, as nodes, and Headway's hooks put in and taken out again.

A callback by itself costs LiteLLM time, whatever it does; so the bare side of a
pair runs without ours, and what is measured holds that too.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no look at the Internet

import litellm
from langchain_litellm import ChatLiteLLM, ChatLiteLLMRouter

import headway_litellm
from tests.bench.facts import POOL_NAME, pool
from tests.bench.latency import LITELLM_WAYS, MESSAGES, State

KEY = "none"


def model_list(urls: tuple[str, ...]) -> list[dict[str, Any]]:
    """The pool's endpoints as deployments of one group."""
    return [
        {
            "model_name": POOL_NAME,
            "litellm_params": {
                "model": f"hosted_vllm/{one.model}",
                "api_base": one.url,
                "api_key": KEY,
            },
            "model_info": {"id": one.id},
        }
        for one in pool(seats=64, urls=urls).endpoints
    ]


def switch(scheduled: bool) -> None:
    """Headway in LiteLLM, or LiteLLM as it was."""
    if scheduled:
        headway_litellm.install()
    else:
        headway_litellm.uninstall()


def nodes(urls: tuple[str, ...]) -> Iterator[tuple[str, Callable[[State], Any]]]:
    """Each way's name and node, those without a Router first.

    A Router enters the models of its deployments into LiteLLM's list of prices, and from
    then on each call to one of them takes LiteLLM longer, by Headway or not: it asks why it
    cost nothing. A direct call asks for the pool name, which is in no list, and Headway
    gives it one of those models: beside a Router its two sides could not be compared.
    """
    litellm.suppress_debug_info = True
    yield from zip(LITELLM_WAYS[:4], _direct(urls[0]), strict=True)
    yield from zip(LITELLM_WAYS[4:], _routed(urls), strict=True)


def _direct(url: str) -> tuple[Any, ...]:
    named: dict[str, Any] = {
        "model": f"hosted_vllm/{POOL_NAME}",
        "messages": MESSAGES,
        "api_base": url,
        "api_key": KEY,
    }

    async def call_async(state: State) -> State:
        await litellm.acompletion(**named)
        return {"x": 1}

    def call(state: State) -> State:
        litellm.completion(**named)
        return {"x": 1}

    chat = ChatLiteLLM(model=named["model"], api_base=url, api_key=KEY)
    return call_async, call, _ainvoking(chat), _invoking(chat)


def _routed(urls: tuple[str, ...]) -> tuple[Any, ...]:
    router = litellm.Router(model_list=model_list(urls))  # type: ignore[arg-type]

    async def call_async(state: State) -> State:
        await router.acompletion(POOL_NAME, MESSAGES)
        return {"x": 1}

    def call(state: State) -> State:
        router.completion(POOL_NAME, MESSAGES)
        return {"x": 1}

    chat = ChatLiteLLMRouter(router=router, model=POOL_NAME)
    return call_async, call, _ainvoking(chat), _invoking(chat)


def _ainvoking(chat: Any) -> Any:
    async def ainvoke(state: State) -> State:
        await chat.ainvoke("hi")
        return {"x": 1}

    return ainvoke


def _invoking(chat: Any) -> Any:
    def invoke(state: State) -> State:
        chat.invoke("hi")
        return {"x": 1}

    return invoke

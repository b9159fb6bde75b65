"""Helpers for tests of LiteLLM in process: all integrations installed anew, routers, small runs.

Sets LiteLLM up so that nothing is fetched; import this before litellm.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from langgraph.graph import START, StateGraph
from litellm.router import Router

import headway_litellm.attempts as attempts_module
import headway_litellm.installation as install_module
from headway_langgraph import schedule
from headway_litellm.installation import Installation
from tests.support.scheduled import State, using

HI: Any = [{"role": "user", "content": "hi"}]
SLOW: Any = [{"role": "user", "content": "slow"}]
STALL: Any = [{"role": "user", "content": "stall"}]


@contextmanager
def using_litellm(client: Any) -> Iterator[Installation]:
    """`client` is the process's client, for LangGraph, the openai SDK and LiteLLM.

    Fails if a hook of ours complained, or if a call is still on the books.
    """
    with using(client) as langgraph, pytest.MonkeyPatch.context() as patch:
        langgraph.install()
        installation = Installation()
        patch.setattr(install_module, "_installation", installation)
        for module in (install_module, attempts_module):
            patch.setattr(module, "get_client", lambda: client)
        for name in install_module.CALLBACK_LISTS:
            # Each router leaves some in here for good, and LiteLLM takes a hundred at most.
            patch.setattr(litellm, name, [])
        installation.install(None)
        try:
            yield installation
        finally:
            installation.uninstall()
        assert langgraph.calls._open == {}


def deployment(name: str, url: str, model: str, id_: str, **params: Any) -> dict[str, Any]:
    """One entry of a model list; `model` with its provider."""
    return {
        "model_name": name,
        "litellm_params": {"model": model, "api_base": url, "api_key": "deployed-key", **params},
        "model_info": {"id": id_},
    }


def router(a_url: str, b_url: str, *, provider: str = "hosted_vllm", **kwargs: Any) -> Any:
    """A Router whose group `agent` is `small` at A and `large` at B; `other` is B alone."""
    settings = {"num_retries": 0, "retry_after": 0, "disable_cooldowns": True, **kwargs}
    return Router(
        model_list=[
            deployment("agent", a_url, f"{provider}/small", "a"),
            deployment("agent", b_url, f"{provider}/large", "b"),
            deployment("other", b_url, f"{provider}/large", "b"),
        ],
        **settings,
    )


def graph_of(node: Callable[..., Any], **kwargs: Any) -> Any:
    """A scheduled graph of one node."""
    graph = StateGraph(State)
    graph.add_node("n", node, **kwargs)
    graph.add_edge(START, "n")
    return schedule(graph.compile(name="g"))


async def arun(course: Callable[[], Any]) -> Any:
    """What the asynchronous `course` gives inside the only node of a run."""

    async def node(state: State) -> State:
        return {"x": [await course()]}

    return (await graph_of(node).ainvoke({"x": []}))["x"][0]


def run(course: Callable[[], Any]) -> Any:
    """The same for a synchronous one."""
    return graph_of(lambda state: {"x": [course()]}).invoke({"x": []})["x"][0]

"""The arms on a LiteLLM Router, as a program without a proxy uses it.

All three have one model group, the pool name, whose deployments are all
endpoints of the pool, and `ChatLiteLLMRouter` in every node. ``simple-shuffle``
and ``router-least-busy`` leave the choice to the Router's strategy;
``router-headway`` is the first of them with Headway installed on the Router and
the graphs decorated.

LiteLLM is imported only here and only when such an arm is made: it takes
seconds. It runs as it comes, but for two things that a demo must not do: fetch
the list of prices from the Internet, and leave an arm's callbacks to the next.
"""

import asyncio
import contextlib
import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from headway.core.errors import ConfigError
from headway_samples.demo.arms import (
    NO_KEY,
    ROUTER_HEADWAY,
    STRATEGIES,
    Arm,
    decorated,
    undecorated,
)
from headway_samples.demo.stage import as_they_are
from headway_samples.pool import SamplePool
from headway_samples.sample import POOL_NAME, ChatFactory

NEEDED = {
    "litellm": "pip install 'headway[litellm]'",
    "langchain_litellm": "pip install langchain-litellm",
}
"""What the arms import, and how to get it."""

WARM_UP = [{"role": "user", "content": "hello"}]

CALLBACK_LISTS = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_input_callback",
    "_async_success_callback",
    "_async_failure_callback",
)
"""LiteLLM's callbacks are the process's: it copies them from the first list into the others."""


def check_installed(arms: tuple[str, ...]) -> None:
    """Raise `ConfigError` if one of `arms` needs a package that is not there."""
    needing = [name for name in arms if name in STRATEGIES]
    if not needing:
        return
    for package, remedy in NEEDED.items():
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f"{', '.join(needing)}: {package} is not installed: {remedy}")


def model_list(pool: SamplePool) -> list[dict[str, Any]]:
    """The pool as LiteLLM's deployments of one model group; their ids are the endpoints'."""
    return [
        {
            "model_name": POOL_NAME,
            "litellm_params": {
                "model": f"hosted_vllm/{each.model}",
                "api_base": each.url,
                "api_key": NO_KEY,
            },
            "model_info": {"id": each.id},
        }
        for each in pool.endpoints
    ]


@contextlib.asynccontextmanager
async def router_arm(
    name: str,
    pool: SamplePool,
    *,
    chats: Callable[[ChatFactory], ChatFactory] = as_they_are,
) -> AsyncIterator[Arm]:
    """The arm on a Router of its own. Nothing of it is left in LiteLLM after the block.

    The endpoints must be up: they are asked once, because with the first call of a process
    LiteLLM imports for a second what it uses, which no run shall wait for.
    """
    litellm = imported_litellm()
    with callbacks_as_before(litellm):
        router = litellm.Router(
            model_list=model_list(pool), routing_strategy=STRATEGIES[name], set_verbose=False
        )
        try:
            await asyncio.gather(
                *(
                    router.acompletion(model=each.id, messages=WARM_UP, max_tokens=1)
                    for each in pool.endpoints
                )
            )
            if name != ROUTER_HEADWAY:
                yield undecorated(name, chats(_chat(router)))
                return
            import headway_litellm

            headway_litellm.install(router)
            try:
                yield decorated(name, chats(_chat(router)))
            finally:
                headway_litellm.uninstall()
        finally:
            router.discard()


def _chat(router: Any) -> ChatFactory:
    from langchain_litellm import ChatLiteLLMRouter

    client = ChatLiteLLMRouter(router=router, model=POOL_NAME)
    return lambda node: client


def imported_litellm() -> Any:
    """LiteLLM, quiet and with the prices that it brings."""
    # Read at import: the list that the package brings, instead of the one on the Internet.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    return litellm


@contextlib.contextmanager
def callbacks_as_before(litellm: Any) -> Iterator[None]:
    """Put LiteLLM's lists of callbacks back: `Router.discard` leaves its strategy's there."""
    before = {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS}
    try:
        yield
    finally:
        for name, callbacks in before.items():
            getattr(litellm, name)[:] = callbacks

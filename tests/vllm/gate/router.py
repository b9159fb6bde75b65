"""Calls through LiteLLM's own Router: its strategy, its requests, no Headway anywhere."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from headway.core.facts import CallReady
from headway.sim.poolspec import POOL_NAME
from headway_samples.demo.routers import callbacks_as_before, imported_litellm
from tests.validity.ways import Wanted
from tests.vllm.gate.prompts import completion

PROVIDER = "text-completion-openai"
TIMEOUT_S = 3600.0
SHOWN = "as extra_body says"
_wanted: ContextVar[Callable[[str], dict[str, Any]]] = ContextVar("wanted")
"""Of the call in hand: the fields of its request to a model."""


class ThroughRouter:
    """A `Way`: each call goes to the pool name, and LiteLLM's least-busy strategy decides.

    `served` counts by endpoint id.
    """

    def __init__(self, router: Any) -> None:
        self.served: dict[str, int] = {}
        self._router = router

    def observe(self, fact: msgspec.Struct) -> None:
        """There is nobody to tell."""

    async def call(self, ask: CallReady, wanted: Callable[[str], Wanted]) -> tuple[str, int]:
        """One call; LiteLLM retries nothing and raises its own errors."""

        def fields(model: str) -> dict[str, Any]:
            want = wanted(model)
            return dict(completion(model, want, ask.max_tokens or want.tokens).body)

        _wanted.set(fields)
        answer = await self._router.atext_completion(model=POOL_NAME, prompt=SHOWN)
        endpoint = answer._hidden_params["model_id"]
        self.served[endpoint] = self.served.get(endpoint, 0) + 1
        return answer.model, int(answer.usage.completion_tokens)


@contextlib.contextmanager
def router_way(urls: Mapping[str, str], models: Mapping[str, str]) -> Iterator[ThroughRouter]:
    """The way over endpoints (base URLs and models by id). Nothing stays in LiteLLM after it."""
    litellm = imported_litellm()
    from litellm.integrations.custom_logger import CustomLogger

    class Lengths(CustomLogger):  # type: ignore[misc]
        """Asks the deployment that was chosen for exactly the tokens that its model writes.

        Ids go beside LiteLLM and the SDK, which look at every single one (88 ms for 4,000).
        """

        async def async_pre_call_deployment_hook(
            self, kwargs: dict[str, Any], call_type: Any
        ) -> dict[str, Any] | None:
            del call_type
            fields = _wanted.get()(kwargs["model"].rpartition("/")[2])
            return {**kwargs, "extra_body": fields}

    with callbacks_as_before(litellm):
        litellm.callbacks.append(Lengths())
        router = litellm.Router(
            model_list=[
                {
                    "model_name": POOL_NAME,
                    "litellm_params": {
                        "model": f"{PROVIDER}/{models[name]}",
                        "api_base": url,
                        "api_key": "none",
                    },
                    "model_info": {"id": name},
                }
                for name, url in urls.items()
            ],
            routing_strategy="least-busy",
            num_retries=0,
            timeout=TIMEOUT_S,
        )
        try:
            yield ThroughRouter(router)
        finally:
            router.discard()

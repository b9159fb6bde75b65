"""Calls through LiteLLM's own Router: its strategy, its requests, no Headway anywhere."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from statistics import fmean
from typing import Any

import msgspec

from headway.core.facts import CallReady
from headway.core.types import Seconds
from headway.sim.poolspec import POOL_NAME
from headway_samples.demo.routers import callbacks_as_before, imported_litellm
from tests.validity.ways import Served, Wanted
from tests.vllm.gate.prompts import completion

PROVIDER = "text-completion-openai"
TIMEOUT_S = 3600.0
SHOWN = "as extra_body says"
_wanted: ContextVar[Callable[[str], dict[str, Any]]] = ContextVar("wanted")
"""Of the call in hand: the fields of its request to a model."""


class ThroughRouter:
    """A `Way`: each call goes to the pool name, and LiteLLM's least-busy strategy decides.

    What deciding took cannot be told from the request: all of it counts as the request's.
    """

    def __init__(self, router: Any) -> None:
        self.calls: list[Served] = []
        self.heard_at: dict[str, Seconds] = {}
        self._answered_at: dict[str, Seconds] = {}
        self._router = router

    @property
    def heard_late_s(self) -> Seconds:
        """How long after an answer LiteLLM's callbacks heard of it, on average."""
        late = [
            max(heard - self._answered_at[answer], 0.0)
            for answer, heard in self.heard_at.items()
            if answer in self._answered_at
        ]
        return fmean(late) if late else 0.0

    def observe(self, fact: msgspec.Struct) -> None:
        """There is nobody to tell."""

    async def call(self, ask: CallReady, wanted: Callable[[str], Wanted]) -> tuple[str, int]:
        """One call; LiteLLM retries nothing and raises its own errors."""

        def fields(model: str) -> dict[str, Any]:
            want = wanted(model)
            return dict(completion(model, want, ask.max_tokens or want.tokens).body)

        _wanted.set(fields)
        loop = asyncio.get_running_loop()
        sent_s = loop.time()
        answer = await self._router.atext_completion(model=POOL_NAME, prompt=SHOWN)
        self._answered_at[answer.id] = loop.time()
        details = answer.usage.prompt_tokens_details
        self.calls.append(
            Served(
                request=ask.call,
                endpoint=answer._hidden_params["model_id"],
                prompt=wanted(answer.model).prompt,
                tokens=int(answer.usage.completion_tokens),
                cached_tokens=int(getattr(details, "cached_tokens", None) or 0),
                sent_s=sent_s,
                decision_s=0.0,
                http_s=loop.time() - sent_s,
            )
        )
        return answer.model, self.calls[-1].tokens


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

        async def async_log_success_event(
            self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any
        ) -> None:
            heard_at[response_obj.id] = asyncio.get_running_loop().time()

    with callbacks_as_before(litellm), _one_client(litellm):
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
            way = ThroughRouter(router)
            heard_at = way.heard_at
            yield way
        finally:
            router.discard()


@contextlib.contextmanager
def _one_client(litellm: Any) -> Iterator[None]:
    """LiteLLM keeps one HTTP client for chats; for text it would make one a call (10 ms and more).

    It keeps no connections: vLLM closes idle ones, and LiteLLM is not to retry.
    """
    import httpx

    before = litellm.aclient_session
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    litellm.aclient_session = httpx.AsyncClient(limits=limits, timeout=TIMEOUT_S)
    try:
        yield
    finally:
        litellm.aclient_session = before

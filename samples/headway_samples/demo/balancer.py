"""The baselines' client-side balancer: each call to the endpoint with fewest open calls.

It stands where a gateway would, without one: a chat model that hands every
call to one `ChatOpenAI` per endpoint. Ties are broken by a seeded generator,
so that an idle pool is used evenly.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI

from headway_samples.chats import AroundChat


@dataclass(slots=True, kw_only=True, eq=False)
class Lane:
    """One endpoint as the balancer sees it: its client and the calls it has open there."""

    endpoint: str
    model: str
    chat: BaseChatModel
    open_calls: int = 0
    calls: int = 0


class Balancer:
    """Counts open calls per endpoint and picks where the next one goes."""

    def __init__(self, lanes: Sequence[Lane], *, seed: int = 0) -> None:
        self.lanes = tuple(lanes)
        self._rng = random.Random(seed)

    def pick(self, models: tuple[str, ...]) -> Lane:
        """The lane with fewest open calls among those that serve one of `models`."""
        serving = [lane for lane in self.lanes if lane.model in models]
        if not serving:
            raise ValueError(f"no endpoint serves any of {', '.join(models)}")
        fewest = min(lane.open_calls for lane in serving)
        return self._rng.choice([lane for lane in serving if lane.open_calls == fewest])


class BalancedChat(AroundChat):
    """A chat model that asks the balancer for an endpoint at every call."""

    balancer: Any
    models: tuple[str, ...]

    @property
    def _llm_type(self) -> str:
        return "headway-demo-balancer"

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        lane = self.balancer.pick(self.models)
        lane.open_calls += 1
        lane.calls += 1
        try:
            result: ChatResult = await lane.chat._agenerate(messages, stop, run_manager, **kwargs)
            return result
        finally:
            lane.open_calls -= 1


def lanes_of(endpoints: Sequence[tuple[str, str, str]], *, api_key: str) -> list[Lane]:
    """A lane with a `ChatOpenAI` for each (endpoint id, base URL, model)."""
    return [
        Lane(
            endpoint=endpoint,
            model=model,
            chat=ChatOpenAI(model=model, base_url=url, api_key=api_key),  # type: ignore[arg-type]
        )
        for endpoint, url, model in endpoints
    ]

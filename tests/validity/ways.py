"""How a player's calls are decided and answered: through the daemon and its client library here.

A `Sending` is what differs between the engines: how a prompt is written and a request is sent.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import aiohttp
import msgspec

from headway.client import Client, Clocks, Route
from headway.client.engines import hints
from headway.core.facts import CallEnded, CallReady
from headway.core.types import Seconds
from headway.emulate.answers import CHARS_PER_TOKEN
from tests.validity.prompts import ALOUD, Prompt, Talk, messages_of

KEPT_ALIVE_S: Seconds = 1.0
"""vLLM closes connections that were idle for five seconds, also while a request is on its way."""
CLOCKS = Clocks(ack_idle_s=5.0, ack_busy_s=10.0)
"""A machine shared with others may be late; calls that fall open would be another policy's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of the model that was chosen: `tokens` that it shall write."""

    prompt: Prompt
    tokens: int
    tool_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One call: where it went, and what it took, in emulated seconds.

    `decision_s` is what asking took beyond the time that the daemon held the call, `http_s` the
    request from its sending at `sent_s` (of the event loop's clock) to its answer of `tokens`;
    `urgency` is what its engine was told.
    """

    request: str
    endpoint: str
    prompt: Prompt
    tokens: int
    cached_tokens: int
    sent_s: Seconds
    decision_s: Seconds
    http_s: Seconds
    urgency: float = 0.0


class Way(Protocol):
    """How calls get to a model. `calls` are those that were answered."""

    @property
    def calls(self) -> Sequence[Served]: ...

    def observe(self, fact: msgspec.Struct) -> None:
        """Something happened in a run."""
        ...

    async def call(self, ask: CallReady, wanted: Callable[[str], Wanted]) -> tuple[str, int]:
        """Have a call answered: the model that did (a name of `wanted`) and the answer's tokens.

        Raises `RuntimeError` if it was not decided, or was refused.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it goes out: where below the base URL, its body and headers."""

    path: str
    body: Mapping[str, Any]


Sending = Callable[[str, Wanted, int], Request]
"""A request to a model for what is wanted, within a limit of tokens."""


def chat(model: str, want: Wanted, limit: int) -> Request:
    """A chat with an emulated model, which writes as many tokens as it may."""
    body = {
        "model": model,
        "messages": messages_of(want.prompt, model),
        "max_tokens": max(1, min(want.tokens, limit)),
        "user": ALOUD if isinstance(want.prompt, Talk) else "",
    }
    return Request(path="chat/completions", body=body)


class ThroughDaemon:
    """Each call asks the daemon, goes where it says with its urgency, and is told of at its end.

    An asynchronous context manager. `calls` are those that were served.
    """

    def __init__(
        self, socket: Path, *, sending: Sending, engine: str, speedup: float = 1.0
    ) -> None:
        self.calls: list[Served] = []
        self._client = Client(socket, clocks=CLOCKS)
        self._sending = sending
        self._engine = engine
        self._speedup = speedup
        self._numbers: Iterator[int] = count()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ThroughDaemon":
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE_S)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()
        if self._session is not None:
            await self._session.close()

    def observe(self, fact: msgspec.Struct) -> None:
        """Tell the daemon."""
        self._client.observe(fact)

    async def call(self, ask: CallReady, wanted: Callable[[str], Wanted]) -> tuple[str, int]:
        """One call, decided, sent, answered and told of."""
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        route = await self._client.adecide(ask)
        granted_s = loop.time()
        if route.source != "daemon" or route.endpoint is None:
            raise RuntimeError(f"call {ask.call} was not decided by the daemon: {route.why}")
        request = f"q{next(self._numbers)}"
        want = wanted(route.endpoint.model)
        used = await self._post(route, request, want, limit=ask.max_tokens or want.tokens)
        ended_s = loop.time()
        prompt_tokens, tokens = int(used["prompt_tokens"]), int(used["completion_tokens"])
        if prompt_tokens * CHARS_PER_TOKEN != ask.prompt_chars:
            raise RuntimeError(
                f"call {ask.call}: {ask.prompt_chars} characters were read as {used}"
            )
        cached = int((used.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
        told = CallEnded(
            call=ask.call,
            attempt=1,
            run=ask.run,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached,
            output_tokens=tokens,
            duration_s=ended_s - granted_s,
            tool_calls=want.tool_calls,
        )
        self._client.observe(told)
        self.calls.append(
            Served(
                request=request,
                endpoint=route.endpoint.id,
                prompt=want.prompt,
                tokens=tokens,
                cached_tokens=cached,
                sent_s=granted_s,
                decision_s=(granted_s - asked_s - route.held_s) * self._speedup,
                http_s=(ended_s - granted_s) * self._speedup,
                urgency=route.urgency,
            )
        )
        return route.endpoint.model, tokens

    async def _post(
        self, route: Route, request: str, want: Wanted, *, limit: int
    ) -> dict[str, Any]:
        """The request, sent; its usage."""
        assert route.endpoint is not None and self._session is not None
        told = hints(self._engine, route.urgency)
        sent = self._sending(route.endpoint.model, want, limit)
        headers = {"Content-Type": "application/json", "X-Request-Id": request, **told.headers}
        url = f"{route.endpoint.url}/{sent.path}"
        data = msgspec.json.encode({**sent.body, **told.body})
        async with self._session.post(url, data=data, headers=headers) as response:
            answer = msgspec.json.decode(await response.read())
            if response.status != 200:
                raise RuntimeError(f"{url} answers {response.status}: {answer}")
            used: dict[str, Any] = answer["usage"]
            return used

"""Streamed requests to an OpenAI-compatible server, with the time of every chunk."""

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from headway.core.errors import ConfigError
from headway.core.types import Seconds

TROUBLES = (aiohttp.ClientError, OSError, TimeoutError)
WORDS = ("ba", "de", "ki", "lo", "mu", "na", "po", "ra", "su", "te", "vo", "zi")


@dataclass(slots=True, kw_only=True)
class Timed:
    """One request: when it was sent, when its chunks came (one clock, seconds), its tokens."""

    sent_at: Seconds
    chunks_at: list[Seconds] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0

    @property
    def first_s(self) -> Seconds:
        """Seconds until the first chunk."""
        return self.chunks_at[0] - self.sent_at


class Asker:
    """Asks one server. An asynchronous context manager.

    Raises `ConfigError` that names the address where it cannot be asked.
    """

    def __init__(self, url: str, model: str, *, key: str = "", timeout_s: Seconds = 300.0) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._rng = random.Random(time.time_ns())  # what a cache has seen is of no use here
        self.tokens_per_word = 1.0

    async def __aenter__(self) -> "Asker":
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def page(self, path: str) -> str | None:
        """A page below the server's root, or None if it does not have it."""
        address = f"{self.url.removesuffix('/v1')}{path}"
        try:
            async with self._there().get(address, headers=self._headers) as response:
                return await response.text() if response.status == 200 else None
        except TROUBLES as error:
            raise _cannot(address, error) from None

    def prompt(self, tokens: int) -> str:
        """About `tokens` tokens that nobody has sent before."""
        count = max(int(tokens / self.tokens_per_word), 1)
        return " ".join(
            f"{self._rng.choice(WORDS)}{self._rng.choice(WORDS)}{self._rng.randrange(10)}"
            for _ in range(count)
        )

    async def calibrate(self) -> None:
        """Learn how many tokens a word of `prompt` takes, and warm the server up."""
        words = 200
        done = await self.ask(self.prompt(words), output_tokens=2)
        if done.prompt_tokens:
            self.tokens_per_word = done.prompt_tokens / words

    async def ask(self, prompt: str, *, output_tokens: int, priority: int | None = None) -> Timed:
        """Send a request that writes exactly so many tokens (where the server can be told)."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": output_tokens,
            "min_tokens": output_tokens,
            "ignore_eos": True,
            "temperature": 1.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if priority is not None:
            body["priority"] = priority
        timed = Timed(sent_at=time.perf_counter())
        address = f"{self.url}/completions"
        session = self._there()
        try:
            async with session.post(address, json=body, headers=self._headers) as response:
                if response.status != 200:
                    said = (await response.text())[:300]
                    raise ConfigError(f"{address} answers {response.status}: {said}")
                async for line in response.content:
                    if refusal := _take(timed, line):
                        raise ConfigError(f"{address} answers {refusal}")
        except TROUBLES as error:
            raise _cannot(address, error) from None
        if not timed.chunks_at:
            raise ConfigError(f"{address} wrote nothing to a request for {output_tokens} tokens")
        timed.output_tokens = timed.output_tokens or len(timed.chunks_at)
        return timed

    async def together(self, count: int, prompt_tokens: int, output_tokens: int) -> list[Timed]:
        """So many requests at once, each with a prompt of its own."""
        prompts = [self.prompt(prompt_tokens) for _ in range(count)]
        asked = (self.ask(one, output_tokens=output_tokens) for one in prompts)
        return list(await asyncio.gather(*asked))

    def _there(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("an Asker is a context manager")
        return self._session


def _cannot(address: str, error: Exception) -> ConfigError:
    return ConfigError(f"{address} cannot be asked: {str(error) or type(error).__name__}")


def _take(timed: Timed, line: bytes) -> str:
    """One line of a stream of server-sent events; the error that it tells, or nothing."""
    if not line.startswith(b"data:") or line.startswith(b"data: [DONE]"):
        return ""
    part = json.loads(line[5:])
    if error := part.get("error"):
        return f"{error.get('code')}: {error.get('message')}"
    if part.get("choices"):
        timed.chunks_at.append(time.perf_counter())
    usage = part.get("usage")
    if usage:
        timed.prompt_tokens = usage.get("prompt_tokens") or 0
        timed.output_tokens = usage.get("completion_tokens") or 0
        details = usage.get("prompt_tokens_details") or {}
        timed.cached_tokens = details.get("cached_tokens") or 0
    return ""

"""Streamed requests to a server with vLLM's completions API, with the time of every chunk."""

import asyncio
import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.daemon.adapters import page_address

OK = 200
REFUSED = (401, 403)
NOT_FOUND = 404
NEEDS = (
    "it must take min_tokens, ignore_eos and stream_options with /completions, as vLLM does: other "
    "engines cannot be measured by this command"
)
TROUBLES = (aiohttp.ClientError, OSError, ValueError)
WORDS = ("ba", "de", "ki", "lo", "mu", "na", "po", "ra", "su", "te", "vo", "zi")
CALIBRATION_WORDS = 60
FIRST_ID, IDS = 300, 4000
"""Token ids that most vocabularies have, and that mean nothing special."""
KEPT_ALIVE_S: Seconds = 1.0
"""vLLM closes connections that were idle for five seconds, also while a request is on its way."""


@dataclass(slots=True, kw_only=True)
class Timed:
    """One request: when it was sent, when its chunks came (one clock, seconds), its tokens."""

    sent_at: Seconds = 0.0
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

    `aliases` are all names of the model there: its metrics have the first of them. Raises
    `ConfigError` that names the address where it cannot be asked.
    """

    def __init__(self, url: str, model: str, *, key: str = "", timeout_s: Seconds = 300.0) -> None:
        self.url = url.rstrip("/")
        self.model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._rng = random.Random(time.time_ns())  # what a cache has seen is of no use here
        self.tokens_per_word = 4.0
        self.takes_ids = False
        self.aliases: tuple[str, ...] = ()

    async def __aenter__(self) -> "Asker":
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def page(self, path: str) -> str | None:
        """A page (below the base URL, or with a leading ``/`` below the server's root), if any."""
        address = page_address(self.url, path)
        try:
            async with self._there().get(address, headers=self._headers) as response:
                text = await response.text()
        except TROUBLES as error:
            raise _cannot(address, error) from None
        if response.status in REFUSED:
            raise ConfigError(f"{address} answers {response.status}: name its key with --api-key")
        return text if response.status == OK else None

    def prompt(self, tokens: int) -> str | list[int]:
        """About `tokens` tokens that nobody has sent before: as ids, if the server takes them.

        Splitting a text into tokens takes the server's time but not its engine's, and would be
        taken for prefill.
        """
        if self.takes_ids:
            return [FIRST_ID + self._rng.randrange(IDS) for _ in range(max(tokens, 1))]
        count = max(int(tokens / self.tokens_per_word), 1)
        return " ".join(
            f"{self._rng.choice(WORDS)}{self._rng.choice(WORDS)}{self._rng.randrange(10)}"
            for _ in range(count)
        )

    async def calibrate(self) -> None:
        """Learn what a prompt may be and how many tokens a word takes, and warm the server up."""
        self.takes_ids = await self._try_ids()
        if self.takes_ids:
            return
        prompt = self.prompt(int(CALIBRATION_WORDS * self.tokens_per_word))
        done = await self.ask(prompt, output_tokens=4)
        if not done.prompt_tokens or done.output_tokens != 4:
            wrote = f"wrote {done.output_tokens} tokens instead of 4"
            what = wrote if done.prompt_tokens else "tells no token counts in its stream"
            raise ConfigError(f"{self.url} {what}: {NEEDS}")
        self.tokens_per_word = done.prompt_tokens / CALIBRATION_WORDS

    async def _try_ids(self) -> bool:
        """Whether a prompt may be token ids, up to the highest one, and is counted as so many."""
        last = CALIBRATION_WORDS - 1
        ids = [FIRST_ID + number * (IDS - 1) // last for number in range(CALIBRATION_WORDS)]
        try:
            done = await self.ask(ids, output_tokens=4)
        except ConfigError:  # a text will tell what is wrong, if anything is
            return False
        return done.prompt_tokens == len(ids) and done.output_tokens == 4

    async def ask(
        self,
        prompt: str | list[int],
        *,
        output_tokens: int,
        priority: int | None = None,
        timed: Timed | None = None,
    ) -> Timed:
        """Send a request that writes exactly so many tokens; `timed` may be watched meanwhile."""
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
        timed = timed or Timed()
        timed.sent_at = time.perf_counter()
        address = f"{self.url}/completions"
        try:
            async with self._there().post(address, json=body, headers=self._headers) as response:
                if response.status != OK:
                    said = (await response.text())[:300]
                    raise ConfigError(f"{address} answers {_refusal(response.status, said)}")
                async for line in response.content:
                    _take(timed, line, address)
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


def _refusal(status: int, said: str) -> str:
    if status in REFUSED:
        return f"{status}: name its key with --api-key"
    if status == NOT_FOUND:
        return f"{status}: is /v1 missing in the URL? {said}"
    return f"{status}: {said}" if status >= 500 else f"{status}: {said} ({NEEDS})"


def _take(timed: Timed, line: bytes, address: str) -> None:
    """One line of a stream of server-sent events. Raises `ConfigError` for an error in it."""
    if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
        return
    part = json.loads(line[5:])
    if not isinstance(part, Mapping):
        raise ValueError(f"no event of a completion: {line[:100]!r}")
    if isinstance(error := part.get("error"), Mapping):
        raise ConfigError(f"{address} answers {error.get('code')}: {error.get('message')}")
    if part.get("choices"):
        timed.chunks_at.append(time.perf_counter())
    usage = part.get("usage")
    if usage:
        timed.prompt_tokens = usage.get("prompt_tokens") or 0
        timed.output_tokens = usage.get("completion_tokens") or 0
        details = usage.get("prompt_tokens_details") or {}
        timed.cached_tokens = details.get("cached_tokens") or 0

"""Prompts on their way through the encoder: on a thread of its own, in batches, kept nowhere.

A call is decided with what is known of it. Its embedding follows as a `PromptEncoded` when it is
ready; only where the pool name says ``wait_for_confidence_ms`` does the call's question wait so
long for it. Texts are held until they have been encoded, embeddings of late ones beyond that, by
a digest of the text. An encoder that cannot be opened, or that fails, is said once: forecasts
then go by hashed words.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from headway.core.calls import CallKey
from headway.core.facts import AnyFact, CallReady, PromptEncoded
from headway.core.prompts import both_ends, embedded
from headway.core.types import ClientId, Seconds
from headway.encoding.encoder import BATCH, Encoder, open_encoder
from headway.wire.messages import Prompt

log = logging.getLogger("headway.daemon")

MOST_WAITING = 512
"""Prompts beyond that are not encoded: what is told minutes late helps nobody."""
KEPT = 2048
"""Embeddings of texts that may come again: a retry asks the same."""

Features = tuple[int, ...]
Tell = Callable[[AnyFact, ClientId], None]
Key = TypeVar("Key")


@dataclass(slots=True, kw_only=True)
class _Held:
    """A question that waits for its prompt's embedding."""

    client: ClientId
    ask: CallReady
    since: Seconds
    timer: asyncio.TimerHandle


class PromptDesk:
    """Takes prompts and questions in, and tells the scheduler both when it is their time."""

    def __init__(
        self, path: Path, *, tell: Tell, opened: Callable[[Path], Encoder] = open_encoder
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._path = path
        self._opened = opened
        self._encoder: Encoder | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="headway-encoder")
        self.problem = ""
        """Why prompts are not read any more."""
        self._waiting: deque[tuple[CallKey, bytes, str]] = deque()
        self._under_way: set[CallKey] = set()
        self._ready: OrderedDict[CallKey, Features] = OrderedDict()
        self._kept: OrderedDict[bytes, Features] = OrderedDict()
        self._held: dict[CallKey, _Held] = {}
        self._work: asyncio.Task[None] | None = self._loop.create_task(self._encode())

    def heard(self, prompt: Prompt) -> None:
        """A client told what a call asks; its question follows."""
        if self.problem:
            return
        key = (prompt.call, prompt.attempt)
        text = both_ends(prompt.text)
        digest = blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        known = self._kept.get(digest)
        if known is not None:
            self._kept.move_to_end(digest)
            _keep(self._ready, key, known)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append((key, digest, text))
            self._under_way.add(key)
            if self._work is None:
                self._work = self._loop.create_task(self._encode())

    def asked(self, client: ClientId, ask: CallReady, *, wait_s: Seconds) -> None:
        """A question: told at once, or within `wait_s` when its prompt is encoded."""
        key = (ask.call, ask.attempt)
        if (held := self._held.get(key)) is not None:  # asked again, over another connection
            held.client = client
            return
        known = self._ready.pop(key, None)
        if known is not None:
            ask = msgspec.structs.replace(ask, features=ask.features + known)
        elif wait_s > 0.0 and key in self._under_way:
            timer = self._loop.call_later(wait_s, self._release, key, ())
            self._held[key] = _Held(client=client, ask=ask, since=self._loop.time(), timer=timer)
            return
        self._tell(ask, client)

    def lost(self, client: ClientId) -> None:
        """A client is gone, and so is what it asked."""
        for key, held in list(self._held.items()):
            if held.client == client:
                held.timer.cancel()
                del self._held[key]

    async def stop(self) -> None:
        """Give up what is not encoded. The thread ends after the batch it is at."""
        for held in self._held.values():
            held.timer.cancel()
        self._held.clear()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _encode(self) -> None:
        """Open the encoder the first time; then work until nothing waits."""
        try:
            if self._encoder is None:
                self._encoder = await self._loop.run_in_executor(
                    self._executor, self._opened, self._path
                )
                log.info("prompts are read by %s", self._encoder.about)
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                vectors = await self._loop.run_in_executor(
                    self._executor, self._encoder.encode, [text for _, _, text in batch]
                )
                for (key, digest, _), vector in zip(batch, vectors, strict=True):
                    self._encoded(key, digest, embedded(vector))
            self._work = None
        except Exception as error:  # noqa: BLE001 - no encoder is worth a daemon
            self._give_up(error)

    def _encoded(self, key: CallKey, digest: bytes, features: Features) -> None:
        _keep(self._kept, digest, features)
        self._under_way.discard(key)
        if key in self._held:
            self._release(key, features)
        elif features:
            self._tell(PromptEncoded(call=key[0], attempt=key[1], features=features), ClientId(""))

    def _release(self, key: CallKey, features: Features) -> None:
        """Tell a question that waited; its age has grown meanwhile."""
        held = self._held.pop(key, None)
        if held is None:
            return
        held.timer.cancel()
        waited = self._loop.time() - held.since
        ask = msgspec.structs.replace(
            held.ask,
            features=held.ask.features + features,
            age_s=held.ask.age_s + waited,
            run_age_s=held.ask.run_age_s + waited,
            hold_limit_s=max(held.ask.hold_limit_s - waited, 0.0),
        )
        self._tell(ask, held.client)

    def _give_up(self, error: Exception) -> None:
        self.problem = f"no embeddings of prompts, hashed words only: {error}"
        log.warning("%s", self.problem)
        self._waiting.clear()
        self._under_way.clear()
        for key in list(self._held):
            self._release(key, ())


def _keep(known: OrderedDict[Key, Features], key: Key, features: Features) -> None:
    known[key] = features
    while len(known) > KEPT:
        known.popitem(last=False)

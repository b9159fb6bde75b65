"""Which runs still have their prefix in a server's cache, from vLLM's KV events over ZMQ.

vLLM publishes which blocks are stored and removed, and (0.32 and later) for which session: the run
that the client named in ``X-Session-ID``. Tokens are in the events too; they are not decoded.
"""

import logging
from typing import Any

import msgspec

from headway.core.errors import ConfigError
from headway.core.types import RunId

log = logging.getLogger("headway.vllm")

MAX_BLOCKS = 1 << 20
MAX_BATCHES = 10_000
"""Batches taken in at one look: what is more is taken at the next."""
MAX_MESSAGE_BYTES = 16 << 20
KEPT_SHARE = 0.5
"""A run that has less of its blocks left than this has lost its prefix."""


class _Stored(msgspec.Struct, tag="BlockStored"):
    block_hashes: list[int | bytes]
    session_id: str | None = None


class _Removed(msgspec.Struct, tag="BlockRemoved"):
    block_hashes: list[int | bytes]


class _Cleared(msgspec.Struct, tag="AllBlocksCleared"):
    pass


class _Batch(msgspec.Struct, array_like=True):
    at: float
    events: list[_Stored | _Removed | _Cleared]


_DECODER = msgspec.msgpack.Decoder(_Batch)


class Prefixes:
    """Blocks by run. Sans-IO."""

    def __init__(self, whose: str = "") -> None:
        self._whose = whose
        self._told = False
        self._owner: dict[int | bytes, RunId] = {}
        self._held: dict[RunId, int] = {}
        self._most: dict[RunId, int] = {}
        self._lost: dict[RunId, None] = {}
        self._next: int | None = None

    def feed(self, number: int, payload: bytes) -> None:
        """One batch of events. After a gap nothing is known, and nobody is said to have lost."""
        if self._next is not None and number != self._next:
            self.forget()
        self._next = number + 1
        try:
            batch = _DECODER.decode(payload)
        except msgspec.DecodeError as error:
            self.forget()  # another dialect: what it says cannot be told
            if not self._told:
                self._told = True
                log.warning("%s: its KV events cannot be read: %s", self._whose, error)
            return
        for event in batch.events:
            if isinstance(event, _Stored):
                self._stored(event)
            elif isinstance(event, _Removed):
                for block in event.block_hashes:
                    self._removed(block)
            else:
                for run in self._held:
                    self._lost[run] = None
                self.forget()

    def lost(self) -> tuple[RunId, ...]:
        """Runs that have lost their prefix since this was last asked."""
        found = tuple(self._lost)
        self._lost.clear()
        return found

    def forget(self) -> None:
        """Begin anew, as after a restart."""
        self._owner.clear()
        self._held.clear()
        self._most.clear()

    def _stored(self, event: _Stored) -> None:
        if event.session_id is None:
            return
        if len(self._owner) + len(event.block_hashes) > MAX_BLOCKS:
            self.forget()
        run = RunId(event.session_id)
        self._lost.pop(run, None)
        for block in event.block_hashes:
            self._taken(self._owner.get(block))
            self._owner[block] = run
            self._held[run] = self._held.get(run, 0) + 1
        self._most[run] = max(self._most.get(run, 0), self._held[run])

    def _removed(self, block: int | bytes) -> None:
        run = self._owner.pop(block, None)
        if run is not None and self._held[run] - 1 < KEPT_SHARE * self._most[run]:
            self._lost[run] = None
        self._taken(run)

    def _taken(self, run: RunId | None) -> None:
        """A block is no longer the run's: it is gone, or another's."""
        if run is None:
            return
        self._held[run] -= 1
        if self._held[run] <= 0:
            del self._held[run], self._most[run]


class Subscription:
    """Listens to one publisher. Raises `ConfigError` without pyzmq, or for what is no address."""

    def __init__(self, address: str) -> None:
        try:
            import zmq
        except ImportError:
            raise ConfigError(
                f"kv_events: {address}: needs pyzmq: pip install 'headway[vllm]'"
            ) from None
        self._again: Any = zmq.Again
        self._now = zmq.NOBLOCK
        self._socket: Any = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._socket.setsockopt(zmq.RCVHWM, MAX_BATCHES)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        try:
            self._socket.connect(address)
        except zmq.ZMQError as error:
            self._socket.close()
            raise ConfigError(f"kv_events: {address}: {error}") from None

    def drain(self, prefixes: Prefixes) -> None:
        """Take in what has come; waits for nothing."""
        for _ in range(MAX_BATCHES):
            try:
                frames = self._socket.recv_multipart(self._now)
            except self._again:
                return
            if len(frames) == 3 and len(frames[1]) == 8:
                prefixes.feed(int.from_bytes(frames[1], "big"), frames[2])

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

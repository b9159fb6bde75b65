"""What travels on the socket beside the core's facts, and how a frame is made.

A frame is a 4-byte little-endian length and a msgpack body. A client sends
`Hello` first, then facts and queries; the daemon answers with the messages
below. `Ack` is sent before any scheduling work, so that a client can tell a
slow daemon from a held call.
"""

from collections.abc import Iterator
from typing import Any, Union

import msgspec

from headway.core.errors import FrameError
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Feedback,
    FirstToken,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import Pool
from headway.core.types import CallId, EndpointId, Mode, Seconds

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 1 << 20
HEADER_BYTES = 4


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="fact"):
    """Base of what is not a fact. Shares the facts' tag field, so one decoder reads both."""


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """The first frame of a connection. `token` only over TCP."""

    version: int
    client: str
    pid: int = 0
    token: str = ""


class Passed(Message, frozen=True, kw_only=True, tag="passed"):
    """A client let requests through untouched: why, and to where (a base URL, never a key)."""

    why: str
    target: str = ""
    count: int = 1


class Covered(Message, frozen=True, kw_only=True, tag="covered"):
    """A client applied decisions: by which way of calling (`openai`, `chat_openai`...)."""

    way: str
    count: int = 1


class Prompt(Message, frozen=True, kw_only=True, tag="prompt"):
    """What an attempt asks, for the daemon's encoder; told before its `CallReady`.

    Not a fact: no text reaches the scheduler or its journal.
    """

    call: CallId
    attempt: int
    text: str


class Query(Message, frozen=True, kw_only=True, tag="query"):
    """An operator's question or order (``status``, ``explain``, ``mode``, ``reload``...)."""

    id: int
    what: str
    args: dict[str, Any] = {}


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    """Asks for a `Pong`; used by the client's breaker to probe."""


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """Answer to `Hello`. `pool` is the pool view, with its mode; keys are references only."""

    version: int
    pool: Pool


class Ack(Message, frozen=True, kw_only=True, tag="ack"):
    """A `CallReady` arrived; its grant follows when its time has come."""

    call: CallId
    attempt: int


class Granted(Message, frozen=True, kw_only=True, tag="granted"):
    """A call is released: send it to `endpoint` with `urgency`.

    No `endpoint`: nothing in the pool can serve it, use the fallback. Not
    `apply`: the daemon is in shadow mode, send the request as it was.
    `output_tokens` is the predicted length of the answer; `forecasts` say how the predictors
    behind the decision have done of late, by ``predictor.measure``.
    """

    call: CallId
    attempt: int
    endpoint: EndpointId
    model: str
    urgency: float
    held_s: Seconds
    why: str
    apply: bool = True
    output_tokens: float = 0.0
    forecasts: dict[str, float] = {}


class PoolView(Message, frozen=True, kw_only=True, tag="pool_view"):
    """The pool or the mode changed."""

    pool: Pool


class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    """Answer to a `Query`; `error` is empty when it worked."""

    id: int
    body: dict[str, Any] = {}
    error: str = ""


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    """Answer to a `Ping`."""

    mode: Mode = "on"


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """The connection will be closed; the text says why and what to do."""

    error: str


ClientMessage = Union[
    Hello,
    Passed,
    Covered,
    Prompt,
    Query,
    Ping,
    GraphSeen,
    RunStarted,
    RunEnded,
    NodeStarted,
    NodeEnded,
    CallReady,
    CallSent,
    FirstToken,
    CallEnded,
    Feedback,
]
DaemonMessage = Union[Welcome, Ack, Granted, PoolView, Reply, Pong, Refused]

_encoder = msgspec.msgpack.Encoder()
_client_decoder = msgspec.msgpack.Decoder(ClientMessage)
_daemon_decoder = msgspec.msgpack.Decoder(DaemonMessage)


def encode_frame(message: msgspec.Struct) -> bytes:
    """The message as one frame. Raises `FrameError` if it would be larger than a peer reads."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(
            f"a {type(message).__name__} of {len(body)} bytes does not fit into a frame "
            f"of {MAX_FRAME_BYTES}"
        )
    return len(body).to_bytes(HEADER_BYTES, "little") + body


def decode_client(body: bytes | bytearray | memoryview) -> ClientMessage:
    """What a client said. Raises `FrameError`: answer `Refused` and close."""
    try:
        message: ClientMessage = _client_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"a frame that is not a client message: {error}") from error
    return message


def decode_daemon(body: bytes | bytearray | memoryview) -> DaemonMessage:
    """What the daemon said. Raises `FrameError`: close and fall open."""
    try:
        message: DaemonMessage = _daemon_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FrameError(f"a frame that is not a daemon message: {error}") from error
    return message


class FrameSplitter:
    """Cuts a byte stream into frame bodies. One per connection; sans-IO."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies completed by `data`, cut as they are asked for.

        Raises `FrameError` for a frame that is too large, after the bodies before it.
        """
        self._buffer += data
        return self._bodies()

    def _bodies(self) -> Iterator[bytes]:
        buffer = self._buffer
        start = 0
        try:
            while len(buffer) - start >= HEADER_BYTES:
                size = int.from_bytes(buffer[start : start + HEADER_BYTES], "little")
                if size > MAX_FRAME_BYTES:
                    raise FrameError(
                        f"a frame of {size} bytes is larger than {MAX_FRAME_BYTES}: "
                        "is the peer speaking another protocol?"
                    )
                end = start + HEADER_BYTES + size
                if len(buffer) < end:
                    return
                body = bytes(buffer[start + HEADER_BYTES : end])
                start = end
                yield body
        finally:
            if start:
                del buffer[:start]

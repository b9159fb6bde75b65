"""One client's connection: bytes in, messages out, and what a peer may not do.

Works on the event loop's own callbacks, not on streams: that is a third of the
time of a round trip. Every call's `Ack` leaves before any message of the same
batch is worked on.
"""

import asyncio
import hmac
import logging
import math
import socket
from typing import Protocol, cast

import msgspec

from headway.core.errors import FrameError
from headway.core.facts import CallEnded, CallReady, CallSent, Fact
from headway.core.types import ClientId, Mode
from headway.daemon.sockets import may_connect, peer_uid
from headway.wire.messages import (
    PROTOCOL_VERSION,
    Ack,
    ClientMessage,
    FrameSplitter,
    Hello,
    Ping,
    Pong,
    Refused,
    Welcome,
    decode_client,
    encode_frame,
)

log = logging.getLogger("headway.daemon")

HELLO_WITHIN_S = 5.0
MAX_UNREAD_BYTES = 8 << 20


class Host(Protocol):
    """What a connection needs of the daemon."""

    @property
    def mode(self) -> Mode:
        """The scheduler's mode."""

    def opened(self, connection: "Connection", hello: Hello) -> tuple[ClientId, Welcome]:
        """A client said who it is; its id here and the answer."""

    def said(self, connection: "Connection", message: ClientMessage) -> None:
        """A client told or asked something."""

    def closed(self, connection: "Connection") -> None:
        """A connection that was opened has ended."""


class Connection(asyncio.Protocol):
    """The daemon's end of one connection. Over TCP a `token` is asked for."""

    def __init__(self, host: Host, *, token: bytes | None = None) -> None:
        self._host = host
        self._token = token
        self._splitter = FrameSplitter()
        self._transport: asyncio.Transport | None = None
        self._hello_timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.client = ClientId("")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who is there before a byte is read."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=MAX_UNREAD_BYTES)
        if self._token is None:
            peer = transport.get_extra_info("socket")
            uid = peer_uid(peer)
            if not may_connect(uid):
                log.warning("refused a connection of user %s", uid)
                self.refuse("this socket belongs to another user: start a daemon of your own")
                return
        else:
            peer = transport.get_extra_info("socket")
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._hello_timer = asyncio.get_running_loop().call_later(
            HELLO_WITHIN_S, self.refuse, f"no hello within {HELLO_WITHIN_S:g} s"
        )

    def data_received(self, data: bytes) -> None:
        """Decode what is whole, acknowledge calls, then pass all on in order.

        A frame that cannot be read ends the connection; what was said before it counts.
        """
        if self._closing:
            return
        messages: list[ClientMessage] = []
        wrong: FrameError | None = None
        try:
            for body in self._splitter.feed(data):
                message = decode_client(body)
                _check_numbers(message)
                messages.append(message)
        except FrameError as error:
            wrong = error
        self._heard(messages)
        if wrong is not None and not self._closing:
            log.warning("closed the connection of %s: %s", self.client or "a stranger", wrong)
            self.refuse(str(wrong))

    def _heard(self, messages: list[ClientMessage]) -> None:
        if not self.client and messages:
            self._hello(messages.pop(0))
        if self._closing:
            return
        acks = [
            encode_frame(Ack(call=message.call, attempt=message.attempt))
            for message in messages
            if isinstance(message, CallReady)
        ]
        if acks:
            self._write(b"".join(acks))
        for message in messages:
            self._one(message)
            if self._closing:
                return

    def _one(self, message: ClientMessage) -> None:
        if isinstance(message, Ping):
            self.send(Pong(mode=self._host.mode))
        elif isinstance(message, Hello):
            self.refuse("a second hello on one connection")
        else:
            self._host.said(self, message)

    def _hello(self, message: ClientMessage) -> None:
        if not isinstance(message, Hello):
            self.refuse("the first frame should be a hello")
            return
        if message.version != PROTOCOL_VERSION:
            self.refuse(
                f"you speak version {message.version} of the protocol, this daemon "
                f"{PROTOCOL_VERSION}: install the same headway on both sides and restart the daemon"
            )
            return
        if self._token is not None and not hmac.compare_digest(message.token.encode(), self._token):
            log.warning("refused a TCP connection without the right token")
            self.refuse("over TCP the hello needs the daemon's token (see --token-file)")
            return
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        self.client, welcome = self._host.opened(self, message)
        self.send(welcome)

    def send(self, message: msgspec.Struct) -> None:
        """Write one message; a peer that is gone or does not read loses it."""
        self._write(encode_frame(message))

    def refuse(self, why: str) -> None:
        """Say why, and close."""
        if self._closing:
            return
        self._write(encode_frame(Refused(error=why)))
        self.close()

    def close(self) -> None:
        """Close after what was written has left."""
        self._closing = True
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        """The peer has left megabytes unread: it hangs, and its lease ends."""
        log.warning("closed the connection of %s: it does not read", self.client)
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The lease ends."""
        self._closing = True
        if self._hello_timer is not None:
            self._hello_timer.cancel()
        if self.client:
            self._host.closed(self)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _check_numbers(message: ClientMessage) -> None:
    """Durations and counts are finite and not negative, or the books would never be right again."""
    if not isinstance(message, Fact):
        return
    if isinstance(message, CallSent):
        _check_numbers(message.ask)
    numbers: tuple[float | None, ...] = ()
    if isinstance(message, CallReady):
        numbers = (
            message.age_s,
            message.run_age_s,
            message.hold_limit_s,
            message.deadline_s,
            message.prompt_chars,
            message.max_tokens,
        )
    elif isinstance(message, CallSent):
        numbers = (message.sent_s,)
    elif isinstance(message, CallEnded):
        numbers = (
            message.duration_s,
            message.first_token_s,
            message.prompt_tokens,
            message.cached_tokens,
            message.output_tokens,
        )
    else:
        numbers = (getattr(message, "age_s", None), getattr(message, "deadline_s", None))
    for number in numbers:
        if number is not None and not 0 <= number < math.inf:
            raise FrameError(
                f"a {type(message).__name__} with the number {number}: durations and counts "
                "are finite and not negative"
            )

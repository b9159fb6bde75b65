"""Daemons side by side, and peers of which only a part is right."""

import struct
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.core.facts import RunStarted
from headway.core.types import RunId
from headway.daemon.files import journal_folder
from headway.wire.journal import journals_in
from headway.wire.messages import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Ack,
    FrameSplitter,
    Granted,
    Hello,
    Refused,
    encode_frame,
)
from tests.support.daemons import Peer, call, running

TOO_LARGE = struct.pack("<I", MAX_FRAME_BYTES + 1)
NOT_A_MESSAGE = struct.pack("<I", 2) + b"\x81\xa4"
NOT_FINITE = encode_frame(RunStarted(run=RunId("r"), graph="g", age_s=float("nan")))


@pytest.mark.parametrize("bad", [TOO_LARGE, NOT_A_MESSAGE, NOT_FINITE])
async def test_what_was_said_before_a_bad_frame_counts(tmp_path: Path, bad: bytes) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        good = encode_frame(call(1)) + encode_frame(call(2))
        peer.writer.write(good + bad + encode_frame(call(3)))
        kinds = [type(await peer.next()) for _ in range(5)]
        assert kinds == [Ack, Ack, Granted, Granted, Refused]
        with pytest.raises(EOFError):
            await peer.next()


async def test_a_hello_before_a_bad_frame_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.connect(daemon.options.socket)
        peer.writer.write(encode_frame(Hello(version=PROTOCOL_VERSION, client="x")) + TOO_LARGE)
        assert [type(await peer.next()).__name__ for _ in range(2)] == ["Welcome", "Refused"]


def test_bodies_before_a_frame_that_is_too_large_are_given() -> None:
    splitter = FrameSplitter()
    frame = encode_frame(call(1))
    assert list(splitter.feed(frame[:3])) == []
    bodies = splitter.feed(frame[3:] + TOO_LARGE)
    assert next(bodies) == frame[4:]
    with pytest.raises(Exception, match="larger than"):
        next(bodies)


async def test_tcp_without_a_token_is_refused(tmp_path: Path) -> None:
    for token in (b"", b" \n"):
        with pytest.raises(ConfigError, match="needs a token"):
            async with running(tmp_path, tcp=("127.0.0.1", 0), token=token):
                pass
    async with running(tmp_path) as daemon:
        assert daemon.clients == 0


async def test_two_sockets_in_one_folder_keep_journals_of_their_own(tmp_path: Path) -> None:
    sockets = [tmp_path / "run" / name for name in ("one.sock", "two.sock")]
    assert [journal_folder(path).name for path in sockets] == [
        "one.sock.journal",
        "two.sock.journal",
    ]
    async with running(tmp_path, socket=sockets[0]) as one:
        (first,) = journals_in(journal_folder(sockets[0]))
        async with running(tmp_path, socket=sockets[1], journal_bytes=1, journal_keep=1) as two:
            peer = await Peer.hello(two.options.socket)
            for number in range(5):
                peer.send(call(number))
                await peer.of(Granted)
        assert journals_in(journal_folder(sockets[0])) == [first]
        assert one.shell.journal is not None

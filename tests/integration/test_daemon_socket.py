"""The daemon on its sockets: decisions, leases, and everything a peer may do wrong."""

import asyncio
import contextlib
import logging
import socket
import stat
import struct
from pathlib import Path

import msgspec
import pytest

from headway.client.paths import pool_view_path, read_pool_view
from headway.core.errors import ConfigError
from headway.core.facts import CallEnded, EndpointSeen, RunStarted
from headway.core.types import ClientId, EndpointId, RunId
from headway.daemon import connection as connection_module
from headway.daemon.config import load_config
from headway.daemon.server import Daemon, Options
from headway.daemon.sockets import SocketTaken, listen, may_connect, peer_uid, split_address
from headway.wire.messages import (
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    Ack,
    Covered,
    Granted,
    Hello,
    Passed,
    Ping,
    Pong,
    PoolView,
    Refused,
    Welcome,
    encode_frame,
)
from tests.support.daemons import Peer, call, running, until, write_config
from tests.support.fake_scheduler import FakeScheduler


async def refusal(peer: Peer) -> str:
    """The refusal, after which the connection is closed."""
    message = await peer.of(Refused)
    with pytest.raises(EOFError):
        await peer.next()
    return message.error


async def test_hello_is_answered_with_the_pool_and_a_call_with_ack_and_grant(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.connect(daemon.options.socket)
        peer.send(Hello(version=PROTOCOL_VERSION, client="me"), call())
        welcome = await peer.next()
        assert isinstance(welcome, Welcome)
        assert [spec.id for spec in welcome.pool.endpoints] == ["a", "b"]
        assert await peer.next() == Ack(call=call().call, attempt=1)
        granted = await peer.next()
        assert isinstance(granted, Granted)
        assert granted.forecasts == {"output_tokens.order": 0.75}  # as the scheduler tells it
        assert (granted.endpoint, granted.model, granted.apply) == ("a", "small", True)


async def test_all_acks_of_a_batch_leave_before_any_of_its_work(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(1), call(2), call(3))
        kinds = [type(await peer.next()).__name__ for _ in range(6)]
        assert kinds == ["Ack"] * 3 + ["Granted"] * 3


async def test_timers_fire_and_release_what_was_held(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(graph="hold"))
        assert isinstance(await peer.next(), Ack)
        assert isinstance(await peer.next(), Granted)


async def test_a_lost_client_is_told_and_others_are_not_touched(tmp_path: Path) -> None:
    schedulers: list[FakeScheduler] = []

    def make(recipe: object) -> FakeScheduler:
        schedulers.append(FakeScheduler(recipe))  # type: ignore[arg-type]
        return schedulers[-1]

    async with running(tmp_path, make=make) as daemon:
        dying = await Peer.hello(daemon.options.socket, "dying")
        staying = await Peer.hello(daemon.options.socket, "staying")
        dying.send(call(graph="hold"))
        await dying.next()
        dying.writer.transport.abort()
        await until(lambda: schedulers[-1].lost)
        assert schedulers[-1].lost == ["dying#1"]
        assert daemon.clients == 1
        staying.send(call(2))
        assert (await staying.of(Granted)).endpoint == "a"


async def test_an_old_lease_that_ends_late_does_not_end_the_new_one(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        old = await Peer.hello(daemon.options.socket, "same")
        new = await Peer.hello(daemon.options.socket, "same")
        await old.close()
        await until(lambda: daemon.clients == 1)
        new.send(call())
        assert (await new.of(Granted)).endpoint == "a"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (struct.pack("<I", 5) + b"\xc1abcd", "not a client message"),
        (struct.pack("<I", 2) + b"\x81\xa4", "not a client message"),
        (struct.pack("<I", MAX_FRAME_BYTES + 1), "larger than"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "larger than"),
        (encode_frame(Ping()), "should be a hello"),
        (encode_frame(Hello(version=99, client="x")), "version 99"),
        (encode_frame(Hello(version=PROTOCOL_VERSION, client="x")) * 2, "second hello"),
        (encode_frame(Ack(call=call().call, attempt=1)), "not a client message"),
        (
            encode_frame(Hello(version=PROTOCOL_VERSION, client="x"))
            + encode_frame(
                CallEnded(call=call().call, attempt=1, run=RunId("r"), duration_s=float("nan"))
            ),
            "finite",
        ),
        (
            encode_frame(Hello(version=PROTOCOL_VERSION, client="x"))
            + encode_frame(call(age_s=-1.0)),
            "not negative",
        ),
    ],
)
async def test_a_peer_that_talks_nonsense_is_refused_alone(
    tmp_path: Path, data: bytes, says: str
) -> None:
    async with running(tmp_path) as daemon:
        good = await Peer.hello(daemon.options.socket)
        bad = await Peer.connect(daemon.options.socket)
        bad.writer.write(data)
        assert says in await refusal(bad)
        good.send(call())
        assert (await good.of(Granted)).endpoint == "a"
        assert daemon.clients == 1


async def test_a_peer_that_never_says_hello_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "HELLO_WITHIN_S", 0.05)
    async with running(tmp_path) as daemon:
        assert "no hello" in await refusal(await Peer.connect(daemon.options.socket))


async def test_a_peer_that_does_not_read_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_UNREAD_BYTES", 1 << 16)
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.reader._transport.pause_reading()  # type: ignore[attr-defined]
        ping = encode_frame(Ping()) * 1000
        with contextlib.suppress(ConnectionError):
            while daemon.clients:
                peer.writer.write(ping)
                await asyncio.wait_for(peer.writer.drain(), 10)
        await until(lambda: daemon.clients == 0)
        good = await Peer.hello(daemon.options.socket)
        good.send(Ping())
        assert await good.next() == Pong()


async def test_a_fact_that_makes_the_scheduler_raise_costs_only_its_decision(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        with caplog.at_level(logging.ERROR, "headway.daemon"):
            peer.send(call(1, graph="raise"))
            granted = await peer.of(Granted)
        assert granted.endpoint == ""
        assert "RuntimeError" in granted.why
        assert "c1" in caplog.text
        peer.send(call(2))
        assert (await peer.of(Granted)).endpoint == "a"
        assert (await peer.query("status")).body["daemon"]["errors"] == 1


async def test_a_notice_is_logged_when_it_changes_not_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def seen(error: str) -> EndpointSeen:
        return EndpointSeen(endpoint=EndpointId("a"), reachable=False, error=error)

    async with running(tmp_path) as daemon:
        with caplog.at_level(logging.WARNING, "headway.daemon"):
            for error in ("refused", "refused", "hangs", "hangs", "refused"):
                daemon.shell.tell(seen(error))
    told = [record.message for record in caplog.records if record.message.startswith("down")]
    assert told == ["down: refused", "down: hangs", "down: refused"]


async def test_folder_socket_and_files_are_private(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        path = daemon.options.socket
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(pool_view_path(path).stat().st_mode) == 0o600
        assert read_pool_view(pool_view_path(path)) == daemon.shell.pool
        socket_file = path
    assert not socket_file.exists()
    assert pool_view_path(socket_file).exists()
    for file in socket_file.parent.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_a_folder_where_nothing_can_be_written_is_one_clear_error(tmp_path: Path) -> None:
    """A folder in the lock's place fails for root too, whom read-only modes do not stop."""
    path = tmp_path / "run" / "headway.sock"
    path.with_name("headway.sock.lock").mkdir(parents=True)
    path.parent.chmod(0o700)
    with pytest.raises(ConfigError, match=r"cannot write .*headway\.sock\.lock: .* --socket"):
        listen(path)


def test_ports_that_do_not_exist_are_told_as_such() -> None:
    with pytest.raises(ConfigError, match="the port of 'localhost:99999' is wrong"):
        split_address("localhost:99999")
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        split_address("localhost")


def test_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match=r"chmod 700"):
        listen(folder / "headway.sock")


def test_paths_that_cannot_be_sockets_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="shorter --socket"):
        listen(tmp_path / ("x" * 120))
    tmp_path.chmod(0o700)
    plain = tmp_path / "plain"
    plain.write_text("keep me")
    with pytest.raises(ConfigError, match="is not a socket"):
        listen(plain)
    assert plain.read_text() == "keep me"


def test_the_peers_user_is_read_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.getuid()
    assert may_connect(os.getuid())
    assert may_connect(0)
    assert not may_connect(os.getuid() + 4321)


async def test_another_users_process_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as daemon:
        monkeypatch.setattr(connection_module, "peer_uid", lambda peer: 4321)
        peer = await Peer.connect(daemon.options.socket)
        assert "another user" in await refusal(peer)


async def test_a_second_daemon_is_sent_away_and_the_first_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        second = Daemon(load_config(write_config(tmp_path)), first.options, make=FakeScheduler)
        with pytest.raises(SocketTaken, match=r"another daemon \(pid \d+\) has .*headway\.sock"):
            await second.start()
        peer = await Peer.hello(first.options.socket)
        peer.send(call())
        assert (await peer.of(Granted)).endpoint == "a"


async def test_a_stale_socket_is_taken_over_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    path = run / "headway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with running(tmp_path) as daemon:
        await Peer.hello(daemon.options.socket)
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        with pytest.raises(SocketTaken, match="another program answers"):
            listen(path)


async def test_tcp_needs_the_token_from_loopback_too(tmp_path: Path) -> None:
    async with running(tmp_path, tcp=("127.0.0.1", 0), token=b"0123456789abcdef") as daemon:
        assert daemon.tcp_address is not None
        for token in ("", "wrong", "0123456789abcdeé"):
            peer = Peer(*await asyncio.open_connection(*daemon.tcp_address))
            peer.send(Hello(version=PROTOCOL_VERSION, client="x", token=token))
            assert "token" in await refusal(peer)
        peer = Peer(*await asyncio.open_connection(*daemon.tcp_address))
        peer.send(Hello(version=PROTOCOL_VERSION, client="x", token="0123456789abcdef"), call())
        assert (await peer.of(Granted)).endpoint == "a"
        assert (await peer.query("mode", mode="shadow")).body == {"mode": "shadow"}


async def test_the_mode_reaches_clients_the_file_and_the_next_daemon(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        watching = await Peer.hello(daemon.options.socket)
        assert (await peer.query("mode", mode="shadow")).body == {"mode": "shadow"}
        assert (await watching.of(PoolView)).pool.mode == "shadow"
        peer.send(call(), Ping())
        assert not (await peer.of(Granted)).apply
        assert await peer.next() == Pong(mode="shadow")
        assert read_pool_view(pool_view_path(daemon.options.socket)).mode == "shadow"
        reply = await peer.query("mode", mode="loud")
        assert "on, shadow, off" in reply.error
    async with running(tmp_path) as daemon:
        assert daemon.mode == "shadow"


async def test_queries_that_are_wrong_are_told_and_hurt_nobody(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        assert "did you mean `status`?" in (await peer.query("statu")).error
        assert "no run 'zz'" in (await peer.query("explain", run="zz")).error
        assert (await peer.query("explain", run="last")).body["run"] == "r1"


async def test_coverage_is_counted_and_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(Covered(way="openai", count=3), Covered(way="openai"), Covered(way="chat_openai"))
        peer.send(Passed(why="not in the pool", target="http://x/v1", count=2))
        peer.send(*(Passed(why="w", target=f"http://{n}") for n in range(1500)))
        body = (await peer.query("status")).body
        assert body["covered"] == {"chat_openai": 1, "openai": 4}
        assert {"why": "not in the pool", "target": "http://x/v1", "count": 2} in body["passed"]
        assert len(body["passed"]) <= 1001
        assert sum(entry["count"] for entry in body["passed"]) == 1502


async def test_reload_changes_the_pool_or_keeps_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        config = tmp_path / "headway.yaml"
        good = config.read_text()
        config.write_text(good + "polcy: fcfs\n")
        reply = await peer.query("reload")
        assert "did you mean `policy`?" in reply.error
        assert (await peer.query("reload")).error
        config.write_text(good.replace("id: b", "id: c"))
        assert (await peer.query("reload")).body["changed"] == "pool"
        assert [spec.id for spec in daemon.shell.pool.endpoints] == ["a", "c"]
        config.write_text(good.replace("least-busy", "fcfs"))
        peer.send(call(1, graph="hold"))
        await peer.of(Ack)
        assert (await peer.query("reload")).body["changed"] == "pool and policy"
        assert daemon.shell.recipe.policy == "fcfs"
        assert (await peer.of(Granted)).endpoint == "b"


async def test_shutdown_by_query_lets_clients_go(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        assert (await peer.query("shutdown")).body == {"stopping": True}
        await asyncio.wait_for(daemon.until_stopped(), 5)
        await daemon.stop()
        with pytest.raises(EOFError):
            await peer.next()


async def test_a_start_that_fails_leaves_the_socket_free(tmp_path: Path) -> None:
    def broken(recipe: object) -> FakeScheduler:
        raise ConfigError("no policy of that name")

    with pytest.raises(ConfigError, match="no policy"):
        async with running(tmp_path, make=broken):
            pass
    async with running(tmp_path) as daemon:
        await Peer.hello(daemon.options.socket)


async def test_a_port_that_is_taken_and_a_journal_that_cannot_be(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(ConfigError, match="cannot listen on 127"):
            async with running(tmp_path, tcp=address, token=b"0123456789abcdef"):
                pass
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError, match="--no-journal"):
        async with running(tmp_path, journal=file / "journal"):
            pass


async def test_unknown_fields_of_a_newer_peer_are_ignored(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        said = msgspec.to_builtins(RunStarted(run=RunId("r"), graph="g"))
        body = msgspec.msgpack.encode({**said, "from_the_future": [1, 2]})
        peer.writer.write(len(body).to_bytes(4, "little") + body)
        peer.send(call())
        assert (await peer.of(Granted)).endpoint == "a"


def test_options_have_the_documented_defaults(tmp_path: Path) -> None:
    options = Options(socket=tmp_path / "s")
    assert (options.journal_bytes, options.journal_keep) == (64 << 20, 4)
    assert options.flush_s <= 1.0
    assert ClientId("") == ""

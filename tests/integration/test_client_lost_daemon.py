"""The client without a daemon, with a bad one, one that dies and returns, and after a fork."""

import asyncio
import logging
import os
import threading
import traceback
from collections import Counter
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from headway import client as client_package
from headway.client import Client, paths
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.wire.messages import Hello, Ping, encode_frame
from tests.support.fake_daemon import (
    FAST,
    PATIENT,
    FakeDaemon,
    in_thread,
    make_ask,
    make_pool,
    until,
    write_pool_view,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "h.sock"


@pytest.fixture
def daemon(path):
    daemon = FakeDaemon(path).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def client(path):
    client = Client(path, clocks=FAST)
    yield client
    client.close()


@pytest.fixture
def patient(path):
    client = Client(path, clocks=PATIENT)
    yield client
    client.close()


class TestNoDaemon:
    def test_calls_go_out_unchanged_with_one_warning_that_names_the_way_out(self, client, caplog):
        routes = [client.decide(make_ask(f"c{n}")) for n in range(3)]
        assert {(route.endpoint, route.source) for route in routes} == {(None, "none")}
        assert len(caplog.records) == 1
        assert "headway up" in caplog.text

    def test_a_missing_socket_is_looked_at_once_a_second(self, path, monkeypatch):
        looks = []

        def look(path):
            looks.append(path)
            raise FileNotFoundError

        monkeypatch.setattr("headway.client.courier.open_link", look)
        client = Client(path)
        started = monotonic()
        for n in range(1000):
            client.observe(NodeStarted(run="r1", node=f"n{n}", name="x"))
            client.decide(make_ask(f"c{n}"))
        assert len(looks) <= 1 + (monotonic() - started)
        assert client._courier._thread is None

    def test_a_socket_that_nobody_listens_on_is_no_daemon(self, path, client):
        FakeDaemon(path).start().stop()
        assert client.decide(make_ask()).source == "none"

    def test_a_pool_view_without_a_daemon_means_the_fallback(self, path, client):
        write_pool_view(path, make_pool())
        route = client.decide(make_ask())
        assert (route.endpoint.id, route.source) == ("a1", "fallback")
        assert client.decide(make_ask("c2", loop_model="large")).endpoint.id == "b1"
        assert client.endpoint_for("http://b1:1/v1/").id == "b1"

    @pytest.mark.parametrize("content", [b"", b"\xc1garbage", b"\x93\x01\x02\x03"])
    def test_a_broken_pool_view_is_no_pool_view(self, path, client, content, caplog):
        paths.pool_view_path(path).write_bytes(content)
        assert client.decide(make_ask()).source == "none"
        assert "pool view" in caplog.text

    def test_a_path_too_long_for_a_socket_is_reported(self, tmp_path, caplog):
        long = tmp_path / ("x" * 90) / "h.sock"
        long.parent.mkdir()
        long.touch()
        assert Client(long).decide(make_ask()).source == "none"
        assert "cannot use the socket" in caplog.text


class TestTrust:
    def test_another_users_socket_and_pool_view_are_refused(
        self, path, daemon, client, monkeypatch, caplog
    ):
        write_pool_view(path, make_pool())
        monkeypatch.setattr(paths, "our_uid", lambda: os.geteuid() + 1)
        assert client.decide(make_ask()).source == "none"
        assert daemon.connections == []
        assert "another user" in caplog.text

    def test_a_pool_view_that_others_may_write_is_refused(self, path, client):
        write_pool_view(path, make_pool())
        paths.pool_view_path(path).chmod(0o666)
        assert client.pool is None


class TestBadDaemon:
    @pytest.mark.parametrize(
        "answer",
        [
            encode_frame(Hello(version=1, client="not a daemon")),
            b"\x04\x00\x00\x00\xc1\xc1\xc1\xc1",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            (1 << 30).to_bytes(4, "little") + b"x" * 1000,
        ],
        ids=["wrong message", "garbage", "http", "huge"],
    )
    def test_nonsense_ends_the_connection_and_the_call_goes_on(self, daemon, client, answer):
        client.decide(make_ask("c0"))
        daemon.raw_answer = answer
        assert client.decide(make_ask()).source == "spread"
        until(lambda: not client._courier.connected or len(daemon.connections) > 1)
        daemon.raw_answer = b""
        until(lambda: client.decide(make_ask("c2")).source == "daemon")

    def test_it_may_close_in_the_middle_of_a_frame(self, daemon, client):
        client.decide(make_ask("c0"))
        daemon.raw_answer = b"\xff\x00\x00\x00half"
        daemon.hangs_up = True
        assert client.decide(make_ask()).source == "spread"

    @pytest.mark.parametrize("trouble", [{"refuses": "too many of you"}, {"version": 99}])
    def test_a_refusal_is_reported_once_and_asked_again_later(
        self, daemon, client, trouble, caplog
    ):
        for name, value in trouble.items():
            setattr(daemon, name, value)
        assert client.decide(make_ask()).source == "none"
        until(lambda: len(daemon.connections) >= 2)
        refusals = [record for record in caplog.records if "refuses us" in record.message]
        assert len(refusals) == 1
        daemon.refuses, daemon.version = "", 1
        until(lambda: client.decide(make_ask("c2")).source == "daemon")


class TestBreaker:
    def test_it_opens_after_three_failures_probes_and_closes(self, daemon, client):
        client.decide(make_ask("c0"))
        daemon.acks = daemon.grants = daemon.pongs = False
        for n in range(1, 4):
            assert "acknowledge" in client.decide(make_ask(f"c{n}")).why
        asked = len(daemon.of(CallReady))
        assert "no daemon" in client.decide(make_ask("c4")).why
        assert len(daemon.of(CallReady)) == asked
        daemon.wait_for(Ping)
        daemon.acks = daemon.grants = daemon.pongs = True
        until(lambda: client.decide(make_ask(f"d{monotonic()}")).source == "daemon")

    def test_a_pong_closes_it_on_the_same_connection(self, daemon, client):
        client.decide(make_ask("c0"))
        daemon.acks = daemon.grants = False
        for n in range(1, 4):
            client.decide(make_ask(f"c{n}"))
        daemon.acks = daemon.grants = True
        until(lambda: client.decide(make_ask(f"d{monotonic()}")).source == "daemon")
        assert len(daemon.connections) == 1
        assert daemon.of(Ping)

    def test_a_connection_that_stays_silent_is_given_up(self, daemon, client):
        """As with a stopped process: its socket lives, so only silence tells."""
        daemon.grants = daemon.pongs = False
        thread, routes = in_thread(client, make_ask())
        daemon.wait_for(CallReady)
        thread.join(5)
        assert routes[0].source == "spread"
        assert "lost" in routes[0].why

    def test_one_that_never_welcomed_anybody_is_spread_around_too(self, path, daemon, client):
        daemon.welcomes = daemon.acks = daemon.grants = False
        write_pool_view(path, make_pool())
        assert client.decide(make_ask()).source == "spread"

    def test_one_that_does_not_read_blocks_nobody_and_loses_no_ending(self, daemon, client):
        client.decide(make_ask("c0"))
        daemon.reads.clear()
        turns = []
        turn = client._courier._turn
        client._courier._turn = lambda: turns.append(monotonic()) or turn()
        started = monotonic()
        wide = ("x" * 1000,)
        for n in range(1500):
            client.observe(NodeStarted(run="r1", node=f"n{n}", name="x", parents=wide))
            client.observe(CallEnded(call=f"c{n}", attempt=1, run="r1"))
        assert client._courier._blocked
        assert client.decide(make_ask("c1")).source == "spread"
        assert len(turns) < 10 + (monotonic() - started) / 0.004  # it waits, it does not spin
        daemon.reads.set()
        assert len(daemon.wait_for(CallEnded, 1500)) == 1500


class TestSpread:
    def test_calls_that_fall_open_never_go_to_one_endpoint(self, daemon, patient):
        patient.decide(make_ask("c0"))
        patient.observe(CallEnded(call="c0", attempt=1, run="r1"))
        daemon.stop()
        until(lambda: not patient._courier.connected)
        routes = [patient.decide(make_ask(f"d{n}")) for n in range(30)]
        assert {route.source for route in routes} == {"spread"}
        assert Counter(route.endpoint.id for route in routes) == {"a1": 10, "a2": 10, "b1": 10}

    def test_one_call_after_the_other_takes_turns(self, daemon, patient):
        patient.decide(make_ask("c0"))
        patient.observe(CallEnded(call="c0", attempt=1, run="r1"))
        daemon.stop()
        until(lambda: not patient._courier.connected)
        chosen = Counter()
        for n in range(30):
            chosen[patient.decide(make_ask(f"d{n}")).endpoint.id] += 1
            patient.observe(CallEnded(call=f"d{n}", attempt=1, run="r1"))
        assert chosen == {"a1": 10, "a2": 10, "b1": 10}

    def test_held_calls_of_a_dead_connection_are_staggered(self, daemon, path):
        clocks = msgspec.structs.replace(PATIENT, spread_s=0.5)
        client = Client(path, clocks=clocks)
        daemon.grants = False
        released: list[tuple[float, str]] = []

        def wait(n: int) -> None:
            route = client.decide(make_ask(f"c{n}"))
            released.append((monotonic(), route.endpoint.id))

        threads = [threading.Thread(target=wait, args=(n,), daemon=True) for n in range(24)]
        for thread in threads:
            thread.start()
        daemon.wait_for(CallReady, 24)
        until(lambda: sum(held.acked for held in client._held.values()) == 24)
        died = monotonic()
        daemon.stop()
        for thread in threads:
            thread.join(10)
        moments = sorted(moment - died for moment, _ in released)
        assert len(moments) == 24
        assert moments[-1] < 0.5 + 0.5  # the clock and a busy machine's slack
        assert moments[-1] - moments[0] > 0.15
        assert set(Counter(endpoint for _, endpoint in released).values()) == {8}
        client.close()

    async def test_also_on_an_event_loop(self, daemon, patient):
        daemon.grants = False
        tasks = [asyncio.create_task(patient.adecide(make_ask(f"c{n}"))) for n in range(9)]
        await asyncio.to_thread(daemon.wait_for, CallReady, 9)
        daemon.stop()
        routes = await asyncio.gather(*tasks)
        assert Counter(route.endpoint.id for route in routes) == {"a1": 3, "a2": 3, "b1": 3}


class TestReturn:
    def test_a_new_connection_is_told_all_that_is_open(self, daemon, client):
        client.observe(GraphSeen(graph="g", nodes=("write",), edges=()))
        client.observe(RunStarted(run="r0", graph="g"))
        client.observe(RunStarted(run="r1", graph="g", tenant="t"))
        client.observe(NodeStarted(run="r1", node="n0", name="plan"))
        client.observe(NodeStarted(run="r1", node="n1", name="write"))
        granted = client.decide(make_ask("c1"))
        client.decide(make_ask("c2"))
        daemon.stop()
        until(lambda: not client._courier.connected)
        alone = client.decide(make_ask("c3"))
        client.observe(NodeEnded(run="r1", node="n0"))
        client.observe(RunEnded(run="r0"))
        client.observe(CallEnded(call="c2", attempt=1, run="r1"))

        back = FakeDaemon(daemon.path).start()
        until(lambda: len(back.of(CallEnded)) == 1)  # told by itself, by the thread's probe
        assert isinstance(back.received[0][1], Hello)
        assert [graph.graph for graph in back.of(GraphSeen)] == ["g"]
        assert [run.run for run in back.of(RunStarted)] == ["r1"]
        assert back.of(RunStarted)[0].tenant == "t"
        assert back.of(RunStarted)[0].age_s > 0
        assert [node.node for node in back.of(NodeStarted)] == ["n1"]
        sent = {fact.ask.call: fact for fact in back.of(CallSent)}
        assert set(sent) == {"c1", "c3"}
        assert sent["c1"].endpoint == granted.endpoint.id
        assert sent["c3"].endpoint == alone.endpoint.id
        assert sent["c1"].sent_s > 0
        assert [fact.run for fact in back.of(RunEnded)] == ["r0"]  # waited for the connection
        assert back.of(CallReady) == []
        back.stop()

    def test_scheduling_resumes_by_itself(self, daemon, client):
        assert client.decide(make_ask("c1")).source == "daemon"
        daemon.stop()
        until(lambda: client.decide(make_ask("c2")).source == "spread")
        back = FakeDaemon(daemon.path).start()
        until(lambda: client.decide(make_ask("c3")).source == "daemon")
        back.stop()

    def test_a_daemon_that_comes_later_is_found(self, path, client):
        assert client.decide(make_ask("c1")).source == "none"
        client.observe(RunStarted(run="r1", graph="g"))
        daemon = FakeDaemon(path).start()
        until(lambda: client.decide(make_ask("c2")).source == "daemon")
        assert daemon.of(RunStarted)[0].run == "r1"
        daemon.stop()

    def test_close_releases_the_held_and_sends_what_waits(self, daemon, client):
        client.decide(make_ask("c0"))
        daemon.grants = False
        thread, routes = in_thread(client, make_ask("c1"))
        daemon.wait_for(CallReady, 2)
        client.observe(RunEnded(run="r9"))
        client.close()
        client.close()
        thread.join(5)
        assert routes[0].source == "spread"
        assert daemon.wait_for(RunEnded)[0].run == "r9"
        client.observe(RunEnded(run="r9"))
        assert client.decide(make_ask("c2")).source == "spread"


class TestFork:
    def test_a_child_gets_its_own_connection(self, daemon, client, tmp_path, monkeypatch):
        monkeypatch.setenv("HEADWAY_SOCKET", str(daemon.path))
        client.observe(RunStarted(run="parent", graph="g"))
        assert client.decide(make_ask("parent")).source == "daemon"
        before = client_package.get_client()
        report = tmp_path / "report"
        pid = os.fork()
        if pid == 0:
            _in_child(before, client, report)
        assert os.waitpid(pid, 0)[1] == 0, report.read_text()
        assert report.read_text() == "daemon daemon fresh"
        pids = [hello.pid for hello in daemon.of(Hello)]
        assert pids.count(pid) == 2
        told = [fact.run for _, fact in daemon.received if isinstance(fact, RunStarted)]
        assert told
        assert set(told) == {"parent"}
        assert {index for index, fact in daemon.received if isinstance(fact, RunStarted)} == {0}
        assert client.decide(make_ask("after")).source == "daemon"
        assert len(daemon.connections) == 3
        before.close()


def _in_child(before: Client, client: Client, report: Path) -> None:
    try:
        fresh = client_package.get_client()
        said = [
            client.decide(make_ask("child")).source,
            fresh.decide(make_ask("child2")).source,
            "fresh" if fresh is not before else "stale",
        ]
        report.write_text(" ".join(said))
        os._exit(0)
    except BaseException:
        report.write_text(traceback.format_exc())
        os._exit(1)


def test_no_warning_is_given_while_all_is_well(daemon, client, caplog):
    with caplog.at_level(logging.WARNING):
        client.decide(make_ask())
        client.close()
    assert caplog.records == []

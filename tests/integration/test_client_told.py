"""Frequent facts: left by the host's thread with one step, in order and complete all the same."""

import os
import threading

import msgspec
import pytest

from headway.client import Client
from headway.client.told import AT_ONCE, MAX_TOLD
from headway.core.facts import (
    CallEnded,
    CallReady,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.wire.messages import Hello
from tests.support.fake_daemon import PATIENT, FakeDaemon, make_ask, until

NO_TICK = msgspec.structs.replace(PATIENT, flush_s=3600.0)
"""The courier's thread never comes by itself: only what must push the facts out does."""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "h.sock"


@pytest.fixture
def daemon(path):
    daemon = FakeDaemon(path).start()
    yield daemon
    daemon.stop()


@pytest.fixture
def client(path, daemon):
    """Connected, and without a tick."""
    client = Client(path, clocks=NO_TICK)
    client.decide(make_ask("c0", run="r0"))
    yield client
    client.close()


def told(daemon: FakeDaemon, *, run: str) -> list[str]:
    """What the daemon heard of one run, in order."""
    return [type(fact).__name__ for _, fact in daemon.received if getattr(fact, "run", "") == run]


def start(client: Client, *nodes: str, run: str = "r1") -> None:
    for node in nodes:
        client.observe(NodeStarted(run=run, node=node, name=node))


class TestOrder:
    def test_what_was_told_before_an_ask_arrives_before_it(self, daemon, client):
        client.observe(RunStarted(run="r1", graph="g"))
        start(client, "n1")
        assert daemon.of(RunStarted) == []
        client.decide(make_ask("c1"))
        assert told(daemon, run="r1") == ["RunStarted", "NodeStarted", "CallReady"]

    async def test_also_on_an_event_loop(self, daemon, client):
        start(client, "n1")
        await client.adecide(make_ask("c1"))
        assert told(daemon, run="r1") == ["NodeStarted", "CallReady"]

    @pytest.mark.parametrize(
        "later",
        [CallEnded(call="c1", attempt=1, run="r1"), GraphSeen(graph="g", nodes=(), edges=())],
        ids=["call", "graph"],
    )
    def test_and_before_any_other_fact(self, daemon, client, later):
        start(client, "n1")
        client.observe(later)
        client.decide(make_ask("c2"))
        kinds = [type(fact) for _, fact in daemon.received]
        assert kinds[-3:] == [NodeStarted, type(later), CallReady]

    def test_each_of_many_threads_keeps_its_own_order(self, daemon, client):
        def work(run: str) -> None:
            client.observe(RunStarted(run=run, graph="g"))
            for n in range(40):
                client.observe(NodeStarted(run=run, node=f"{run}:{n}", name="x"))
                if n % 8 == 0:
                    client.decide(make_ask(f"{run}:c{n}", run=run, node=f"{run}:{n}"))
                client.observe(NodeEnded(run=run, node=f"{run}:{n}"))
            client.observe(RunEnded(run=run))

        runs = [f"t{n}" for n in range(8)]
        threads = [threading.Thread(target=work, args=(run,)) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        client.decide(make_ask("last", run="r0"))  # pushes out what waits
        one = ["NodeStarted", "NodeEnded"]
        group = ["NodeStarted", "CallReady", "NodeEnded", *one * 7]
        for run in runs:
            assert told(daemon, run=run) == ["RunStarted", *group * 5, "RunEnded"]


class TestByItself:
    def test_the_thread_brings_them_now_and_after_a_silence(self, path, daemon):
        client = Client(path, clocks=PATIENT)
        for n in range(3):
            start(client, f"n{n}")
            daemon.wait_for(NodeStarted, n + 1)
            until(lambda: client._told.attend_at == AT_ONCE)  # the thread dozes again
        # the first is in the greeting too: it opened the connection, and facts may come twice
        assert [fact.node for fact in daemon.of(NodeStarted)] == ["n0", "n0", "n1", "n2"]
        client.close()

    def test_one_wake_up_serves_a_whole_batch(self, path, daemon, monkeypatch):
        client = Client(path, clocks=NO_TICK)
        start(client, "n")
        wakes = []
        wake = client._courier._wake
        monkeypatch.setattr(client._courier, "_wake", lambda: wakes.append(1) or wake())
        start(client, *map(str, range(MAX_TOLD - 1)))
        assert len(wakes) <= 1
        client.close()

    def test_what_is_told_while_there_is_no_room_follows_when_there_is(self, path, daemon):
        client = Client(path, clocks=PATIENT)
        client.decide(make_ask("c0"))
        daemon.reads.clear()
        n = 0
        while not client._courier._blocked:
            client.observe(NodeStarted(run="r1", node=f"n{n}", name="x", parents=("y" * 1000,)))
            client.observe(CallEnded(call=f"c{n}", attempt=1, run="r1"))
            n += 1
        client.observe(RunEnded(run="r1"))
        daemon.reads.set()
        assert daemon.wait_for(RunEnded)[0].run == "r1"
        ended = [fact.call for fact in daemon.of(CallEnded)]
        assert n > 0 and ended == [f"c{number}" for number in range(n)], "in order, none lost"
        client.close()


class TestEnds:
    def test_close_sends_what_waits(self, daemon, client):
        start(client, "n1")
        client.close()
        assert daemon.wait_for(NodeStarted)[0].node == "n1"
        assert len(daemon.connections) == 1  # and does not come back
        assert not client._courier.connected

    def test_a_lost_connection_loses_nothing_and_reopens_nothing(self, daemon, client):
        client.observe(RunStarted(run="r1", graph="g"))
        start(client, "n1", "n2")
        client.decide(make_ask("c1"))
        client.observe(NodeEnded(run="r1", node="n1"))
        start(client, "n3", "n4")
        client.observe(NodeEnded(run="r1", node="n3"))
        daemon.stop()
        back = FakeDaemon(daemon.path).start()
        until(lambda: len(back.of(NodeEnded)) == 2)
        assert isinstance(back.received[0][1], Hello)
        last = {
            fact.node: type(fact)
            for _, fact in back.received
            if isinstance(fact, NodeStarted | NodeEnded)
        }
        assert last == {"n1": NodeEnded, "n2": NodeStarted, "n3": NodeEnded, "n4": NodeStarted}
        back.stop()

    def test_a_forked_child_does_not_tell_what_its_parent_will(self, daemon, client):
        start(client, "n1")
        pid = os.fork()
        if pid == 0:
            try:
                start(client, "of-the-child")
                os._exit(0 if client.decide(make_ask("child")).source == "daemon" else 1)
            except BaseException:
                os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0
        client.close()
        daemon.wait_for(NodeStarted)
        until(lambda: any(fact.node == "n1" for fact in daemon.of(NodeStarted)))
        found = {(index, f.node) for index, f in daemon.received if isinstance(f, NodeStarted)}
        assert found == {(0, "n1"), (1, "of-the-child")}


class TestAlone:
    def test_without_a_daemon_little_waits_and_what_is_open_is_known(self, path):
        client = Client(path, clocks=PATIENT)
        start(client, "open")
        for n in range(3 * MAX_TOLD):
            start(client, f"n{n}")
            client.observe(NodeEnded(run="r1", node=f"n{n}"))
            assert len(client._told.waiting) <= 2 * MAX_TOLD
        daemon = FakeDaemon(path).start()
        until(lambda: client.decide(make_ask("c1")).source == "daemon")
        assert daemon.of(NodeStarted)[0].node == "open"
        open_nodes = {fact.node for fact in daemon.of(NodeStarted)}
        assert open_nodes - {fact.node for fact in daemon.of(NodeEnded)} == {"open"}
        client.close()
        daemon.stop()

    def test_off_means_that_nothing_is_told(self, daemon, client, monkeypatch):
        monkeypatch.setenv("HEADWAY_OFF", "1")
        start(client, "n1")
        client.close()
        assert daemon.of(NodeStarted) == []

    def test_one_fact_that_cannot_be_told_costs_no_other(self, daemon, client, caplog):
        start(client, "n1", "\ud800", "n2")
        client.observe(RunStarted(run="r2", graph=7))  # type: ignore[arg-type]
        client.observe(NodeStarted(run="r1", node="n3", name="x", age_s=float("nan")))
        client.decide(make_ask("c1"))
        assert [fact.node for fact in daemon.of(NodeStarted)] == ["n1", "n2", "n3"]
        assert daemon.of(NodeStarted)[-1].age_s == 0.0
        assert daemon.of(RunStarted) == []
        assert len(daemon.connections) == 1
        assert "surrogates" in caplog.text
        assert "$.graph" in caplog.text

"""The client against a real socket: decisions, the three clocks, modes, cancellation."""

import asyncio
import logging
import threading
from collections import Counter
from time import monotonic

import msgspec
import pytest

from headway.client import Client, Clocks
from headway.client.watching import Watcher
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.wire.messages import Ack, Covered, Hello, Passed, PoolView
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
def make_client(path):
    clients = []

    def make(clocks: Clocks = PATIENT) -> Client:
        clients.append(Client(path, clocks=clocks))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


class TestGranted:
    def test_a_decision_is_applied(self, daemon, make_client):
        route = make_client().decide(make_ask())
        assert (route.endpoint.id, route.urgency, route.source) == ("a1", 2.5, "daemon")
        assert route.why == "because"
        assert daemon.of(Hello)[0].version == 1

    async def test_and_on_an_event_loop(self, daemon, make_client):
        client = make_client()
        routes = await asyncio.gather(*(client.adecide(make_ask(f"c{n}")) for n in range(50)))
        assert {route.source for route in routes} == {"daemon"}

    def test_one_client_serves_loops_of_many_threads(self, daemon, make_client):
        client, sources = make_client(), []

        async def some(thread: int) -> None:
            for n in range(5):
                route = await client.adecide(make_ask(f"{thread}-{n}"))
                sources.append(route.source)

        threads = [
            threading.Thread(target=lambda t=t: asyncio.run(some(t)), daemon=True) for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert Counter(sources) == {"daemon": 40}
        assert len(daemon.connections) == 1

    def test_many_threads_share_one_connection(self, daemon, make_client):
        client, sources = make_client(), []

        def some(thread: int) -> None:
            for n in range(20):
                ask = make_ask(f"{thread}-{n}")
                client.observe(NodeStarted(run="r1", node=f"n{thread}-{n}", name="x"))
                sources.append(client.decide(ask).source)
                client.observe(CallEnded(call=ask.call, attempt=1, run="r1"))

        threads = [threading.Thread(target=some, args=(t,), daemon=True) for t in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert Counter(sources) == {"daemon": 320}
        assert len(daemon.wait_for(CallEnded, 320)) == 320
        assert len(daemon.connections) == 1

    def test_no_endpoint_means_the_fallback_and_is_told(self, daemon, make_client):
        daemon.grant_to = ""
        route = make_client().decide(make_ask(models=("large",)))
        assert (route.endpoint.id, route.source) == ("b1", "fallback")
        assert daemon.wait_for(CallSent)[0].endpoint == "b1"

    def test_a_name_that_nothing_serves_goes_out_unchanged(self, daemon, make_client):
        daemon.grant_to = ""
        route = make_client().decide(make_ask(pool_name="elsewhere"))
        assert (route.endpoint, route.source) == (None, "none")

    def test_an_unknown_endpoint_falls_open(self, daemon, make_client):
        daemon.grant_to = "gone"
        route = make_client().decide(make_ask())
        assert route.source == "spread"
        assert "gone" in route.why


class TestClocks:
    def test_a_silent_daemon_costs_the_acknowledge_clock_only(self, daemon, make_client):
        daemon.acks = daemon.grants = False
        client = make_client(FAST)
        client.decide(make_ask("c0"))  # the welcome arrived during this one
        started = monotonic()
        route = client.decide(make_ask("c1"))
        assert 0.04 <= monotonic() - started < 1.0
        assert route.source == "spread"
        assert "acknowledge" in route.why
        assert {sent.ask.call for sent in daemon.wait_for(CallSent, 2)} == {"c0", "c1"}

    def test_while_other_frames_arrive_it_waits_longer(self, daemon, make_client):
        client = make_client(msgspec.structs.replace(FAST, ack_idle_s=0.02, ack_busy_s=60.0))
        client.decide(make_ask("c0"))
        daemon.acks = daemon.grants = False
        _, routes = in_thread(client, make_ask("c1"))
        daemon.wait_for(CallReady, 2)
        daemon.say(Ack(call="somebody-else", attempt=1))
        until(lambda: next(iter(client._held.values())).extended)
        assert routes == []
        daemon.grant(make_ask("c1"))
        until(lambda: len(routes) == 1)
        assert routes[0].source == "daemon"

    def test_an_answer_that_we_were_too_busy_to_read_is_not_missing(self, daemon, make_client):
        client = make_client(FAST)
        client.decide(make_ask("c0"))
        courier, turn, go_on = client._courier, client._courier._turn, threading.Event()
        courier._turn = lambda: go_on.wait(30) and turn()
        client.observe(RunStarted(run="r2", graph="g"))  # sends the thread into the wait
        until(lambda: not courier._dozing)
        for n in range(1, 6):
            assert client.decide(make_ask(f"c{n}")).source == "daemon"
        go_on.set()

    def test_an_acknowledged_call_waits_for_its_grant(self, daemon, make_client):
        daemon.grants = False
        client = make_client(FAST)
        _, routes = in_thread(client, make_ask())
        until(lambda: any(held.acked for held in client._held.values()))
        # Several acknowledge clocks later it still waits: pings pass between, nothing else.
        until(lambda: len(daemon.received) >= 4)
        assert routes == []
        daemon.grant(make_ask(), "b1")
        until(lambda: len(routes) == 1)
        assert (routes[0].endpoint.id, routes[0].source) == ("b1", "daemon")

    def test_beyond_the_hold_limit_it_falls_open_and_says_so(self, daemon, make_client):
        daemon.grants = False
        started = monotonic()
        route = make_client(FAST).decide(make_ask(hold_limit_s=0.1))
        assert monotonic() - started >= 0.15
        assert route.source == "spread"
        assert "limit" in route.why
        assert daemon.wait_for(CallSent)[0].endpoint == route.endpoint.id

    async def test_the_same_on_an_event_loop(self, daemon, make_client):
        daemon.grants = False
        route = await make_client(FAST).adecide(make_ask(hold_limit_s=0.1))
        assert (route.source, "limit" in route.why) == ("spread", True)

    def test_a_late_grant_is_ignored(self, daemon, make_client):
        daemon.acks = daemon.grants = False
        client = make_client(FAST)
        route = client.decide(make_ask("c1"))
        assert route.source == "spread"
        daemon.wait_for(CallSent)
        daemon.say(Ack(call="c1", attempt=1))
        daemon.grant(make_ask("c1"), "b1")
        daemon.acks = daemon.grants = True
        assert client.decide(make_ask("c2")).source == "daemon"
        assert len(daemon.of(CallSent)) == 1

    @pytest.mark.parametrize(
        "end",
        [
            NodeEnded(run="r1", node="n1", outcome="cancelled"),
            RunEnded(run="r1", outcome="error"),
            CallEnded(call="c1", attempt=1, run="r1", outcome="cancelled"),
        ],
        ids=["node", "run", "call"],
    )
    def test_a_call_is_held_no_longer_than_its_node_lives(self, daemon, make_client, end):
        daemon.grants = False
        client = make_client()
        _, routes = in_thread(client, make_ask())
        daemon.wait_for(CallReady)
        until(lambda: client.pool is not None)
        client.observe(NodeEnded(run="r1", node="other"))
        assert client._held
        client.observe(end)
        until(lambda: len(routes) == 1)
        assert daemon.wait_for(CallSent)[0].endpoint == routes[0].endpoint.id


class TestModes:
    def test_switched_off_by_the_environment_nothing_is_touched(
        self, daemon, make_client, monkeypatch
    ):
        monkeypatch.setenv("HEADWAY_OFF", "1")
        client = make_client()
        assert client.is_off()
        client.observe(RunStarted(run="r1", graph="g"))
        assert client.decide(make_ask()).source == "off"
        assert daemon.connections == []

    def test_mode_off_asks_nothing_and_hears_of_its_end(self, daemon, make_client):
        daemon.pool = make_pool(mode="off")
        client = make_client()
        client.observe(RunStarted(run="r1", graph="g"))
        until(client.is_off)
        assert client.decide(make_ask()).source == "off"
        assert daemon.of(CallReady) == []
        daemon.say(PoolView(pool=make_pool()))
        until(lambda: not client.is_off())
        assert client.decide(make_ask()).source == "daemon"

    def test_shadow_mode_tells_the_daemon_but_does_not_wait(self, daemon, make_client):
        daemon.pool = make_pool(mode="shadow")
        daemon.grants = False
        client = make_client()
        client.observe(RunStarted(run="r1", graph="g"))
        until(lambda: client.pool is not None)
        route = client.decide(make_ask())
        assert (route.endpoint, route.source) == (None, "shadow")
        assert daemon.wait_for(CallReady)[0].call == "c1"

    def test_a_grant_that_is_not_to_be_applied(self, daemon, make_client):
        daemon.grants = False
        client = make_client()
        _, routes = in_thread(client, make_ask())
        daemon.wait_for(CallReady)
        daemon.grant(make_ask(), apply=False)
        until(lambda: len(routes) == 1)
        assert (routes[0].endpoint, routes[0].source) == (None, "shadow")

    @pytest.mark.parametrize("mode", ["off", "shadow"])
    def test_held_calls_go_when_the_mode_changes(self, daemon, make_client, mode):
        daemon.grants = False
        client = make_client()
        _, routes = in_thread(client, make_ask())
        daemon.wait_for(CallReady)
        daemon.say(PoolView(pool=make_pool(mode=mode)))
        until(lambda: len(routes) == 1)
        assert (routes[0].endpoint, routes[0].source) == (None, mode)

    def test_shadow_never_redirects_even_without_a_daemon(self, path, make_client):
        write_pool_view(path, make_pool(mode="shadow"))
        assert make_client().decide(make_ask()).endpoint is None


class TestCancellation:
    async def test_a_cancelled_wait_is_told_and_raised(self, daemon, make_client):
        daemon.grants = False
        task = asyncio.create_task(make_client().adecide(make_ask()))
        await asyncio.to_thread(daemon.wait_for, CallReady)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended = (await asyncio.to_thread(daemon.wait_for, CallEnded))[0]
        assert (ended.call, ended.run, ended.outcome) == ("c1", "r1", "cancelled")

    def test_so_is_an_interrupted_thread(self, daemon, make_client, monkeypatch):
        client = make_client()

        def interrupted(held) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("headway.client.client.ThreadHeld.wait", interrupted)
        daemon.grants = False
        with pytest.raises(KeyboardInterrupt):
            client.decide(make_ask())
        assert daemon.wait_for(CallEnded)[0].outcome == "cancelled"

    async def test_a_watcher_of_it_holds_nobody_else_up(self, daemon, make_client):
        client, others = make_client(), []

        class Slow(Watcher):
            def told(self, fact):
                if isinstance(fact, CallEnded):
                    other = threading.Thread(target=client.endpoint_for, args=("http://x",))
                    other.start()
                    other.join(5)
                    others.append(other.is_alive())

        client.watchers.add(Slow())
        daemon.grants = False
        task = asyncio.create_task(client.adecide(make_ask()))
        await asyncio.to_thread(daemon.wait_for, CallReady)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert others == [False]

    def test_a_loop_that_died_while_waiting_disturbs_nobody(self, daemon, make_client, caplog):
        daemon.grants = False
        client = make_client()
        loop = asyncio.new_event_loop()
        waiting = loop.create_task(client.adecide(make_ask()))
        loop.run_until_complete(asyncio.sleep(0))
        daemon.wait_for(CallReady)
        loop.close()
        daemon.grant(make_ask())
        until(lambda: not client._held)
        daemon.grants = True
        assert client.decide(make_ask("c2")).source == "daemon"
        with caplog.at_level(logging.CRITICAL, logger="asyncio"):
            waiting.get_coro().close()


class TestObserving:
    def test_observations_go_out_by_themselves_in_order(self, daemon, make_client):
        client = make_client()
        client.observe(RunStarted(run="r1", graph="g"))
        for n in range(100):
            client.observe(NodeStarted(run="r1", node=f"n{n}", name="x"))
        client.observe(Passed(why="not in the pool", target="http://x/v1"))
        client.observe(Covered(way="openai"))
        daemon.wait_for(Covered)
        assert [fact.node for fact in daemon.of(NodeStarted)] == [f"n{n}" for n in range(100)]
        assert len(daemon.of(Passed)) == 1

    def test_nothing_that_is_observed_raises(self, daemon, make_client, caplog):
        client = make_client()
        client.decide(make_ask())
        for nonsense in (None, object(), make_ask("never asked"), Passed(why="x" * (2 << 20))):
            client.observe(nonsense)
        assert client.decide(make_ask("c2")).source == "daemon"
        assert len(daemon.connections) == 1
        assert [ask.call for ask in daemon.of(CallReady)] == ["c1", "c2"]
        assert "2097" in caplog.text  # the frame that was too large, once, with its size

    @pytest.mark.parametrize(
        "wrong",
        [
            RunStarted(run="r2", graph="g", tenant=5),
            RunStarted(run="r2", graph="lone \ud800"),
            RunStarted(run="r2", graph="g", budget=1 << 70),
            NodeStarted(run="r2", node="lone \ud800", name="x"),
        ],
        ids=["type", "surrogate", "too wide", "surrogate in a node"],
    )
    def test_what_one_run_says_wrongly_costs_the_others_nothing(
        self, daemon, make_client, wrong, caplog
    ):
        client = make_client()
        client.observe(wrong)
        assert client.decide(make_ask()).source == "daemon"
        daemon.hang_up()
        until(lambda: not client._courier.connected)
        until(lambda: client.decide(make_ask(f"c{monotonic()}")).source == "daemon")
        assert client.decide(make_ask("c2", tenant=5)).source == "none"
        assert client.decide(make_ask("c3", max_tokens=1 << 70)).source == "none"
        assert client.decide(make_ask("c4")).source == "daemon"
        assert daemon.of(RunStarted) == []
        assert caplog.records

    def test_impossible_numbers_are_mended(self, daemon, make_client):
        client = make_client()
        client.observe(RunStarted(run="r1", graph="g", deadline_s=float("nan"), age_s=-1.0))
        ask = make_ask(hold_limit_s=float("inf"), deadline_s=-3.0, max_tokens=-1)
        assert client.decide(ask).source == "daemon"
        run = daemon.of(RunStarted)[-1]
        assert (run.deadline_s, run.age_s < 1.0) == (None, True)
        (asked,) = daemon.of(CallReady)
        assert (asked.hold_limit_s, asked.deadline_s, asked.max_tokens) == (86400.0, None, None)

    def test_a_failure_inside_never_reaches_the_host(self, daemon, make_client, monkeypatch):
        client = make_client()

        def broken(*args, **kwargs):
            raise RuntimeError("a defect")

        monkeypatch.setattr(client._courier, "put", broken)
        client.observe(RunStarted(run="r1", graph="g"))
        assert client.decide(make_ask()).source == "none"
        assert asyncio.run(client.adecide(make_ask("c2"))).source == "none"
        monkeypatch.setattr(client, "_view", None)
        assert client.pool is None
        assert client.endpoint_for("http://a1:1/v1") is None
        assert not client.is_off()

    def test_base_urls_are_recognised(self, daemon, make_client):
        client = make_client()
        client.decide(make_ask())
        assert client.endpoint_for("http://A2:1/v1/").id == "a2"
        assert client.endpoint_for("https://api.openai.com/v1") is None


class TestTheHostChooses:
    """A client that reaches only some endpoints chooses among them where nobody decides."""

    def ask(self, call: str = "c1") -> CallReady:
        return msgspec.structs.replace(make_ask(call), endpoints=("a1",))

    def test_without_a_daemon_no_endpoint_is_chosen_for_it(self, path, make_client):
        write_pool_view(path, make_pool())
        route = make_client(FAST).decide(self.ask())
        assert route.endpoint is None and route.source == "none"
        assert "the host chooses" in route.why

    def test_where_it_went_is_told(self, daemon, make_client):
        client = make_client()
        client.decide(make_ask("c0"))  # connects, and learns the pool
        client.sent(self.ask(), "a1")
        until(lambda: daemon.of(CallSent))
        assert daemon.of(CallSent)[0].endpoint == "a1"

    def test_an_endpoint_that_the_pool_does_not_have_is_no_trouble(self, daemon, make_client):
        client = make_client()
        client.decide(make_ask("c0"))  # connects, and learns the pool
        client.sent(self.ask(), "gone")
        client.sent(self.ask(), "a1")
        until(lambda: daemon.of(CallSent))
        assert [fact.endpoint for fact in daemon.of(CallSent)] == ["a1"]

    async def test_watchers_see_the_question_and_its_route(self, daemon, make_client):
        client, seen = make_client(), []

        class Watcher:
            def told(self, fact):
                seen.append(type(fact).__name__)

            def asked(self, ask):
                seen.append(f"asked {ask.call}")

            def routed(self, ask, route):
                seen.append(f"routed {ask.call} {route.endpoint.id}")

            def headers(self, ask):
                return {}

        client.watchers.add(Watcher())
        client.observe(RunStarted(run="r1", graph="g"))
        client.decide(make_ask("c1"))
        await client.adecide(make_ask("c2"))
        assert seen == ["RunStarted", "asked c1", "routed c1 a1", "asked c2", "routed c2 a1"]

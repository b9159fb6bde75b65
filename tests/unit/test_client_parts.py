"""The client's pure parts: routes, registry, outbox, breaker, URLs, credentials."""

import logging
from collections import Counter

import pytest

from headway.client.breaker import Breaker
from headway.client.credentials import api_key, authorization
from headway.client.held import LEAST_GRACE_S, ThreadHeld
from headway.client.outbox import Outbox, Weight
from headway.client.poolview import normal_url
from headway.client.registry import Registry
from headway.client.route import allowed, fallback, gone_to, spread
from headway.client.sound import sound
from headway.core.candidates import candidates
from headway.core.facts import (
    CallEnded,
    CallSent,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec, PoolName
from headway.wire.messages import HEADER_BYTES, decode_client, encode_frame
from tests.support.fake_daemon import make_ask, make_pool

POOL = make_pool()
A1, A2, B1 = POOL.endpoints


class TestRoutes:
    def test_everything_that_the_pool_name_lists_is_allowed(self):
        assert allowed(POOL, make_ask()) == (A1, A2, B1)

    def test_narrowing_needs_and_an_open_tool_loop_restrict(self):
        assert allowed(POOL, make_ask(models=("large",))) == (B1,)
        assert allowed(POOL, make_ask(loop_model="large")) == (B1,)
        assert allowed(POOL, make_ask(needs=("vision",))) == ()
        sees = make_pool(capabilities={"large": ("vision",)})
        assert allowed(sees, make_ask(needs=("vision",))) == (B1,)

    @pytest.mark.parametrize(
        ("models", "able"),
        [
            ((), (A1, A2, B1)),
            (("a2",), (A2,)),
            (("b1",), (B1,)),
            (("a1", "large"), (A1, B1)),
            (("small", "b1"), (A1, A2, B1)),
            (("nowhere",), ()),
        ],
    )
    def test_a_pin_may_name_endpoints(self, models, able):
        """The same table for the daemon, for spreading and for the fallback."""
        name = PoolName(name="agent", models=("small", "large"), fallback="a1")
        pool, ask = make_pool(names=(name,)), make_ask(models=models)
        assert candidates(pool, ask, 1)[0] == able
        spreads = {spread(pool, ask, open_calls={}, turn=turn).id for turn in range(6)}
        assert spreads == {spec.id for spec in able or (A1,)}
        assert fallback(pool, ask) == (A1 if A1 in able or not able else able[0])

    def test_a_pool_name_may_let_the_model_switch_in_a_loop(self):
        name = PoolName(name="agent", models=("small", "large"), switch_in_loop=True)
        assert allowed(make_pool(names=(name,)), make_ask(loop_model="large")) == (A1, A2, B1)

    def test_fallback_is_the_declared_one_unless_it_may_not_answer(self):
        name = PoolName(name="agent", models=("small", "large"), fallback="b1")
        pool = make_pool(names=(name,))
        assert fallback(pool, make_ask()) == B1
        assert fallback(pool, make_ask(models=("small",))) == A1
        assert fallback(pool, make_ask(needs=("audio",))) == B1  # nothing can: the user's rule

    def test_an_unknown_pool_name_means_only_itself(self):
        assert fallback(POOL, make_ask(pool_name="large")) == B1
        assert fallback(POOL, make_ask(pool_name="elsewhere")) is None

    def test_at_a_url_of_several_models_the_requests_own_says_where_it_went(self):
        second = EndpointSpec(id="a1-second", url=A1.url, model="second")
        pool = make_pool(endpoints=(A1, second, B1))
        assert gone_to(pool, make_ask(pool_name="second"), A1.id) == second
        assert gone_to(pool, make_ask(pool_name="small"), A1.id) == A1
        assert gone_to(pool, make_ask(pool_name="agent"), A1.id) == A1
        assert gone_to(pool, make_ask(pool_name="large"), A1.id) == A1
        assert gone_to(pool, make_ask(), "nowhere") is None
        assert gone_to(pool.with_mode("off"), make_ask(), A1.id) is None

    def test_spread_prefers_free_seats_and_rotates_ties(self):
        first = [spread(POOL, make_ask(), open_calls={}, turn=turn).id for turn in range(6)]
        assert Counter(first) == {"a1": 2, "a2": 2, "b1": 2}
        busy = {"a1": 2, "a2": 1, "b1": 2}
        assert {spread(POOL, make_ask(), open_calls=busy, turn=t).id for t in range(6)} == {"a2"}

    def test_spread_counts_calls_per_seat_and_per_server(self):
        big = EndpointSpec(id="big", url="http://x/v1", model="small", server="s")
        twin = EndpointSpec(id="twin", url="http://x/v1", model="large", server="s")
        pool = make_pool(endpoints=(big, twin, A1))
        assert spread(pool, make_ask(), open_calls={"s": 1}, turn=0) == A1
        assert spread(pool, make_ask(), open_calls={"s": 1, "a1": 2}, turn=2) in (big, twin)


class TestRegistry:
    def test_retells_what_is_open_with_fresh_ages(self):
        registry = Registry()
        registry.learn(GraphSeen(graph="g", nodes=("write",), edges=()), 0.0)
        registry.learn(RunStarted(run="r1", graph="g", age_s=1.0), 10.0)
        registry.learn(NodeStarted(run="r1", node="n0", name="plan"), 10.0)
        registry.learn(NodeStarted(run="r1", node="n1", name="write"), 11.0)
        registry.learn(NodeEnded(run="r1", node="n0"), 11.0)
        registry.sent(make_ask(run_age_s=1.0), A1, 12.0)
        graph, run, node, call = registry.retell(15.0)
        assert graph.graph == "g"
        assert (run.run, run.age_s) == ("r1", 6.0)
        assert (node.node, node.age_s) == ("n1", 4.0)
        assert isinstance(call, CallSent)
        assert (call.endpoint, call.sent_s, call.ask.run_age_s) == ("a1", 3.0, 4.0)

    @pytest.mark.parametrize(
        "end",
        [
            CallEnded(call="c1", attempt=1, run="r1"),
            NodeEnded(run="r1", node="n1"),
            RunEnded(run="r1", outcome="interrupted"),
        ],
        ids=["call", "node", "run"],
    )
    def test_an_end_closes_the_call_and_frees_its_seat(self, end):
        registry = Registry()
        registry.learn(RunStarted(run="r1", graph="g"), 0.0)
        registry.sent(make_ask(), A1, 0.0)
        assert registry.open_calls == {"a1": 1}
        registry.learn(end, 1.0)
        assert registry.open_calls == {}
        assert not [fact for fact in registry.retell(1.0) if isinstance(fact, CallSent)]

    def test_the_end_of_an_older_attempt_leaves_the_newer_one_open(self):
        registry = Registry()
        registry.sent(make_ask(attempt=1), A1, 0.0)
        registry.sent(make_ask(attempt=2), B1, 1.0)
        registry.learn(CallEnded(call="c1", attempt=1, run="r1"), 2.0)
        assert registry.open_calls == {"b1": 1}

    def test_is_bounded_and_forgets_the_oldest_run_first(self):
        registry = Registry(max_open=10)
        for number in range(30):
            registry.learn(RunStarted(run=f"r{number}", graph="g"), 0.0)
            registry.sent(make_ask(run=f"r{number}"), A1, 0.0)
        told = [fact.run for fact in registry.retell(0.0) if isinstance(fact, RunStarted)]
        assert told == ["r25", "r26", "r27", "r28", "r29"]
        assert registry.open_calls == {"a1": 5}

    def test_one_endless_run_is_bounded_too(self):
        registry = Registry(max_open=10)
        for number in range(100):
            registry.learn(NodeStarted(run="r1", node=f"n{number}", name="x"), 0.0)
        nodes = [fact.node for fact in registry.retell(0.0)]
        assert len(nodes) <= 10
        assert nodes[-1] == "n99"


class TestOutbox:
    def drain(self, outbox: Outbox, step: int = 3) -> bytes:
        data = b""
        while len(outbox):
            piece = outbox.chunk()[:step]
            outbox.sent(len(piece))
            data += piece
        return data

    def test_keeps_order_over_partial_sends(self):
        outbox = Outbox()
        for frame in (b"hello", b"", b"wide", b"world"):
            outbox.put(frame, Weight.OBSERVATION)
        assert self.drain(outbox) == b"hellowideworld"

    def test_drops_the_oldest_observations_then_endings_but_never_decisions(self):
        outbox = Outbox(max_frames=4)
        for number in range(4):
            outbox.put(b"d%d" % number, Weight.DECISION)
            outbox.put(b"e%d" % number, Weight.ENDING)
            outbox.put(b"o%d" % number, Weight.OBSERVATION)
        data = self.drain(outbox)
        assert [number for number in range(4) if b"d%d" % number in data] == [0, 1, 2, 3]
        assert b"o0" not in data
        assert b"e0" not in data

    def test_never_drops_the_frame_that_is_half_sent(self):
        outbox = Outbox(max_frames=4)
        outbox.put(b"half-sent", Weight.OBSERVATION)
        outbox.sent(5)
        for _ in range(20):
            outbox.put(b"oo", Weight.OBSERVATION)
        assert outbox.chunk().startswith(b"sent")

    def test_bytes_are_bounded(self):
        outbox = Outbox(max_bytes=1000)
        for _ in range(50):
            outbox.put(b"x" * 100, Weight.OBSERVATION)
        assert len(self.drain(outbox)) <= 1000

    def test_after_a_disconnect_a_half_sent_observation_goes_out_whole(self):
        outbox = Outbox()
        outbox.put(b"whole", Weight.OBSERVATION)
        outbox.put(b"decision", Weight.DECISION)
        outbox.sent(2)
        outbox.disconnected()
        outbox.put_first([b"1", b"2"])
        assert self.drain(outbox) == b"12whole"


def test_breaker_opens_after_consecutive_failures_and_closes_on_an_answer():
    breaker = Breaker(3)
    breaker.failed()
    breaker.failed()
    breaker.acknowledged()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open
    breaker.acknowledged()  # a late answer to an old ask is no probe
    assert breaker.is_open
    breaker.answered()
    assert not breaker.is_open


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("http://Host:8000/v1/", "http://host:8000/v1"),
        ("HTTP://host:80/v1", "http://host/v1"),
        ("https://host:443", "https://host"),
        ("https://host/V1", "https://host/V1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://host:nonsense/v1", "http://host:nonsense/v1"),
        ("http://user:secret@host/v1", "http://host/v1"),
    ],
)
def test_urls_that_mean_the_same_are_the_same(given, normal):
    assert normal_url(given) == normal


class TestCredentials:
    def spec(self, name: str, reference: str) -> EndpointSpec:
        return EndpointSpec(id=name, url="http://x/v1", model="m", api_key=reference)

    def test_a_reference_is_resolved_in_this_process(self, monkeypatch):
        monkeypatch.setenv("SOME_KEY", "sesame")
        spec = self.spec("k1", "os.environ/SOME_KEY")
        assert authorization(spec) == "Bearer sesame"
        assert api_key(spec) == "sesame"
        assert authorization(self.spec("k2", "")) is None

    def test_a_variable_that_is_not_set_is_named_once(self, monkeypatch, caplog):
        monkeypatch.delenv("MISSING_KEY", raising=False)
        spec = self.spec("k3", "os.environ/MISSING_KEY")
        with caplog.at_level(logging.WARNING, logger="headway"):
            assert authorization(spec) is None
            assert authorization(spec) is None
        assert caplog.text.count("MISSING_KEY") == 1

    def test_a_literal_key_is_refused_and_never_printed(self, caplog):
        with caplog.at_level(logging.WARNING, logger="headway"):
            assert authorization(self.spec("k4", "sk-very-secret")) is None
        assert "k4" in caplog.text
        assert "sk-very-secret" not in caplog.text


def test_who_can_hardly_wait_is_not_made_to_wait_by_the_grace():
    ends = [
        ThreadHeld(make_ask(hold_limit_s=limit)).hold_until(1.0) for limit in (0.05, 0.5, 300.0)
    ]
    assert ends == pytest.approx([0.05 + LEAST_GRACE_S, 1.0, 301.0])
    assert ThreadHeld(make_ask(hold_limit_s=0.05)).hold_until(0.1) == pytest.approx(0.15)


@pytest.mark.parametrize("odd", ["12", 12.5, True, -1, 1 << 70, {"sum": 3}, float("nan")])
def test_an_end_counts_whatever_the_server_says_of_its_tokens(odd):
    told = sound(CallEnded(call="c1", attempt=1, run="r1", prompt_tokens=7, output_tokens=odd))
    assert (told.prompt_tokens, told.output_tokens) == (7, None)
    assert decode_client(memoryview(encode_frame(told))[HEADER_BYTES:]) == told

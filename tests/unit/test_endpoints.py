"""Belief about one endpoint: room, waiting, congestion, speed and health, worked by hand."""

import random
from typing import Any

import pytest

from headway.core.endpoints import ROOM_RAISED_AFTER, Endpoint
from headway.core.facts import EndpointSeen, PoolSet
from headway.core.inflight import Load
from headway.core.types import CallId, EndpointId
from tests.support.telling import Teller, endpoint, granted, pool


def believed(**fields: Any) -> Endpoint:
    fields.setdefault("prefill_s", 0.001)
    fields.setdefault("step_s", 0.01)
    return Endpoint.from_spec(endpoint("a", **fields))


def load(one: Endpoint, name: str, output: float, *, prompt: int = 100, at: float = 0.0) -> None:
    one.add(
        (CallId(name), 1),
        Load(prompt_tokens=prompt, output_tokens=output, kv_tokens=prompt + output, released_at=at),
    )


def seen(one: Endpoint, at: float = 0.0, **fields: Any) -> None:
    one.seen(EndpointSeen(endpoint=EndpointId("a"), **{"reachable": True, **fields}), at)


def left(one: Endpoint, at: float) -> tuple[float, float, float]:
    return one.tokens_left(at), one.inflight.least_left(at), one.context_tokens(at)


def test_what_remains_shrinks_with_time() -> None:
    one = believed(seats=4)
    load(one, "x", 300)
    load(one, "y", 100)
    assert left(one, 0.0) == (400, 100, 200)
    assert left(one, 0.5) == pytest.approx((255 + 55, 55, 300))
    # y has written twice what was foreseen: a tenth of that is taken to be ahead
    assert left(one, 2.0) == pytest.approx((120 + 20, 20, 200 + 400))


def test_waiting_for_a_seat() -> None:
    one = believed(seats=2)
    assert one.wait_s(0.0) == 0.0
    load(one, "x", 300)
    assert one.wait_s(0.0) == 0.0
    load(one, "y", 100)
    # the shorter one leaves after 100 steps of 10 ms; then one seat each (200 steps / 2) on average
    assert one.wait_s(0.0) == pytest.approx(1.0)
    assert one.wait_s(0.0, ahead=2) == pytest.approx(1.0 + 2 * 1.0)


def test_waiting_for_kv_while_seats_are_free() -> None:
    one = believed(seats=4, kv_tokens=500)
    load(one, "x", 300)
    assert one.wait_s(0.0, kv_need=100) == 0.0
    assert one.wait_s(0.0, kv_need=101) == pytest.approx(3.0)
    assert one.wait_s(0.0, ahead=1, kv_need=101) == pytest.approx(6.0)


def test_a_call_alone_and_beside_others() -> None:
    one = believed(seats=4, seq_s=0.002, context_s=0.00001)
    assert one.alone_s(100, 50) == pytest.approx(0.1 + 50 * (0.01 + 0.002 + 0.001))
    load(one, "x", 300)
    assert one.service_s(0.0, 100, 50) == pytest.approx(0.1 + 50 * (0.01 + 0.004 + 0.002))
    # x loses the prefill, and 50 longer steps of (2 + 1) ms
    assert one.slowing_s(0.0, 100, 50) == pytest.approx(0.1 + 50 * 0.003)


def test_congestion_is_predicted_tokens_over_the_batch() -> None:
    one = believed(seats=4)
    load(one, "x", 300)
    load(one, "y", 100)
    # 10 ms * (400 / 4 + 60)
    assert one.congestion_s(0.0, 60) == pytest.approx(1.6)


@pytest.mark.parametrize("at_once", [1, 32])
@pytest.mark.parametrize("truth", [5.0, 0.2])
def test_a_profile_that_is_five_times_wrong_is_found_within_100_calls(
    truth: float, at_once: int
) -> None:
    one, rng = believed(seats=64), random.Random(7)
    for batch in range(0, 100, at_once):
        predicted = [(one.service_s(0.0, 100, 200), one.speed) for _ in range(at_once)]
        for predicted_s, at_speed in predicted[: 100 - batch]:
            real_s = predicted_s / at_speed * truth * rng.uniform(0.8, 1.25)
            one.observed(predicted_s, real_s, at_speed=at_speed)
    assert one.speed == pytest.approx(truth, rel=0.15)


def test_nonsense_teaches_no_speed() -> None:
    one = believed()
    one.observed(0.0, 5.0, at_speed=1.0)
    one.observed(5.0, 0.0, at_speed=1.0)
    assert (one.speed, one.speed_samples) == (1.0, 0)


def test_faults_rest_an_endpoint_longer_each_time() -> None:
    one = believed()
    one.fault(0.0, "connect")
    assert one.up(0.0)
    at, rests = 0.0, []
    for _ in range(7):
        one.fault(at, "connect")
        rests.append(one.down_until - at)
        assert not one.up(at) and one.up(one.down_until)
        at = one.down_until
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    one.served_one(at)
    assert one.up(at) and one.faults == 0 and one.trouble == ""


def test_many_calls_that_fail_together_are_one_trouble() -> None:
    one = believed()
    for _ in range(20):
        one.fault(10.0, "connect")
    assert one.down_until == 11.0


def test_a_scrape_that_finds_it_back_ends_the_rest() -> None:
    one = believed()
    for _ in range(2):
        one.fault(0.0, "connect")
    seen(one, 0.1, reachable=False)
    seen(one, 0.5)
    assert one.up(0.5)


def test_only_what_cannot_be_ours_is_foreign() -> None:
    one = believed(seats=9)
    load(one, "x", 100, at=0.0)
    load(one, "y", 100, at=9.9)
    seen(one, 10.0, running=1)
    assert one.foreign == 0
    seen(one, 10.0, running=4, waiting=1)
    assert (one.foreign, one.sequences) == (3, 5)
    seen(one, 11.0)
    assert one.foreign == 3


def test_declared_sizes_stand_against_what_a_scrape_says() -> None:
    one = believed(seats=2, kv_tokens=500)
    seen(one, seats=99, kv_tokens=99_999)
    assert (one.seats, one.kv_tokens) == (2, 500)


def test_room_is_seats_and_kv() -> None:
    one = believed(seats=2, kv_tokens=400)
    assert one.has_room(9999)
    load(one, "x", 100)
    assert one.has_room(200) and not one.has_room(201)
    load(one, "y", 10, prompt=10)
    assert not one.has_room(1)


def test_endpoints_on_one_server_share_its_seats() -> None:
    sizes: dict[str, Any] = {"seats": 2, "server": "gpu"}
    of = pool(
        endpoint("a", **sizes),
        endpoint("b", "large", **sizes),
        endpoint("c", "large", seats=1),
    )
    told = Teller(of, policy="fcfs+release")
    places = dict(to for name in "1234" for to in granted(told.ready(name)))
    assert len(places) == 3, "two seats of the server, one of the other endpoint"
    assert list(places.values()).count("c") == 1
    assert told.scheduler.status(0.0)["running"] == 3
    on_the_server = next(name for name, to in places.items() if to != "c")
    assert len(granted(told.ended(on_the_server))) == 1


def test_endpoints_stop_sharing_when_the_pool_says_so() -> None:
    together = [endpoint(name, seats=1, server="gpu") for name in "ab"]
    told = Teller(pool(*together), policy="fcfs+release")
    told.ready("c1")
    assert granted(told.ready("c2")) == []
    apart = pool(*(endpoint(name, seats=1) for name in "ab"))
    assert granted(told.tell(PoolSet(pool=apart))) == [("c2", "b")]


def test_a_full_queue_shows_the_room_and_a_whole_room_served_raises_it() -> None:
    one = believed(seats=None)
    for name in ("c1", "c2", "c3"):
        load(one, name, 10.0)
    one.remove((CallId("c3"), 1), 0.0)
    one.refused()  # the third of three was turned away
    assert one.room == 2 and not one.has_room(0.0)
    for _ in range(ROOM_RAISED_AFTER):
        one.served_one(0.0)
    assert one.room == 3 and one.has_room(0.0)


def test_a_ceiling_gives_way_to_the_seats_when_it_reaches_them() -> None:
    one = believed(seats=3)
    load(one, "c1", 10.0)
    load(one, "c2", 10.0)
    one.refused()
    assert one.room == 2
    for _ in range(ROOM_RAISED_AFTER):
        one.served_one(0.0)
    assert one.room == 3 and one.ceiling is None


def test_a_refusal_beside_running_calls_is_no_fault_and_alone_it_is() -> None:
    told = Teller(pool(endpoint("a", seats=4), endpoint("b", seats=4)))
    told.ready("c1", models=("a",))
    told.ready("c2", models=("a",))
    told.ended("c2", outcome="error", error="503")
    assert told.endpoint("a").faults == 0 and told.endpoint("a").room == 1
    told.ended("c1", outcome="error", error="503")
    assert told.endpoint("a").faults == 1


def test_what_one_endpoint_shows_of_its_speed_holds_for_its_twin_until_that_is_tried() -> None:
    first = pool(endpoint("a"), endpoint("b"), endpoint("c", "large"))
    told = Teller(first)
    told.ready("c1", models=("a",), at=0.0)
    believed = told.call("c1").service_s
    told.ended("c1", at=believed / 4, output_tokens=200, duration_s=believed / 4)
    speed = told.endpoint("a").speed
    assert speed < 0.9
    assert told.endpoint("b").speed == speed and told.endpoint("c").speed == 1.0
    told.endpoint("b").observed(1.0, 1.0, at_speed=1.0)
    own = told.endpoint("b").speed
    told.endpoint("a").observed(1.0, 0.1, at_speed=1.0)
    assert told.endpoint("b").speed == own != told.endpoint("a").speed
    # a twin that joins later begins with what is known
    told.tell(PoolSet(pool=pool(*first.endpoints, endpoint("d"))))
    assert told.endpoint("d").speed in (own, told.endpoint("a").speed)


def test_calls_that_wait_for_kv_wait_one_after_the_other() -> None:
    # seats for eight, but KV for two calls like those that are there
    one = believed(seats=8, kv_tokens=500)
    load(one, "x", 100)
    load(one, "y", 100)
    assert one.fits == 2
    first = one.wait_s(0.0, 0, 200)
    load(one, "z", 100)  # bound all the same: it stands in the engine's queue
    assert (one.inflight.seated, one.sequences) == (2, 3)
    # a step takes 0.01 s: 1 s until the first is done; then one leaves every half a second
    assert first == pytest.approx(1.0)
    assert one.wait_s(0.0, 0, 200) == pytest.approx(1.0 + 0.5)


def test_an_endpoint_without_kv_limits_fits_its_seats() -> None:
    one = believed(seats=4)
    load(one, "x", 100)
    load(one, "y", 100)
    assert one.fits == 4

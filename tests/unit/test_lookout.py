"""What servers say of themselves, and what it changes."""

import pytest

from headway.core.commands import AnyCommand, Notice
from tests.support.telling import Teller, endpoint, granted, pool


def notices(commands: tuple[AnyCommand, ...]) -> list[tuple[str, str]]:
    return [(one.kind, one.message) for one in commands if isinstance(one, Notice)]


def test_a_context_that_is_not_declared_is_the_servers() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.seen("a", context_tokens=1000)
    assert granted(told.ready("c1", prompt_chars=8000)) == [("c1", "b")]
    call = told.call("c1")
    assert call is not None and "2000 tokens do not fit into 1000" in call.excluded["a"]


def test_a_declared_context_is_lowered_and_never_raised() -> None:
    told = Teller(pool(endpoint("a", context_tokens=4000), endpoint("b", context_tokens=500)))
    told.seen("a", context_tokens=1000)
    told.seen("b", context_tokens=1000)
    assert [told.endpoint(one).context_tokens_limit for one in "ab"] == [1000, 500]
    told.seen("a", context_tokens=32000)  # started anew, with more
    assert told.endpoint("a").context_tokens_limit == 4000


def test_calls_that_wait_are_filtered_again_when_a_limit_is_told() -> None:
    told = Teller(pool(endpoint("a", seats=1), endpoint("b", "large", seats=1)))
    told.ready("c1", models=("small",))
    told.ready("c2", models=("small",), prompt_chars=8000)
    (grant,) = granted(told.seen("a", context_tokens=1000))
    assert grant == ("c2", "")  # nothing can serve it: the client's fallback is told at once


def test_a_restart_makes_the_cache_cold_and_is_told_each_time() -> None:
    told = Teller(pool(endpoint("a")))
    told.ready("c1", run="r")
    told.ended("c1", output_tokens=10)
    assert told.scheduler.books.runs["r"].last_endpoint == "a"
    for at in (1.0, 2.0):
        said = notices(told.seen("a", restarted=True, at=at))
        assert said == [("endpoint_restarted", "a was started anew: its cache is cold")]
    assert told.scheduler.books.runs["r"].last_endpoint == ""


def test_a_server_that_heeds_no_urgency_is_told_once() -> None:
    told = Teller(pool(endpoint("a")))
    assert notices(told.seen("a")) == []
    ((kind, message),) = notices(told.seen("a", heeds_urgency=False))
    assert kind == "urgency_ignored" and "--scheduling-policy priority" in message
    assert notices(told.seen("a", heeds_urgency=False)) == []
    assert told.scheduler.status(0.0)["endpoints"][0]["heeds_urgency"] is False


def test_an_answer_that_the_engine_broke_off_teaches_nothing() -> None:
    told = Teller(pool(endpoint("a")))
    told.ready("c1")
    told.ended("c1", output_tokens=1, finish_reason="abort")
    assert told.endpoint("a").served == 0 and not told.on("a")


def test_time_in_the_engines_queue_is_not_taken_for_slowness() -> None:
    """Two seats are believed, one is there: the engine says how long the second call stood."""
    slow, fair = (Teller(pool(endpoint("a", seats=4))) for _ in range(2))
    for told, queue_s in ((slow, None), (fair, 50.0)):
        told.ready("c1")
        call = told.call("c1")
        assert call is not None
        told.ended("c1", output_tokens=200, at=50.0 + call.service_s, queue_s=queue_s)
    assert slow.endpoint("a").speed > 1.5
    assert fair.endpoint("a").speed < 1.1


@pytest.mark.parametrize("truth", [0.2, 5.0])
def test_a_profile_off_by_five_is_found_out_within_a_hundred_calls(truth: float) -> None:
    told = Teller(pool(endpoint("a", seats=8)))
    alone_s = told.endpoint("a").alone_s(100, 200)
    for number in range(100):
        name = f"c{number}"
        told.ready(name, at=100.0 * number)
        told.ended(name, output_tokens=200, at=100.0 * number + truth * alone_s)
    assert told.endpoint("a").speed == pytest.approx(truth, rel=0.1)

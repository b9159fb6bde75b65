"""Where baselines send calls: gateways' strategies, shuffles and splits, worked by hand."""

from collections import Counter
from typing import Any

import pytest

from headway.policy.shuffles import drawn
from tests.support.telling import Teller, endpoint, granted, pool


def sent_to(told: Teller, calls: int, **fields: Any) -> list[str]:
    """Where as many calls go, one after the other, each of a run of its own."""
    return [
        to
        for number in range(calls)
        for _, to in granted(told.ready(f"c{number}", run=f"r{number}", **fields))
    ]


def three(policy: str, **params: Any) -> Teller:
    """Two small endpoints and a large one, with four seats each."""
    of = pool(
        endpoint("s1", seats=4, step_s=0.01),
        endpoint("s2", seats=4, step_s=0.01),
        endpoint("l", "large", seats=4, step_s=0.05),
    )
    return Teller(of, policy=policy, **params)


# -- counting --------------------------------------------------------------------------------------


def test_fcfs_binds_at_once_where_fewest_calls_are_open_for_each_seat() -> None:
    # of 2 and 4 seats: 0 0 -> a, then 1/2 0/4, 1/2 1/4 -> b twice, 1/2 2/4: fewer calls -> a, ...
    told = Teller(pool(endpoint("a", seats=2), endpoint("b", "large", seats=4)), policy="fcfs")
    assert sent_to(told, 7) == list("abbabba")  # the seventh finds both full, and a has fewer
    assert told.waiting() == []


def test_gateways_send_no_urgency() -> None:
    for policy in ("fcfs", "least-busy", "shuffle-call", "latency-based", "small-only"):
        told = three(policy)
        told.ready("c1", at=7.0)
        call = told.call("c1")
        assert call is not None and call.grant is not None and str(call.grant.urgency) == "0.0"


def test_latency_based_tries_each_first_then_takes_the_fastest_of_late() -> None:
    # means of the last ten: s1 (1 + 3) / 2 = 2, s2 not used yet, l 3
    told = three("latency-based")
    told.endpoint("s1").latencies.extend((1.0, 3.0))
    told.endpoint("l").latencies.append(3.0)
    assert sent_to(told, 3) == ["s2"] * 3
    told.endpoint("s2").latencies.append(2.5)
    assert sent_to(told, 0) == [] and granted(told.ready("next")) == [("next", "s1")]


def test_latency_based_draws_among_those_within_the_buffer() -> None:
    # 2 * (1 + 0.5) = 3: s1 at 2 and l at 3 are within, s2 at 3.1 is not
    told = three("latency-based", lowest_latency_buffer=0.5)
    for name, latency in (("s1", 2.0), ("s2", 3.1), ("l", 3.0)):
        told.endpoint(name).latencies.append(latency)
    counts = Counter(sent_to(told, 200))
    assert sorted(counts) == ["l", "s1"] and min(counts.values()) > 70


def test_latency_based_learns_from_what_ended() -> None:
    # 4 s for 100 tokens on a, 2 s on b
    told = Teller(pool(endpoint("a"), endpoint("b")), policy="latency-based")
    told.sent("c1", "a")
    told.sent("c2", "b")
    told.ended("c2", at=2.0)
    told.ended("c1", at=4.0)
    assert told.endpoint("a").latencies[0] == pytest.approx(0.04)
    assert granted(told.ready("c3")) == [("c3", "b")]


# -- drawing ---------------------------------------------------------------------------------------


def test_a_number_falls_on_a_share_of_the_weights() -> None:
    # of 3 : 0 : 1 the first has [0, 0.75), the last [0.75, 1)
    places = [drawn(number, [3.0, 0.0, 1.0]) for number in (0.0, 0.7499, 0.75, 1 - 1e-16)]
    assert places == [0, 0, 2, 2]


def test_shuffle_call_draws_for_each_call_alike() -> None:
    first, again = (sent_to(three("shuffle-call"), 900) for _ in range(2))
    assert first == again
    assert all(240 < count < 360 for count in Counter(first).values())


def test_shuffle_call_released_late_waits_for_what_was_drawn() -> None:
    told = three("shuffle-call+release")
    places = sent_to(told, 60)
    assert Counter(places) == {"s1": 4, "s2": 4, "l": 4} and len(told.waiting()) == 48
    told.ended("c0", run="r0", at=1.0)
    assert len(told.on(places[0])) == 4, "the next that was drawn for it has its seat"


def test_shuffle_run_keeps_the_model_of_a_run_and_its_least_busy_endpoint() -> None:
    told = three("shuffle-run")
    models: Counter[bool] = Counter()
    for run in range(200):
        places = [
            to
            for number in range(2)
            for _, to in granted(told.ready(f"c{run}.{number}", run=f"r{run}"))
        ]
        assert set(places) in ({"l"}, {"s1", "s2"}), "two calls, one on each small endpoint"
        models[places[0] == "l"] += 1
    assert min(models.values()) > 75


def test_shuffle_run_leaves_a_model_only_while_it_is_down() -> None:
    told = three("shuffle-run")
    run = next(f"r{number}" for number in range(9) if sent_to_large(told, f"r{number}"))
    told.endpoint("l").reachable = False
    ((_, to),) = granted(told.ready("down", run=run))
    assert to in ("s1", "s2")
    told.endpoint("l").reachable = True
    assert granted(told.ready("up", run=run)) == [("up", "l")]


def sent_to_large(told: Teller, run: str) -> bool:
    return [to for _, to in granted(told.ready(f"first-{run}", run=run))] == ["l"]


def test_simple_shuffle_weighs_by_requests_then_tokens_then_not() -> None:
    def counts(**fields: tuple[int | None, ...]) -> Counter[str]:
        of = pool(
            *(
                endpoint(name, **{key: values[place] for key, values in fields.items()})
                for place, name in enumerate("abc")
            )
        )
        return Counter(sent_to(Teller(of, policy="simple-shuffle"), 800))

    by_requests = counts(rpm=(300, 100, None), tpm=(1, 1, 10_000))  # 600 : 200 : 0
    assert set(by_requests) == {"a", "b"} and 540 < by_requests["a"] < 660
    by_tokens = counts(tpm=(100, 100, 200))  # 200 : 200 : 400
    assert 340 < by_tokens["c"] < 460
    assert all(200 < count < 330 for count in counts().values())


# -- choosing the model once -----------------------------------------------------------------------


def test_small_only_and_large_only_go_by_the_time_of_a_step() -> None:
    assert set(sent_to(three("small-only"), 20)) == {"s1", "s2"}
    assert set(sent_to(three("large-only"), 20)) == {"l"}


def test_declared_quality_says_what_is_large() -> None:
    of = pool(
        endpoint("quick", "moe", step_s=0.01),
        endpoint("slow", "dense", step_s=0.05),
        quality={"moe": 0.9, "dense": 0.6},
    )
    assert sent_to(Teller(of, policy="large-only"), 2) == ["quick", "quick"]
    assert sent_to(Teller(of, policy="small-only"), 2) == ["slow", "slow"]


def test_large_only_takes_what_is_largest_of_what_is_up() -> None:
    told = three("large-only")
    told.endpoint("l").reachable = False
    assert set(sent_to(told, 2)) <= {"s1", "s2"}


def test_large_only_released_late_holds_what_has_no_room() -> None:
    told = three("large-only+release")
    assert sent_to(told, 6) == ["l"] * 4 and told.waiting() == ["c4", "c5"]


def test_a_static_split_gives_its_share_of_the_runs_to_the_large_model() -> None:
    assert set(sent_to(three("static", share=0.0), 20)) == {"s1", "s2"}
    assert set(sent_to(three("static", share=1.0), 20)) == {"l"}
    assert 65 < Counter(sent_to(three("static", share=0.25), 400))["l"] < 135


def test_a_static_split_keeps_a_run_where_it_is() -> None:
    told = three("static")
    for run in range(20):
        places = {
            to
            for number in range(3)
            for _, to in granted(told.ready(f"{run}.{number}", run=f"r{run}"))
        }
        assert places == {"l"} or places <= {"s1", "s2"}

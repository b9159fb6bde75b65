"""Systems that order runs and place calls, on examples of three calls worked by hand.

An answer is 200 tokens before anything was seen, so 2 s at 10 ms a step.
"""

import pytest

from headway.core.protocols import Query
from tests.support.telling import Teller, endpoint, granted, grants, pool

FAST = {"step_s": 0.01, "prefill_s": 0.0}
SLOW = {"step_s": 0.05, "prefill_s": 0.0}


def teach(told: Teller, graph: str, *, rest_s: float = 10.0, output: float = 200.0) -> None:
    """What is left of runs of `graph` in seconds, and how long its answers are."""
    for _ in range(300):
        place = Query(graph=graph, node="step", model="small")
        told.scheduler.foresight.rest_s.learn(place, rest_s)
        told.scheduler.foresight.output_tokens.learn(place, output)


def place(told: Teller, *calls: str) -> list[tuple[str, str]]:
    """Where each call of a new run goes when it is ready, of those that are released."""
    return [pair for name in calls for pair in granted(told.ready(name, run=f"r-{name}"))]


# -- srpt, maestro ---------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["srpt+release", "maestro+release"])
def test_the_run_with_least_left_goes_first(policy: str) -> None:
    told = Teller(pool(endpoint("a", **FAST)), policy=policy)
    teach(told, "long", rest_s=100.0)
    teach(told, "short", rest_s=2.0)
    told.ready("c0")
    told.ready("c1", run="r1", graph="long")
    told.ready("c2", run="r2", graph="short")
    assert granted(told.ended("c0")) == [("c2", "a")]


@pytest.mark.parametrize("policy", ["srpt", "maestro"])
def test_engines_are_told_the_order(policy: str) -> None:
    told = Teller(pool(endpoint("a", **FAST)), policy=policy)
    (grant,) = grants(told.ready("c1"))
    assert grant.urgency == -10.0  # seconds of a run before any was seen


def test_maestro_serves_interactive_runs_before_batch() -> None:
    told = Teller(pool(endpoint("a", **FAST)), policy="maestro+release")
    teach(told, "long", rest_s=100.0)
    teach(told, "short", rest_s=2.0)
    told.run_started("r1", graph="short", service_class="batch")
    told.run_started("r2", graph="long", service_class="interactive")
    told.ready("c0", run="r0")
    told.ready("c1", run="r1", graph="short")
    told.ready("c2", run="r2", graph="long")
    assert granted(told.ended("c0")) == [("c2", "a")]


def test_maestro_counts_queues_of_engines() -> None:
    # a takes 2 s, b 5 s. c1: a. c2: a, 2 + 2 < 5. c3: a is free after 2 + 2, so 6 > 5, b
    of = pool(endpoint("a", **FAST), endpoint("b", step_s=0.025, prefill_s=0.0))
    assert place(Teller(of, policy="maestro"), "c1", "c2", "c3") == [
        ("c1", "a"),
        ("c2", "a"),
        ("c3", "b"),
    ]


@pytest.mark.parametrize(("wake_s", "to"), [(2.5, "a"), (3.5, "b")])
def test_maestro_counts_waking(wake_s: float, to: str) -> None:
    of = pool(endpoint("a", wake_s=wake_s, **FAST), endpoint("b", step_s=0.025, prefill_s=0.0))
    told = Teller(of, policy="maestro")
    told.seen("a", asleep=True)
    assert granted(told.ready("c1")) == [("c1", to)]  # 2 s and waking against 5 s


def test_maestro_keeps_off_where_the_kv_does_not_fit() -> None:
    # a call may come to hold 100 + 800 tokens
    of = pool(
        endpoint("a", seats=9, kv_tokens=1000, **FAST),
        endpoint("b", seats=9, kv_tokens=9000, **SLOW),
    )
    told = Teller(of, policy="maestro")
    assert place(told, "c1", "c2", "c3") == [("c1", "a"), ("c2", "b"), ("c3", "b")]


# -- hexagent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["hexagent", "hexagent+release"])
def test_hexagent_takes_the_largest_risk_first(policy: str) -> None:
    # At 1 s, with H and Delta the call alone: c1 (1 + 2) / 2 = 1.5; c2 is of a run that is 4 s
    # older, (5 + 2) / 2 = 3.5; c3 is as old but takes 10 s, (5 + 10) / 10 = 1.5.
    told = Teller(pool(endpoint("a", **FAST)), policy=policy)
    teach(told, "long", output=1000.0)
    teach(told, "g", output=200.0)
    told.ready("c0", run="r0")
    told.ready("c1", run="r1")
    told.ready("c3", run="r3", graph="long", run_age_s=4.0)
    told.ready("c2", run="r2", run_age_s=4.0)
    told.tick(1.0)
    (grant,) = grants(told.ended("c0", outcome="cancelled"))
    assert grant.call == "c2"
    assert abs(grant.urgency) == pytest.approx(3.5, rel=0.01)


def test_hexagent_h_has_what_was_measured_of_the_run() -> None:
    # c1: no age, H = 2, R = (0 + 2) / 2 = 1. c2: 8 s old, of which 8 s of work are done at a
    # node of its own: H = 10, R = (8 + 2) / 10 = 1. Half a second later 1.25 against 1.05.
    told = Teller(pool(endpoint("a", **FAST)), policy="hexagent")
    told.run_started("r2")
    told.node_started("n", "tool", run="r2", step=1)
    told.node_ended("n", run="r2", at=8.0)
    told.ready("c0", run="r0")
    told.ready("c2", run="r2")
    told.ready("c1", run="r1")
    assert granted(told.ended("c0", at=8.5)) == [("c1", "a")]


@pytest.mark.parametrize("small_queue", [1, 32])
def test_hexagent_plans_on_what_it_has_booked(small_queue: int) -> None:
    # The fast endpoint is busy for 2 s: c1 is done there at 4, c2 at 6, c3 at 8, c4 at 10, as soon
    # as on the slow one that is free; c5 would be at 12, so it goes to the slow one.
    of = pool(endpoint("fast", **FAST), endpoint("slow", **SLOW))
    told = Teller(of, policy="hexagent", small_queue=small_queue)
    assert place(told, "c0", "c1", "c2", "c3", "c4") == [("c0", "fast")]
    assert place(told, "c5", "c6") == [("c5", "slow")]


def test_hexagent_chooses_pairs_by_both_ends() -> None:
    # A prompt of 1000 tokens keeps P1 busy for 10 s. On a: 10 + 1 s of prompt, then 2 s. On b,
    # whose decode is slower: 1 s of prompt, 0.5 s of transfer, 4 s.
    of = pool(
        endpoint("a", prefill_server="P1", server="D1", step_s=0.01, prefill_s=0.01, seats=4),
        endpoint(
            "b",
            prefill_server="P2",
            server="D2",
            step_s=0.02,
            prefill_s=0.01,
            transfer_s=0.005,
            seats=4,
        ),
        endpoint("other", prefill_server="P1", server="D3", step_s=9.0, prefill_s=0.01, seats=4),
    )
    told = Teller(of, policy="hexagent")
    told.ready("c0", run="r0", prompt_chars=4000, models=("other",))
    (grant,) = grants(told.ready("c1"))
    assert grant.endpoint == "b"
    assert grant.scores[0].cost_s == pytest.approx(1 + 0.5 + 4)


def test_hexagent_excludes_where_the_kv_can_never_hold_it() -> None:
    of = pool(endpoint("a", kv_tokens=500, **FAST), endpoint("b", kv_tokens=9000, **SLOW))
    assert place(Teller(of, policy="hexagent"), "c1", "c2") == [("c1", "b")]

"""Systems that choose a model, on examples of three calls worked by hand.

An answer is 200 tokens before anything was seen, the rest of a run 600: the small model takes 2 s
and suffices in 6 of 10 cases, the large one 10 s and 9 of 10.
"""

from typing import Any

import pytest

from headway.core.errors import ConfigError
from headway.core.facts import Feedback, GraphSeen
from headway.core.protocols import Query
from headway.core.types import RunId
from headway.policy import POLICIES, make_policy
from headway.policy.sizes import models_by_size
from tests.support.telling import Teller, endpoint, granted, grants, pool

SMALL = {"step_s": 0.01, "prefill_s": 0.0}
LARGE = {"step_s": 0.05, "prefill_s": 0.0}
QUALITY = {"small": 0.6, "large": 0.9}
LOOP = (("step", "step", "branch"), ("step", "__end__", "branch"))


def small_and_large(policy: str, *, seats: int = 4, **params: Any) -> Teller:
    of = pool(
        endpoint("s", "small", seats=seats, **SMALL),
        endpoint("l", "large", seats=seats, **LARGE),
        quality=QUALITY,
    )
    return Teller(of, policy=policy, **params)


def teach(told: Teller, graph: str, *, rest_tokens: float = 600.0, output: float = 200.0) -> None:
    """What is left of runs of `graph`, and how long its answers are on each model."""
    for _ in range(300):
        told.scheduler.foresight.rest_tokens.learn(Query(graph=graph, node="step"), rest_tokens)
        for model in QUALITY:
            place = Query(graph=graph, node="step", model=model)
            told.scheduler.foresight.output_tokens.learn(place, output)


def places(told: Teller, *calls: str) -> list[str]:
    """Where each call of a new run goes when it is ready."""
    return [to for name in calls for _, to in granted(told.ready(name, run=f"r-{name}"))]


def looping(told: Teller, *failed: str) -> None:
    """Run ``r1`` of a graph that writes again, in which the models of `failed` have failed."""
    told.tell(GraphSeen(graph="g", nodes=("step",), edges=LOOP))
    told.run_started("r1")
    told.scheduler.books.runs[RunId("r1")].failed_models = failed


def test_models_by_size_go_by_the_step_of_the_profile() -> None:
    of = pool(
        endpoint("l", "large", **LARGE), endpoint("s", "small", **SMALL), endpoint("x", "new")
    )
    told = Teller(of)
    told.sent("busy", "s")
    told.endpoint("s").reachable = False
    told.ready("c1")
    call = told.call("c1")
    assert call is not None
    assert models_by_size(told.scheduler.view(0.0), call) == ("small", "new", "large")


# -- chimera ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "to"),
    [
        # L_small = 0.01 * 600 = 6, L_large = 0.05 * 600 = 30; (1 + tau) * 6 = 24 or 36
        ({"tau": 3.0}, "s"),
        ({"tau": 5.0}, "l"),
        # 0.9 - 0.6 is not the margin asked for
        ({"tau": 5.0, "delta": 0.4}, "s"),
    ],
)
def test_chimera_replaces_the_fastest_within_slack_and_margin(
    params: dict[str, float], to: str
) -> None:
    (grant,) = grants(small_and_large("chimera", **params).ready("c1"))
    assert (grant.endpoint, grant.urgency) == (to, -600.0)


def test_chimera_takes_the_step_of_a_full_batch_as_profiled() -> None:
    # large, 4 seats: 0.01 + 4 * 0.01 = 0.05, so 30 <= 36; alone its step would be 0.02, 12 and with
    # a slack of 1.5 (15 s) it would be taken
    of = pool(
        endpoint("s", "small", seats=4, **SMALL),
        endpoint("l", "large", seats=4, step_s=0.01, seq_s=0.01, prefill_s=0.0),
        quality=QUALITY,
    )
    assert places(Teller(of, policy="chimera", tau=5.0), "c1") == ["l"]
    assert places(Teller(of, policy="chimera", tau=1.5), "c1") == ["s"]


def test_calls_released_by_one_event_see_each_other() -> None:
    # as below, c1 to l, c2 to s, c3 to l, though all three go when the endpoints come up
    told = small_and_large("chimera", tau=5.0)
    for name in ("s", "l"):
        told.endpoint(name).reachable = False
    assert places(told, "c1", "c2", "c3") == []
    for name in ("s", "l"):
        told.endpoint(name).reachable = True
    assert granted(told.tick(0.0)) == [("c1", "l"), ("c2", "s"), ("c3", "l")]


def test_chimera_drops_the_large_model_under_load() -> None:
    # c1: 30 <= 36, large. c2: large 0.05 * (600 / 4 + 600) = 37.5 > 36, small.
    # c3: small 0.01 * (600 / 4 + 600) = 7.5, so 37.5 <= 45, large
    assert places(small_and_large("chimera", tau=5.0), "c1", "c2", "c3") == ["l", "s", "l"]


@pytest.mark.parametrize(("sticky", "to"), [(True, "l"), (False, "s")])
def test_chimera_keeps_the_first_model_of_a_run_if_sticky(sticky: bool, to: str) -> None:
    told = small_and_large("chimera", tau=5.0, sticky=sticky)
    assert granted(told.ready("c1")) == [("c1", "l")]
    assert granted(told.ready("c2")) == [("c2", to)]  # 37.5 > 36, as above


def test_chimera_takes_the_shortest_total_job_first_but_promotes_who_was_overtaken() -> None:
    told = Teller(pool(endpoint("s", **SMALL)), policy="chimera+release", promote_after=2)
    teach(told, "long", rest_tokens=5000.0)
    teach(told, "short", rest_tokens=50.0)
    told.ready("c0", run="r0", graph="short")
    told.ready("long", run="r1", graph="long")
    for name in ("c1", "c2", "c3"):
        told.ready(name, run=f"r-{name}", graph="short", at=1.0)
    assert granted(told.ended("c0")) == [("c1", "s")]
    assert granted(told.ended("c1")) == [("c2", "s")]
    assert granted(told.ended("c2")) == [("long", "s")]


# -- routebalance ----------------------------------------------------------------------------------


def test_routebalance_weighs_quality_against_latency() -> None:
    # w_q 0.7, w_l 0.3. c1: small 0.7 * 0.6 + 0.3 * (1 - 2 / 10) = 0.66, large 0.63 + 0.
    # c2: small pends 200: 0.01 * (200 + 200) = 4, so 0.42 + 0.3 * 0.6 = 0.60 < 0.63.
    # c3: large pends 200: 0.05 * 400 = 20, so small has 0.42 + 0.3 * (1 - 4 / 20) = 0.66
    told = small_and_large("routebalance", w_quality=0.7, w_cost=0.0)
    assert places(told, "c1", "c2", "c3") == ["s", "l", "s"]


@pytest.mark.parametrize(
    ("small_price", "large_price", "to"),
    [
        (None, None, "s"),  # steps weigh 2 against 10
        (5.0, 1.0, "l"),  # 300 tokens at a price
        (5.0, None, "s"),  # one price alone says nothing
    ],
)
def test_routebalance_counts_prices_where_all_are_known(
    small_price: float | None, large_price: float | None, to: str
) -> None:
    of = pool(
        endpoint("l", "large", price=large_price, **LARGE),
        endpoint("s", "small", price=small_price, **SMALL),
    )
    told = Teller(of, policy="routebalance", w_quality=0.0, w_cost=1.0)
    assert granted(told.ready("c1")) == [("c1", to)]


def test_routebalance_serves_in_order_of_arrival() -> None:
    told = Teller(pool(endpoint("s", **SMALL)), policy="routebalance+release")
    teach(told, "long", output=900.0)
    teach(told, "short", output=30.0)
    told.ready("c0")
    told.ready("c1", run="r1", graph="short")
    told.ready("c2", run="r2", graph="long")
    assert granted(told.ended("c0")) == [("c1", "s")]
    bound = Teller(pool(endpoint("s", **SMALL)), policy="routebalance")
    (grant,) = grants(bound.ready("c1"))
    assert grant.urgency == 0.0


def test_weights_must_leave_something() -> None:
    with pytest.raises(ConfigError, match="sum to no more than 1"):
        make_policy("routebalance", {"w_quality": 0.8, "w_cost": 0.3})


# -- when to stop ----------------------------------------------------------------------------------

STOPPED = (
    "chimera",
    "routebalance",
    "router-lb",
    "router-sf",
    "static",
    "large-only",
    "small-only",
)


@pytest.mark.parametrize("policy", STOPPED)
def test_after_so_many_attempts_another_is_advised_against(policy: str) -> None:
    told = small_and_large(policy, attempts=2)
    looping(told)
    advice = lambda: told.scheduler.worth_retrying(RunId("r1"), "step", told.now)  # noqa: E731
    for name, node in (("c1", "n1"), ("c2", "n1"), ("other", "n2")):  # an attempt of two calls
        told.ready(name, node=node, node_name="read" if name == "other" else "step")
        told.ended(name)
    assert advice()
    told.ready("c3", node="n3", node_name="step")
    assert advice()  # asked, not answered
    told.ended("c3")
    assert not advice()
    with pytest.raises(ConfigError, match="attempts must be >= 1"):
        make_policy(policy, {"attempts": 0})


@pytest.mark.parametrize("policy", STOPPED[:-1])
def test_attempts_are_swept_early_and_not_too_finely(policy: str) -> None:
    sweep = POLICIES[policy].sweep
    assert len(sweep) <= (48 if policy == "chimera" else 15)
    assert {one["attempts"] for one in sweep} == {1, 2, 4}
    assert {one["attempts"] for one in sweep[:8]} >= {1, 4}


# -- routers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["router-lb", "router-sf"])
@pytest.mark.parametrize(
    ("cost_weight", "to"),
    # small 0.6 - 2 w, large 0.9 - 10 w: equal at w = 0.0375
    [(0.03, "l"), (0.05, "s")],
)
def test_a_router_gives_up_so_much_confidence_for_a_second(
    policy: str, cost_weight: float, to: str
) -> None:
    told = small_and_large(policy, cost_weight=cost_weight)
    assert places(told, "c1", "c2", "c3") == [to] * 3  # load changes nothing


def test_router_lb_goes_where_fewest_calls_are_open() -> None:
    of = pool(
        endpoint("s", "small", **SMALL),
        endpoint("l1", "large", seats=1, **LARGE),
        endpoint("l2", "large", seats=9, **LARGE),
        quality=QUALITY,
    )
    told = Teller(of, policy="router-lb", cost_weight=0.0)
    assert places(told, "c1", "c2", "c3") == ["l1", "l2", "l1"]


def test_router_sf_serves_the_shortest_answer_first() -> None:
    told = small_and_large("router-sf+release", seats=1, cost_weight=0.0)
    teach(told, "long", output=900.0)
    teach(told, "short", output=30.0)
    told.ready("c0")
    told.ready("c1", run="r1", graph="long")
    told.ready("c2", run="r2", graph="short")
    assert granted(told.ended("c0")) == [("c2", "l")]


# -- cascade ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "to"), [((), "s"), (("small",), "l"), (("small", "large"), "l")]
)
def test_cascade_takes_the_smallest_that_has_not_failed(failed: tuple[str, ...], to: str) -> None:
    told = small_and_large("cascade")
    looping(told, *failed)
    assert granted(told.ready("c1")) == [("c1", to)]


def test_cascade_stops_when_the_largest_has_failed() -> None:
    told = small_and_large("cascade")
    looping(told)
    advice = lambda: told.scheduler.worth_retrying(RunId("r1"), "step", told.now)  # noqa: E731
    assert advice()
    told.ready("c1")
    told.ended("c1")
    assert advice()  # the small model's answer did not do: the large one is left
    told.scheduler.books.runs[RunId("r1")].failed_models = ("small",)
    told.ready("c2")
    told.ended("c2")
    assert not advice()


@pytest.mark.parametrize(
    ("params", "limit"),
    [
        # as in test_systems_limits.py: none pays at 300 s, 900 at 100 s, 300 at 10 s, 100 below 5 s
        ({"capped": False}, 900),
        ({}, 300),  # the large model is free: 200 tokens at 0.05 s
        ({"busy": 9}, 900),  # all seats are taken: as long again
    ],
)
def test_cascade_caps_what_a_right_answer_is_worth_by_the_next_model_as_it_is_loaded(
    params: dict[str, Any], limit: int
) -> None:
    busy = params.pop("busy", 0)
    told = small_and_large("cascade", limit=True, failure_s=100.0, **params)
    told.run_started("r1")
    told.scheduler.books.runs[RunId("r1")].explores = False
    limits = told.scheduler.policy.rule._limits  # type: ignore[attr-defined]
    answers = [(1000, False)] * 5 + [(100, True)] * 40 + [(300, True)] * 4 + [(900, True)]
    for tokens, ok in answers:
        limits.learn(Query(graph="g", node="step", model="small"), tokens, ok)
    for place in range(40 if busy else 0):
        told.sent(f"b{place}", "l", run=f"b{place}")
    (grant,) = grants(told.ready("c1", run="r1"))
    assert (grant.endpoint, grant.output_limit) == ("s", limit)


def test_cascade_limits_answers_by_what_it_heard_of_their_worth() -> None:
    told = Teller(
        pool(endpoint("s", "small", seats=9, **SMALL)), policy="cascade", limit=True, failure_s=10.0
    )
    # as in test_systems_limits.py: a limit of 300 costs 80 s, none 111 s
    answers = [(100, True)] * 40 + [(1000, False)] * 5 + [(300, True)] * 4 + [(900, True)]
    for place, (tokens, ok) in enumerate(answers):
        run = f"r{place}"
        (grant,) = grants(told.ready(f"c{place}", run=run))
        assert grant.output_limit is None  # too little is known
        told.ended(f"c{place}", output_tokens=tokens)
        told.tell(Feedback(run=RunId(run), ok=ok))
        told.run_ended(run)
    told.endpoint("s").speed = 1.0
    told.run_started("next")
    told.scheduler.books.runs[RunId("next")].explores = False
    (grant,) = grants(told.ready("n1", run="next"))
    assert grant.output_limit == 300
    told.scheduler.books.runs[RunId("next")].explores = True
    (grant,) = grants(told.ready("n2", run="next"))
    assert grant.output_limit is None

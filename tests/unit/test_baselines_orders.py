"""In which order baselines serve calls, and where those go whose source does not say, by hand."""

import math
from typing import Any

import pytest

from headway.core.errors import ConfigError
from headway.core.protocols import Query
from headway.core.types import RunId
from headway.policy import POLICIES, make_policy
from headway.policy.baselines import RULES
from tests.support.telling import Teller, endpoint, granted, grants, pool


def one_seat(policy: str, **params: Any) -> Teller:
    """One endpoint with one seat, which a call of run ``r0`` holds from 0 on."""
    told = Teller(pool(endpoint("a")), policy=policy, **params)
    told.ready("c0", run="r0", at=0.0)
    return told


def served(told: Teller, *, at: float) -> list[str]:
    """The calls that wait, in the order in which the seat is given to them."""
    order, last = [], "c0"
    while told.waiting():
        asked = told.asked[(last, 1)]
        ((last, _),) = granted(told.ended(last, run=asked.run, at=at))
        order.append(last)
    return order


def urgency(told: Teller, call: str, **fields: Any) -> float:
    """What the engine is told of the call."""
    (grant,) = grants(told.ready(call, **fields))
    return grant.urgency


def set_run(told: Teller, name: str, **values: float) -> None:
    run = told.scheduler.books.runs[RunId(name)]
    for key, value in values.items():
        setattr(run, key, value)


def order_of(told: Teller, name: str) -> float:
    """What the rule of the teller's policy says of a call on the books."""
    call = told.call(name)
    assert call is not None
    rule = told.scheduler.policy.rule  # type: ignore[attr-defined]
    return float(rule.order(told.scheduler.view(told.now), call))


# -- by arrival ------------------------------------------------------------------------------------


def test_fcfs_goes_by_arrival_of_the_call_and_workflow_fcfs_by_that_of_its_run() -> None:
    # runs old, mid, new began at 0, 1, 2; their calls are ready at 5, 4, 3
    for policy, expected in (
        ("fcfs+release", ["new", "mid", "old"]),
        ("workflow-fcfs+release", ["old", "mid", "new"]),
    ):
        told = one_seat(policy)
        for began, run in enumerate(("old", "mid", "new")):
            told.run_started(run, at=float(began))
        for ready, run in ((3.0, "new"), (4.0, "mid"), (5.0, "old")):
            told.ready(run, run=run, at=ready)
        assert served(told, at=6.0) == expected


def test_workflow_fcfs_bound_at_once_tells_the_engine_when_the_run_began() -> None:
    # in seconds since the first fact: a clock that counts from a boot says more than urgencies can
    booted = 3e7
    told = Teller(pool(endpoint("a", seats=9)), policy="workflow-fcfs")
    told.run_started("r0", at=booted)
    told.run_started("r1", at=booted + 2.5)
    assert urgency(told, "c0", run="r0", at=booted + 9.0) == 0.0
    assert urgency(told, "c1", run="r1", at=booted + 9.0) == -2.5


def test_workflow_fcfs_keeps_a_run_where_it_is_and_deals_others_by_open_calls_a_seat() -> None:
    told = Teller(pool(endpoint("a", seats=2), endpoint("b", seats=4)), policy="workflow-fcfs")
    told.sent("c0", "b")
    told.ended("c0", run="r1")
    for other in ("o1", "o2"):
        told.sent(other, "b", run=other)
    assert granted(told.ready("c1")) == [("c1", "b")]  # 2/4 there, 0/2 on a: home none the less
    assert granted(told.ready("n1", run="n1")) == [("n1", "a")]  # 3/4 against 0/2
    assert granted(told.ready("n2", run="n2")) == [("n2", "a")]  # 3/4 against 1/2
    told.endpoint("b").reachable = False
    assert granted(told.ready("c2")) == [("c2", "a")]


def test_earliest_finish_counts_what_is_queued_in_the_engine() -> None:
    # 200 tokens take 4 s on a, 10 s on b: 4 < 10, then behind one 8 < 10, behind two 12 > 10
    of = pool(
        endpoint("a", step_s=0.02, prefill_s=0.0),
        endpoint("b", "large", step_s=0.05, prefill_s=0.0),
    )
    told = Teller(of, policy="edf")
    places = [to for name in "123" for _, to in granted(told.ready(name, run=name))]
    assert places == ["a", "a", "b"]


def test_earliest_finish_counts_the_cached_prefix() -> None:
    # both alike; b served the run's last call and still has part of its prompt
    of = pool(endpoint("a", prefill_s=0.01, seats=2), endpoint("b", prefill_s=0.01, seats=2))
    told = Teller(of, policy="edf")
    told.sent("c0", "b")
    told.ended("c0", run="r1", prompt_tokens=100, cached_tokens=0)
    told.endpoint("b").speed = told.endpoint("a").speed = 1.0
    assert granted(told.ready("c1")) == [("c1", "b")]
    assert granted(told.ready("c2", run="r2")) == [("c2", "a")]


# -- by deadline -----------------------------------------------------------------------------------


def test_edf_takes_what_is_due_first_and_runs_without_a_deadline_last() -> None:
    # due: late 1 + 30 = 31, soon 2 + 20 = 22, never
    told = one_seat("edf+release")
    told.ready("never", run="never", at=0.0)
    told.ready("late", run="late", deadline_s=30.0, at=1.0)
    told.ready("soon", run="soon", deadline_s=20.0, at=2.0)
    assert served(told, at=3.0) == ["soon", "late", "never"]


def test_edf_bound_at_once_tells_when_the_run_is_due() -> None:
    # since the first fact: 1 + 30 and 500,000 + 2
    booted = 3e7
    told = Teller(pool(endpoint("a")), policy="edf")
    told.run_started("r0", at=booted)
    assert urgency(told, "c1", run="r1", deadline_s=30.0, at=booted + 1.0) == -31.0
    assert urgency(told, "c2", run="r2", at=booted + 2.0) == -500_002.0


def teach_rest(told: Teller, graph: str, rest_s: float) -> None:
    for _ in range(500):
        told.scheduler.foresight.rest_s.learn(Query(graph=graph, node="write"), rest_s)


def test_llf_takes_what_can_least_afford_to_wait() -> None:
    # must start by: long 30 - 20 = 10, short 25 - 2 = 23, though it is due first
    told = one_seat("llf+release")
    teach_rest(told, "long", 20.0)
    teach_rest(told, "short", 2.0)
    told.ready("never", run="never", at=0.0)
    told.ready("short", run="short", graph="short", deadline_s=25.0)
    told.ready("long", run="long", graph="long", deadline_s=30.0)
    assert order_of(told, "long") == pytest.approx(10.0, abs=0.5)
    assert order_of(told, "short") == pytest.approx(23.0, abs=0.5)
    assert served(told, at=1.0) == ["long", "short", "never"]


# -- by attained service ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("served_s", "level"), [(0.0, 0), (1.99, 0), (2.0, 1), (3.9, 1), (4.1, 2), (8.1, 3), (9e9, 11)]
)
def test_plas_has_queues_that_double(served_s: float, level: int) -> None:
    # quantum 2: up to 2, 4, 8, ... and the last of twelve takes the rest
    told = one_seat("plas", promote_at=0.0)
    told.ready("c1", run="r1")
    set_run(told, "r1", served_s=served_s)
    assert order_of(told, "c1") == level


def test_plas_takes_the_run_that_was_served_least() -> None:
    # levels: much 1 + log2(9 / 2) = 3, little 1 + log2(3 / 2) = 1, new 0
    told = one_seat("plas+release", promote_at=0.0)
    for name, served_s in (("much", 9.0), ("little", 3.0), ("new", 0.0)):
        told.ready(name, run=name)
        set_run(told, name, served_s=served_s)
    assert served(told, at=1.0) == ["new", "little", "much"]


def test_plas_counts_what_calls_took_on_idle_endpoints() -> None:
    # 100 tokens at 0.02 s and 100 of prompt at 0.0002 s
    told = Teller(pool(endpoint("a")), policy="plas", quantum_s=2.0)
    told.ready("c1", at=0.0)
    told.ended("c1", at=5.0, prompt_tokens=100)
    assert told.scheduler.books.runs[RunId("r1")].served_s == pytest.approx(2.02, rel=0.3)
    assert urgency(told, "c2") == -1.0


def test_plas_promotes_a_call_whose_run_waited_too_long_for_what_it_got() -> None:
    # served 8 s: at 4 times as much, 32 s, the run of 3 levels goes to the first
    told = one_seat("plas+release", promote_at=4.0)
    told.ready("c1", run="r1", at=0.0)
    set_run(told, "r1", served_s=8.0)
    told.now = 31.9
    assert order_of(told, "c1") == 3.0
    told.now = 32.0
    assert order_of(told, "c1") == 0.0


def test_atlas_counts_the_longest_path_and_plas_all_branches() -> None:
    # two siblings of 3 s each: plas 1 + log2(6 / 2) = 2, atlas 1 + log2(3 / 2) = 1
    told = one_seat("atlas")
    told.ready("c1", run="r1", node="join")
    run = told.scheduler.books.runs[RunId("r1")]
    run.served_s, run.nodes[told.asked[("c1", 1)].node].path_s = 6.0, 3.0
    assert order_of(told, "c1") == 1.0
    told.scheduler.policy = make_policy("plas")
    assert order_of(told, "c1") == 2.0


def test_autellix_keeps_long_prompts_at_home_and_spreads_short_ones() -> None:
    told = Teller(pool(endpoint("a", seats=4), endpoint("b", seats=4)), policy="atlas")
    told.sent("c0", "b")
    told.ended("c0", run="r1", at=1.0)
    told.sent("other", "b", run="r2")
    assert granted(told.ready("short", prompt_chars=8192)) == [("short", "a")]  # 2048 tokens
    told.ended("short", at=2.0)
    told.sent("c3", "b")
    told.ended("c3", run="r1", at=3.0)
    assert granted(told.ready("long", prompt_chars=8196)) == [("long", "b")]


def test_boost_is_a_head_start_that_service_uses_up() -> None:
    # C = 16: unserved 16 * ln(1 - exp(-0.1 / 16)) = -81.2; served 15.9 s 16 * ln(1 - 1/e) = -7.3
    told = one_seat("boost+release", scale_s=16.0)
    for name, began in (("old", 0.0), ("new", 70.0), ("newest", 80.0)):
        told.ready(name, run=name, at=began)
    set_run(told, "old", served_s=15.9)
    assert order_of(told, "old") == pytest.approx(-7.34, abs=0.01)
    assert order_of(told, "new") == pytest.approx(70 - 81.25, abs=0.05)
    assert order_of(told, "newest") == pytest.approx(80 + 16 * math.log(1 - math.exp(-0.00625)))
    assert served(told, at=81.0) == ["new", "old", "newest"]


def test_boost_without_a_scale_is_order_of_arrival() -> None:
    told = Teller(pool(endpoint("a")), policy="boost", scale_s=0.0)
    told.ready("c0", run="r0", at=3e7)
    told.ready("c1", run="r1", at=3e7 + 3.0)
    set_run(told, "r1", served_s=5.0)
    assert order_of(told, "c1") == 3.0


# -- by length -------------------------------------------------------------------------------------


def test_ltr_takes_the_shortest_answer_until_one_was_overtaken_too_often() -> None:
    told = one_seat("ltr+release", overtaken=2)
    for node, tokens in (("essay", 900.0), ("letter", 300.0), ("word", 10.0)):
        for _ in range(500):
            place = Query(graph="g", node=node, model="small")
            told.scheduler.foresight.output_tokens.learn(place, tokens)
    told.ready("essay", run="e", node_name="essay")
    for number in range(3):
        told.ready(f"word{number}", run=f"w{number}", node_name="word", at=1.0)
    told.ready("letter", run="l", node_name="letter", at=0.5)
    assert order_of(told, "essay") == pytest.approx(900, rel=0.1)
    # two words overtake the others; then all are starved and go by arrival
    assert served(told, at=2.0) == ["word0", "word1", "essay", "letter", "word2"]


# -- by name ---------------------------------------------------------------------------------------


def test_every_set_of_parameters_that_is_swept_makes_a_policy() -> None:
    swept = 0
    for name, maker in POLICIES.items():
        for params in maker.sweep:
            policy = make_policy(name, params)
            assert policy.name == name
            swept += bool(params)
    assert swept > 40


def test_each_rule_says_what_it_is() -> None:
    for name, rule in RULES.items():
        told = " ".join((rule.__doc__ or "").split())
        for part in ("What: ", "Why choose it: ", "Inputs: ", "Parameters: ", "Trade-offs: "):
            assert part in told, (name, part)
        assert "Source: " in told, name


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("fcfs+relase", {}, "did you mean `fcfs\\+release`"),
        ("edf", {"share": 1}, "'edf' has no parameter 'share'; it has none"),
        ("static", {"shares": 1}, "did you mean `share`"),
        ("static+release", {"share": 1.5}, "share must be from 0 to 1"),
        ("plas", {"factor": 1}, "factor > 1"),
        ("ltr", {"overtaken": -1}, "overtaken must be >= 0"),
        ("boost", {"scale_s": -1}, "scale_s must be >= 0"),
        ("latency-based", {"lowest_latency_buffer": -1}, "must be >= 0"),
    ],
)
def test_what_cannot_be_is_refused(name: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_policy(name, params)

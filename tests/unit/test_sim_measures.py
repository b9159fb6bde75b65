"""Every measure on three runs of one call each, worked by hand.

    run  tenant  arrived  ready  released  first  ended  paused  alone  deadline  ok     cost
    a    x       0        0      1         2      5      0       2      6         True   1.0
    b    x       1        1      3         4      13     2       5      8         False  2.0
    c    y       2        2      2         3      6      0       4      -         True   3.0

completion: a 5 - 0 = 5;  b 13 - 1 - 2 = 10;  c 6 - 2 = 4
slowdown:   a 5/2 = 2.5;  b 10/5 = 2;         c 4/4 = 1
held (ended - released): a 4, b 10, c 4
"""

import math

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.sim.measures import BETTER, P99_RUNS, Measures, measure, measures_of, pooled
from headway.sim.outcomes import CallOutcome, CellOutcome, EndpointOutcome, RunOutcome
from headway.sim.tally import join, tally, window


def call(run: str, **changed: object) -> CallOutcome:
    plain = CallOutcome(
        run=run,
        node="n",
        endpoint="e1",
        model="m",
        ready_s=0.0,
        released_s=0.0,
        first_token_s=1.0,
        ended_s=2.0,
        prompt_tokens=100,
        hit_tokens=0,
        output_tokens=10,
        reference_tokens=10,
        reserved_tokens=10.0,
        max_tokens=100,
    )
    return msgspec.structs.replace(plain, **changed)


A_CALL = call(
    "a",
    released_s=1.0,
    first_token_s=2.0,
    ended_s=5.0,
    prompt_tokens=100,
    hit_tokens=20,
    output_tokens=10,
    reference_tokens=20,
    reserved_tokens=20.0,
    max_tokens=100,
)
B_CALL = call(
    "b",
    ready_s=1.0,
    released_s=3.0,
    first_token_s=4.0,
    ended_s=13.0,
    prompt_tokens=200,
    hit_tokens=0,
    output_tokens=50,
    reference_tokens=25,
    reserved_tokens=60.0,
    max_tokens=100,
    preemptions=2,
)
C_CALL = call(
    "c",
    endpoint="e2",
    ready_s=2.0,
    released_s=2.0,
    first_token_s=3.0,
    ended_s=6.0,
    prompt_tokens=100,
    hit_tokens=80,
    output_tokens=8,
    reference_tokens=8,
    reserved_tokens=30.0,
    max_tokens=100,
)
A = RunOutcome(
    id="a",
    graph="g",
    arrived_s=0.0,
    ended_s=5.0,
    alone_s=2.0,
    deadline_s=6.0,
    ok=True,
    tenant="x",
    cost=1.0,
    calls=(A_CALL,),
)
B = RunOutcome(
    id="b",
    graph="g",
    arrived_s=1.0,
    ended_s=13.0,
    paused_s=2.0,
    alone_s=5.0,
    deadline_s=8.0,
    ok=False,
    tenant="x",
    cost=2.0,
    calls=(B_CALL,),
)
C = RunOutcome(
    id="c",
    graph="g",
    arrived_s=2.0,
    ended_s=6.0,
    alone_s=4.0,
    ok=True,
    tenant="y",
    cost=3.0,
    calls=(C_CALL,),
)
LOST = msgspec.structs.replace(B, ended_s=None)
"""B as it goes if it never ends."""


def endpoint(name: str, busy_s: float, calls: int) -> EndpointOutcome:
    return EndpointOutcome(
        id=name,
        model="m",
        busy_s=busy_s,
        calls=calls,
        prompt_tokens=0,
        hit_tokens=0,
        output_tokens=0,
    )


def cell(*runs: RunOutcome, **changed: object) -> CellOutcome:
    plain = CellOutcome(
        runs=runs or (A, B, C),
        endpoints=(endpoint("e2", 5.0, 1), endpoint("e1", 15.0, 2)),
        span_s=20.0,
        planner_s=(0.001, 0.002, 0.006),
    )
    return msgspec.structs.replace(plain, **changed)


EXPECTED = {
    "runs": 3,
    "failed": 0,
    "mean_s": 19 / 3,  # (5 + 10 + 4) / 3
    "p50_s": 5.0,
    "p95_s": 9.5,  # place 0.95 * 2 = 1.9 between 5 and 10: 5 + 0.9 * 5
    "p99_s": None,  # three runs are too few
    "slowdown_mean": 5.5 / 3,  # (2.5 + 2 + 1) / 3
    "s_per_token": (0.5 + 0.2 + 0.5) / 3,  # 5/10, 10/50, 4/8
    "s_per_reference_token": (0.25 + 0.4 + 0.5) / 3,  # 5/20, 10/25, 4/8
    "req95": 2.5,  # 95 % of three runs are all three
    "req99": None,
    "attainment": 0.5,  # a: 5 <= 6; b: 10 > 8; c has no deadline
    "goodput": 0.5,  # a's 10 tokens in 20 s
    "success": 2 / 3,
    "time_to_success_s": 9.5,  # 19 s for a and c
    "cost": 2.0,
    # reserved 20*4 + 60*10 + 30*4 = 800; static 100*4 + 100*10 + 100*4 = 1,800
    "kv_output_saved": 1 - 800 / 1800,
    # prompts 100*4 + 200*10 + 100*4 = 2,800 on both sides
    "kv_saved": 1 - 3600 / 4600,
    "kv_overflow": 1 / 3,  # b was preempted, twice, but is one call
    "longest_wait_s": 3.0,  # b: 4 - 1
    "utilisation": 0.5,  # (15/20 + 5/20) / 2
    "planner_ms": 2.0,
    "planner_p99_ms": 5.92,  # place 1.98 between 2 and 6: 2 + 0.98 * 4
    "prefix_hits": 0.25,  # 100 of 400
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_measure_is_what_one_works_out_by_hand(name: str) -> None:
    assert getattr(measure(cell()), name) == pytest.approx(EXPECTED[name])


def test_no_measure_is_without_an_example() -> None:
    apart = {"fairness", "endpoint_utilisation", "requests_per_s"}
    assert set(Measures.__struct_fields__) == set(EXPECTED) | apart
    assert set(BETTER) < set(EXPECTED)


def test_endpoints_are_told_one_by_one() -> None:
    found = measure(cell())
    assert found.endpoint_utilisation == {"e1": 0.75, "e2": 0.25}
    assert found.requests_per_s == {"e1": 0.1, "e2": 0.05}


def test_fairness_compares_the_tenants_mean_slowdown() -> None:
    # x: (2.5 + 2) / 2 = 2.25; y: 1; Jain (3.25)^2 / (2 * (2.25^2 + 1)); worst 2.25 / 1.625
    fairness = measure(cell()).fairness
    assert fairness is not None
    assert fairness.jain == pytest.approx(3.25**2 / (2 * 6.0625))
    assert fairness.worst == pytest.approx(2.25 / 1.625)
    assert measure(cell(A, B)).fairness is None  # one tenant


def test_a_tenant_whose_run_never_ends_is_served_infinitely_worse() -> None:
    fairness = measure(cell(A, LOST, C)).fairness
    assert fairness is not None
    assert (fairness.jain, fairness.worst) == (0.5, math.inf)


def test_a_run_that_never_ends_is_infinitely_slow_and_missed() -> None:
    found = measure(cell(A, LOST, C))
    assert (found.runs, found.failed) == (3, 1)
    assert found.mean_s == 4.5  # of those that ended
    assert found.p50_s == 5.0  # of 4, 5, infinite
    assert found.p95_s == found.slowdown_mean == found.req95 == math.inf
    assert found.attainment == 0.5
    assert found.time_to_success_s == math.inf


def test_a_run_that_failed_has_no_success_whatever_it_answered() -> None:
    failed = msgspec.structs.replace(A, failed=True)
    found = measure(cell(failed, B, C))
    assert found.success == pytest.approx(1 / 3)
    assert found.attainment == 0.0
    assert found.goodput == 0.0
    assert found.time_to_success_s == 19.0  # its 5 s were spent all the same


def test_what_nobody_knows_is_none() -> None:
    silent = msgspec.structs.replace(C, ok=None, calls=())
    found = measure(cell(silent, endpoints=(), planner_s=()))
    for name in ("attainment", "goodput", "success", "time_to_success_s", "s_per_token"):
        assert getattr(found, name) is None, name
    for name in ("kv_saved", "kv_overflow", "longest_wait_s", "utilisation", "planner_ms"):
        assert getattr(found, name) is None, name


def test_success_counts_only_runs_that_can_be_judged() -> None:
    assert measure(cell(A, B, msgspec.structs.replace(C, ok=None))).success == 0.5


def test_a_refused_call_overflowed() -> None:
    refused = msgspec.structs.replace(A, calls=(msgspec.structs.replace(A_CALL, refused=True),))
    assert measure(cell(refused, B, C)).kv_overflow == pytest.approx(2 / 3)


def test_a_p99_needs_enough_runs_and_pooling_the_seeds_gives_them() -> None:
    half = P99_RUNS // 2
    runs = tuple(msgspec.structs.replace(A, id=f"r{i}", ended_s=1.0 + i) for i in range(half))
    each = tally(cell(*runs))
    assert measures_of(each).p99_s is None
    found = pooled({1: each, 2: each})
    # 1, 1, 2, 2, ..., 1000, 1000: place 0.99 * 1999 = 1979.01, both neighbours are 990 and 991
    assert found.p99_s == pytest.approx(990.01, abs=1.0)
    assert found.req99 == 990 / 2  # the 1,980th of 2,000 slowdowns
    assert found.runs == P99_RUNS


def test_seeds_together_are_as_one_cell_of_all_their_runs() -> None:
    both = join({7: tally(cell(A, B)), 3: tally(cell(C))})
    assert both.runs.ids == ("3/c", "7/a", "7/b")
    together = measures_of(both)
    alone = measure(cell())
    for name in ("mean_s", "req95", "success", "kv_saved", "kv_overflow", "longest_wait_s"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name)), name
    assert together.endpoint_utilisation == {"e1": 0.75, "e2": 0.25}  # 30 of 40 s, 10 of 40 s


def test_a_window_leaves_out_warm_up_and_drain_by_arrival() -> None:
    runs = tuple(
        msgspec.structs.replace(A, id=f"r{i:02}", arrived_s=float(i), ended_s=i + 1.0)
        for i in reversed(range(20))
    )
    kept = window(cell(*runs), skip_first=0.10, skip_last=0.05)
    assert [run.id for run in kept.runs] == [f"r{i:02}" for i in range(2, 19)]
    assert kept.counted_s == 17.0  # from the third arrival at 2 to the last at 19
    assert measure(cell(*runs), skip_first=0.10, skip_last=0.05).goodput == pytest.approx(10.0)
    whole = window(cell(*runs))
    assert len(whole.runs) == 20
    assert whole.counted_s == 20.0


def test_decision_times_are_thinned_but_keep_their_quantiles() -> None:
    kept = tally(cell(planner_s=tuple(i / 1e6 for i in range(100_000)))).planner_ms
    assert len(kept) == 1000
    assert (kept[0], kept[-1]) == (0.0, pytest.approx(99.999))
    found = measure(cell(planner_s=tuple(i / 1e6 for i in range(100_000))))
    assert found.planner_ms == pytest.approx(50.0, rel=0.001)
    assert found.planner_p99_ms == pytest.approx(99.0, rel=0.001)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"alone_s": 0.0}, "run 'a' has a stand-alone time of 0.0 s"),
        ({"alone_s": math.nan}, "run 'a' has a stand-alone time of nan s"),
        ({"ended_s": -1.0}, "run 'a' ended at -1.0 s, before its arrival"),
    ],
)
def test_times_that_cannot_be_are_refused(changed: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        measure(cell(msgspec.structs.replace(A, **changed)))

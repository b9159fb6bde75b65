"""Runs played in virtual time: small examples worked by hand, and what must hold for all."""

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.types import EndpointId
from headway.engine import EngineProfile
from headway.policy import make_policy
from headway.predict.foresight import OnlineForesight
from headway.sim.confidence import make_confidence, parse_confidence
from headway.sim.families import generate
from headway.sim.luck import Luck
from headway.sim.oracle import BOUNDS, clairvoyant
from headway.sim.outcomes import CellOutcome
from headway.sim.plans import Planned, Rules
from headway.sim.pools import SimPool, Site
from headway.sim.trace import Label, Question, TraceNode, TraceRun
from headway.sim.world import play, rehearse

STEP = EngineProfile(
    prefill_s=0.0001, step_s=0.01, seq_s=0.0, context_s=0.0, seats=1, kv_tokens=16_000
)
"""A prompt of 100 tokens takes one step; so an answer of n tokens takes n * 0.01 s alone."""


def believed(pool: SimPool) -> Pool:
    def profile(site: Site) -> Profile:
        truth = site.profile
        return Profile(
            prefill_s=(site.prefill or truth).prefill_s,
            step_s=truth.step_s,
            seq_s=truth.seq_s,
            context_s=truth.context_s,
            seats=truth.seats,
            kv_tokens=truth.kv_tokens,
            wake_s=truth.wake_s,
            transfer_s=site.transfer_s,
        )

    return Pool(
        endpoints=tuple(
            EndpointSpec(
                id=EndpointId(site.id),
                url=f"http://{site.id}/v1",
                model=site.model,
                engine="emulated",
                profile=profile(site),
                server=site.server,
                prefill_server=site.prefill_server,
            )
            for site in pool.sites
        ),
        names=tuple(PoolName(name=name, models=models) for name, models in pool.names.items()),
        quality=pool.quality,
    )


def one_model(*ids: str, profile: EngineProfile = STEP) -> SimPool:
    sites = tuple(Site(id=name, model="m", profile=profile) for name in ids)
    return SimPool(name="p", sites=sites, names={"agent": ("m",)}, reference="m")


def two_models() -> SimPool:
    small = replace(STEP, seats=4)
    large = replace(STEP, step_s=0.04, seats=4)
    return SimPool(
        name="two",
        sites=(
            Site(id="s", model="small", profile=small),
            Site(id="l", model="large", profile=large),
        ),
        names={"agent": ("small", "large")},
        reference="large",
        quality={"small": 0.5, "large": 0.9},
    )


def node(name: str, output: int, *parents: int, **fields: Any) -> TraceNode:
    base: dict[str, Any] = {"prompt_tokens": 100, "output_tokens": output, "parents": parents}
    return TraceNode(name=name, **(base | fields))


def run_of(*nodes: TraceNode, name: str = "t", **fields: Any) -> TraceRun:
    return TraceRun(id=name, graph="g", group=name, nodes=nodes, **fields)


def planned(run: TraceRun, arrival: float = 0.0, **fields: Any) -> Planned:
    return Planned(**({"id": run.id, "run": run, "arrival_s": arrival, "alone_s": 1.0} | fields))


def played(
    plans: list[Planned],
    *,
    pool: SimPool | None = None,
    policy: str = "least-busy",
    luck: Luck | None = None,
    seed: int = 0,
    **options: Any,
) -> CellOutcome:
    pool = pool or one_model("e1")
    questions = {plan.id: plan.run.question for plan in plans if plan.run.question is not None}
    return play(
        plans,
        pool=pool,
        belief=believed(pool),
        policy=make_policy(policy),
        foresight=OnlineForesight(dict(pool.quality)),
        luck=luck or Luck(questions, seed=1, rho=0.5),
        rules=Rules(decision_s=0.001, seed=seed),
        **options,
    )


def test_three_calls_by_hand() -> None:
    # a (10 tokens) -> 0.5 s of tools -> b (20); another run c (30) comes while a runs, one seat
    first = run_of(node("a", 10), node("b", 20, 0, tool_s=0.5), name="r1")
    second = run_of(node("c", 30), name="r2")
    one, two = played([planned(first, 1.0), planned(second, 1.05)]).runs
    a, b = one.calls
    (c,) = two.calls
    # a: decided at 1.0, sent 0.001 later, first token after a step, 9 more steps
    assert (a.ready_s, a.released_s) == (1.0, 1.0)
    assert a.first_token_s == pytest.approx(1.011)
    assert a.ended_s == pytest.approx(1.101)
    # c waits in the engine for the seat until 1.101, then takes 30 steps
    assert c.first_token_s == pytest.approx(1.111) and c.ended_s == pytest.approx(1.401)
    # b is ready half a second after a; nobody is there
    assert b.ready_s == pytest.approx(1.601) and b.ended_s == pytest.approx(1.802)
    assert one.ended_s == b.ended_s and two.ended_s == c.ended_s


def test_a_round_trip_is_charged_once_half_of_it_each_way() -> None:
    pool = one_model("e1")
    far = msgspec.structs.replace(
        pool, sites=tuple(msgspec.structs.replace(site, rtt_s=0.4) for site in pool.sites)
    )
    (run,) = played([planned(run_of(node("a", 10)), 1.0)], pool=far).runs
    (call,) = run.calls
    assert call.first_token_s == pytest.approx(1.0 + 0.001 + 0.2 + 0.01)
    assert call.ended_s == pytest.approx(1.0 + 0.001 + 0.4 + 0.1)


def test_bound_at_once_a_call_does_not_wait_for_room_in_the_daemon() -> None:
    plans = [planned(run_of(node("a", 50), name=f"r{number}"), 1.0) for number in range(3)]
    early = played(plans, policy="headway+early")
    late = played(plans, policy="headway")
    assert [run.calls[0].released_s for run in early.runs] == [1.0] * 3
    assert sum(run.calls[0].released_s > 1.0 for run in late.runs) == 2


def test_siblings_run_together_and_the_join_waits_for_the_last() -> None:
    pool = one_model("e1", "e2", profile=replace(STEP, seats=2))
    body = run_of(node("plan", 10), node("x", 10, 0), node("x", 40, 0), node("join", 10, 1, 2))
    (run,) = played([planned(body)], pool=pool).runs
    plan, short, long, join = sorted(run.calls, key=lambda call: call.ended_s)
    assert short.ready_s == long.ready_s == plan.ended_s
    assert join.ready_s == long.ended_s
    assert run.ended_s == pytest.approx(0.101 + 0.401 + 0.101)


def test_nodes_without_a_call_end_at_once_and_do_not_end_the_run() -> None:
    tool = {"prompt_tokens": 0, "output_tokens": 0}
    body = run_of(
        node("ask", 0, **tool),
        node("look", 0, **tool),
        node("a", 10, 0),
        node("tools", 0, 2, tool_s=1.0, **tool),
        node("b", 10, 1, 3),
    )
    (run,) = played([planned(body)]).runs
    assert [call.node for call in run.calls] == ["a", "b"]
    assert run.ended_s == pytest.approx(0.101 + 1.0 + 0.101)


def test_a_persons_pause_is_not_completion() -> None:
    body = run_of(node("a", 10), node("a", 10, 0, think_s=60.0))
    (run,) = played([planned(body)]).runs
    assert run.paused_s == 60.0
    assert run.ended_s == pytest.approx(60.202)


def test_a_run_is_not_paused_while_a_sibling_works() -> None:
    fork = [
        node("a", 10),
        node("think", 10, 0, think_s=5.0),
        node("work", 800, 0),
    ]
    for order in ((0, 1, 2), (0, 2, 1)):
        body = run_of(*(fork[place] for place in order))
        (run,) = played([planned(body)], pool=one_model("e1", "e2")).runs
        assert run.paused_s == 0.0
        assert run.ended_s == pytest.approx(0.101 + 8.001)


def asked(name: str, small_ok: bool, **fields: Any) -> TraceRun:
    labels = {
        "small": Label(ok=small_ok, output_tokens=10, chance=0.5),
        "large": Label(ok=True, output_tokens=20, chance=0.9),
    }
    question = Question(kind="k", prompt_tokens=100, labels=labels)
    return TraceRun(id=name, graph="q", group=name, question=question, **fields)


def test_a_question_is_asked_until_the_verdict_is_good() -> None:
    # labels are fixed (rho 0) and the verdict knows: small fails each time, four attempts
    run = asked("q1", small_ok=False)
    assert run.question is not None
    luck = Luck({"q1": run.question}, seed=1, rho=0.0)
    plan = planned(run, attempts=4, pause_s=0.3)
    (small,) = played([plan], pool=two_models(), policy="small-only", luck=luck).runs
    assert [call.model for call in small.calls] == ["small"] * 4
    assert small.ok is False
    # each attempt's prompt holds the answer before and what the graph says of it
    assert [call.prompt_tokens for call in small.calls] == [100, 150, 200, 250]
    assert small.calls[1].ready_s == pytest.approx(small.calls[0].ended_s + 0.3)
    assert {call.reference_tokens for call in small.calls} == {20}
    (large,) = played([plan], pool=two_models(), policy="large-only", luck=luck).runs
    assert len(large.calls) == 1 and large.ok is True


def test_the_prefix_of_a_question_is_found_where_the_run_stayed() -> None:
    run = asked("q1", small_ok=False)
    assert run.question is not None
    luck = Luck({"q1": run.question}, seed=1, rho=0.0)
    (small,) = played([planned(run)], pool=two_models(), policy="small-only", luck=luck).runs
    assert small.calls[0].hit_tokens == 0
    assert all(call.hit_tokens >= 96 for call in small.calls[1:])


def test_a_prompt_that_no_cache_can_hold_fails_its_run_alone() -> None:
    huge = run_of(node("a", 10, prompt_tokens=20_000), name="huge")
    fine = run_of(node("a", 10), name="fine")
    failed, ended = played([planned(huge), planned(fine)]).runs
    assert failed.failed and failed.ended_s is None
    assert not ended.failed and ended.ended_s is not None


def test_a_node_bound_to_a_model_goes_there_and_an_unknown_one_is_an_error() -> None:
    bound = run_of(node("a", 10, model="large"))
    (run,) = played([planned(bound)], pool=two_models(), policy="small-only").runs
    assert [call.model for call in run.calls] == ["large"]
    with pytest.raises(ConfigError, match="no endpoint can serve it"):
        played([planned(run_of(node("a", 10, model="nobody")))], pool=two_models())


def test_an_endpoint_that_sleeps_wakes_for_a_call() -> None:
    profile = replace(STEP, wake_s=5.0, sleep_after_s=10.0)
    sites = (Site(id="e1", model="m", profile=profile, asleep=True),)
    pool = SimPool(name="p", sites=sites, names={"agent": ("m",)}, reference="m")
    run = run_of(node("a", 10), node("b", 10, 0, tool_s=100.0))
    (done,) = played([planned(run)], pool=pool).runs
    first, second = done.calls
    assert first.ended_s == pytest.approx(5.101, abs=0.02)
    assert second.ended_s - second.ready_s == pytest.approx(5.101, abs=0.02)


def test_prefill_and_decode_may_be_apart() -> None:
    sites = tuple(
        Site(
            id=f"{prefill}{decode}",
            model="m",
            profile=STEP,
            server=decode,
            prefill_server=prefill,
            prefill=STEP,
            transfer_s=0.001,
        )
        for prefill in ("p1", "p2")
        for decode in ("d1", "d2")
    )
    pool = SimPool(name="pairs", sites=sites, names={"agent": ("m",)}, reference="m")
    (run,) = played([planned(run_of(node("a", 11)))], pool=pool, policy="hexagent").runs
    # a step for the prompt, 100 tokens over the wire at 1 ms, then ten steps
    assert run.calls[0].ended_s == pytest.approx(0.001 + 0.01 + 0.1 + 0.1)
    two = [run_of(node("a", 11), name=name) for name in ("r1", "r2")]
    cell = played([planned(one) for one in two], pool=pool, policy="hexagent")
    places = {call.endpoint for run in cell.runs for call in run.calls}
    assert {name[:2] for name in places} == {"p1", "p2"}


def busy(policy: str, *, seed: int = 3, family: str = "mixed", runs: int = 60) -> CellOutcome:
    rng = random.Random(seed)
    at, plans = 0.0, []
    for number, run in enumerate(generate(family, runs=runs, seed=seed).runs):
        at += rng.expovariate(2.0)
        plans.append(planned(run, at, id=f"run{number}", deadline_s=30.0))
    profile = replace(STEP, seats=4, kv_tokens=400_000)
    return played(plans, pool=one_model("e1", "e2", "e3", profile=profile), policy=policy)


@pytest.mark.parametrize("policy", ["headway", "fcfs", "fcfs+release", "readiness", "hexagent"])
def test_every_run_ends_and_the_same_seed_gives_the_same(policy: str) -> None:
    first, again = busy(policy), busy(policy)
    assert first == again
    assert len(first.runs) == 60 and all(run.ended_s is not None for run in first.runs)
    assert all(
        call.ready_s <= call.released_s < call.first_token_s <= call.ended_s
        for run in first.runs
        for call in run.calls
    )


def test_runs_do_not_share_prefixes_unless_the_trace_says_so() -> None:
    body = run_of(node("a", 10, prefix=((0, 6),)), block_tokens=16)
    plans = [planned(body, float(number), id=f"r{number}") for number in range(2)]
    assert [run.calls[0].hit_tokens for run in played(plans).runs] == [0, 0]
    shared = run_of(node("a", 10, prefix=((0, 6),)), block_tokens=16, shared_blocks=True)
    plans = [planned(shared, float(number), id=f"r{number}") for number in range(2)]
    assert [run.calls[0].hit_tokens for run in played(plans).runs] == [0, 96]


def test_blocks_that_do_not_fit_the_engines_are_refused() -> None:
    odd = run_of(node("a", 10, prefix=((0, 6),)), block_tokens=24)
    with pytest.raises(ConfigError, match="block_tokens"):
        played([planned(odd)])


def test_each_pair_is_busy_only_while_its_decode_server_is() -> None:
    sites = tuple(
        Site(id=f"p{name}", model="m", profile=STEP, server=name, prefill_server="p", prefill=STEP)
        for name in ("d1", "d2")
    )
    pool = SimPool(name="pairs", sites=sites, names={"agent": ("m",)}, reference="m")
    cell = played([planned(run_of(node("a", 11)))], pool=pool, policy="hexagent")
    busy = {one.id: one.busy_s for one in cell.endpoints}
    assert sorted(busy.values()) == pytest.approx([0.0, 0.1])


def test_a_recorded_call_asks_for_what_it_asked_for() -> None:
    pool = two_models()
    belief = believed(pool)
    names = (*belief.names, PoolName(name="big", models=("large",)))
    big = run_of(node("a", 10, pool_name="big"))
    pinned = run_of(node("a", 10, models=("l",)), name="pinned")
    cell = play(
        [planned(big), planned(pinned)],
        pool=pool,
        belief=msgspec.structs.replace(belief, names=names),
        policy=make_policy("small-only"),
        foresight=OnlineForesight({}),
        luck=Luck({}, seed=1, rho=0.5),
        rules=Rules(),
    )
    assert {call.model for run in cell.runs for call in run.calls} == {"large"}


def test_decisions_are_timed_only_with_a_clock() -> None:
    ticks = iter(range(1000))
    cell = played([planned(run_of(node("a", 10)))], clock=lambda: float(next(ticks)))
    assert cell.planner_s == (1.0,)
    ticks = iter(range(1000))
    busy = [planned(run_of(node("a", 10), name=f"r{number}")) for number in range(2)]
    cell = played(busy, policy="fcfs+release", clock=lambda: float(next(ticks)))
    # the second was looked at more than once before its seat was free
    assert len(cell.planner_s) == 2 and sum(cell.planner_s) > 2.0
    assert played([planned(run_of(node("a", 10)))]).planner_s == ()


def test_a_rehearsal_teaches_lengths_of_every_model() -> None:
    pool = two_models()
    history = [
        run_of(node("a", 50, outputs={"small": 30, "large": 80}), name=f"h{number}")
        for number in range(40)
    ]
    foresight = OnlineForesight(dict(pool.quality))
    learned = rehearse(
        history,
        pool=pool,
        belief=believed(pool),
        foresight=foresight,
        luck=Luck({}, seed=1, rho=0.5),
        rules=Rules(),
    )
    sketch = learned["foresight"]["output_tokens"]["sketch"]
    windows = {tuple(key): values for key, _, values, *_ in sketch["windows"]}
    assert set(windows[("1", "small")]) == {30.0} and set(windows[("1", "large")]) == {80.0}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_know_the_truth(name: str) -> None:
    runs = [asked(f"q{number}", small_ok=number % 2 == 0) for number in range(30)]
    questions = {run.id: run.question for run in runs if run.question is not None}
    luck = Luck(questions, seed=1, rho=0.0)
    pool = two_models()
    plans = {run.id: planned(run, number * 20.0) for number, run in enumerate(runs)}
    given = make_confidence(parse_confidence("base-rate"), quality=dict(pool.quality), luck=luck)
    policy, foresight = clairvoyant(name, planned=plans, pool=pool, luck=luck, confidence=given)
    cell = play(
        list(plans.values()),
        pool=pool,
        belief=believed(pool),
        policy=policy,
        foresight=foresight,
        luck=luck,
        rules=Rules(),
    )
    calls = [call for run in cell.runs for call in run.calls]
    if name in ("clairvoyant", "clairvoyant-correct"):
        wasted = sum(len(run.calls) - 1 for run in cell.runs)
        assert wasted <= 1  # but for the first run, whose worth nobody knows yet
    if name in ("clairvoyant", "clairvoyant-length", "clairvoyant-srpt"):
        assert all(call.reserved_tokens == call.output_tokens for call in calls)

"""Workloads: splits, draws, classes, stand-alone times worked by hand, and what does not fit."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.engine import EngineProfile
from headway.sim.alone import Alone, capacity, check_room
from headway.sim.luck import Luck
from headway.sim.pools import SimPool, Site
from headway.sim.sources import Sources
from headway.sim.suite import (
    ArrivalsSpec,
    BodiesSpec,
    ClassesSpec,
    DeadlineSpec,
    TenantSpec,
    TraceSpec,
)
from headway.sim.trace import Label, Question, Trace, TraceNode, TraceRun
from headway.sim.workload import (
    IDLE_GAP,
    Draw,
    Material,
    Workload,
    distinct_runs,
    history_of,
    number_of_bodies,
    plan,
    prepare,
)

SLOW = EngineProfile(prefill_s=0.01, step_s=0.1, seq_s=0.0, context_s=0.0, seats=4, kv_tokens=4096)
FAST = EngineProfile(prefill_s=0.01, step_s=0.05, seq_s=0.0, context_s=0.0, seats=4, kv_tokens=4096)
POOL = SimPool(
    name="p",
    sites=(
        Site(id="slow", model="large", profile=SLOW),
        Site(id="fast", model="large", profile=FAST),
        Site(id="tiny", model="small", profile=FAST),
    ),
    names={"agent": ("large", "small")},
    reference="large",
)


def node(name: str, *parents: int, prompt: int = 100, out: int = 11, **rest: float) -> TraceNode:
    return TraceNode(
        name=name,
        parents=parents,
        prompt_tokens=prompt,
        output_tokens=out,
        tool_s=rest.get("tool_s", 0.0),
        think_s=rest.get("think_s", 0.0),
    )


def test_stand_alone_is_the_longest_path_on_the_best_site_with_tools() -> None:
    run = TraceRun(
        id="r",
        graph="g",
        group="g",
        nodes=(
            node("plan"),
            node("quick", 0),
            node("slow", 0, out=21, tool_s=2.0, think_s=50.0),
            TraceNode(name="join", parents=(1, 2), tool_s=0.25),
        ),
    )
    # a call on `fast`: 100 prompt tokens 1 s; 10 more tokens 0.5 s, 20 more 1 s
    alone = Alone(POOL, max_tokens=1000)
    assert alone.dag_s(run) == pytest.approx(1.5 + (2.0 + 2.0) + 0.25)


def test_the_output_limit_counts_in_stand_alone_times() -> None:
    run = TraceRun(id="r", graph="g", group="g", nodes=(node("n", out=1001),))
    assert Alone(POOL, max_tokens=11).dag_s(run) == pytest.approx(1.5)


def test_a_question_is_asked_until_the_reference_model_is_right() -> None:
    labels = {"large": Label(ok=False, output_tokens=11, chance=0.5)}
    asked = Question(kind="k", prompt_tokens=100, labels=labels)
    luck = Luck({"r": asked}, seed=1, rho=0.0)  # the same wrong answer again and again
    alone = Alone(POOL, max_tokens=1000)
    once = alone.question_s("r", luck=luck, attempts=1, pause_s=0.3)
    twice = alone.question_s("r", luck=luck, attempts=2, pause_s=0.3)
    assert once == pytest.approx(1.5)
    # the second prompt holds the first answer and 40 words about its failure
    assert twice == pytest.approx(1.5 + 0.3 + 1.51 + 0.5)


def test_a_pair_prefills_there_and_decodes_here() -> None:
    site = Site(
        id="pair", model="large", profile=SLOW, prefill_server="x", prefill=FAST, transfer_s=0.001
    )
    pool = SimPool(name="p", sites=(site,), names={"agent": ("large",)}, reference="large")
    assert Alone(pool, max_tokens=99).call_s(100, 11) == pytest.approx(1.0 + 0.1 + 10 * 0.1)


def test_a_pool_that_cannot_hold_a_prompt_is_refused() -> None:
    run = TraceRun(id="huge", graph="g", group="g", nodes=(node("n", prompt=5000),))
    with pytest.raises(ConfigError, match=r"run 'huge' needs 5,011 tokens.*max_prompt_tokens"):
        check_room([run], POOL, max_tokens=100, trace="t")
    fine = TraceRun(id="fine", graph="g", group="g", nodes=(node("n", prompt=4000),))
    check_room([fine], POOL, max_tokens=96, trace="t")


def test_capacity_is_what_full_batches_give() -> None:
    # 3 servers: 1 s of prompt and 10 steps of 0.1 or 0.05 s shared by 4
    expected = 1 / (1 + 10 * 0.1 / 4) + 2 / (1 + 10 * 0.05 / 4)
    assert capacity([(100, 10)], 1, POOL) == pytest.approx(expected)
    with pytest.raises(ConfigError, match="without calls"):
        capacity([], 1, POOL)


def spec(**changes: object) -> TraceSpec:
    base: dict[str, object] = {
        "name": "t",
        "pools": ("p",),
        "bodies": (BodiesSpec(family="chain", bodies=60),),
    }
    return TraceSpec(**{**base, **changes})  # type: ignore[arg-type]


BIG = EngineProfile(prefill_s=1e-4, step_s=0.02, seats=32, kv_tokens=1 << 20)
ROOMY = SimPool(
    name="p",
    sites=(Site(id="a", model="large", profile=BIG), Site(id="b", model="small", profile=BIG)),
    names={"agent": ("large", "small")},
    reference="large",
)
NOWHERE = Sources(data=None, base=None)


def material(trace: TraceSpec) -> Material:
    return prepare(trace, ROOMY, NOWHERE, max_tokens=4096)


def planned(trace: TraceSpec, *, rate: float = 2.0, seed: int = 1, runs: int = 50) -> Workload:
    wanted = Draw(runs=runs, rate=rate, seed=seed, rho=0.5, verifier=1.0)
    alone = Alone(ROOMY, max_tokens=4096)
    return plan(material(trace), trace, wanted, alone=alone, deadlines=DeadlineSpec())


def test_history_and_test_share_no_group() -> None:
    made = material(spec())
    taught = {run.group for part in made.parts for run in part.history}
    tested = {run.group for part in made.parts for run in part.test}
    assert len(taught) == len(tested) == 30 and not taught & tested
    assert {run.group for run in history_of(made, 10)} <= taught
    assert len(history_of(made, 10)) == 10
    whole = material(spec(history_share=0.0))
    assert len(whole.parts[0].test) == 60 and history_of(whole, 10) == ()


def test_the_same_seed_draws_the_same_runs_and_another_seed_others() -> None:
    one, again, other = planned(spec()), planned(spec()), planned(spec(), seed=2)
    assert one.planned == again.planned
    assert [p.run.id for p in one.planned] != [p.run.id for p in other.planned]
    assert len({p.id for p in one.planned}) == 50  # unique, though bodies repeat
    assert len({p.run.id for p in one.planned}) <= 30
    arrivals = [p.arrival_s for p in one.planned]
    assert arrivals == sorted(arrivals)
    assert 50 / arrivals[-1] == pytest.approx(2.0, rel=0.5)


def test_idle_runs_never_meet() -> None:
    cell = planned(spec(), rate=0.0)
    gaps = [b.arrival_s - a.arrival_s for a, b in zip(cell.planned, cell.planned[1:], strict=False)]
    assert min(gaps) == pytest.approx(IDLE_GAP * max(p.alone_s for p in cell.planned))


def test_classes_deadlines_and_tenants() -> None:
    trace = spec(
        classes=ClassesSpec(by="share", batch_share=0.5),
        tenants=(TenantSpec(name="red", share=3), TenantSpec(name="blue")),
    )
    cell = planned(trace, runs=400)
    batch = [p for p in cell.planned if p.service_class == "batch"]
    assert 140 < len(batch) < 260
    for one in cell.planned:
        factor = 10.0 if one.service_class == "batch" else 3.0
        assert one.deadline_s == pytest.approx(factor * one.alone_s)
    assert 240 < sum(p.tenant == "red" for p in cell.planned) < 360
    by_role = planned(spec(classes=ClassesSpec(by="role", batch=("publish",))))
    assert {p.service_class for p in by_role.planned if p.run.nodes[-1].name == "publish"} == {
        "batch"
    }
    by_graph = planned(spec(classes=ClassesSpec(by="graph", batch=("chain",))))
    assert {p.service_class for p in by_graph.planned} == {"batch"}


def test_questions_keep_the_labels_of_the_pools_models_only() -> None:
    asked = spec(
        bodies=(BodiesSpec(family="questions", bodies=40),),
        models={"large": "large", "middle": "small"},
    )
    made = material(asked)
    assert made.asks and made.label == "t (synthetic)"
    assert all(set(q.labels) == {"large", "small"} for q in _questions(made))
    with pytest.raises(ConfigError, match=r"none of the 40 runs is of use: its labels are of"):
        material(
            spec(bodies=(BodiesSpec(family="questions", bodies=40),), models={"large": "large"})
        )


def _questions(made: Material) -> list[Question]:
    runs = [run for part in made.parts for run in (*part.history, *part.test)]
    return [run.question for run in runs if run.question is not None]


def test_missing_data_name_the_option_and_the_set(tmp_path: Path) -> None:
    trace = spec(bodies=(BodiesSpec(data="tau_dialog_workflows"),))
    with pytest.raises(ConfigError, match=r"trace t needs.*`tau_dialog_workflows`.*--data DIR"):
        material(trace)
    with pytest.raises(ConfigError, match=r"--data .*: there is no such folder"):
        prepare(trace, ROOMY, Sources(data=tmp_path / "no", base=None), max_tokens=9)
    with pytest.raises(ConfigError, match=r"`tau_dialog_workflows`, which trace t needs, is missi"):
        prepare(trace, ROOMY, Sources(data=tmp_path, base=None), max_tokens=9)
    arrivals = spec(arrivals=ArrivalsSpec(kind="azure", service="code"))
    with pytest.raises(ConfigError, match=r"`azure_llm_2023`: give the folder"):
        material(arrivals)
    with pytest.raises(ConfigError, match=r"no set `tau_dialogs`"):
        prepare(
            spec(bodies=(BodiesSpec(data="tau_dialogs"),)),
            ROOMY,
            Sources(data=tmp_path, base=None),
            max_tokens=9,
        )


def test_longer_prompts_are_left_out_and_counted() -> None:
    made = material(spec(max_prompt_tokens=2000))
    kept = sum(len(part.history) + len(part.test) for part in made.parts)
    assert made.left_out > 0 and kept + made.left_out == 60


class Recorded(Sources):
    """One recording, in a muddled order, and Azure's instants."""

    def __init__(self, *runs: TraceRun, instants: tuple[float, ...] = (0.0, 1.0)) -> None:
        super().__init__(data=None, base=None)
        self._runs = runs
        self._instants = instants

    def trace(self, spec: BodiesSpec, *, why: str) -> Trace:
        return Trace(name="rec", source="made up", runs=self._runs, digest="same")

    def azure(self, service: str, *, why: str) -> tuple[float, ...]:
        return self._instants


def came(number: int, at: float | None) -> TraceRun:
    return TraceRun(
        id=f"b{number}", graph="g", group=f"g{number}", nodes=(node("n"),), arrival_s=at
    )


RECORDED = spec(arrivals=ArrivalsSpec(kind="recorded"), history_share=0.0)
INSTANTS = tuple(float(place * place) for place in range(10))


def replayed(seed: int, runs: int = 6) -> Workload:
    sources = Recorded(*(came(place, INSTANTS[place]) for place in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)))
    made = prepare(RECORDED, ROOMY, sources, max_tokens=4096)
    assert made.rate == pytest.approx(9 / 81)
    wanted = Draw(runs=runs, rate=made.rate, seed=seed, rho=0.5, verifier=1.0)
    alone = Alone(ROOMY, max_tokens=4096)
    return plan(made, RECORDED, wanted, alone=alone, deadlines=DeadlineSpec())


def test_each_seed_begins_elsewhere_in_a_recording_and_the_first_at_its_start() -> None:
    assert [one.run.id for one in replayed(1).planned] == ["b0", "b1", "b2", "b3", "b4", "b5"]
    firsts = [replayed(seed).planned[0].run.id for seed in range(1, 6)]
    assert len(set(firsts)) == 5
    for seed in range(1, 6):
        planned = replayed(seed).planned
        places = [int(one.run.id[1:]) for one in planned]
        assert places == [(places[0] + step) % 10 for step in range(6)]
        # the nth run at the nth instant: gaps are 2 place + 1, but a mean one where it begins anew
        gaps = [b.arrival_s - a.arrival_s for a, b in pairwise(planned)]
        recorded = [9.0 if place == 9 else 2.0 * place + 1.0 for place in places[:-1]]
        assert [gap / gaps[0] for gap in gaps] == pytest.approx(
            [gap / recorded[0] for gap in recorded]
        )


def test_runs_that_are_played_are_counted_not_those_that_could_be() -> None:
    made = prepare(
        RECORDED, ROOMY, Recorded(*(came(n, float(n)) for n in range(10))), max_tokens=4096
    )
    assert number_of_bodies(made) == 10
    assert distinct_runs(made, RECORDED, runs=4, seeds=1) == 4
    assert distinct_runs(made, RECORDED, runs=4, seeds=2) == 8
    assert distinct_runs(made, RECORDED, runs=40, seeds=1) == 10


def test_a_recording_without_all_arrivals_is_no_recording_of_arrivals() -> None:
    with pytest.raises(ConfigError, match=r"trace t: 1 of its 2 runs have no .*run 'b7'"):
        prepare(RECORDED, ROOMY, Recorded(came(0, 0.0), came(7, None)), max_tokens=4096)


def test_a_digest_covers_the_data_of_arrivals() -> None:
    trace = spec(arrivals=ArrivalsSpec(kind="azure", service="code"), history_share=0.0)
    one, same, other = (
        prepare(trace, ROOMY, Recorded(came(0, None), instants=instants), max_tokens=4096).digest
        for instants in ((0.0, 1.0), (0.0, 1.0), (0.0, 2.0))
    )
    assert one == same != other


def test_stand_alone_times_are_kept_once_a_body_whatever_it_is_asked() -> None:
    alone, body = Alone(POOL, max_tokens=1000), came(0, 0.0)
    labels = {"large": Label(ok=True, output_tokens=1)}
    for kind in ("a", "b", "c"):
        asked = Question(kind=kind, prompt_tokens=1, labels=labels)
        alone.dag_s(msgspec.structs.replace(body, question=asked))
    assert len(alone) == 1

"""A bench: what is learned beforehand depends on the cell, never on which cell came first."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from headway.sim import world
from headway.sim.cells import Bench, CellSpec
from headway.sim.poolspec import sim_pool
from headway.sim.sitespec import PoolSpec, SiteSpec
from headway.sim.sources import Sources
from headway.sim.suite import BodiesSpec, DeadlineSpec, TraceSpec, WorldSpec
from tests.unit.test_sim_runner import fake_play

POOL = PoolSpec(
    name="two",
    reference="qwen2.5-72b",
    quality={"qwen2.5-7b": 0.5, "qwen2.5-72b": 0.7},
    sites=(SiteSpec(preset="qwen2.5-7b@a100"), SiteSpec(preset="qwen2.5-72b@a100x4")),
)
TRACE = TraceSpec(
    name="questions",
    pools=("two",),
    bodies=(BodiesSpec(family="questions", bodies=60),),
    models={"small": "qwen2.5-7b", "large": "qwen2.5-72b"},
)


def cell(**changes: Any) -> CellSpec:
    given: dict[str, Any] = {
        "trace": TRACE,
        "pool": sim_pool(POOL),
        "data_digest": "d",
        "code": "c",
        "policy": "headway",
        "load": 1.0,
        "rate": 2.0,
        "world": WorldSpec(),
        "confidence": "noisy(auc=0.7)",
        "seed": 1,
        "runs": 15,
        "history": 15,
        "deadlines": DeadlineSpec(),
        "skip_first": 0.0,
        "skip_last": 0.0,
        "max_tokens": 4096,
        "decision_s": 0.001,
    }
    return CellSpec(**{**given, **changes})


def real_bench() -> Bench:
    return Bench(Sources(data=None, base=None), play=world.play, rehearse=world.rehearse)


class Rehearsals:
    """A bench's rehearsals, as they were asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        sources = Sources(data=None, base=None)
        self.bench = Bench(sources, play=fake_play, rehearse=self._rehearse)

    def _rehearse(self, history: Sequence[Any], **given: Any) -> dict[str, object]:
        self.asked.append(given)
        return {}

    def of(self, *cells: CellSpec) -> list[dict[str, Any]]:
        for one in cells:
            self.bench.outcome(one)
        return self.asked


@pytest.mark.parametrize("policy", ["headway", "cascade"])
def test_a_cell_does_not_depend_on_the_one_before(policy: str) -> None:
    params = {"limit": True} if policy == "cascade" else {}
    spec = cell(policy=policy, params=params, seed=2, runs=80, rate=6.0)
    after_another = real_bench()
    after_another.tally(msgspec.structs.replace(spec, seed=11))
    assert after_another.tally(spec) == real_bench().tally(spec)


def test_policies_and_seeds_share_a_rehearsal_and_rules_do_not() -> None:
    shared = cell(), cell(seed=2), cell(policy="fcfs"), cell(policy="chimera", params={"tau": 1.0})
    asked = Rehearsals().of(*shared)
    assert [(one["rules"].seed, one["heeds"]) for one in asked] == [(0, None)]
    others = Rehearsals().of(cell(), cell(max_tokens=512), cell(decision_s=0.1))
    assert [(one["rules"].max_tokens, one["rules"].decision_s) for one in others] == [
        (4096, 0.001),
        (512, 0.001),
        (4096, 0.1),
    ]


def test_a_policy_that_learns_by_itself_sees_the_history() -> None:
    limits = {"limit": False}, {"limit": True}
    asked = Rehearsals().of(
        *(cell(policy="cascade", params=params, seed=seed) for params in limits for seed in (1, 2)),
        cell(policy="readiness"),
        cell(policy="clairvoyant"),
    )
    heeding = [one["heeds"].name for one in asked if one["heeds"] is not None]
    assert heeding == ["cascade", "cascade", "readiness"]
    assert len(asked) == 4  # the bound shares what all others would

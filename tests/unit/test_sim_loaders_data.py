"""The public sets themselves, where ``HEADWAY_DATA`` names a folder with them."""

import os
from pathlib import Path

import pytest

from headway.sim.loaders import LOADERS, load, statistics
from headway.sim.loaders.arrivals_data import load_azure, load_servegen
from headway.sim.loaders.difficulty import with_chances

FOLDER = os.environ.get("HEADWAY_DATA", "")
pytestmark = pytest.mark.skipif(not FOLDER, reason="HEADWAY_DATA names no folder")


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_every_set_loads(name: str) -> None:
    told = statistics(load(name, Path(FOLDER)))
    assert told["runs"]
    assert told["calls"] or told["labels"]


@pytest.mark.parametrize(
    ("name", "where", "p50", "p90"),
    [
        ("chatdev_multiagent", {"variant": "agile"}, 76, 95),
        ("chatdev_multiagent", {"variant": "default"}, 14, 42),
        ("autocoderover_swebench", {}, 9, 54),
        ("text2sql_dag", {}, 15, 21),
        ("tau_dialog_workflows", {"bench": "tau2"}, 17, 33),
        ("agentcgroup_swe_tools", {}, 39, 90),
    ],
)
def test_calls_per_run_are_those_published_with_the_sets(
    name: str, where: dict[str, str], p50: int, p90: int
) -> None:
    told = statistics(load(name, Path(FOLDER), where=where))
    assert told["calls_per_run_p50"] == pytest.approx(p50, abs=1)
    assert told["calls_per_run_p90"] == pytest.approx(p90, abs=1)


@pytest.mark.parametrize("name", ["zeroeval_routing", "mmlupro_routing"])
def test_difficulty_tells_success(name: str) -> None:
    _, quality = with_chances(load(name, Path(FOLDER)))
    assert sorted(quality.values())[len(quality) // 2] > 0.8


def test_arrivals() -> None:
    assert len(load_azure(Path(FOLDER), "code")) > 1000
    assert len(load_servegen(Path(FOLDER))) > 100

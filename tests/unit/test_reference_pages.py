"""The laboratory's reference pages leave nothing out, and the trace shown is one."""

import gzip
import re
from pathlib import Path

import pytest
import yaml

from headway.core.errors import ConfigError
from headway.emulate.config import read_truths
from headway.policy import POLICIES
from headway.sim.confidence import parse_confidence
from headway.sim.families import FAMILIES
from headway.sim.measures import Measures
from headway.sim.oracle import BOUNDS
from headway.sim.suite import SUITES, Suite, load_suite
from headway.sim.trace import TraceNode, TraceRun
from headway.sim.tracefile import read_trace

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def named(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", (PAGES / page).read_text()))


def test_every_policy_is_told() -> None:
    bare = {name for name in POLICIES if not name.endswith("+release")}
    assert bare | set(BOUNDS) <= named("policies.md")


def test_every_parameter_of_a_policy_is_told() -> None:
    told = named("policies.md")
    for name, maker in POLICIES.items():
        assert set(maker.parameters) <= told, name


def test_every_suite_family_and_measure_is_told() -> None:
    told = named("simulate.md")
    assert set(SUITES) | set(FAMILIES) <= told
    assert set(Suite.__struct_fields__) - {"name", "about"} <= told | {
        "skip_first",
        "skip_last",
        "max_tokens",
        "decision_s",
    }
    assert set(Measures.__struct_fields__) - {"runs", "failed"} <= told
    for source in re.findall(r"Confidence: (.*?)\.", (PAGES / "simulate.md").read_text(), re.S):
        for each in re.findall(r"`([^`]+)`", source):
            parse_confidence(each)


def test_the_trace_shown_is_one(tmp_path: Path) -> None:
    page = (PAGES / "trace-format.md").read_text()
    (block,) = re.findall(r"^```json\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    header, _, run = block.partition("\n")
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(gzip.compress(f"{header}\n{run.replace(chr(10), '')}\n".encode()))
    (read,) = read_trace(path).runs
    assert [node.name for node in read.nodes] == ["plan", "search", "search", "write"]
    told = named("trace-format.md")
    assert set(TraceRun.__struct_fields__) | set(TraceNode.__struct_fields__) <= told


def test_the_suite_shown_is_one_and_so_are_the_truths(tmp_path: Path) -> None:
    page = (PAGES / "simulate.md").read_text()
    truths, suite = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    path = tmp_path / "mine.yaml"
    path.write_text(suite)
    (tmp_path / "mine.jsonl.gz").write_bytes(b"")
    read, folder = load_suite(str(path))
    assert folder == tmp_path and read.size("quick").seeds == 1
    assert read.traces[0].base_rate == 0.5
    endpoints = {"endpoints": [{"id": "small-1"}, {"id": "large-1"}]}
    profiles, speedup = read_truths(yaml.safe_load(truths) | endpoints)
    assert sorted(profiles) == ["large-1", "small-1"] and speedup == 1.0
    assert profiles["small-1"].seats == 64


def test_truths_of_an_endpoint_that_is_not_there_are_refused() -> None:
    document = {"endpoints": [{"id": "a"}], "emulate": {"endpoints": {"b": {"seats": 3}}}}
    with pytest.raises(ConfigError, match=r"did you mean `a`|known: a"):
        read_truths(document)

"""The results file and the store of finished cells: round trips, keys, cut lines."""

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest

from headway.core.errors import ConfigError
from headway.sim.cellstore import STORE_NAME, CellStore
from headway.sim.intervals import cell_row, pooled_row
from headway.sim.measures import measures_of
from headway.sim.results import (
    Place,
    Results,
    read_results,
    results_schema,
    write_results,
)
from headway.sim.tally import Tally
from tests.support.made_results import made_results, made_tally

ISSUE_CELL = {"trace", "load", "policy", "confidence", "seed", "runs", "measures"}
ISSUE_MEASURES = {
    *("mean_s", "p50_s", "p95_s", "p99_s", "slowdown_mean", "s_per_token"),
    *("s_per_reference_token", "req95", "req99", "attainment", "success", "cost"),
    *("kv_output_saved", "kv_overflow", "longest_wait_s", "planner_ms"),
}
SPEC = {"suite": "s", "policy": "fcfs", "seed": 1, "knobs": {"a": 1, "b": 2}}


def with_a_lost_run(known: Tally) -> Tally:
    spent = (None, *known.runs.spent_s[1:])
    runs = msgspec.structs.replace(known.runs, spent_s=spent, failed=(True, *known.runs.failed[1:]))
    return msgspec.structs.replace(known, runs=runs)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = made_results()
    path = tmp_path / "out" / "results.json"
    write_results(written, path)
    assert read_results(path) == written
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


def test_the_documented_keys_are_in_the_file(tmp_path: Path) -> None:
    write_results(made_results(), tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    assert {"suite", "commit", "data_digest", "cells"} <= set(found)
    assert found["format"] == 1
    for cell in found["cells"]:
        assert set(cell) >= ISSUE_CELL
        assert set(cell["measures"]) >= ISSUE_MEASURES
    assert found["cells"][0]["measures"]["p99_s"] is None


def test_infinities_are_null_and_named_and_come_back(tmp_path: Path) -> None:
    place, lost = Place(trace="t", load=1.0), with_a_lost_run(made_tally(1.0, 1.0, 1, 10))
    results = Results(
        suite="s",
        commit="c",
        data_digest="d",
        cells=(cell_row(place, policy="p", seed=1, tally=lost),),
        pooled=(
            pooled_row(
                place,
                policy="p",
                tallies={1: lost},
                generator=np.random.default_rng(1),
                draws=20,
            ),
        ),
    )
    path = tmp_path / "results.json"
    write_results(results, path)
    text = path.read_text()
    assert "Infinity" not in text and "NaN" not in text
    raw = json.loads(text)["cells"][0]
    assert raw["measures"]["req95"] is None
    assert "req95" in raw["infinite"] and "fairness.worst" in raw["infinite"]
    assert "p99_s" not in raw["infinite"]  # not known, rather than infinite
    found = read_results(path)
    assert found.cells[0].measures == results.cells[0].measures
    assert found.cells[0].measures.req95 == math.inf
    assert found.pooled[0].intervals == results.pooled[0].intervals
    assert found.pooled[0].completion_cdf[-1] == math.inf


def test_a_key_may_be_there_once(tmp_path: Path) -> None:
    place, known = Place(trace="t", load=1.0), made_tally(1.0, 1.0, 1, 5)
    first = cell_row(place, policy="p", seed=1, tally=known, settings={"tau": 1})
    fine = [
        first,
        cell_row(place, policy="p", seed=2, tally=known, settings={"tau": 1}),
        cell_row(place, policy="p", seed=1, tally=known, settings={"tau": 2}),
        cell_row(
            msgspec.structs.replace(place, world="v=0.8"),
            policy="p",
            seed=1,
            tally=known,
            settings={"tau": 1},
        ),
        cell_row(
            msgspec.structs.replace(place, belief_error=0.2),
            policy="p",
            seed=1,
            tally=known,
            settings={"tau": 1},
        ),
    ]
    results = Results(suite="s", commit="c", data_digest="d", cells=tuple(fine))
    write_results(results, tmp_path / "results.json")
    twice = msgspec.structs.replace(results, cells=(*fine, first))
    with pytest.raises(ConfigError, match=r"2 rows for policy 'p' with tau=1 at trace='t'"):
        write_results(twice, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == results  # the old file is whole


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not a results file"),
        ('{"suite": "s"}', "not a results file.*commit"),
        ('{"format": 9, "suite": "s", "commit": "c", "data_digest": "d"}', "format 9"),
    ],
)
def test_what_is_not_a_results_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"results.json: .*{problem}"):
        read_results(path)
    with pytest.raises(ConfigError, match=r"none.json: cannot be read"):
        read_results(tmp_path / "none.json")


def test_the_schema_describes_every_field() -> None:
    schema = results_schema()
    for name, definition in schema["$defs"].items():
        assert definition.get("description"), name
        if name in ("RunOutcome", "CallOutcome"):  # described as a whole
            continue
        for field, each in definition["properties"].items():
            assert each.get("description"), f"{name}.{field}"


def test_a_finished_cell_is_found_again_by_its_specification(tmp_path: Path) -> None:
    store, known = CellStore(tmp_path / "cells"), made_tally(1.0, 1.0, 1, 20)
    assert store.get(SPEC) is None
    store.add(SPEC, known)
    store.add({**SPEC, "seed": 2}, made_tally(1.0, 1.0, 2, 20))
    for each in (store, CellStore(tmp_path / "cells")):
        assert len(each) == 2
        assert SPEC in each
        assert each.get(SPEC) == known
        assert each.get({**SPEC, "knobs": {"b": 2, "a": 1}}) == known  # order says nothing
        assert each.get({**SPEC, "knobs": {"a": 1, "b": 3}}) is None  # a changed suite


def test_a_lost_run_survives_the_store(tmp_path: Path) -> None:
    lost = with_a_lost_run(made_tally(1.0, 1.0, 1, 5))
    CellStore(tmp_path).add(SPEC, lost)
    found = CellStore(tmp_path).get(SPEC)
    assert found is not None
    assert measures_of(found) == measures_of(lost)
    assert found.runs.completion_s()[0] == math.inf


def test_a_line_cut_short_is_dropped_and_the_rest_goes_on(tmp_path: Path) -> None:
    known = made_tally(1.0, 1.0, 1, 5)
    store = CellStore(tmp_path)
    store.add(SPEC, known)
    whole = (tmp_path / STORE_NAME).read_bytes()
    (tmp_path / STORE_NAME).write_bytes(whole + whole[: len(whole) // 2])
    resumed = CellStore(tmp_path)
    assert len(resumed) == 1
    resumed.add({**SPEC, "seed": 2}, known)
    assert CellStore(tmp_path).get({**SPEC, "seed": 2}) == known


def test_a_line_in_the_middle_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    CellStore(tmp_path).add(SPEC, made_tally(1.0, 1.0, 1, 5))
    path = tmp_path / STORE_NAME
    path.write_bytes(path.read_bytes() + b'{"digest": 3\n' + path.read_bytes())
    with pytest.raises(ConfigError, match=r"cells.jsonl:2: not a finished cell"):
        CellStore(tmp_path)

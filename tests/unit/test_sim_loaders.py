"""Loaders: sets are found by name, rows become runs, whatever is wrong is named with its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from headway.core.errors import ConfigError
from headway.sim.loaders import LOADERS, SOURCES, load, statistics
from headway.sim.loaders.arrivals_data import load_azure, load_servegen
from headway.sim.trace import TraceRun
from headway.sim.tracefile import TraceError


def put(folder: Path, name: str, *rows: Any, part: str = "xyz") -> Path:
    path = folder / f"{name}.{part}.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return path


def chat(place: int, **changes: Any) -> dict[str, Any]:
    return {
        "i": place, "phase": "Coding", "occ": 1, "turn": 0, "role": "Programmer", "peer": "CTO",
        "in": 100, "out": 10, "t0": 10 * place, "t1": 10 * place + 8, **changes,
    }  # fmt: skip


def chatdev(run: str = "r1", **changes: Any) -> dict[str, Any]:
    calls = changes.pop("calls", [chat(0, phase=None, role="CEO"), chat(1), chat(2, t0=500)])
    return {
        "id": run, "group": "g1", "source": "s", "blob": "b", "variant": "agile", "model": "None",
        "complete": True, "wall_s": 30, "task": None, "n_calls": len(calls), "calls": calls,
        "post": {}, **changes,
    }  # fmt: skip


def chain(run: TraceRun) -> bool:
    return [node.parents for node in run.nodes] == [
        (place - 1,) if place else () for place in range(len(run.nodes))
    ]


def test_every_set_has_a_source() -> None:
    assert set(LOADERS) == set(SOURCES)
    assert all(SOURCES.values())


def test_chatdev(tmp_path: Path) -> None:
    put(tmp_path, "chatdev_multiagent", chatdev(), chatdev("r2", complete=False))
    trace = load("chatdev_multiagent", tmp_path)
    (run,) = trace.runs
    assert (run.graph, run.group, run.ok) == ("chatdev.agile", "g1", None)
    assert [node.name for node in run.nodes] == ["CEO", "Coding/Programmer", "Coding/Programmer"]
    assert [node.tool_s for node in run.nodes] == [0.0, 2.0, 300.0]
    assert chain(run)
    assert "ChatDev" in trace.source


def test_parts_are_read_in_order_and_plain_files_too(tmp_path: Path) -> None:
    put(tmp_path, "chatdev_multiagent", chatdev("b"), part="heldout")
    put(tmp_path, "chatdev_multiagent", chatdev("a"), part="dev")
    plain = tmp_path / "chatdev_multiagent.more.jsonl"
    plain.write_text(json.dumps(chatdev("c")) + "\n")
    put(tmp_path, "chatdev_multiagent_other", chatdev("d"))
    trace = load("chatdev_multiagent", tmp_path)
    assert [run.id for run in trace.runs] == ["a", "b", "c"]
    plain.write_text(json.dumps(chatdev("e")) + "\n")
    assert load("chatdev_multiagent", tmp_path).digest != trace.digest


def test_rows_are_selected_by_fields(tmp_path: Path) -> None:
    rows = [chatdev("a"), chatdev("b", variant="default"), chatdev("c", complete=False)]
    put(tmp_path, "chatdev_multiagent", *rows)

    def ids(**where: str) -> list[str]:
        return [run.id for run in load("chatdev_multiagent", tmp_path, where=where).runs]

    assert ids() == ["a", "b"]
    assert ids(variant="default") == ["b"]
    assert ids(complete="false") == ["c"]
    assert ids(n_calls="3", variant="agile") == ["a"]
    with pytest.raises(ConfigError, match=r"no field `varient`.*did you mean `variant`\?"):
        ids(varient="agile")
    with pytest.raises(ConfigError, match="no field `calls`"):
        ids(calls="3")
    with pytest.raises(ConfigError, match=r"no row has variant='agil'; did you mean `agile`\?"):
        ids(variant="agil")
    with pytest.raises(ConfigError, match=r"3 rows in .*no run is left"):
        ids(variant="default", complete="false")


def test_progress_is_told(tmp_path: Path) -> None:
    put(tmp_path, "chatdev_multiagent", *(chatdev(f"r{n}") for n in range(1500)))
    told: list[int] = []
    load("chatdev_multiagent", tmp_path, progress=told.append)
    assert told == [1000, 1500]


def test_unknown_sets_and_missing_files_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no set `chatdev`.*did you mean `chatdev_multiagent`\?"):
        load("chatdev", tmp_path)
    with pytest.raises(ConfigError, match=r"no file text2sql_dag\.PART.*no such file of any set"):
        load("text2sql_dag", tmp_path)
    put(tmp_path, "text2sql_dags", {})
    with pytest.raises(ConfigError, match=r"did you mean `text2sql_dags`\?"):
        load("text2sql_dag", tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        load("text2sql_dag", tmp_path / "absent")


def test_one_part_in_two_files_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "chatdev_multiagent", chatdev())
    (tmp_path / "chatdev_multiagent.xyz.jsonl").write_text(json.dumps(chatdev("b")))
    with pytest.raises(ConfigError, match=r"both .*xyz\.jsonl and .*xyz\.jsonl\.gz"):
        load("chatdev_multiagent", tmp_path)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "x"}, "missing required field"),
        (chatdev("b", n_calls=7), "n_calls is 7, but 3 are there"),
        (chatdev("b", calls=[chat(0, out=-1)]), r"Expected `int` >= 0.*calls"),
        (chatdev("b", calls=[chat(0, t0="x")]), "Expected `float`"),
        (chatdev("b", calls=[]), "it is empty"),
        (chatdev("a"), "run 'a' is at .*:1 already"),
        ([1], "not a row of chatdev_multiagent"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, row: Any, says: str) -> None:
    put(tmp_path, "chatdev_multiagent", chatdev("a"), row)
    with pytest.raises(TraceError, match=r"chatdev_multiagent\.xyz\.jsonl\.gz:2: .*" + says):
        load("chatdev_multiagent", tmp_path)


def test_a_cut_row_and_a_cut_file(tmp_path: Path) -> None:
    text = (json.dumps(chatdev("a")) + "\n" + json.dumps(chatdev("b")) + "\n").encode()
    plain = tmp_path / "chatdev_multiagent.dev.jsonl"
    plain.write_bytes(text[:-40])
    with pytest.raises(TraceError, match=r"dev\.jsonl:2: not JSON"):
        load("chatdev_multiagent", tmp_path)
    plain.unlink()
    packed = tmp_path / "chatdev_multiagent.dev.jsonl.gz"
    packed.write_bytes(gzip.compress(text)[:-12])
    with pytest.raises(TraceError, match=r"dev\.jsonl\.gz:\d: the file is cut"):
        load("chatdev_multiagent", tmp_path)


def test_autocoderover(tmp_path: Path) -> None:
    calls = [
        {"i": 0, "role": "search", "in": 5, "out": 2, "tools_before": 0, "t0": 39, "t1": 47},
        {"i": 1, "role": "patch", "in": 6, "out": 0, "tools_before": 3, "t0": 50, "t1": 60},
        {"i": 2, "role": "patch", "in": 7, "out": 3, "tools_before": 0, "t0": 200, "t1": 210},
    ]
    put(tmp_path, "autocoderover_swebench", {
        "id": "r", "instance": "django-1", "run": 1, "model": "m", "outcome": "x",
        "resolved": True, "n_calls": 3, "calls": calls,
    })  # fmt: skip
    (run,) = load("autocoderover_swebench", tmp_path).runs
    assert (run.group, run.ok, chain(run)) == ("django-1", True, True)
    assert [node.tool_s for node in run.nodes] == [0.0, 3.0, 30.0]
    assert [node.tool_calls for node in run.nodes] == [3, 0, 0]
    assert [node.output_tokens for node in run.nodes] == [2, 1, 3]


def test_text2sql_stages_wait_for_all_of_the_stage_before(tmp_path: Path) -> None:
    stages = [0, 1, 1, 2, 2, 2, 5]
    calls = [{"i": n, "stage": s, "role": f"s{s}", "in": 9, "out": 1} for n, s in enumerate(stages)]
    put(tmp_path, "text2sql_dag", {
        "id": "r", "group": "g", "pipeline": "chess", "source": "s", "licence": "none",
        "n_calls": 7, "calls": calls,
    })  # fmt: skip
    (run,) = load("text2sql_dag", tmp_path).runs
    assert run.graph == "text2sql.chess"
    assert [node.parents for node in run.nodes] == [
        (), (0,), (0,), (1, 2), (1, 2), (1, 2), (3, 4, 5),
    ]  # fmt: skip


def test_agentdojo_keeps_benign_runs_that_made_a_call(tmp_path: Path) -> None:
    def row(run: str, attack: str, calls: int) -> dict[str, Any]:
        made = [{"in": 40 + 20 * n, "out": 0, "tc": 1, "tools": ["t"]} for n in range(calls)]
        return {
            "id": run, "task": "bank/1", "suite": "bank", "model": "m", "attack": attack,
            "utility": False, "n_calls": calls, "calls": made,
        }  # fmt: skip

    put(tmp_path, "agentdojo_runs", row("a", "none", 2), row("b", "none", 0), row("c", "inj", 1))
    (run,) = load("agentdojo_runs", tmp_path).runs
    assert (run.id, run.group, run.ok, chain(run)) == ("a", "bank/1", False, True)
    assert [node.prefix for node in run.nodes] == [((0, 2),), ((0, 3),)]
    (other,) = load("agentdojo_runs", tmp_path, where={"attack": "inj"}).runs
    assert other.id == "c"


def test_whoandwhen_terminals_make_no_calls(tmp_path: Path) -> None:
    messages = [
        {"i": 0, "role": "Expert", "in": 0, "out": 30},
        {"i": 1, "role": "Computer_terminal", "in": 30, "out": 5},
        {"i": 2, "role": "Expert", "in": 35, "out": 7},
    ]
    row = {"id": "w", "kind": "algorithm", "question_tok": 56, "n_msgs": 3, "msgs": messages}
    put(tmp_path, "whoandwhen_multiagent", row)
    (run,) = load("whoandwhen_multiagent", tmp_path).runs
    assert [node.prompt_tokens for node in run.nodes] == [56, 0, 91]
    assert (run.ok, chain(run)) == (False, True)


def test_mapcoder_shares_its_totals(tmp_path: Path) -> None:
    def row(run: str, calls: int | None, **more: Any) -> dict[str, Any]:
        return {
            "id": run, "model": "GPT4", "method": "MapCoder", "set": "APPS", "task": "7",
            "prompt": None, "prompt_tok": 3, "api_calls": calls, "in": 100, "out": 11,
            "solved": True, **more,
        }  # fmt: skip

    path = put(tmp_path, "mapcoder_workflows", row("a", 3), row("b", None))
    many, one = load("mapcoder_workflows", tmp_path).runs
    assert [node.prompt_tokens for node in many.nodes] == [34, 33, 33]
    assert [node.output_tokens for node in many.nodes] == [4, 4, 3]
    assert [node.prompt_tokens for node in one.nodes] == [100]
    assert (many.group, many.graph, many.ok) == ("APPS/7", "mapcoder.MapCoder", True)
    path.unlink()
    put(tmp_path, "mapcoder_workflows", row("a", 12))
    with pytest.raises(TraceError, match=r":1: 12 calls cannot have"):
        load("mapcoder_workflows", tmp_path)


def test_azure_as_arrivals_and_as_runs(tmp_path: Path) -> None:
    put(
        tmp_path, "azure_llm_2023",
        {"s": "conv", "t": 2.5, "in": 10, "out": 1}, {"s": "code", "t": 1.0, "in": 20, "out": 2},
        {"s": "conv", "t": 0.5, "in": 30, "out": 3},
    )  # fmt: skip
    assert load_azure(tmp_path, "conv") == ((0.5, 30, 3), (2.5, 10, 1))
    trace = load("azure_llm_2023", tmp_path)
    assert [(run.arrival_s, run.graph) for run in trace.runs] == [
        (0.5, "azure.conv"), (1.0, "azure.code"), (2.5, "azure.conv"),
    ]  # fmt: skip
    assert len({run.id for run in trace.runs}) == 3
    with pytest.raises(ConfigError, match=r"no service `chat`"):
        load_azure(tmp_path, "chat")


def servegen(windows: list[Any]) -> dict[str, Any]:
    return {
        "id": "language/m/0", "cat": "language", "model": "m", "window_s": 600, "req_est": 99,
        "w": windows, "len": [[0, None, [4, 3, 7, 9]]],
    }  # fmt: skip


def test_servegen_clients(tmp_path: Path) -> None:
    windows = [[0, 1.3, 8.6, "W", 0.4, 0.4], [600, 0.1, 1, "G", 0.9, 10]]
    put(tmp_path, "servegen_client_windows", servegen(windows))
    (client,) = load_servegen(tmp_path)
    assert (client.id, client.requests, client.window_s) == ("language/m/0", 99, 600.0)
    first, second = client.windows
    assert (first.rate_rps, first.cv, first.family, first.a) == (1.3, 8.6, "W", 0.4)
    assert (second.start_s, second.family, second.b) == (600.0, "G", 10.0)
    assert client.lengths[0].prompt_tokens is None
    assert client.lengths[0].output_tokens == (4.0, 3.0, 7.0, 9.0)


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ([[0, 1, 1, "X", 1, 1]], "Invalid enum value 'X'"),
        ([[0, -1, 1, "G", 1, 1]], "Expected `float` >= 0"),
        ([[0, 1, 1, "G", 1]], "Expected `array` of at least length 6"),
        ([[600, 1, 1, "G", 1, 1], [0, 1, 1, "G", 1, 1]], "not in order"),
    ],
)
def test_wrong_windows(tmp_path: Path, windows: list[Any], says: str) -> None:
    put(tmp_path, "servegen_client_windows", servegen(windows))
    with pytest.raises(TraceError, match=r"xyz\.jsonl\.gz:1: .*" + says):
        load_servegen(tmp_path)


def test_statistics_by_hand(tmp_path: Path) -> None:
    rows = [
        chatdev("a", calls=[chat(0, **{"in": 10}), chat(1, **{"in": 30}), chat(2, **{"in": 20})]),
        chatdev("b", calls=[chat(0, **{"in": 40}, out=50)]),
    ]
    put(tmp_path, "chatdev_multiagent", *rows)
    told = statistics(load("chatdev_multiagent", tmp_path))
    assert (told["runs"], told["groups"], told["calls"], told["nodes"]) == (2, 1, 4, 4)
    assert (told["calls_per_run_p50"], told["calls_per_run_p90"]) == (1, 3)
    assert (told["prompt_tokens_p50"], told["prompt_tokens_p90"]) == (20, 40)
    assert (told["output_tokens_p50"], told["output_tokens_p99"]) == (10, 50)
    assert told["reused_blocks"] is None

"""Trace files: what is written is read; whatever is wrong is refused, with its line."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError
from headway.sim.trace import Label, Question, Trace, TraceNode, TraceRun
from headway.sim.tracefile import TraceError, fault, read_trace, write_trace

HEADER = {"headway_trace": 1, "name": "t", "source": "made by hand"}
RUN: dict[str, Any] = {
    "id": "r1",
    "graph": "g",
    "group": "x",
    "nodes": [
        {"name": "plan", "prompt_tokens": 100, "output_tokens": 20, "prefix": [[0, 1]]},
        {"name": "write", "parents": [0], "prompt_tokens": 50, "output_tokens": 5, "tool_s": 1.5},
    ],
}


def written(path: Path, *lines: Any) -> Path:
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def run(**changes: Any) -> dict[str, Any]:
    return {**RUN, **changes}


def node(**changes: Any) -> dict[str, Any]:
    return run(nodes=[{"name": "a", "prompt_tokens": 10, "output_tokens": 1, **changes}])


TRACE = Trace(
    name="t",
    source="made by hand",
    runs=(
        msgspec.convert(RUN, TraceRun),
        TraceRun(
            id="q1",
            graph="ask",
            group="q1",
            arrival_s=2.5,
            question=Question(
                kind="k", prompt_tokens=9, labels={"m": Label(ok=True, output_tokens=3, chance=0.5)}
            ),
        ),
    ),
)


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_trace(path, TRACE)
    read = read_trace(path)
    assert msgspec.structs.replace(read, digest="") == TRACE
    assert len(read.digest) == 32


def test_the_same_trace_gives_the_same_bytes_and_another_another_digest(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl.gz"))
    write_trace(one, TRACE)
    write_trace(two, TRACE)
    write_trace(other, msgspec.structs.replace(TRACE, runs=TRACE.runs[:1]))
    assert one.read_bytes() == two.read_bytes()
    assert read_trace(one).digest == read_trace(two).digest != read_trace(other).digest


def test_defaults_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trace(path, TRACE)
    second = json.loads(path.read_text().splitlines()[1])
    assert second == RUN


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "empty: no header"),
        (["{"], r":1: not JSON"),
        ([RUN], r":1: no header: a trace begins with"),
        (["[1]"], r":1: no header"),
        ([{**HEADER, "headway_trace": 2}, RUN], r":1: its format is 2, this Headway reads 1"),
        ([{"headway_trace": 1}, RUN], r":1: .*missing required field `name`"),
        ([{**HEADER, "sorce": ""}, RUN], r":1: unknown key `sorce`; did you mean `source`\?"),
        ([HEADER], "the trace 't' has no run"),
        ([HEADER, RUN, '{"id": "r2", "gra'], r":3: not JSON"),
        ([HEADER, '{"id": "\udcff"'], r":2: not JSON"),
        ([HEADER, RUN, run(id="r2"), RUN], r":4: run 'r1' is in line 2 already"),
        ([HEADER, "", RUN, {"id": "r2"}], r":4: .*missing required field `graph`"),
        ([HEADER, run(node=[])], r":2: unknown key `node`; did you mean `nodes`\?"),
        ([HEADER, node(promt_tokens=1)], r"`promt_tokens` in .*nodes.*mean `prompt_tokens`\?"),
        (
            [HEADER, run(question={"kind": "k", "prompt_tokens": 1, "label": {}})],
            r"unknown key `label` in .*question; did you mean `labels`\?",
        ),
        (
            [
                HEADER,
                run(
                    question={
                        "kind": "k",
                        "prompt_tokens": 1,
                        "labels": {"m": {"ok": True, "output_tokens": 1, "chanse": 1}},
                    }
                ),
            ],
            r"`chanse` in .*labels.*; did you mean `chance`\?",
        ),
        ([HEADER, run(nodes=[])], r":2: run 'r1': it is empty"),
        ([HEADER, node(prompt_tokens=0)], r":2: run 'r1': it is empty"),
        ([HEADER, node(prompt_tokens="3")], r":2: Expected `int`, got `str`"),
        ([HEADER, node(prompt_tokens=-1)], r"prompt_tokens is -1"),
        ([HEADER, node(output_tokens=-1)], r"nodes\[0\] \(a\): output_tokens is -1"),
        ([HEADER, node(outputs={"m": -4})], r"outputs\[m\] is -4"),
        ([HEADER, node(tool_s=-0.5)], r"tool_s is -0.5"),
        ([HEADER, node(think_s=-1)], r"think_s is -1"),
        ([HEADER, node(tool_s="NaN")], r":2: Expected `float`"),
        ([HEADER, node(parents=[0])], r"parent 0 is not one of the nodes before it"),
        ([HEADER, node(parents=[-1])], r"parent -1 is not one of the nodes before it"),
        ([HEADER, node(prefix=[[0, 2]])], r"prefix has 2 blocks of 64 tokens, more than its 10"),
        ([HEADER, node(prefix=[[0, 0]])], r"\(0, 0\): no stretch"),
        ([HEADER, run(block_tokens=0)], r"block_tokens is 0"),
        ([HEADER, run(arrival_s=-1)], r"arrival_s is -1"),
        (
            [HEADER, run(question={"kind": "k", "prompt_tokens": 1, "labels": {}})],
            r"question: it has no labels",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, lines: list[Any], says: str
) -> None:
    text = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    path = tmp_path / "bad.jsonl"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(TraceError, match=r"bad\.jsonl.*" + says):
        read_trace(path)


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    write_trace(path, TRACE)
    data = path.read_bytes()
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(TraceError, match=r"cut\.jsonl\.gz"):
            read_trace(path)


def test_a_flipped_byte_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl.gz", HEADER, RUN)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(TraceError, match=r"x\.jsonl\.gz"):
        read_trace(path)


def test_what_is_not_gzip_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_text("plain")
    with pytest.raises(TraceError, match=r"x\.jsonl\.gz:1: not gzip"):
        read_trace(path)
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.jsonl"):
        read_trace(tmp_path / "absent.jsonl")


def test_nothing_is_written_that_would_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    bad = TraceRun(id="r", graph="g", group="x", nodes=(TraceNode(name="a", prompt_tokens=-1),))
    with pytest.raises(TraceError, match="is not written: run 'r'"):
        write_trace(path, Trace(name="t", source="", runs=(bad,)))
    with pytest.raises(TraceError, match="twice"):
        write_trace(path, Trace(name="t", source="", runs=TRACE.runs[:1] * 2))
    assert not path.exists()


def test_times_that_are_no_numbers() -> None:
    for seconds in (float("nan"), float("inf")):
        wrong = TraceRun(
            id="r", graph="g", group="x",
            nodes=(TraceNode(name="a", prompt_tokens=1, tool_s=seconds),),
        )  # fmt: skip
        assert "tool_s is" in fault(wrong)

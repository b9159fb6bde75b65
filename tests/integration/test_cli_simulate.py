"""`headway simulate` as a user meets it: the real world on small cells, and clear refusals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from headway.core.types import NodeId, RunId
from headway.sim.results import read_results
from tests.support.journals import Recording
from tests.support.telling import endpoint, pool

SUITE = """\
name: tiny
about: a test
knee_policy: least-busy
pools:
  - name: one
    reference: qwen2.5-7b
    sites: [{preset: qwen2.5-7b@a100, seats: 4}]
traces:
  - name: chain
    pools: [one]
    bodies: [{family: chain, bodies: 20}]
policies: [fcfs, headway]
sizes:
  quick: {seeds: 1, runs: 12, loads: [0.8], history: 5, knee_plays: 0}
  default: {}
  full: {}
"""


def headway(
    *arguments: str, cwd: Path, hash_seed: str = "random"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headway.cli.main", "simulate", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "COLUMNS": "120"},
    )


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE)
    return path


def test_without_a_suite_it_lists_them(tmp_path: Path) -> None:
    done = headway(cwd=tmp_path)
    assert done.returncode == 0
    for name in ("agentic", "chimera", "hexagent", "light", "maestro", "prefix"):
        assert name in done.stdout


def test_a_suite_gives_numbers_a_page_and_a_table(tiny: Path, tmp_path: Path) -> None:
    done = headway("./tiny.yaml", "--quick", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "headway" in done.stdout and "fcfs" in done.stdout
    folder = tmp_path / "simulate-out" / "tiny"
    results = read_results(folder / "results.json")
    assert [row.policy for row in results.cells] == ["fcfs", "headway"]
    assert all(row.measures.failed == 0 for row in results.cells)
    assert results.command.startswith("headway simulate ./tiny.yaml --quick")
    assert "<html" in (folder / "report.html").read_text()[:200].lower()


def test_neither_workers_nor_the_hash_seed_change_a_number(tiny: Path, tmp_path: Path) -> None:
    found = []
    for out, workers, hash_seed in (("a", "1", "0"), ("b", "2", "1")):
        arguments = ("./tiny.yaml", "--quick", "--workers", workers, "--out", out)
        done = headway(*arguments, cwd=tmp_path, hash_seed=hash_seed)
        assert done.returncode == 0, done.stderr
        rows = read_results(tmp_path / out / "results.json").cells
        found.append([(r.policy, r.measures.mean_s, r.measures.req95, r.rate) for r in rows])
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("lite",), "no suite 'lite'; did you mean `light`?"),
        (("light", "--policy", "hedway"), "no policy 'hedway'; did you mean `headway`?"),
        (("light", "--load", "much"), "--load: 'much' is no number"),
        (("light", "--load", "-1"), "a load is 0 (idle) or a multiple of the knee, not -1"),
        (("light", "--load", "40"), "load 40 is far beyond capacity"),
        (("light", "--quick", "--full"), "--quick and --full exclude each other"),
        (("chimera", "--quick"), "needs the data set `zeroeval_routing`"),
        (("chimera", "--quick", "--data", "."), "`zeroeval_routing`, which trace"),
        (("--journal", "j"), "--journal JOURNAL and --pool headway.yaml belong together"),
        (("--journal", "j", "--pool", "p"), "there is no j"),
        (("light", "--journal", "j", "--pool", "p"), "exclude each other"),
        (("./none.yaml",), "cannot read none.yaml"),
    ],
)
def test_bad_input_is_told_in_a_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    done = headway(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


POOL = """\
endpoints:
  - id: a
    url: http://127.0.0.1:8101/v1
    model: small
    engine: emulated
    profile: {prefill_s: 0.0001, step_s: 0.01, seats: 4, kv_tokens: 100000}
models:
  agent: [small]
"""


def recorded(folder: Path) -> Path:
    """A journal of six runs, one a second, each of two calls of 100 and 40 tokens."""
    told = Recording(folder, pool(endpoint("a")))
    for number in range(6):
        run = f"r{number}"
        told.run_started(run, at=float(number), graph="g")
        for place, tokens in enumerate((100, 40)):
            node = f"{run}/n{place}"
            call = f"{run}/c{place}"
            told.ready(
                call,
                run=RunId(run),
                graph="g",
                node=NodeId(node),
                node_name="write",
                parents=(NodeId(f"{run}/n{place - 1}"),) if place else (),
            )
            told.ended(call, run=run, prompt_tokens=500, output_tokens=tokens, duration_s=0.2)
        told.run_ended(run)
    return told.paths[0]


def test_what_if_a_recording_came_twice_as_fast(tmp_path: Path) -> None:
    journal = recorded(tmp_path)
    (tmp_path / "headway.yaml").write_text(POOL)
    arguments = ("--journal", journal.name, "--pool", "headway.yaml", "--load", "1,2")
    done = headway(*arguments, "--policy", "fcfs,headway", "--workers", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = read_results(tmp_path / "simulate-out" / "what-if" / "results.json")
    by_load = {row.load: row for row in results.cells if row.policy == "fcfs"}
    assert by_load[1.0].rate == pytest.approx(1.0)
    assert by_load[2.0].rate == pytest.approx(2.0)
    assert [row.runs for row in results.cells] == [6, 6, 6, 6]
    alone_s = 2 * 0.05 + 99 * 0.01 + 39 * 0.01  # two prompts of 500 tokens, then the rest
    # the next run's prompts hold the decoding up a little
    assert alone_s < (by_load[1.0].measures.mean_s or 0.0) < 1.1 * alone_s
    assert not results.knees


def test_what_if_needs_speeds(tmp_path: Path) -> None:
    journal = recorded(tmp_path)
    bare = "\n".join(line for line in POOL.splitlines() if "profile" not in line)
    (tmp_path / "headway.yaml").write_text(bare)
    done = headway("--journal", journal.name, "--pool", "headway.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing says how fast endpoint 'a' is" in done.stderr


@pytest.mark.parametrize(("number", "told"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_no_worker_outlives_the_command(tiny: Path, number: signal.Signals, told: bool) -> None:
    tiny.write_text(SUITE.replace("seeds: 1, runs: 12", "seeds: 8, runs: 4000"))
    command = [
        "simulate",
        str(tiny),
        "--quick",
        "--workers",
        "2",
        "--out",
        str(tiny.parent / "out"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "headway.cli.main", *command],
        cwd=tiny.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        parent = psutil.Process(process.pid)
        assert _until(lambda: sum(map(_is_worker, _below(parent))) == 2)
        below = _below(parent)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    assert ("interrupted" in said) is told
    assert _until(lambda: not any(one.is_running() for one in below))


def _below(parent: psutil.Process) -> list[psutil.Process]:
    return parent.children(recursive=True)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def _until(condition: Callable[[], bool]) -> bool:
    ends = time.monotonic() + 30
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.05)
    return True

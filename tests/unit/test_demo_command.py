"""``headway demo``: what it writes, and its exit status; the playing itself is replaced."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from headway.cli.app import build
from headway_samples.demo import play as playing
from headway_samples.demo.arms import ARMS, SAMPLES
from headway_samples.demo.command import finish
from headway_samples.demo.measures import RunRecord
from headway_samples.demo.pilot import Pilot
from headway_samples.demo.plan import Plan, full_plan
from headway_samples.demo.play import Played
from headway_samples.demo.validity import Strain

MEASURES = {
    "runs": int,
    "failed": int,
    "mean_s": float,
    "p50_s": float,
    "p95_s": float,
    "p99_s": float,
    "success": float,
    "attainment": float,
}


def _played(*, failed: bool = False, cpu: float = 0.2, plan: Plan | None = None) -> Played:
    def runs(arm: str) -> list[RunRecord]:
        broken = failed and arm == ARMS[0]
        return [
            RunRecord(
                sample=sample,
                completion_s=None if broken and place == 1 else 2.0 + place,
                solved=True,
                deadline_s=5.0,
            )
            for sample in SAMPLES
            for place in range(2)
        ]

    return Played(
        pilot=Pilot(
            idle_s=1.0,
            deadlines=dict.fromkeys(SAMPLES, 5.0),
            knee=8.0,
            sureness="bracketed",
            probes=(),
            wall_s=1.0,
        ),
        rate=6.4,
        arms={arm: runs(arm) for arm in ARMS},
        errors={ARMS[0]: ["code_generation 1: Boom('[why]')"] if failed else []},
        strains=tuple(Strain(arm=arm, cpu=cpu, lateness=0.01) for arm in ARMS),
        plan=plan or full_plan(1),
        pool="3 x small",
        explained="because",
    )


def _finished(played: Played, folder: Path) -> tuple[int, str, dict]:
    console = Console(file=io.StringIO(), width=80)
    json_file = folder / "demo.json"
    status = finish(console, played, json_file=json_file, plot_file=folder / "demo.png")
    return status, console.file.getvalue(), json.loads(json_file.read_text())


def test_the_json_is_as_promised(tmp_path: Path) -> None:
    status, printed, told = _finished(_played(), tmp_path)
    assert status == 0
    assert list(told) == ["valid", "arms", "samples", "setting"]
    assert told["valid"] is True
    assert list(told["arms"]) == list(ARMS)
    assert set(told["samples"]) == set(SAMPLES)
    every = [one for arms in (told["arms"], *told["samples"].values()) for one in arms.values()]
    assert len(every) == len(ARMS) * (1 + len(SAMPLES))
    for values in every:
        assert {key: type(value) for key, value in values.items()} == MEASURES
    assert "because" in printed


def test_the_setting_says_under_what_it_was_measured(tmp_path: Path) -> None:
    setting = _finished(_played(), tmp_path)[2]["setting"]
    assert setting["seed"] == 1
    assert setting["runs_per_arm"] == 6
    assert setting["knee_runs_per_s"] == pytest.approx(8.0 / 16)  # emulated seconds
    assert setting["load_runs_per_s"] == pytest.approx(6.4 / 16)
    assert set(setting["strain"]) == set(ARMS)


def test_a_failed_run_makes_the_status_1_and_is_shown(tmp_path: Path) -> None:
    status, printed, told = _finished(_played(failed=True), tmp_path)
    assert status == 1
    assert told["arms"][ARMS[0]]["failed"] == 3
    assert "FAILED in least-busy: code_generation 1: Boom('[why]')" in printed


def test_an_invalid_demo_says_so_and_is_no_failure(tmp_path: Path) -> None:
    status, printed, told = _finished(_played(cpu=0.99), tmp_path)
    assert status == 0
    assert told["valid"] is False
    assert "host CPU at 99%" in told["setting"]["complaints"][0]
    assert "NOT VALID" in printed


@pytest.mark.parametrize("option", ["--quick", "--proxy", "--arms=all"])
def test_without_the_samples_extra_it_says_so_in_one_line(option: str) -> None:
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('langchain_openai', 'psutil'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: (\n"
        "    None if name in ('langchain_openai', 'psutil') else real(name, *rest)\n"
        ")\n"
        "from headway.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", option], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        2,
        "headway: langchain_openai, psutil not installed: "
        "headway demo needs pip install 'headway[samples]'\n",
    )


@pytest.mark.parametrize(("failed", "status"), [(False, 0), (True, 1)])
def test_the_command_plays_its_plan_and_exits_with_the_status(
    tmp_path: Path, monkeypatch, failed: bool, status: int
) -> None:
    asked: list[Plan] = []

    async def play(plan: Plan, *, folder: Path, console: Console) -> Played:
        assert folder.is_dir()
        asked.append(plan)
        return _played(failed=failed, plan=plan)

    monkeypatch.setattr(playing, "play", play)
    json_file, plot = tmp_path / "demo.json", tmp_path / "demo.png"
    done = CliRunner().invoke(
        build(), ["demo", "--quick", "--seed", "7", "--json", str(json_file), "--plot", str(plot)]
    )
    assert done.exit_code == status, done.output
    assert asked[0].seed == 7
    assert asked[0].arms == ("least-busy", "headway")
    assert json.loads(json_file.read_text())["setting"]["seed"] == 7
    assert plot.read_bytes().startswith(b"\x89PNG")

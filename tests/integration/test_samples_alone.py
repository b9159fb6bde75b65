"""Each sample as a user starts it: by itself, offline, with and without Headway."""

import asyncio
import os
import sys

import pytest

import headway.client
from headway_samples.demo.arms import HEADWAY, SAMPLES, baseline, headway_arm, use_daemon
from headway_samples.demo.arrivals import draw_arrivals
from headway_samples.demo.driver import Load, drive
from headway_samples.demo.plan import mix
from headway_samples.pool import make_pool
from headway_samples.processes import NotStarted, daemon, emulator, explain, lateness
from headway_samples.runner import URL_VARIABLE

pytestmark = pytest.mark.slow

NAMES = ("code_generation", "deep_research", "support_chat")


async def _started(name: str, *arguments: str) -> tuple[int, str]:
    # A user's own endpoint or daemon must not be what the test talks to.
    env = {
        key: value
        for key, value in os.environ.items()
        if key != URL_VARIABLE and not key.startswith("HEADWAY_")
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"headway_samples.{name}",
        "--runs",
        "2",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=env,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


@pytest.mark.parametrize("name", NAMES)
async def test_under_headway_it_runs_and_explains_itself(name: str) -> None:
    status, printed = await _started(name)
    assert status == 0, printed
    assert printed.count(f"{name} ") >= 2
    assert "emulated seconds" in printed
    assert f"of graph {name}" in printed  # the explanation of its last run
    assert "FAILED" not in printed


@pytest.mark.parametrize("name", NAMES)
async def test_undecorated_it_runs_on_one_endpoint(name: str) -> None:
    status, printed = await _started(name, "--undecorated")
    assert status == 0, printed
    assert "FAILED" not in printed
    assert "of graph" not in printed


async def test_arms_run_on_real_processes_and_headway_places_every_call(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("HEADWAY_SOCKET", "")  # restored afterwards
    # other tests of this process may have made its client already, for another socket
    monkeypatch.setattr(headway.client, "_process", headway.client._Process())
    pool = make_pool(speedup=40.0)
    load = Load(
        arrivals=draw_arrivals(seed=1, count=9, mix=mix(), variation=1.0),
        rate=10.0,
        speedup=pool.speedup,
        deadlines=dict.fromkeys(SAMPLES, 1e6),
    )
    async with emulator(pool, folder=tmp_path):
        balanced = await drive(baseline("least-busy", pool, seed=1), load)
        assert balanced.errors == []
        async with daemon(pool, folder=tmp_path) as socket:
            use_daemon(str(socket))
            arm = headway_arm(pool)
            scheduled = await drive(arm, load)
            explained = await explain(socket)
        late = await lateness(pool)
    assert len(late) >= 18  # of every request: two arms of nine runs
    assert min(late) >= 0.0
    assert arm.name == HEADWAY
    assert scheduled.errors == []
    assert len(scheduled.records) == len(balanced.records) == 9
    assert "emu-" in explained


async def test_an_emulator_that_cannot_start_says_why(tmp_path) -> None:
    pool = make_pool(speedup=-1.0)
    with pytest.raises(NotStarted, match="speedup"):
        async with emulator(pool, folder=tmp_path):
            raise AssertionError("it started")

"""The demo's arm through a real LiteLLM proxy: the proxy asks the daemon, and knows the runs."""

import json
import os
from pathlib import Path

import pytest

import headway.client
from headway_samples.demo.arms import PROXY_HEADWAY, SAMPLES
from headway_samples.demo.arrivals import draw_arrivals
from headway_samples.demo.driver import Load, drive, run_id
from headway_samples.demo.opening import opened
from headway_samples.demo.plan import mix
from headway_samples.pool import make_pool
from headway_samples.processes import emulator, explain

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm.proxy.proxy_cli")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RUNS = 6


async def test_the_proxy_of_the_demo_has_every_call_decided_for_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWAY_SOCKET", "")  # restored afterwards
    # other tests of this process may have made its client already, for another socket
    monkeypatch.setattr(headway.client, "_process", headway.client._Process())
    pool = make_pool(speedup=20.0)
    load = Load(
        arrivals=draw_arrivals(seed=1, count=RUNS, mix=mix(), variation=1.0),
        rate=5.0,
        speedup=pool.speedup,
        deadlines=dict.fromkeys(SAMPLES, 1e6),
    )
    async with (
        emulator(pool, folder=tmp_path),
        opened(PROXY_HEADWAY, pool, seed=1, folder=tmp_path) as ready,
    ):
        assert ready.socket is not None and ready.proxy is not None
        outcome = await drive(ready.arm, load)
        assert outcome.errors == []
        assert len(outcome.records) == RUNS
        named = [
            str(run_id(PROXY_HEADWAY, each.number))
            for each in outcome.records
            if each.sample != "support_chat"  # its invocations have ids of their own
        ]
        told = [json.loads(await explain(ready.socket, run, as_json=True)) for run in named]
    assert named
    for story in told:
        assert story["calls"], story
        for call in story["calls"]:
            assert call["scores"], call  # inside a tool loop only those of its model
            assert call["node"] in ("write", "repair", "planner", "researcher", "writer"), call
            assert call["outcome"] == "ok", call

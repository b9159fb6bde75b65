"""The demo's arms on a real LiteLLM Router, against a real emulator and a real daemon."""

import json
import os
from pathlib import Path

import pytest

import headway.client
from headway_samples.demo.arms import HEADWAY, ROUTER_HEADWAY, SAMPLES, STRATEGIES
from headway_samples.demo.arrivals import draw_arrivals
from headway_samples.demo.driver import Load, Outcome, drive, run_id
from headway_samples.demo.opening import HOME, opened
from headway_samples.demo.plan import mix
from headway_samples.demo.routers import CALLBACK_LISTS
from headway_samples.pool import SamplePool, make_pool
from headway_samples.processes import emulator, explain

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")
pytest.importorskip("langchain_litellm")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RUNS = 9


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> SamplePool:
    monkeypatch.setenv("HEADWAY_SOCKET", "")  # restored afterwards
    # other tests of this process may have made its client already, for another socket
    monkeypatch.setattr(headway.client, "_process", headway.client._Process())
    return make_pool(speedup=40.0)


def _load(pool: SamplePool) -> Load:
    return Load(
        arrivals=draw_arrivals(seed=1, count=RUNS, mix=mix(), variation=1.0),
        rate=10.0,
        speedup=pool.speedup,
        deadlines=dict.fromkeys(SAMPLES, 1e6),
    )


def _fine(outcome: Outcome) -> bool:
    return outcome.errors == [] and len(outcome.records) == RUNS


async def _told(outcome: Outcome, arm: str, socket: Path) -> list[dict]:
    """The calls of the runs of one invocation, as the daemon explains them."""
    told = [
        json.loads(await explain(socket, str(run_id(arm, each.number)), as_json=True))
        for each in outcome.records
        if each.sample == "code_generation"
    ]
    assert told
    return [call for story in told for call in story["calls"]]


async def test_the_arms_on_a_router_run_one_after_the_other(
    tmp_path: Path, pool: SamplePool
) -> None:
    import litellm

    before = {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS}
    async with emulator(pool, folder=tmp_path):
        for name in (HEADWAY, *STRATEGIES):
            async with opened(name, pool, seed=1, folder=tmp_path) as ready:
                assert ready.arm.name == name
                assert (ready.socket is not None) is (name in (HEADWAY, ROUTER_HEADWAY))
                outcome = await drive(ready.arm, _load(pool))
                assert _fine(outcome), (name, outcome.errors)
                if ready.socket is not None:  # the second daemon decides all calls, as the first
                    for call in await _told(outcome, name, ready.socket):
                        assert len(call["scores"]) == len(pool.endpoints), call
                        assert (call["attempt"], call["outcome"]) == (1, "ok"), call
                        assert call["output_tokens"] > 0, call
    assert {name: list(getattr(litellm, name)) for name in CALLBACK_LISTS} == before
    kept = sorted(each.name for each in tmp_path.glob(f"{HOME}-*"))
    assert [name.rpartition("-")[0] for name in kept] == [
        f"{HOME}-{HEADWAY}",
        f"{HOME}-{ROUTER_HEADWAY}",
    ]

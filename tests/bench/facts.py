"""The facts that the benchmarks tell: 1,000 live runs, and calls of theirs."""

import json
from collections.abc import Iterator

from headway.core.facts import CallEnded, CallReady, Fact, NodeStarted, RunStarted
from headway.core.pool import EndpointSpec, Pool, PoolName, Profile
from headway.core.types import CallId, EndpointId, NodeId, RunId

LIVE_RUNS = 1000
IN_FLIGHT = 32
MODELS = ("small", "medium", "large")
STEPS_S = (0.01, 0.02, 0.04)
QUALITY = (0.6, 0.75, 0.9)
ENDPOINTS_EACH = 2
POOL_NAME = "agent"


def pool(*, seats: int, urls: tuple[str, ...] = ("http://127.0.0.1:9/v1",)) -> Pool:
    """Six endpoints of three models behind one name, spread over `urls`."""
    return Pool(
        endpoints=tuple(
            EndpointSpec(
                id=EndpointId(f"{model}-{number}"),
                url=urls[number % len(urls)],
                model=model,
                profile=Profile(step_s=step_s, seats=seats),
            )
            for model, step_s in zip(MODELS, STEPS_S, strict=True)
            for number in range(ENDPOINTS_EACH)
        ),
        names=(PoolName(name=POOL_NAME, models=MODELS),),
        quality=dict(zip(MODELS, QUALITY, strict=True)),
    )


def config(*, seats: int, urls: tuple[str, ...], policy: str = "headway") -> str:
    """The same pool as a configuration (JSON is YAML)."""
    declared = pool(seats=seats, urls=urls)
    said = {
        "endpoints": [
            {
                "id": one.id,
                "url": one.url,
                "model": one.model,
                "profile": {"step_s": one.profile.step_s, "seats": seats} if one.profile else {},
            }
            for one in declared.endpoints
        ],
        "models": {POOL_NAME: list(MODELS)},
        "quality": declared.quality,
        "policy": policy,
    }
    return json.dumps(said, indent=1)


def live_runs(count: int = LIVE_RUNS) -> Iterator[Fact]:
    """Runs that have begun, each in its second node."""
    for number in range(count):
        run = RunId(f"run-{number:04d}")
        first, second = NodeId(f"{run}:plan"), NodeId(f"{run}:write")
        yield RunStarted(run=run, graph=f"graph-{number % 4}")
        yield NodeStarted(run=run, node=first, name="plan", step=1)
        yield NodeStarted(run=run, node=second, name="write", parents=(first,), step=2)


def call(number: int, runs: int = LIVE_RUNS) -> tuple[CallReady, CallEnded]:
    """Call `number`, of one run after the other, and its end."""
    run = RunId(f"run-{number % runs:04d}")
    ready = CallReady(
        call=CallId(f"call-{number:08d}"),
        attempt=1,
        run=run,
        graph=f"graph-{number % runs % 4}",
        node=NodeId(f"{run}:write"),
        node_name="write",
        pool_name=POOL_NAME,
        parents=(NodeId(f"{run}:plan"),),
        step=2,
        prompt_chars=4000,
        max_tokens=512,
    )
    ended = CallEnded(
        call=ready.call,
        attempt=1,
        run=run,
        prompt_tokens=1000,
        output_tokens=100 + number % 50,
        duration_s=1.5,
        finish_reason="stop",
    )
    return ready, ended

"""What is played: three endpoints of two models, and generated runs that keep them busy.

The pool file is that of the same pool as users write it. The daemon lives in wall seconds, so
every time that it is told is the emulated one over the speed-up.
"""

import dataclasses
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from headway.core.types import EndpointId, Seconds
from headway.engine.profile import preset
from headway.sim.alone import Alone, capacity
from headway.sim.pools import SimPool, Site
from headway.sim.poolspec import POOL_NAME, belief_pool
from headway.sim.sources import Sources
from headway.sim.suite import BodiesSpec, DeadlineSpec, TraceSpec
from headway.sim.trace import TraceRun
from headway.sim.workload import Draw, Workload, plan, prepare

SMALL, LARGE = "qwen-7b", "qwen-72b"
SEATS = 4
"""Few, so that a queue is soon there and two cores carry it."""
MAX_TOKENS = 1024
"""Of calls without a limit of their own: answers that loop for ever would decide every P95."""
AGE_GUARD_S = 60.0
"""Headway's default, here to be scaled like all times."""
HOLD_LIMIT_S = 3600.0
"""Emulated seconds: nobody gives up in either world."""
FAMILIES = (("chain", 4.0), ("single", 3.0), ("questions", 2.0), ("fanout", 1.0))
"""Generated families and their shares of the runs."""
TRACE = TraceSpec(
    name="validity",
    pools=("validity",),
    bodies=tuple(BodiesSpec(family=name, share=share) for name, share in FAMILIES),
    models={"small": SMALL, "large": LARGE},
    history_share=0.0,
)


def make_pool() -> SimPool:
    """The servers as they are, in emulated seconds."""
    sites = [
        Site(id=f"{model}-{number}", model=model, profile=_profile(name))
        for model, name, count in (
            (SMALL, "qwen2.5-7b@a100", 2),
            (LARGE, "qwen2.5-72b@a100", 1),
        )
        for number in range(1, count + 1)
    ]
    return SimPool(
        name="validity",
        sites=tuple(sites),
        names={POOL_NAME: (SMALL, LARGE)},
        reference=LARGE,
        quality={SMALL: 0.6, LARGE: 0.85},
    )


def _profile(name: str) -> Any:
    return dataclasses.replace(preset(name), seats=SEATS)


def make_workload(pool: SimPool, *, runs: int, load: float, seed: int) -> Workload:
    """`runs` runs whose Poisson arrivals ask for `load` of what the pool bears with full seats."""
    material = prepare(TRACE, pool, Sources(data=None, base=None), max_tokens=MAX_TOKENS)
    alone = Alone(pool, max_tokens=MAX_TOKENS)
    wanted = Draw(runs=runs, rate=1.0, seed=seed, rho=0.5, verifier=1.0)
    drawn = plan(material, TRACE, wanted, alone=alone, deadlines=DeadlineSpec())
    calls = [call for one in drawn.planned for call in _calls(one.run)]
    # the runs' own tokens set the rate, so that every seed is as much of a load
    rate = load * capacity(calls, runs, pool)
    loaded = dataclasses.replace(wanted, rate=rate)
    return plan(material, TRACE, loaded, alone=alone, deadlines=DeadlineSpec())


def _calls(run: TraceRun) -> list[tuple[int, int]]:
    """Prompt and output tokens of a run's calls; a question counts once, as `LARGE` answers it."""
    if run.question is not None:
        return [(run.question.prompt_tokens, run.question.labels[LARGE].output_tokens)]
    return [(one.prompt_tokens, one.output_tokens) for one in run.nodes if one.prompt_tokens]


def write_config(
    path: Path, pool: SimPool, *, urls: dict[str, str], policy: str, speedup: float, seed: int
) -> Path:
    """The pool file of emulator and daemon."""
    believed = {spec.id: spec.profile for spec in belief_pool(pool).endpoints}
    params = {"age_guard_s": AGE_GUARD_S / speedup} if policy == "headway" else {}
    grace_s: Seconds = belief_pool(pool).name(POOL_NAME).idle_grace_s
    content = {
        "endpoints": [
            {
                "id": site.id,
                "url": urls[site.id],
                "model": site.model,
                "engine": "emulated",
                "profile": _believed(believed[EndpointId(site.id)], speedup),
            }
            for site in pool.sites
        ],
        "models": {
            POOL_NAME: {"any_of": list(pool.names[POOL_NAME]), "idle_grace_s": grace_s / speedup}
        },
        "quality": dict(pool.quality),
        "policy": {"name": policy, "seed": seed, **params},
        "emulate": {
            "speedup": speedup,
            "answers": "tests.validity.answers:ToTheLimit",
            "endpoints": {site.id: _truth(site) for site in pool.sites},
        },
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def _believed(profile: Any, speedup: float) -> dict[str, Any]:
    times = {
        name: getattr(profile, name) / speedup
        for name in ("prefill_s", "step_s", "seq_s", "context_s")
    }
    return {**times, "seats": profile.seats, "kv_tokens": profile.kv_tokens}


def _truth(site: Site) -> dict[str, Any]:
    return {
        key: value
        for key, value in dataclasses.asdict(site.profile).items()
        if value not in (None, ())
    }


def free_urls(pool: SimPool) -> dict[str, str]:
    """Base URLs on ports that were free a moment ago: all held at once, so that they differ."""
    with ExitStack() as held:
        found = {}
        for site in pool.sites:
            listener = held.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            found[site.id] = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        return found

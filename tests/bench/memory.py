"""Memory of a real daemon that has learned a lot: lengths, what is left, words of prompts.

Sixteen graphs of six nodes each, whose runs come one after the other; each answer is judged, each
prompt told by its hashed words. Beside it the same daemon before the first of them.
"""

import asyncio
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from headway.core.facts import (
    CallEnded,
    CallReady,
    Fact,
    Feedback,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.prompts import features
from headway.core.types import CallId, NodeId, RunId
from headway.wire.messages import Granted
from tests.bench.facts import POOL_NAME, config
from tests.bench.measure import Result
from tests.support.daemons import Peer, process

GRAPHS, NODES = 16, 6
GOAL_MB = 200.0
WORDS = [f"word{number}" for number in range(3000)]
URLS = ("http://127.0.0.1:9/v1",)


def measure(*, runs: int, step: Callable[[], None]) -> list[Result]:
    """`daemon_memory`: MB of resident memory after so many runs of each graph."""
    with (
        tempfile.TemporaryDirectory(prefix="headway-bench-") as folder,
        process(Path(folder), config=config(seats=64, urls=URLS)) as daemon,
    ):
        fresh = _resident_mb(daemon.pid)
        asyncio.run(_taught(Path(folder) / "run" / "headway.sock", runs, step))
        full = _resident_mb(daemon.pid)
    return [
        Result(
            name="daemon_memory",
            value=full,
            unit="MB",
            ratio_to="fresh_daemon",
            ratio=full / fresh,
            n=GRAPHS * NODES * runs,
            spread=(full, full),
            goal=GOAL_MB,
            goal_of="value",
        )
    ]


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


async def _taught(socket: Path, runs: int, step: Callable[[], None]) -> None:
    rng = random.Random(1)
    peer = await Peer.hello(socket)
    for number in range(runs):
        for graph in range(GRAPHS):
            for before, ready, after in _run(f"graph-{graph}", f"r{graph}-{number}", rng):
                peer.send(*before, ready)
                granted = await peer.of(Granted)
                assert granted.endpoint, granted.why
                peer.send(*after)
        step()
    await peer.query("status")  # what was told before is taken in by then


def _run(
    graph: str, name: str, rng: random.Random
) -> Iterator[tuple[list[Fact], CallReady, list[Fact]]]:
    """For each node what is told before its call, the call, and what is told after it."""
    run = RunId(name)
    parents: tuple[NodeId, ...] = ()
    for place in range(NODES):
        node = NodeId(f"{name}:{place}")
        before: list[Fact] = [] if place else [RunStarted(run=run, graph=graph)]
        before.append(NodeStarted(run=run, node=node, name=f"n{place}", parents=parents))
        text = " ".join(rng.choices(WORDS, k=rng.randint(40, 200)))
        ready = CallReady(
            call=CallId(f"{node}:call"),
            attempt=1,
            run=run,
            graph=graph,
            node=node,
            node_name=f"n{place}",
            pool_name=POOL_NAME,
            parents=parents,
            step=place + 1,
            prompt_chars=len(text),
            features=features(text),
        )
        ended = CallEnded(
            call=ready.call,
            attempt=1,
            run=run,
            prompt_tokens=len(text) // 5,
            output_tokens=rng.randint(10, 800),
            duration_s=0.01,
            finish_reason="stop",
        )
        after: list[Fact] = [
            ended,
            Feedback(run=run, ok=rng.random() < 0.7, node=node),
            NodeEnded(run=run, node=node),
        ]
        if place == NODES - 1:
            after.append(RunEnded(run=run))
        yield before, ready, after
        parents = (node,)

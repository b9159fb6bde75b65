"""The daemon with the real scheduler: what it records replays, in every file, whatever happens."""

import asyncio
import random
from pathlib import Path

import pytest

from headway.core.facts import (
    CallEnded,
    CallReady,
    ClientLost,
    EndpointSeen,
    Event,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
    TimerFired,
)
from headway.core.types import CallId, EndpointId, NodeId, RunId
from headway.daemon.replay import compare, replay
from headway.daemon.server import Daemon
from headway.daemon.shell import Recipe, make_scheduler
from headway.wire.journal import journals_in, read_journal
from headway.wire.messages import Granted
from tests.support.daemons import Peer, call, running, until, write_config

CONFIG = """\
endpoints:
  - {id: a, url: "http://127.0.0.1:9/v1", model: small, profile: {seats: 2}}
  - {id: b, url: "http://127.0.0.1:9/v1", model: large, profile: {seats: 1}}
models:
  agent: [small, large]
quality: {small: 0.5, large: 0.9}
policy: POLICY
"""


async def one_run(peer: Peer, run: str, chance: random.Random) -> None:
    """A run with a loop of one to three calls, each answered after a tick."""
    peer.send(RunStarted(run=RunId(run), graph="g", age_s=chance.random()))
    for visit in range(1, chance.randint(2, 4)):
        node, call = NodeId(f"{run}-n{visit}"), CallId(f"{run}-c{visit}")
        peer.send(
            NodeStarted(run=RunId(run), node=node, name="write", visit=visit),
            CallReady(
                call=call,
                attempt=1,
                run=RunId(run),
                graph="g",
                node=node,
                node_name="write",
                visit=visit,
                pool_name="agent",
                prompt_chars=chance.randint(100, 4000),
                deadline_s=20.0,
            ),
        )
        granted = await peer.of(Granted)
        assert granted.endpoint in ("a", "b")
        await asyncio.sleep(0)
        peer.send(
            CallEnded(
                call=call,
                attempt=1,
                run=RunId(run),
                prompt_tokens=chance.randint(30, 1000),
                output_tokens=chance.randint(5, 300),
                duration_s=chance.random(),
            ),
            NodeEnded(run=RunId(run), node=node),
        )
    peer.send(RunEnded(run=RunId(run)))


async def load(daemon: Daemon, clients: int, runs: int, seed: int) -> None:
    """Several clients at once, some of which die in the middle of a call."""

    async def client(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        peer = await Peer.hello(daemon.options.socket, f"p{number}")
        for each in range(runs):
            await one_run(peer, f"{seed}-{number}-{each}", chance)
        if number % 2:
            peer.writer.transport.abort()
        else:
            await peer.close()

    for reachable in (True, False, True):
        seen = EndpointSeen(endpoint=EndpointId("b"), reachable=reachable, error="")
        daemon.shell.tell(seen)
    await asyncio.gather(*(client(number) for number in range(clients)))
    await until(lambda: daemon.clients == 0)


@pytest.mark.parametrize("policy", ["headway", "least-busy", "fcfs"])
async def test_every_file_replays_exactly_under_load_and_rotation(
    tmp_path: Path, policy: str
) -> None:
    config = CONFIG.replace("POLICY", f"{{name: {policy}, seed: 5}}")
    async with running(
        tmp_path, make=make_scheduler, config=config, journal_bytes=30_000, journal_keep=1000
    ) as daemon:
        await load(daemon, clients=6, runs=6, seed=1)
        status = daemon.shell.status()
        assert daemon.shell.errors == 0
        assert status["running"] == 0
        assert status["waiting"] == {}
    folder = daemon.options.journal
    assert folder is not None
    files = journals_in(folder)
    assert len(files) > 2
    for path in files:
        result = replay(path)
        assert result.difference is None, (path, result.difference)
        assert result.cut_at is None
    assert compare(files[0], "fcfs").decisions > 0


async def test_a_rotation_tells_again_which_leases_have_ended(tmp_path: Path) -> None:
    config = CONFIG.replace("POLICY", "headway")
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        staying = await Peer.hello(daemon.options.socket, "staying")
        dying = await Peer.hello(daemon.options.socket, "dying")
        for number, peer in enumerate((staying, dying)):
            peer.send(call(number))
            await peer.of(Granted)
        dying.writer.transport.abort()
        await until(lambda: daemon.clients == 1)
        daemon.shell.rebase()
        assert daemon.shell.status()["running"] == 2
        folder = daemon.options.journal
    assert folder is not None
    path = journals_in(folder)[-1]
    assert replay(path).difference is None
    reader = read_journal(path)
    scheduler = make_scheduler(Recipe.of(reader.header))
    entries = list(reader.entries())
    lost = [entry.event.client for entry in entries if isinstance(entry.event.fact, ClientLost)]
    assert lost == ["dying#2", "dying#2 (lost)"]  # the lease, and the call that outlives it
    for entry in entries:
        scheduler.handle(entry.event)
    later = entries[-1].event.at + 600.0
    scheduler.handle(Event(at=later, fact=TimerFired(timer="wake")))
    assert scheduler.status(later)["running"] <= 1  # the dead client's call has expired


async def test_learning_survives_a_restart_and_replays(tmp_path: Path) -> None:
    config = CONFIG.replace("POLICY", "headway")
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        await load(daemon, clients=2, runs=4, seed=2)
        before = daemon.shell.snapshot()
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        assert daemon.shell.recipe.learned is not None
        await load(daemon, clients=2, runs=2, seed=3)
        assert daemon.shell.snapshot() != before
        folder = daemon.options.journal
    assert folder is not None
    second = journals_in(folder)[-1]
    assert read_journal(second).header.learned is not None
    assert replay(second).difference is None


async def test_stories_of_ended_runs_outlive_their_scheduler(tmp_path: Path) -> None:
    config = CONFIG.replace("POLICY", "headway")
    chance = random.Random(1)
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        for run in ("first", "second"):
            await one_run(peer, run, chance)
        await until(lambda: daemon.shell.status()["runs_open"] == 0)
        told = (await peer.query("explain", run="first")).body
        assert told["calls"]
        daemon.shell.rebase()
        daemon.shell.rebase()
        assert (await peer.query("explain", run="first")).body == told
        assert (await peer.query("explain", run="fir")).body == told
        assert (await peer.query("explain", run="last")).body["run"] == "second"
        peer.send(RunStarted(run=RunId("open"), graph="g"))
        assert (await peer.query("explain", run="open")).body["state"] == "open"
        assert (await peer.query("explain", run="last")).body["run"] == "second"
        await one_run(peer, "third", chance)
        assert (await peer.query("explain", run="last")).body["run"] == "third"
        assert "no run 'fourth'" in (await peer.query("explain", run="fourth")).error
        write_config(tmp_path, CONFIG.replace("POLICY", "fcfs"))
        assert (await peer.query("reload")).body["changed"] == "pool and policy"
        assert (await peer.query("explain", run="last")).body["run"] == "third"
        assert (await peer.query("explain", run="first")).body == told


async def test_a_reload_that_changes_quality_changes_what_is_decided(tmp_path: Path) -> None:
    config = CONFIG.replace("POLICY", "headway")
    async with running(tmp_path, make=make_scheduler, config=config) as daemon:
        peer = await Peer.hello(daemon.options.socket)

        async def chances(number: int) -> dict[str, float]:
            peer.send(RunStarted(run=RunId(f"r{number}"), graph="g"), call(number))
            await peer.of(Granted)
            story = (await peer.query("explain", run=f"r{number}")).body
            scores = story["calls"][0]["scores"]
            return {one["endpoint"]: one["parts"]["chance"] for one in scores}

        assert await chances(1) == pytest.approx({"a": 0.5, "b": 0.9})
        write_config(tmp_path, config.replace("small: 0.5", "small: 0.8"))
        assert (await peer.query("reload")).body["changed"] == "pool"
        assert await chances(2) == pytest.approx({"a": 0.8, "b": 0.9})
        assert (await peer.query("reload")).body["changed"] == "nothing"
        write_config(tmp_path, config.replace("policy: headway", "policy: {seed: 9}"))
        assert (await peer.query("reload")).body["changed"] == "pool and policy"
        assert daemon.shell.recipe.seed == 9
        folder = daemon.options.journal
    assert folder is not None
    assert [replay(path).difference for path in journals_in(folder)] == [None] * 3

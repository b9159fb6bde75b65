"""`headway reload` while calls run: endpoints added, drained and removed; and LiteLLM's file."""

import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from headway.core.facts import CallEnded, EndpointSeen
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import CallId, EndpointId, NodeId, RunId
from headway.daemon.config import load_config
from headway.daemon.files import journal_folder
from headway.daemon.litellm_config import load_litellm
from headway.daemon.replay import replay
from headway.daemon.scrape import Scraper
from headway.daemon.server import Daemon, Options
from headway.wire.journal import journals_in
from headway.wire.messages import Granted, Reply
from tests.support.daemons import HEADWAY, Peer, call, headway, until

A = '  - {id: a, url: "http://127.0.0.1:9/a/v1", model: small, profile: {seats: 1}}\n'
B = '  - {id: b, url: "http://127.0.0.1:9/b/v1", model: large, profile: {seats: 1}}\n'
DRAINED_A = A.replace("}}", "}, drain: true}")
PLAIN = "models: {agent: [small, large]}\n"
ONLY_A = "models: {agent: [small]}\n"
FCFS = "policy: fcfs\n"
ONLY_B = "models: {agent: [large]}\n"


def deployment(name: str, *, own: str = "drain: false") -> str:
    """An item of a `model_list`; the engine has one seat."""
    params = f'{{model: hosted_vllm/m-{name}, api_base: "http://127.0.0.1:9/{name}/v1"}}'
    info = f"{{id: {name}, headway: {{profile: {{seats: 1}}, {own}}}}}"
    return f"  - {{model_name: agent, litellm_params: {params}, model_info: {info}}}\n"


class World:
    """A daemon with one client, and the file that it reads."""

    def __init__(self, daemon: Daemon, peer: Peer) -> None:
        self.daemon = daemon
        self.peer = peer
        self.asked = 0

    async def reload(self, text: str) -> dict[str, Any]:
        """Change the file and have it read; the answer. Grants that come first are not lost."""
        self.daemon.config.path.write_text(text)
        other = await Peer.hello(self.daemon.options.socket, "operator")
        reply = await other.query("reload")
        await other.close()
        assert isinstance(reply, Reply)
        return {**reply.body, "error": reply.error}

    def ask(self, **changes: Any) -> int:
        self.asked += 1
        self.peer.send(call(self.asked, **changes))
        return self.asked

    def end(self, number: int) -> None:
        ended = CallEnded(
            call=CallId(f"c{number}"),
            attempt=1,
            run=RunId(f"r{number}"),
            prompt_tokens=100,
            output_tokens=20,
            duration_s=0.2,
        )
        self.peer.send(ended)

    async def granted(self) -> tuple[str, str]:
        """The next grant: which call, and where to."""
        granted = await self.peer.of(Granted)
        return granted.call, granted.endpoint

    async def status(self) -> dict[str, Any]:
        """Also says that what was sent before has been read."""
        return (await self.peer.query("status")).body

    async def waiting(self) -> int:
        waiting: dict[str, int] = (await self.status())["waiting"]
        return sum(waiting.values())


@contextlib.asynccontextmanager
async def world(folder: Path, text: str, *, litellm: bool = False) -> AsyncIterator[World]:
    path = folder / "config.yaml"
    path.write_text(text)
    socket = folder / "run" / "headway.sock"
    options = Options(socket=socket, journal=journal_folder(socket), scrape=False)
    daemon = Daemon((load_litellm if litellm else load_config)(path), options)
    await daemon.start()
    try:
        yield World(daemon, await Peer.hello(socket))
        assert daemon.shell.errors == 0
    finally:
        await daemon.stop()
    for file in journals_in(journal_folder(socket)):
        assert replay(file).difference is None


async def test_an_added_endpoint_takes_what_waits(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + ONLY_A) as here:
        here.ask()
        assert await here.granted() == ("c1", "a")
        here.ask()
        assert await here.waiting() == 1
        answer = await here.reload("endpoints:\n" + A + B + PLAIN)
        assert (answer["changed"], answer["endpoints"]) == ("pool", 2)
        assert await here.granted() == ("c2", "b")


async def test_a_drained_endpoint_ends_what_it_has_and_gets_no_more(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + B + PLAIN) as here:
        here.ask(models=("small",))
        assert await here.granted() == ("c1", "a")
        here.ask(models=("large",))
        assert await here.granted() == ("c2", "b")
        here.ask()
        assert await here.waiting() == 1
        await here.reload("endpoints:\n" + DRAINED_A + B + PLAIN)
        a, b = (await here.status())["endpoints"]
        assert (a["drain"], a["running"], b["drain"], b["running"]) == (True, 1, False, 1)
        here.end(1)
        assert await here.waiting() == 1  # the seat of `a` is free, and stays so
        here.end(2)
        assert await here.granted() == ("c3", "b")
        explained = (await here.peer.query("explain", run="r3")).body
        assert explained["calls"][0]["excluded"]["a"] == "being drained"
        assert (await here.status())["endpoints"][0]["running"] == 0
        here.ask()
        assert await here.waiting() == 1
        await here.reload("endpoints:\n" + A + B + PLAIN)
        assert await here.granted() == ("c4", "a")


async def test_what_only_a_drained_endpoint_can_serve_is_told_so_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + B + PLAIN) as here:
        here.ask(models=("small",))
        await here.granted()
        here.ask(models=("small",))
        assert await here.waiting() == 1
        await here.reload("endpoints:\n" + DRAINED_A + B + PLAIN)
        granted = await here.peer.of(Granted)
        assert (granted.call, granted.endpoint) == ("c2", "")
        assert "a: being drained" in granted.why


async def test_a_removed_endpoint_gets_no_more_and_its_calls_end_as_usual(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + B + PLAIN) as here:
        here.ask(models=("small",))
        assert await here.granted() == ("c1", "a")
        here.ask(models=("large",))
        assert await here.granted() == ("c2", "b")
        here.ask()
        assert await here.waiting() == 1
        await here.reload("endpoints:\n" + B + ONLY_B)
        shown = {one["id"]: one["trouble"] for one in (await here.status())["endpoints"]}
        assert shown["a"] == "no longer in the pool" and set(shown) == {"a", "b"}
        explained = (await here.peer.query("explain", run="r1")).body["calls"][0]
        assert (explained["endpoint"], explained["state"]) == ("a", "running")
        here.end(2)
        assert await here.granted() == ("c3", "b")
        here.end(1)
        assert [one["id"] for one in (await here.status())["endpoints"]] == ["b"]
        explained = (await here.peer.query("explain", run="r1")).body["calls"][0]
        assert (explained["endpoint"], explained["outcome"]) == ("a", "ok")
        here.end(3)
        here.ask(run=RunId("r1"), node=NodeId("after"))  # its run was on the one that is gone
        assert await here.granted() == ("c4", "b")


async def test_a_new_policy_and_a_removed_endpoint_at_once(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + B + PLAIN) as here:
        here.ask(models=("small",))
        assert await here.granted() == ("c1", "a")
        here.ask(models=("small",))
        assert await here.waiting() == 1
        answer = await here.reload("endpoints:\n" + B + PLAIN.replace("small, ", "") + FCFS)
        assert answer["changed"] == "pool and policy"
        assert await here.granted() == ("c2", "")  # nothing serves it any more
        here.end(1)
        here.ask(run=RunId("r1"), node=NodeId("after"))
        assert await here.granted() == ("c3", "b")


async def test_the_log_says_what_a_reload_and_an_operator_changed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "headway.daemon")
    async with world(tmp_path, "endpoints:\n" + A + ONLY_A) as here:
        await here.reload("endpoints:\n" + DRAINED_A + B + PLAIN)
        await here.reload("endpoints:\n" + DRAINED_A + B + PLAIN)
        await here.reload("endpoints:\n" + B + ONLY_B + FCFS)
        operator = await Peer.hello(here.daemon.options.socket, "operator")
        await operator.query("mode", mode="shadow")
        await operator.close()
    path = f"configuration {tmp_path / 'config.yaml'}"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [
        f"{path} was read again: pool changed: new b, changed a, models",
        f"{path} was read again: nothing changed",
        f"{path} was read again: pool and policy changed: gone a, models",
        "the mode was on and is shadow now",
    ]


async def test_a_new_note_is_logged_when_it_comes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(tmp_path, "endpoints:\n" + A + ONLY_A) as here:
        await here.reload("endpoints:\n" + A.replace("/a/v1", "") + ONLY_A)
        await here.reload("endpoints:\n" + A.replace("/a/v1", "") + ONLY_A)
    assert [record.getMessage() for record in caplog.records].count(
        "the URL of a has no path: OpenAI-compatible servers usually serve http://HOST:PORT/v1"
    ) == 1


async def test_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, "endpoints:\n" + A + PLAIN.replace(", large", "")) as here:
        before = here.daemon.shell.pool
        answer = await here.reload("endpoints:\n" + A + B + PLAIN + "gateways: {x: y}\n")
        assert "is no base URL" in answer["error"]
        assert here.daemon.shell.pool == before
        here.ask()
        assert await here.granted() == ("c1", "a")


async def test_a_litellm_file_is_read_again(tmp_path: Path) -> None:
    head = "model_list:\n"
    async with world(tmp_path, head + deployment("a"), litellm=True) as here:
        assert (await here.status())["daemon"]["pool_from"].startswith("LiteLLM configuration /")
        here.ask()
        assert await here.granted() == ("c1", "a")
        here.ask()
        assert await here.waiting() == 1
        await here.reload(head + deployment("a", own="drain: true") + deployment("b"))
        assert await here.granted() == ("c2", "b")
        here.end(1)
        here.ask()
        assert await here.waiting() == 1
        answer = await here.reload(head + deployment("b").replace("id: b", "mode: chat"))
        assert "write `id: agent-1` inside the braces" in answer["error"]
        assert len(here.daemon.shell.pool.endpoints) == 2
        await here.reload(head + deployment("c"))  # the deployment of c2 vanished
        assert await here.granted() == ("c3", "c")
        here.end(2)
        assert (await here.status())["running"] == 1


async def test_what_only_litellm_reaches_is_not_looked_at() -> None:
    seen: list[EndpointSeen] = []
    scraper = Scraper(seen.append, every_s=0.05)
    specs = [
        EndpointSpec(id=EndpointId(name), url=url, model="m", engine="vllm")
        for name, url in (("alone", ""), ("a", "http://127.0.0.1:9/v1"), ("other", ""))
    ]
    await scraper.watch(Pool(endpoints=tuple(specs)))
    try:
        await until(lambda: seen)
        assert {one.endpoint for one in seen} == {"a"}
        seen.clear()
        await scraper.watch(Pool(endpoints=(specs[0], specs[1])))  # a reload
        await until(lambda: seen)
        assert {one.endpoint for one in seen} == {"a"}
    finally:
        await scraper.stop()


# -- the command -----------------------------------------------------------------------------------


@contextlib.contextmanager
def up(*options: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    daemon = subprocess.Popen(
        [*HEADWAY, "up", *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert daemon.stdout is not None
    try:
        yield daemon, daemon.stdout.readline()
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)
        daemon.stdout.close()


def test_up_litellm_says_where_the_pool_came_from(tmp_path: Path) -> None:
    path, socket = tmp_path / "config.yaml", tmp_path / "s" / "h.sock"
    path.write_text("model_list:\n" + deployment("a") + deployment("b", own="drain: true"))
    with up("--litellm", path, "--socket", socket) as (_, line):
        assert line.startswith(f"headway: ready on {socket} (2 endpoints from {path}, policy")
        status = headway("status", "--socket", socket).stdout
        assert f"pool    from the LiteLLM configuration {path}" in status
        assert "being drained (no new calls): b" in status
        path.write_text("model_list:\n" + deployment("a") * 2)
        wrong = headway("reload", "--socket", socket)
        assert wrong.returncode == 1
        assert f"{path}:3: the id `a` is already that of {path}:2" in wrong.stderr
        path.write_text("model_list:\n" + deployment("a"))
        right = headway("reload", "--socket", socket)
        assert right.stdout.startswith("headway: pool changed, 1 endpoints\n")


def test_config_and_litellm_exclude_each_other(tmp_path: Path) -> None:
    wrong = headway("up", "--config", tmp_path / "a.yaml", "--litellm", tmp_path / "b.yaml")
    assert wrong.returncode == 2
    assert "exclude each other" in wrong.stderr
    missing = headway("up", "--litellm", tmp_path / "b.yaml")
    assert missing.returncode == 2
    assert "--litellm" in missing.stderr

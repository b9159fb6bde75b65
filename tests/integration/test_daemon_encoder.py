"""A daemon with an encoder: real clients, a real (tiny) model, and no text in what is kept."""

import asyncio
from pathlib import Path
from typing import Any

from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph

from headway.client import Client
from headway.core.facts import PromptEncoded
from headway.core.prompts import DENSE_FROM
from headway.daemon.config import load_config
from headway.daemon.replay import replay
from headway.daemon.shell import make_scheduler
from headway.wire.journal import read_journal
from headway_langgraph import schedule
from tests.support.daemons import Peer, call, running, until, write_config
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import State, using
from tests.support.tiny_encoder import DIMENSIONS, tiny_encoder

SECRET = "divide the xylophone by zero"

CONFIG = """\
endpoints:
  - {id: a, url: "URL", model: small}
models:
  agent: {any_of: [small], send_text: true, wait_for_confidence_ms: WAIT}
encoder: tiny
"""


def config(url: str, *, wait_ms: int = 0) -> str:
    return CONFIG.replace("URL", url).replace("WAIT", str(wait_ms))


def of_embedding(features: tuple[int, ...]) -> int:
    return sum(DENSE_FROM <= number >> 8 < DENSE_FROM + DIMENSIONS for number in features)


async def ask_the_daemon(socket: Path, server: FakeOpenAI, text: str = SECRET) -> None:
    """One run of a graph of one call, by LangChain's own client."""
    client: Any = Client(socket)

    async def node(state: State) -> State:
        chat = ChatOpenAI(model="agent", base_url=server.url, api_key="k")  # type: ignore[arg-type]
        await chat.ainvoke(text)
        return {"x": []}

    graph = StateGraph(State)
    graph.add_node("n", node)
    graph.add_edge(START, "n")
    try:
        with using(client):
            await schedule(graph.compile(name="g")).ainvoke({"x": []})
    finally:
        client.close()


async def test_embeddings_reach_the_scheduler_and_texts_nobody(
    tmp_path: Path, a: FakeOpenAI
) -> None:
    tiny_encoder(tmp_path / "tiny")
    said = config(a.url, wait_ms=3000)
    async with running(tmp_path, make=make_scheduler, config=said) as daemon:
        await ask_the_daemon(daemon.options.socket, a)
        peer = await Peer.hello(daemon.options.socket)
        path = Path((await peer.query("journal")).body["path"])
        assert not daemon.config.notes
        await peer.close()
    facts = [entry.event.fact for entry in read_journal(path).entries()]
    (ready,) = [fact for fact in facts if type(fact).__name__ == "CallReady"]
    assert of_embedding(ready.features) == DIMENSIONS  # it waited for it, as the pool name says
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file():
            assert b"xylophone" not in file.read_bytes(), file
    assert replay(path, make=make_scheduler).difference is None


async def test_without_waiting_the_embedding_comes_as_a_fact_of_its_own(
    tmp_path: Path, a: FakeOpenAI
) -> None:
    tiny_encoder(tmp_path / "tiny")
    async with running(tmp_path, make=make_scheduler, config=config(a.url)) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        path = Path((await peer.query("journal")).body["path"])

        def encoded() -> list[PromptEncoded]:
            daemon.shell.flush()
            facts = [entry.event.fact for entry in read_journal(path).entries()]
            return [fact for fact in facts if isinstance(fact, PromptEncoded)]

        asking = asyncio.create_task(ask_the_daemon(daemon.options.socket, a, f"slow: {SECRET}"))
        await until(lambda: bool(encoded()))
        a.release.set()
        await asking
        (fact,) = encoded()
        await peer.close()
    assert of_embedding(fact.features) == DIMENSIONS
    assert replay(path, make=make_scheduler).difference is None


async def test_a_missing_encoder_leaves_the_daemon_as_it_was(tmp_path: Path, a: FakeOpenAI) -> None:
    async with running(tmp_path, make=make_scheduler, config=config(a.url)) as daemon:
        await ask_the_daemon(daemon.options.socket, a)
        assert len(a.requests) == 1
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(9, pool_name="agent"))
        await until(lambda: daemon.shell.events > 0)
        notes = (await peer.query("status")).body["daemon"]["notes"]
        assert any("no embeddings of prompts" in note for note in notes)
        await peer.close()


def test_what_an_encoder_needs_is_said(tmp_path: Path) -> None:
    bare = config("http://127.0.0.1:9/v1", wait_ms=50).replace("send_text: true, ", "")
    notes = load_config(write_config(tmp_path, bare)).notes
    assert any("`encoder` reads nothing" in note for note in notes)
    assert any("`wait_for_confidence_ms` of agent waits for nothing" in note for note in notes)
    whole = load_config(write_config(tmp_path, config("http://127.0.0.1:9/v1")))
    assert whole.encoder == tmp_path / "tiny" and whole.pool.names[0].encode

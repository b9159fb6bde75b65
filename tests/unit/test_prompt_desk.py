"""Prompts on their way through the encoder: nothing waits unasked, nothing is lost."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from headway.core.errors import ConfigError
from headway.core.facts import AnyFact, CallReady, PromptEncoded
from headway.core.prompts import embedded
from headway.core.types import CallId, ClientId
from headway.daemon.encoding import MOST_WAITING, PromptDesk
from headway.encoding.encoder import BATCH
from headway.wire.messages import Prompt
from tests.support.telling import ask

ALICE = ClientId("alice")


class Slow:
    """Encodes when it is let; remembers what it was given."""

    about = "slow"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.batches: list[list[str]] = []
        self.fails = False

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        assert self.go.wait(5.0)
        if self.fails:
            raise RuntimeError("out of memory")
        self.batches.append(list(texts))
        return [[1.0, float(len(text))] for text in texts]


class Desk:
    """A desk with a slow encoder, and what it told."""

    def __init__(self) -> None:
        self.told: list[tuple[AnyFact, ClientId]] = []
        self.encoder = Slow()
        self.desk = PromptDesk(
            Path("there"),
            tell=lambda fact, client: self.told.append((fact, client)),
            opened=lambda path: self.encoder,
        )

    def call(self, number: int, text: str, *, wait_s: float = 0.0) -> CallReady:
        call = ask(f"c{number}", features=(7,))
        self.desk.heard(Prompt(call=call.call, attempt=1, text=text))
        self.desk.asked(ALICE, call, wait_s=wait_s)
        return call

    async def until_told(self, count: int) -> None:
        for _ in range(500):
            if len(self.told) >= count:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.told)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    found = Desk()
    yield found
    found.encoder.go.set()
    await found.desk.stop()


async def test_a_question_goes_at_once_and_its_embedding_follows(desk: Desk) -> None:
    call = desk.call(1, "text")
    assert desk.told == [(call, ALICE)]
    desk.encoder.go.set()
    await desk.until_told(2)
    fact, client = desk.told[1]
    assert fact == PromptEncoded(call=CallId("c1"), attempt=1, features=embedded([1.0, 4.0]))
    assert client == ""


async def test_the_same_text_is_not_encoded_again(desk: Desk) -> None:
    desk.encoder.go.set()
    desk.call(1, "text")
    await desk.until_told(2)
    call = desk.call(2, "text")
    fact, _ = desk.told[2]
    assert isinstance(fact, CallReady) and fact.call == call.call
    assert fact.features == (7, *embedded([1.0, 4.0]))
    assert desk.encoder.batches == [["text"]]


async def test_a_question_waits_where_it_is_asked_to(desk: Desk) -> None:
    desk.call(1, "text", wait_s=5.0)
    assert desk.told == []
    desk.encoder.go.set()
    await desk.until_told(1)
    ((fact, client),) = desk.told
    assert isinstance(fact, CallReady) and client == ALICE
    assert fact.features == (7, *embedded([1.0, 4.0]))
    assert fact.age_s > 0.0 and fact.hold_limit_s < 300.0


async def test_it_waits_no_longer_than_that(desk: Desk) -> None:
    desk.call(1, "text", wait_s=0.02)
    await desk.until_told(1)
    fact, _ = desk.told[0]
    assert isinstance(fact, CallReady) and fact.features == (7,)
    desk.encoder.go.set()
    await desk.until_told(2)
    assert isinstance(desk.told[1][0], PromptEncoded)


async def test_what_piles_up_is_encoded_together_and_bounded(desk: Desk) -> None:
    for number in range(MOST_WAITING + 100):
        desk.call(number, f"text {number:06}")
    desk.encoder.go.set()
    await desk.until_told(2 * MOST_WAITING + 100)
    await asyncio.sleep(0.05)
    encoded = [fact for fact, _ in desk.told if isinstance(fact, PromptEncoded)]
    assert len(encoded) == MOST_WAITING
    assert max(len(batch) for batch in desk.encoder.batches) == BATCH


async def test_a_client_that_is_gone_asks_nothing(desk: Desk) -> None:
    desk.call(1, "text", wait_s=5.0)
    desk.desk.lost(ALICE)
    desk.encoder.go.set()
    await desk.until_told(1)
    assert [type(fact) for fact, _ in desk.told] == [PromptEncoded]


async def test_who_asks_again_over_another_connection_gets_the_answer(desk: Desk) -> None:
    call = desk.call(1, "text", wait_s=5.0)
    desk.desk.asked(ClientId("alice again"), call, wait_s=5.0)
    desk.desk.lost(ALICE)
    desk.encoder.go.set()
    await desk.until_told(1)
    ((_, client),) = desk.told
    assert client == "alice again"


async def test_an_encoder_that_fails_is_said_once_and_lets_all_go(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="headway.daemon")
    desk.encoder.fails = True
    call = desk.call(1, "text", wait_s=5.0)
    desk.encoder.go.set()
    await desk.until_told(1)
    fact, _ = desk.told[0]
    assert isinstance(fact, CallReady) and fact.features == call.features
    desk.call(2, "more", wait_s=5.0)
    assert len(desk.told) == 2
    assert caplog.text.count("hashed words only: out of memory") == 1


async def test_a_missing_encoder_costs_nothing_but_embeddings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="headway.daemon")

    def missing(path: Path) -> Slow:
        raise ConfigError(f"encoder {path}: there is no such folder")

    told: list[AnyFact] = []
    desk = PromptDesk(Path("nowhere"), tell=lambda fact, client: told.append(fact), opened=missing)
    call = ask("c1")
    desk.heard(Prompt(call=call.call, attempt=1, text="text"))
    desk.asked(ALICE, call, wait_s=5.0)
    for _ in range(500):
        if told:
            break
        await asyncio.sleep(0.01)
    assert told and isinstance(told[0], CallReady)
    assert "nowhere: there is no such folder" in caplog.text
    await desk.stop()

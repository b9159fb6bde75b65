"""Blocks by run, from batches of events as vLLM 0.32 encodes them."""

from typing import Any

import msgspec
import pytest

from headway.core.types import RunId
from headway_vllm.kvevents import Prefixes
from tests.support.telling import Teller, endpoint, pool


def stored(session: str | None, *blocks: int) -> dict[str, Any]:
    return {
        "type": "BlockStored",
        "block_hashes": list(blocks),
        "parent_block_hash": None,
        "token_ids": [1, 2, 3],
        "block_size": 32,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "session_id": session,
    }


def removed(*blocks: int) -> dict[str, Any]:
    return {"type": "BlockRemoved", "block_hashes": list(blocks), "medium": "GPU"}


CLEARED = {"type": "AllBlocksCleared"}


class Publisher:
    """Numbers batches as vLLM does."""

    def __init__(self) -> None:
        self.prefixes = Prefixes()
        self.number = 0

    def tells(self, *events: dict[str, Any]) -> tuple[str, ...]:
        self.prefixes.feed(self.number, msgspec.msgpack.encode([1.5, list(events), 0]))
        self.number += 1
        return self.prefixes.lost()


def test_a_prefix_is_lost_when_less_than_half_of_it_is_left() -> None:
    server = Publisher()
    assert server.tells(stored("r1", 1, 2, 3, 4), stored("r2", 5)) == ()
    assert server.tells(removed(4, 3)) == ()
    assert server.tells(removed(2)) == ("r1",)
    assert server.tells(removed(1)) == ("r1",)
    assert server.tells(removed(1), removed(99)) == ()
    assert server.tells(stored("r1", 7), removed(5)) == ("r2",)


def test_runs_without_a_block_are_forgotten() -> None:
    server = Publisher()
    for number in range(100):
        server.tells(stored(f"r{number}", 1, 2))
    assert server.tells(CLEARED) == ("r99",)


def test_another_dialect_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    server = Publisher()
    for _ in range(3):
        server.tells({"type": "BlockMoved"})
    (record,) = caplog.records
    assert "its KV events cannot be read" in record.message


def test_what_came_back_before_anybody_asked_is_not_lost() -> None:
    server = Publisher()
    assert server.tells(stored("r1", 1, 2), removed(2, 1), stored("r1", 1, 2)) == ()


def test_a_block_belongs_to_the_run_that_used_it_last() -> None:
    server = Publisher()
    server.tells(stored("r1", 1, 2), stored("r2", 1, 2))
    assert server.tells(removed(1, 2)) == ("r2",)


def test_a_cleared_cache_is_lost_for_all() -> None:
    server = Publisher()
    assert server.tells(stored("r1", 1), stored("r2", 2), stored(None, 3), CLEARED) == ("r1", "r2")


@pytest.mark.parametrize("trouble", ["gap", "dialect"])
def test_after_a_gap_or_in_another_dialect_nothing_is_said(trouble: str) -> None:
    server = Publisher()
    server.tells(stored("r1", 1, 2))
    if trouble == "gap":
        server.number += 1
    else:
        older = msgspec.msgpack.encode([1.5, [["BlockRemoved", [1, 2]]]])
        server.prefixes.feed(server.number, older)
        server.number += 1
    assert server.tells(removed(1, 2)) == ()


def test_a_run_without_its_prefix_goes_anywhere() -> None:
    told = Teller(pool(endpoint("a"), endpoint("b")))
    told.ready("c1", run="r1")
    told.ended("c1")
    run = told.scheduler.books.runs[RunId("r1")]
    assert run.last_endpoint == "a"
    told.seen("b", lost_prefixes=(RunId("r1"), RunId("unknown")))
    assert run.last_endpoint == "a"  # what b lost does not matter
    told.seen("a", lost_prefixes=(RunId("r1"),))
    assert run.last_endpoint == ""

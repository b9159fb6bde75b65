"""Metadata keys: what is told of those that are not known."""

import logging
from collections.abc import Iterator

import pytest

from headway.calling.guard import complaints
from headway_langgraph.settings import KEYS, NOTHING, read, warn_of_node


@pytest.fixture(autouse=True)
def fresh_warnings() -> Iterator[None]:
    complaints.counts.clear()
    yield
    complaints.counts.clear()


def test_a_key_with_a_slip_is_told_once_with_the_nearest(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert read({"headway_dedline_s": 20, "thread_id": "t"}) == NOTHING
        assert read({"headway_dedline_s": 20, "headway_class": "batch"}).service_class == "batch"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "'headway_dedline_s' in the metadata is not known and ignored" in said
    assert "did you mean `headway_deadline_s`?" in said


def test_a_nodes_own_metadata_is_looked_at_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_node("write", {"headway_model": "small", "other": 1})
    (said,) = [record.getMessage() for record in caplog.records]
    assert "did you mean `headway_models`?" in said


def test_known_keys_and_other_peoples_are_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        read({**dict.fromkeys(KEYS), "headways": 1, "ls_model_name": "m"})
        read(None)
    assert caplog.records == []

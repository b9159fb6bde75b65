"""What several integration tests stand on: two OpenAI-compatible servers that record requests."""

from collections.abc import Iterator

import pytest

from tests.support.fake_openai import FakeOpenAI


@pytest.fixture
def a() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def b() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server

"""What several integration tests stand on: servers that record requests, and a clean process."""

import sys
from collections.abc import Iterator

import pytest

from tests.support.fake_openai import FakeOpenAI
from tests.support.litellm_proxy import MASTER_KEY, TEAM_KEY, LiteLLMProxy


@pytest.fixture(autouse=True)
def taken_out() -> Iterator[None]:
    """What a test has put into this process's hosts is not there for the next one."""
    yield
    for name in ("headway_litellm", "headway_langgraph"):
        if name in sys.modules:
            sys.modules[name].uninstall()


@pytest.fixture(autouse=True)
def no_client_of_another_loop() -> Iterator[None]:
    """LangChain keeps HTTP clients by base URL for good: a port that is used again would get
    connections of an event loop that is closed.
    """
    yield
    kept = sys.modules.get("langchain_openai.chat_models._client_utils")
    if kept is not None:
        kept._cached_sync_httpx_client.cache_clear()
        kept._cached_async_httpx_client.cache_clear()


@pytest.fixture
def a() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def b() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture(scope="session")
def one_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    with FakeOpenAI() as a, FakeOpenAI() as b:
        running = LiteLLMProxy(tmp_path_factory.mktemp("proxy"), a, b)
        try:
            running.start()
            yield running
        finally:
            running.stop()


@pytest.fixture
def proxy(one_proxy: LiteLLMProxy) -> Iterator[LiteLLMProxy]:
    """The session's LiteLLM proxy with fresh backends. No client's key may reach them."""
    one_proxy.a.clear()
    one_proxy.b.clear()
    yield one_proxy
    for server in (one_proxy.a, one_proxy.b):
        server.release.set()
        for request in server.requests:
            told = f"{request.headers} {request.body}"
            assert MASTER_KEY not in told and TEAM_KEY not in told

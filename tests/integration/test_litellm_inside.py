"""What LiteLLM and other people's code do inside a call: mirrors, embeddings, guards, fallbacks."""

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper
from litellm.router import Router

from headway.calling.calls import Calls
from headway.context import Scope
from headway.core.facts import CallEnded, CallReady
from headway.core.types import RunId
from tests.support.fake_client import FakeClient
from tests.support.fake_daemon import until
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, SLOW, arun, deployment, router, run, using_litellm


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B, with urgency 2.5."""

    def choose(ask: CallReady) -> str:
        return "b" if not ask.endpoints or "b" in ask.endpoints else ask.endpoints[0]

    return FakeClient(two_endpoints(a.url, b.url), choose=choose, urgency=2.5)


def story(client: FakeClient) -> list[tuple[str, int, str]]:
    """Pool name, attempt and outcome of every attempt, by its end."""
    asks = {(ask.call, ask.attempt): ask for ask in client.asks}
    ends = client.of(CallEnded)
    assert len(ends) == len(client.asks)
    return [(asks[end.call, end.attempt].pool_name, end.attempt, end.outcome) for end in ends]


async def test_a_mirrored_call_is_one_of_its_own(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """LiteLLM sends the same messages to a `silent_model`, beside the call itself."""
    used = Router(
        model_list=[
            deployment("agent", b.url, "hosted_vllm/large", "b", silent_model="mirror"),
            deployment("mirror", a.url, "hosted_vllm/small", "a"),
        ]
    )

    async def course() -> None:
        task = asyncio.create_task(used.acompletion(model="agent", messages=SLOW))
        await asyncio.to_thread(a.wait_for)
        await asyncio.to_thread(b.wait_for)
        assert client.of(CallEnded) == []
        b.release.set()
        await task
        a.release.set()
        await asyncio.to_thread(until, lambda: len(client.of(CallEnded)) == 2)

    with using_litellm(client):
        await arun(course)
    assert story(client) == [("agent", 1, "ok"), ("mirror", 1, "ok")]
    assert len({ask.call for ask in client.asks}) == 2


async def test_an_embedding_inside_a_call_is_untouched(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """A filter that looks something up may ask the same Router for an embedding."""
    used = router(a.url, b.url)

    class LooksUp(CustomLogger):
        async def async_filter_deployments(  # type: ignore[no-untyped-def]
            self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
        ):
            if messages is not None:
                await used.aembedding(model="other", input="hi", mock_response=[0.1])
            return healthy_deployments

    with using_litellm(client):
        litellm.callbacks.append(LooksUp())
        await arun(lambda: used.acompletion(model="agent", messages=HI))
    assert story(client) == [("agent", 1, "ok")]


@pytest.mark.parametrize("hook", ["async_pre_call_deployment_hook", "async_filter_deployments"])
async def test_a_guard_that_asks_another_group_about_the_messages(
    hook: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    used = router(a.url, b.url)
    asked: list[str] = []

    class Guard(CustomLogger):
        pass

    async def guard(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not asked:
            asked.append(hook)
            await used.acompletion(model="other", messages=HI)
        return kwargs.get("healthy_deployments")

    setattr(Guard, hook, guard)
    with using_litellm(client):
        litellm.callbacks.append(Guard())
        await arun(lambda: used.acompletion(model="agent", messages=HI))
    assert story(client) == [("other", 1, "ok"), ("agent", 1, "ok")]
    assert len({ask.call for ask in client.asks}) == 2
    assert len(b.requests) == 2 and a.requests == []


async def test_a_fallback_of_a_stream_that_is_read_outside_its_run_is_left_alone(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    used = router(a.url, b.url, fallbacks=[{"agent": ["other"]}])
    error = litellm.exceptions.MidStreamFallbackError(
        message="gone", model="large", llm_provider="hosted_vllm", is_pre_first_chunk=True
    )
    original = CustomStreamWrapper.__anext__
    broken: list[Any] = []

    async def once(self: Any) -> Any:
        if not broken:
            broken.append(self)
            raise error
        return await original(self)

    with using_litellm(client), pytest.MonkeyPatch.context() as patch:
        stream = await arun(lambda: used.acompletion(model="agent", messages=HI, stream=True))
        patch.setattr(CustomStreamWrapper, "__anext__", once)
        assert len([chunk async for chunk in stream]) > 1
    assert story(client) == [("agent", 1, "cancelled")]


@pytest.mark.parametrize("is_async", [False, True])
async def test_all_arguments_by_position_arrive(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        if is_async:
            args: Any = ("hosted_vllm/agent", HI, None, None, 9.0, 0.25)
            await arun(lambda: litellm.acompletion(*args, api_base=a.url))
        else:
            args = ("hosted_vllm/agent", HI, 9.0, 0.25)
            await asyncio.to_thread(run, lambda: litellm.completion(*args, api_base=a.url))
    assert [body["temperature"] for body in b.bodies] == [0.25]
    assert [ask.hold_limit_s for ask in client.asks] == [4.5]


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_model_that_litellm_does_not_know_is_the_callers_own_mistake(
    is_async: bool, client: FakeClient
) -> None:
    said: Any = {"model": "nobodys-model", "messages": HI}
    with using_litellm(client), pytest.raises(litellm.exceptions.BadRequestError):
        if is_async:
            await arun(lambda: litellm.acompletion(**said))
        else:
            await asyncio.to_thread(run, lambda: litellm.completion(**said))
    assert client.asks == []


@pytest.mark.parametrize(
    "own",
    [{"shared_session": object()}, {"context_window_fallback_dict": {"hosted_vllm/agent": "x"}}],
)
async def test_what_only_fits_the_callers_own_address_passes_untouched(
    own: dict[str, Any], a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    said: Any = {"model": "hosted_vllm/agent", "messages": HI, "api_base": a.url}
    with using_litellm(client):
        await asyncio.to_thread(run, lambda: litellm.completion(**said, **own))
    assert len(a.requests) == 1 and b.requests == [] and client.asks == []
    assert len(client.passed) == 1


async def test_a_retry_inside_another_call_keeps_its_own_arguments(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """The call inside goes through the openai SDK, so that it is not one of LiteLLM's ways."""
    question: Any = [{"role": "user", "content": "is it good?"}]

    class Judge(CustomLogger):
        async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> None:
            if kwargs["messages"] == HI:
                said: Any = {"model": "openai/small", "messages": question, "api_base": c.url}
                await litellm.acompletion(**said, api_key="k", num_retries=1)

    with FakeOpenAI() as c, using_litellm(client):
        c.fail(2, 500)
        litellm.callbacks.append(Judge())
        said: Any = {"model": "hosted_vllm/agent", "messages": HI, "api_base": a.url}
        await arun(lambda: litellm.acompletion(**said))
        assert {body["messages"][0]["content"] for body in c.bodies} == {"is it good?"}
    assert len(b.requests) == 1
    assert story(client) == [("agent", 1, "ok")]


async def test_a_function_taken_from_litellm_is_inert_after_uninstall(
    a: FakeOpenAI, client: FakeClient
) -> None:
    used = router(a.url, a.url)
    with using_litellm(client) as installed:
        early, bound = litellm.acompletion, used.acompletion
        installed.uninstall()
        await arun(lambda: early("hosted_vllm/agent", HI, api_base=a.url))
        await arun(lambda: bound(model="agent", messages=HI))
    assert len(a.requests) == 2 and client.asks == []


@pytest.mark.parametrize("where", ["environment", "session"])
@pytest.mark.parametrize("is_async", [False, True])
async def test_headers_that_the_sdk_adds_by_itself_stay_at_home(
    where: str,
    is_async: bool,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headway_litellm.attempts.sdk_is_covered", lambda: False)
    if where == "environment":
        monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Api-Key: sk-user-1")
    else:
        headers = {"X-Api-Key": "sk-user-1"}
        monkeypatch.setattr(litellm, "aclient_session", httpx.AsyncClient(headers=headers))
        monkeypatch.setattr(litellm, "client_session", httpx.Client(headers=headers))
    clients: Any = litellm.in_memory_llm_clients_cache
    clients.flush_cache()
    said: Any = {"model": "openai/agent", "api_base": a.url, "api_key": "k", "messages": HI}
    with using_litellm(client):
        if is_async:
            await arun(lambda: litellm.acompletion(**said))
        else:
            await asyncio.to_thread(run, lambda: litellm.completion(**said))
    clients.flush_cache()
    assert all("sk-user" not in str(request.headers) for request in b.requests)
    assert len(a.requests) + len(b.requests) == 1


def test_a_stream_may_be_collected_while_its_thread_holds_the_books(client: FakeClient) -> None:
    """The garbage collector closes a dropped stream's call in the middle of anything."""
    calls: Any = Calls()
    body = {"model": "agent", "messages": HI}
    scope = Scope(run=RunId("r"))
    call = calls.begin(client=client, scope=scope, body=body, way="w", timeout_s=None)
    call.next_attempt()
    assert _ends(lambda: _within(calls, call.close))
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"]


def _within(owner: Any, course: Callable[[], Any]) -> None:
    with owner._lock:
        course()


def _ends(course: Callable[[], Any]) -> bool:
    thread = threading.Thread(target=course, daemon=True)
    thread.start()
    thread.join(timeout=5)
    return not thread.is_alive()

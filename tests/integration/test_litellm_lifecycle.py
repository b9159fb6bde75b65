"""How calls through LiteLLM end: errors, cancels, given-up streams; and hooks broken on purpose."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper

import headway_litellm.attempts as attempts_module
import headway_litellm.escaped as escaped_module
from headway.calling.calls import Call, Calls
from headway.calling.guard import complaints
from headway.core.facts import CallEnded, CallReady, FirstToken
from headway_litellm import patches
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, SLOW, STALL, arun, router, run, using_litellm

Course = Callable[..., Any]


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """Sends every call to `large` at B."""
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)


@pytest.fixture(params=["router", "plain"])
def acall(request: pytest.FixtureRequest, a: FakeOpenAI, b: FakeOpenAI) -> Course:
    """`await acall(messages, **kwargs)` through a Router or without one."""

    async def course(messages: Any = HI, **kwargs: Any) -> Any:
        if request.param == "router":
            used = router(a.url, b.url)
            return await used.acompletion(model="agent", messages=messages, **kwargs)
        return await litellm.acompletion(
            model="hosted_vllm/agent", api_base=a.url, messages=messages, **kwargs
        )

    return course


@pytest.fixture(params=["router", "plain"])
def scall(request: pytest.FixtureRequest, a: FakeOpenAI, b: FakeOpenAI) -> Course:
    """The same, synchronous."""

    def course(messages: Any = HI, **kwargs: Any) -> Any:
        if request.param == "router":
            return router(a.url, b.url).completion(model="agent", messages=messages, **kwargs)
        return litellm.completion(
            model="hosted_vllm/agent", api_base=a.url, messages=messages, **kwargs
        )

    return course


def ends(client: FakeClient) -> list[tuple[str, str]]:
    return [(end.outcome, end.error) for end in client.of(CallEnded)]


async def test_a_cancelled_call(acall: Course, b: FakeOpenAI, client: FakeClient) -> None:
    async def course() -> None:
        task = asyncio.create_task(acall(SLOW))
        await asyncio.to_thread(b.wait_for)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ends(client) == [("cancelled", "")]

    with using_litellm(client):
        await arun(course)
    assert ends(client) == [("cancelled", "")]


async def test_a_call_cancelled_while_it_is_held(acall: Course, client: FakeClient) -> None:
    held = asyncio.Event()

    async def adecide(ask: CallReady) -> Any:
        held.set()
        await asyncio.Event().wait()

    client.adecide = adecide  # type: ignore[method-assign]

    async def course() -> None:
        task = asyncio.create_task(acall())
        await held.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with using_litellm(client):
        await arun(course)
    assert ends(client) == [("cancelled", "")]


@pytest.mark.parametrize("how", ["aclose", "drop"])
async def test_a_stream_given_up(
    how: str, acall: Course, b: FakeOpenAI, client: FakeClient
) -> None:
    async def course() -> None:
        stream = await acall(STALL, stream=True)
        assert isinstance(stream, CustomStreamWrapper)
        async for _ in stream:
            break
        assert ends(client) == []
        if how == "aclose":
            await stream.aclose()  # type: ignore[no-untyped-call]
        else:
            del stream
            gc.collect()
            deadline = time.monotonic() + 5
            while not ends(client) and time.monotonic() < deadline:
                await asyncio.sleep(0)
        assert ends(client) == [("cancelled", "")]
        b.release.set()

    with using_litellm(client):
        await arun(course)
    assert ends(client) == [("cancelled", "")]
    assert len(client.of(FirstToken)) == 1


def test_a_synchronous_stream_given_up(scall: Course, b: FakeOpenAI, client: FakeClient) -> None:
    def course() -> None:
        stream = scall(STALL, stream=True)
        assert isinstance(stream, CustomStreamWrapper)
        next(iter(stream))
        del stream
        b.release.set()
        gc.collect()

    with using_litellm(client):
        run(course)
    assert ends(client) == [("cancelled", "")]


async def test_a_stream_read_after_its_node_is_over(acall: Course, client: FakeClient) -> None:
    with using_litellm(client):
        stream = await arun(lambda: acall(stream=True))
        assert ends(client) == [("cancelled", "")]
        assert len([chunk async for chunk in stream]) > 0
    assert ends(client) == [("cancelled", "")]


@pytest.mark.parametrize("status", [400, 429, 500, 503])
async def test_errors_are_told_and_reach_the_caller(
    status: int, acall: Course, b: FakeOpenAI, client: FakeClient
) -> None:
    b.fail(1, status)
    with using_litellm(client), pytest.raises(Exception, match="told to fail") as raised:
        await arun(acall)
    assert getattr(raised.value, "status_code", None) == status
    assert ends(client) == [("error", str(status))]


def test_errors_of_synchronous_calls(scall: Course, b: FakeOpenAI, client: FakeClient) -> None:
    b.fail(1, 500)
    with using_litellm(client), pytest.raises(Exception, match="told to fail"):
        run(scall)
    assert ends(client) == [("error", "500")]


async def test_a_time_out(acall: Course, client: FakeClient) -> None:
    with using_litellm(client), pytest.raises(litellm.exceptions.Timeout):
        await arun(lambda: acall(SLOW, timeout=0.3))
    assert ends(client)[0] in {("error", "408"), ("error", "timeout")}
    assert client.asks[0].hold_limit_s == pytest.approx(0.15)


async def test_a_stream_that_breaks_before_its_first_chunk_falls_back_as_the_same_call(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    """LiteLLM opens the fallback while its stream is read."""
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

    async def course() -> int:
        stream = await used.acompletion(model="agent", messages=HI, stream=True)
        return len([chunk async for chunk in stream])

    with using_litellm(client), pytest.MonkeyPatch.context() as patch:
        patch.setattr(CustomStreamWrapper, "__anext__", once)
        assert await arun(course) > 1
    assert len({ask.call for ask in client.asks}) == 1
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "other")]
    assert [outcome for outcome, _ in ends(client)] == ["error", "ok"]


async def test_calls_side_by_side_are_told_apart(acall: Course, client: FakeClient) -> None:
    async def course() -> None:
        await asyncio.gather(*(acall([{"role": "user", "content": "x" * n}]) for n in range(1, 9)))

    with using_litellm(client):
        await arun(course)
    assert sorted(ask.prompt_chars for ask in client.asks) == list(range(1, 9))
    assert len({ask.call for ask in client.asks}) == 8
    assert ends(client) == [("ok", "")] * 8


async def test_a_callback_that_calls_a_model_itself_is_another_call(
    acall: Course, a: FakeOpenAI, client: FakeClient
) -> None:
    class Judge(CustomLogger):
        async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> None:
            if kwargs["messages"] == HI:
                question = [{"role": "user", "content": "is it good?"}]
                await litellm.acompletion("hosted_vllm/judge", question, api_base=a.url)

    with using_litellm(client):
        litellm.callbacks.append(Judge())
        await arun(acall)
    assert sorted(ask.pool_name for ask in client.asks) == ["agent", "judge"]
    assert len({ask.call for ask in client.asks}) == 2
    assert ends(client) == [("ok", "")] * 2


# Broken on purpose


BREAKABLE: list[tuple[Any, str]] = [
    (attempts_module.Attempts, "_group"),
    (attempts_module.Attempts, "_single"),
    (attempts_module.Attempts, "_offer"),
    (attempts_module.Attempts, "_pick"),
    (attempts_module.Attempts, "_question"),
    (attempts_module.Attempts, "_to_deployment"),
    (attempts_module.Attempts, "_to_endpoint"),
    (escaped_module.Escaped, "_count"),
    (escaped_module.Escaped, "_is_one"),
    (patches.LiteLLMPatch, "_narrow"),
    (attempts_module, "endpoint_of"),
    (attempts_module, "offered"),
    (attempts_module, "readdressed"),
    (attempts_module, "with_urgency"),
    (patches, "follow"),
    (patches, "carry"),
    (patches, "failed"),
    (Calls, "begin"),
    (Call, "next_attempt"),
    (Call, "sent"),
    (Call, "chunk"),
    (Call, "close"),
]


@pytest.mark.parametrize("broken", BREAKABLE, ids=lambda pair: str(pair[1]))
@pytest.mark.parametrize("stream", [False, True])
async def test_no_exception_of_ours_reaches_litellm(
    stream: bool,
    broken: tuple[Any, str],
    acall: Course,
    scall: Course,
    a: FakeOpenAI,
    b: FakeOpenAI,
    client: FakeClient,
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    async def course() -> None:
        answer = await acall(stream=stream)
        if stream:
            assert len([chunk async for chunk in answer]) > 0

    def synchronous() -> None:
        answer = scall(stream=stream)
        if stream:
            assert len(list(answer)) > 0

    with using_litellm(client) as installed, pytest.MonkeyPatch.context() as patch:
        patch.setattr(*broken, fail)
        await arun(course)
        await asyncio.to_thread(run, synchronous)
        patch.undo()
        gc.collect()
        installed.attempts._calls._open.clear()
        complaints.counts.clear()
    assert len(a.requests) + len(b.requests) == 2


@pytest.mark.parametrize("name", ["adecide", "decide", "is_off", "endpoint_for", "sent", "observe"])
async def test_a_broken_client_reaches_nobody(
    name: str, acall: Course, scall: Course, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("ours")

    async def course() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, name, fail)
            await acall()

    def synchronous() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, name, fail)
            scall()

    with using_litellm(client) as installed:
        await arun(course)
        await asyncio.to_thread(run, synchronous)
        installed.attempts._calls._open.clear()
        complaints.counts.clear()
    assert len(a.requests) + len(b.requests) == 2

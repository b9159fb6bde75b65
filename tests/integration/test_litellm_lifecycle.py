"""How calls through LiteLLM end: errors, cancels, given-up streams; and hooks broken on purpose."""


                    api_base=a.url,
                    messages=[{"role": "user", "content": "is it good?"}],
                    model="hosted_vllm/judge",
                )
                await asyncio.sleep(0)
                await litellm.acompletion(
                headway_litellm.install(wrong)
            """A method with another signature."""
            "Bearer deployed-key",
            "Bearer fake-api-key",
            "Bearer none",
            assert "async_get_healthy_deployments takes self, query" in installed.patch.problem
            assert installed.patch.install(litellm) is False
            assert left
            assert len([chunk async for chunk in answer]) > 0
            assert len(list(answer)) > 0
            assert litellm.acompletion is before
            await acall()
            await early(**said)
            await stream.aclose()
            await task
            before = litellm.acompletion
            break
            broken.append(self)
            continue
            deadline = time.monotonic() + 5
            del stream
            gc.collect()
            if kwargs["messages"] == HI:
            installed.attempts._calls._open.clear()
            model="hosted_vllm/agent", api_base=a.url, messages=messages, **kwargs
            patch.setattr(Router, "async_get_healthy_deployments", other)
            patch.setattr(client, name, fail)
            raise error
            return await used.acompletion(model="agent", messages=messages, **kwargs)
            return router(a.url, b.url).completion(model="agent", messages=messages, **kwargs)
            run, lambda: early(model="hosted_vllm/agent", api_base=a.url, messages=HI)
            scall()
            used = router(a.url, b.url)
            while not ends(client) and time.monotonic() < deadline:
            with pytest.raises(TypeError, match=r"litellm\.Router"):
        )
        answer = await acall(stream=stream)
        answer = scall(stream=stream)
        assert [getattr(litellm, name) for name in names] == before
        assert await arun(course) > 1
        assert dict(vars(Router)) == ours
        assert ends(client) == [("cancelled", "")]
        assert ends(client) == []
        assert headway_litellm.callback is headway_litellm.callback
        assert headway_litellm.install() is None
        assert headway_litellm.install(used) is used
        assert installed.callback().escaped.open == {}
        assert isinstance(stream, litellm.CustomStreamWrapper)
        assert len([chunk async for chunk in stream]) > 0
        assert litellm.acompletion is wrapped
        assert litellm.callbacks == []
        assert litellm.callbacks == [headway_litellm.callback]
        assert request.headers.get("authorization", "Bearer deployed-key") in (
        assert tuple(inspect.signature(method).parameters) == tuple(base.parameters), name
        async def async_pre_call_deployment_hook(self, kwargs: Any, call_type: Any) -> None:
        async for _ in stream:
        await arun(_breaking(client, name, fail, acall))
        await arun(acall)
        await arun(course)
        await arun(lambda: acall(SLOW, timeout=0.3))
        await arun(lambda: asyncio.sleep(0))
        await asyncio.Event().wait()
        await asyncio.gather(*(acall([{"role": "user", "content": "x" * n}]) for n in range(1, 9)))
        await asyncio.to_thread(
        await asyncio.to_thread(b.wait_for)
        await asyncio.to_thread(run, _breaking_sync(client, name, fail, scall))
        await asyncio.to_thread(run, synchronous)
        await early(**said)
        await held.wait()
        b.release.set()
        base = inspect.signature(getattr(CustomLogger, name))
        client.asks.append(ask)
        complaints.counts.clear()
        def other(self: Any, query: str) -> None:
        del stream
        else:
        for left in [call for of in list(installed.attempts._calls._open.values()) for call in of]:
        for wrong in ("router", object(), Router):
        gc.collect()
        headway_litellm.install()
        headway_litellm.install(used)
        headway_litellm.uninstall()
        held.set()
        if how == "aclose":
        if name.startswith("_"):
        if not broken:
        if request.param == "router":
        if stream:
        installed.attempts._calls._open.clear()
        installed.patch.uninstall()
        kept.append(await litellm.acompletion("hosted_vllm/x", STALL, api_base=a.url, stream=True))
        litellm.callbacks.append(Judge())
        message="gone", model="large", llm_provider="hosted_vllm", is_pre_first_chunk=True
        next(iter(stream))
        patch.setattr(*broken, fail)
        patch.setattr(litellm.CustomStreamWrapper, "__anext__", once)
        patch.undo()
        raise RuntimeError("ours")
        return await litellm.acompletion(
        return await original(self)
        return len([chunk async for chunk in stream])
        return litellm.completion(
        return {}
        run(course)
        run(scall)
        stream = await acall(STALL, stream=True)
        stream = await arun(lambda: acall(stream=True))
        stream = await used.acompletion(model="agent", messages=HI, stream=True)
        stream = scall(STALL, stream=True)
        task = asyncio.create_task(acall())
        task = asyncio.create_task(acall(SLOW))
        task.cancel()
        used = Router(model_list=[entry, unnamed])
        used = router(a.url, b.url)
        with pytest.MonkeyPatch.context() as patch:
        with pytest.raises(Exception, match="told to fail"):
        with pytest.raises(asyncio.CancelledError):
        wrapped = litellm.acompletion
    """LiteLLM opens the fallback while its stream is read."""
    """`await acall(messages, **kwargs)` through a Router or without one."""
    (Call, "chunk"),
    (Call, "close"),
    (Call, "next_attempt"),
    (Call, "sent"),
    (Calls, "begin"),
    (attempts_module, "endpoint_of"),
    (attempts_module, "offered"),
    (attempts_module, "readdressed"),
    (attempts_module, "with_urgency"),
    (attempts_module.Attempts, "_group"),
    (attempts_module.Attempts, "_offer"),
    (attempts_module.Attempts, "_pick"),
    (attempts_module.Attempts, "_question"),
    (attempts_module.Attempts, "_single"),
    (attempts_module.Attempts, "_to_deployment"),
    (attempts_module.Attempts, "_to_endpoint"),
    (escaped_module.Escaped, "_count"),
    (patches, "carry"),
    (patches, "failed"),
    (patches, "follow"),
    (patches.LiteLLMPatch, "_narrow"),
    )
    HI,
    SLOW,
    STALL,
    a: FakeOpenAI,
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    acall: Course,
    acall: Course, a: FakeOpenAI, client: FakeClient
    arun,
    assert "elsewhere" in said[0] and "a, b" in said[0]
    assert "two" in said[1] and "model_info" in said[1]
    assert [(ask.attempt, ask.pool_name) for ask in client.asks] == [(1, "agent"), (2, "other")]
    assert [(one.why, one.target) for one in client.passed] == [(escaped_module.UNSEEN, a.url)]
    assert [outcome for outcome, _ in ends(client)] == ["error", "ok"]
    assert b.bodies[1]["priority"] == -2500 and a.requests == []
    assert client.asks[0].hold_limit_s == pytest.approx(0.15)
    assert client.passed == []
    assert done.stdout == b"False\n"
    assert ends(client) == [("cancelled", "")]
    assert ends(client) == [("error", "500"), ("ok", "")]
    assert ends(client) == [("error", "500")]
    assert ends(client) == [("error", str(status))]
    assert ends(client) == [("ok", "")] * 2
    assert ends(client) == [("ok", "")] * 8
    assert ends(client)[0] in {("error", "408"), ("error", "timeout")}
    assert len(a.requests) + len(b.requests) == 2
    assert len(a.requests) == 1 and client.asks == []
    assert len(client.of(FirstToken)) == 1
    assert len(said) == 2
    assert len({ask.call for ask in client.asks}) == 1
    assert len({ask.call for ask in client.asks}) == 2
    assert len({ask.call for ask in client.asks}) == 8
    assert raised.value.status_code == status
    assert sorted(ask.pool_name for ask in client.asks) == ["agent", "judge"]
    assert sorted(ask.prompt_chars for ask in client.asks) == list(range(1, 9))
    async def adecide(ask: CallReady) -> Any:
    async def course() -> None:
    async def course() -> int:
    async def course(messages: Any = HI, **kwargs: Any) -> Any:
    async def node(state: Any) -> dict[str, Any]:
    async def once(self: Any) -> Any:
    b.fail(1, 500)
    b.fail(1, status)
    b: FakeOpenAI,
    before = [getattr(litellm, name) for name in names]
    broken: list[Any] = []
    broken: tuple[Any, str],
    class Judge(CustomLogger):
    client.adecide = adecide  # type: ignore[method-assign]
    client: FakeClient,
    client: FakeClient, caplog: pytest.LogCaptureFixture
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
    code = "import sys, headway_litellm; headway_litellm.install(); print('litellm' in sys.modules)"
    def course() -> None:
    def course(messages: Any = HI, **kwargs: Any) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
    def synchronous() -> None:
    deployment,
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    early = litellm.acompletion
    early = litellm.completion
    entry = deployment("agent", "http://127.0.0.1:9/v1", "hosted_vllm/x", "elsewhere")
    error = litellm.exceptions.MidStreamFallbackError(
    for name, method in vars(HeadwayCallback).items():
    for request in a.requests + b.requests:
    graph_of,
    held = asyncio.Event()
    how: str, acall: Course, b: FakeOpenAI, client: FakeClient
    import inspect
    import subprocess
    name: str, acall: Course, scall: Course, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    names = ("acompletion", "completion", "acompletion_with_retries", "completion_with_retries")
    original = litellm.CustomStreamWrapper.__anext__
    ours = dict(vars(Router))
    return FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b", urgency=2.5)
    return [(end.outcome, end.error) for end in client.of(CallEnded)]
    return course
    router,
    run,
    said = [record.getMessage() for record in caplog.records if "headway" in record.getMessage()]
    said: Any = {"model": "hosted_vllm/agent", "api_base": a.url, "messages": HI}
    scall: Course,
    status: int, acall: Course, b: FakeOpenAI, client: FakeClient
    stream: bool,
    unnamed = {"model_name": "two", "litellm_params": {**entry["litellm_params"], "timeout": 3}}
    used = router(a.url, b.url, fallbacks=[{"agent": ["other"]}])
    using_litellm,
    with using_litellm(client) as installed, pytest.MonkeyPatch.context() as patch:
    with using_litellm(client) as installed:
    with using_litellm(client), pytest.MonkeyPatch.context() as patch:
    with using_litellm(client), pytest.raises(Exception, match="told to fail") as raised:
    with using_litellm(client), pytest.raises(Exception, match="told to fail"):
    with using_litellm(client), pytest.raises(litellm.Timeout):
    with using_litellm(client):
# Broken on purpose
# Installing
)
) -> None:
@pytest.fixture
@pytest.fixture(params=["router", "plain"])
@pytest.mark.parametrize("broken", BREAKABLE, ids=lambda pair: str(pair[1]))
@pytest.mark.parametrize("how", ["aclose", "drop"])
@pytest.mark.parametrize("name", ["adecide", "decide", "is_off", "endpoint_for", "sent", "observe"])
@pytest.mark.parametrize("status", [400, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
BREAKABLE: list[tuple[Any, str]] = [
Course = Callable[..., Any]
]
async def test_a_broken_client_reaches_nobody(
async def test_a_call_cancelled_while_it_is_held(acall: Course, client: FakeClient) -> None:
async def test_a_callback_that_calls_a_model_itself_is_another_call(
async def test_a_cancelled_call(acall: Course, b: FakeOpenAI, client: FakeClient) -> None:
async def test_a_stream_given_up(
async def test_a_stream_read_after_its_node_is_over(acall: Course, client: FakeClient) -> None:
async def test_a_stream_that_breaks_before_its_first_chunk_falls_back_as_the_same_call(
async def test_a_time_out(acall: Course, client: FakeClient) -> None:
async def test_an_asynchronous_call_imported_earlier_is_covered_all_the_same(
async def test_calls_side_by_side_are_told_apart(acall: Course, client: FakeClient) -> None:
async def test_errors_are_told_and_reach_the_caller(
async def test_no_exception_of_ours_reaches_litellm(
async def test_other_calls_imported_earlier_are_counted(
def _breaking(client: Any, name: str, fail: Any, acall: Course) -> Course:
def _breaking_sync(client: Any, name: str, fail: Any, scall: Course) -> Course:
def acall(request: pytest.FixtureRequest, a: FakeOpenAI, b: FakeOpenAI) -> Course:
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
def ends(client: FakeClient) -> list[tuple[str, str]]:
def scall(request: pytest.FixtureRequest, a: FakeOpenAI, b: FakeOpenAI) -> Course:
def test_a_nodes_end_closes_what_it_left(a: FakeOpenAI, b: FakeOpenAI, client: FakeClient) -> None:
def test_a_router_that_is_not_in_the_pool_is_warned_of_once(
def test_a_synchronous_stream_given_up(scall: Course, b: FakeOpenAI, client: FakeClient) -> None:
def test_an_unknown_litellm_is_left_alone(
def test_errors_of_synchronous_calls(scall: Course, b: FakeOpenAI, client: FakeClient) -> None:
def test_importing_headway_litellm_does_not_import_litellm() -> None:
def test_install_is_idempotent_and_uninstall_puts_back(client: FakeClient) -> None:
def test_install_takes_a_router_and_gives_it_back(
def test_the_callbacks_parameters_have_the_base_classs_names() -> None:
import asyncio
import gc
import headway_litellm
import headway_litellm.attempts as attempts_module
import headway_litellm.escaped as escaped_module
import litellm
import os
import pytest
import sys
import time
from collections.abc import Callable
from headway.calling.calls import Call, Calls
from headway.calling.guard import complaints
from headway.core.facts import CallEnded, CallReady, FirstToken
from headway_litellm import patches
from headway_litellm.hooks import HeadwayCallback
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import (
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

    kept: list[Any] = []
    with using_litellm(client):
        asyncio.run(graph_of(node).ainvoke({"x": []}))
        b.release.set()
    assert ends(client) == [("cancelled", "")]

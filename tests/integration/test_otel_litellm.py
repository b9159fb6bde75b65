"""LiteLLM in process: the attempt's own span is what arrives, beside LiteLLM's `otel` callback."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from tests.support.with_litellm import HI, arun, router, run, using_litellm  # isort: skip
import litellm

import headway_otel
import headway_otel.installation as otel_module
from tests.integration.test_otel_requests import sent
from tests.support.daemons import until
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.traced import Traced, ids, is_below


@contextmanager
def tracing(client: FakeClient, traced: Traced) -> Iterator[None]:
    """`headway_otel` and `headway_litellm` installed into this client."""
    with pytest.MonkeyPatch.context() as patch, using_litellm(client):
        patch.setattr(otel_module, "get_client", lambda: client)
        headway_otel.install(traced.provider)
        try:
            yield
        finally:
            headway_otel.uninstall()


@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
@pytest.mark.parametrize("way", ["async", "sync"])
@pytest.mark.parametrize("through", ["router", "litellm"])
async def test_the_attempts_span_is_what_arrives(
    a: FakeOpenAI, b: FakeOpenAI, way: str, provider: str, through: str
) -> None:
    traced = Traced()
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")
    used = router(a.url, b.url, provider=provider)
    said: dict[str, Any] = {"model": "agent", "messages": HI}
    if through == "litellm":
        used = litellm
        said |= {"model": f"{provider}/agent", "api_base": a.url, "api_key": "k"}
    with tracing(client, traced):
        if way == "async":
            await arun(lambda: used.acompletion(**said))
        else:
            await asyncio.to_thread(run, lambda: used.completion(**said))
    (request,) = b.requests
    (call,) = traced.all("chat")
    assert sent(request) == ids(call)
    assert call.name == "chat large" and is_below(call, traced.named("node n"))


async def test_a_retry_carries_its_own_span(a: FakeOpenAI, b: FakeOpenAI) -> None:
    traced = Traced()
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")
    b.fail(1, 500)
    used = router(a.url, b.url, num_retries=1)
    with tracing(client, traced):
        await arun(lambda: used.acompletion(model="agent", messages=HI))
    calls = sorted(traced.all("chat"), key=lambda one: one.start_time)
    assert [sent(request) for request in b.requests] == [ids(one) for one in calls]
    assert [one.attributes["headway.attempt"] for one in calls] == [1, 2]


async def test_beside_litellms_own_callback(a: FakeOpenAI, b: FakeOpenAI) -> None:
    module = pytest.importorskip("litellm.integrations.opentelemetry")
    traced = Traced()
    theirs = module.OpenTelemetry(
        config=module.OpenTelemetryConfig(exporter="console"), tracer_provider=traced.provider
    )
    client = FakeClient(two_endpoints(a.url, b.url), choose=lambda ask: "b")
    used = router(a.url, b.url)
    with tracing(client, traced):
        litellm.callbacks.append(theirs)
        with traced.provider.get_tracer("user").start_as_current_span("request"):
            await arun(lambda: used.acompletion(model="agent", messages=HI))
        # LiteLLM tells its callbacks after the answer, in a task of its own.
        await until(lambda: traced.all("raw_gen_ai_request"))
    (request,) = b.requests
    (call,) = traced.all("chat")
    assert sent(request) == ids(call)
    assert is_below(call, traced.named("node n"))
    assert is_below(traced.named("invoke_workflow g"), traced.named("request"))
    # With a current span, LiteLLM writes on that one, and puts its own below it.
    assert is_below(traced.named("raw_gen_ai_request"), traced.named("request"))

"""Retries, fallbacks, cooldowns and LiteLLM's own filters: each attempt is asked for anew."""


                assert answer is not None
                deployment("agent", a.url, "hosted_vllm/small", "a", order=2),
                deployment("agent", b.url, "hosted_vllm/large", "b", order=1),
            ]
            a.url, b.url, num_retries=1, disable_cooldowns=False, allowed_fails=0, cooldown_time=60
            async for _ in answer:
            await call(router(a.url, b.url), is_async=True)
            await call(router(a.url, b.url), is_async=is_async)
            await call(used, is_async=is_async)
            lines.append(f"?{fact.attempt} {fact.pool_name}")
            lines.append(f"{fact.attempt} {fact.outcome} {fact.error}".strip())
            list(answer)
            model_list=[
            model_list=[deployment("agent", a.url, "hosted_vllm/small", "a", extra_body=extra)]
            raise ValueError("not ours")
            return [one for one in healthy_deployments if one["model_info"]["id"] == "b"]
            self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
        "latency-based-routing",
        "least-busy",
        "simple-shuffle",
        "usage-based-routing-v2",
        )
        ):
        answer = await used.acompletion(**said)
        answer = used.completion(**said)
        assert len(c.requests) == 1 and "priority" not in c.bodies[0]
        async def async_filter_deployments(  # type: ignore[no-untyped-def]
        async def async_filter_deployments(self, *args: Any, **kwargs: Any) -> Any:
        await arun(acall)
        await asyncio.to_thread(run, scall)
        await call(router(a.url, b.url), is_async=True)
        await call(router(a.url, b.url), is_async=is_async, **own)
        await call(router(a.url, b.url), is_async=is_async, api_base=c.url)
        await call(router(a.url, b.url), is_async=is_async, model="a")
        await call(router(a.url, b.url, default_priority=1), is_async=True)
        await call(used, is_async=True)
        await call(used, is_async=is_async)
        await call(used, is_async=is_async, stream=stream)
        complaints.counts.pop("own urgency", None)
        else:
        for _ in range(3):
        for _ in range(6):
        if isinstance(fact, CallReady):
        if stream:
        litellm.callbacks.append(Broken())
        litellm.callbacks.append(OnlyB())  # after ours
        made.urgency = float(ask.attempt)
        return wanted if not ask.endpoints or wanted in ask.endpoints else ask.endpoints[0]
        used = Router(
        used = Router(model_list=[deployment("agent", c.url, "hosted_vllm/x", "c")])
        used = router(
        used = router(a.url, b.url, fallbacks=[{"agent": ["other"]}])
        used = router(a.url, b.url, provider=provider, num_retries=1)
        used = router(a.url, b.url, routing_strategy=strategy)
        wanted = "a" if ask.attempt == 1 else "b"
        with pytest.raises(ValueError, match="not ours"):
    """Attempts and their ends: ``?n pool-name`` and ``n outcome error``."""
    """The first attempt to A with urgency 1, each later one to B with urgency 2."""
    "own", [{"priority": 0}, {"priority": 7}, {"extra_body": {"priority": 5, "other": 1}}]
    "strategy",
    # LiteLLM's asynchronous Router keeps a priority other than 0 for itself.
    (passed,) = client.passed
    [
    ],
    a.fail(1, 500)
    a.fail(1, 503)
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    assert [(ask.endpoints, ask.pool_name) for ask in client.asks] == [(("a",), "small")]
    assert [ask.endpoints for ask in client.asks] == [("a", "b"), ("b",)]
    assert [ask.endpoints for ask in client.asks] == [("b",)]
    assert [body["cache_salt"] for body in a.bodies] == ["s", "s"]
    assert [body["priority"] for body in a.bodies + b.bodies] == [-1000, -2000]
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"] * 6
    assert [one.endpoint for one in sent].count("a") == len(a.requests)
    assert [one.endpoint for one in sent].count("b") == len(b.requests)
    assert a.bodies[0]["priority"] == (-1000 if eaten else kept)
    assert a.bodies[0]["priority"] == -1000
    assert a.requests == [] and len(b.requests) == 3 and len(client.asks) == 3
    assert all("priority" not in body for body in a.bodies + b.bodies)
    assert b.bodies[0]["priority"] == -2000
    assert b.requests[0].headers["x-vllm-priority"] == "-2000"
    assert client.asks == []
    assert client.asks == [] and a.requests == []
    assert client.asks == [] and client.of(CallEnded) == []
    assert client.asks[1].endpoints == ("b",)
    assert extra == {"cache_salt": "s"}
    assert len(a.requests) == 1 and len(client.asks) == 1
    assert len(b.requests) == 1
    assert len(b.requests) == 1 and a.requests == []
    assert len(sent) == 6
    assert len({fact.call for fact in client.of(CallReady, CallEnded)}) == 1
    assert passed.target == c.url
    assert second.age_s > first.age_s
    assert story(client) == ["?1 agent", "1 error 500", "?2 other", "2 ok"]
    assert story(client) == ["?1 agent", "1 error 503", "?2 agent", "2 ok"]
    async def acall() -> None:
    class Broken(CustomLogger):
    class OnlyB(CustomLogger):
    client.choose = lambda ask: "a" if "a" in ask.endpoints else "b"
    client.choose = lambda ask: "b"
    client.choose = lambda ask: None
    def choose(ask: CallReady) -> str:
    def scall() -> None:
    eaten = is_async and own.get("priority") == 7
    else:
    extra = {"cache_salt": "s"}
    first, second = client.asks
    for fact in client.of(CallReady, CallEnded):
    if is_async:
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    is_async: bool, stream: bool, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    kept = own.get("priority", own.get("extra_body", {}).get("priority"))
    lines = []
    made = FakeClient(two_endpoints(a.url, b.url))
    made.choose = choose
    own: dict[str, Any], is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    return lines
    return made
    said = {"model": "agent", "messages": HI, "stream": stream, **kwargs}
    sent = client.of(CallSent)
    strategy: str, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
    with FakeOpenAI() as c, using_litellm(client):
    with using_litellm(client), pytest.raises(TypeError, match="priority"):
    with using_litellm(client):
)
) -> None:
@pytest.fixture
@pytest.mark.parametrize(
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
@pytest.mark.parametrize("stream", [False, True])
async def call(used: Any, *, is_async: bool, stream: bool = False, **kwargs: Any) -> None:
async def test_a_callers_own_api_base_through_a_router(
async def test_a_cooled_deployment_is_not_offered(
async def test_a_deployment_asked_for_by_its_id(
async def test_a_failing_filter_of_others_fails_as_without_us(
async def test_a_fallback_asks_for_the_other_group(
async def test_a_priority_of_the_callers_own(
async def test_a_retry_asks_again_with_the_same_call(
async def test_default_priority_fails_as_without_us(
async def test_deployments_outside_the_pool_are_untouched(
async def test_other_peoples_filters_come_first(
async def test_the_deployments_own_extra_body_survives(
async def test_the_users_order_holds(
async def test_whatever_the_users_strategy(
async def test_without_a_decision_the_host_chooses_and_says_so(
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
def story(client: FakeClient) -> list[str]:
import asyncio
import litellm
import os
import pytest
from headway.calling.guard import complaints
from headway.core.facts import CallEnded, CallReady, CallSent
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router
from litellm.types.caching import LiteLLMCacheType
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, deployment, router, run, using_litellm
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

async def test_what_the_cache_answers_teaches_nothing(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client), pytest.MonkeyPatch.context() as patch:
        patch.setattr(litellm, "cache", litellm.Cache(type=LiteLLMCacheType.LOCAL))
        used = router(a.url, b.url, cache_responses=True)
        await call(used, is_async=True)
        client.urgency = 9.0
        await call(used, is_async=True)
    assert len(a.requests) == 1
    assert [end.outcome for end in client.of(CallEnded)] == ["ok", "cancelled"]

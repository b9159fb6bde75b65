"""Retries, fallbacks, cooldowns and LiteLLM's own filters: each attempt is asked for anew."""

import asyncio
import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm
from litellm.caching.caching import Cache
from litellm.integrations.custom_logger import CustomLogger
from litellm.router import Router
from litellm.types.caching import LiteLLMCacheType

from headway.calling.guard import complaints
from headway.core.facts import CallEnded, CallReady, CallSent
from tests.support.fake_client import FakeClient
from tests.support.fake_openai import FakeOpenAI
from tests.support.scheduled import two_endpoints
from tests.support.with_litellm import HI, arun, deployment, router, run, using_litellm


@pytest.fixture
def client(a: FakeOpenAI, b: FakeOpenAI) -> FakeClient:
    """The first attempt to A with urgency 1, each later one to B with urgency 2."""
    made = FakeClient(two_endpoints(a.url, b.url))

    def choose(ask: CallReady) -> str:
        made.urgency = float(ask.attempt)
        wanted = "a" if ask.attempt == 1 else "b"
        return wanted if not ask.endpoints or wanted in ask.endpoints else ask.endpoints[0]

    made.choose = choose
    return made


def story(client: FakeClient) -> list[str]:
    """Attempts and their ends: ``?n pool-name`` and ``n outcome error``."""
    lines = []
    for fact in client.of(CallReady, CallEnded):
        if isinstance(fact, CallReady):
            lines.append(f"?{fact.attempt} {fact.pool_name}")
        else:
            lines.append(f"{fact.attempt} {fact.outcome} {fact.error}".strip())
    assert len({fact.call for fact in client.of(CallReady, CallEnded)}) == 1
    return lines


async def call(used: Any, *, is_async: bool, stream: bool = False, **kwargs: Any) -> None:
    said = {"model": "agent", "messages": HI, "stream": stream, **kwargs}

    async def acall() -> None:
        answer = await used.acompletion(**said)
        if stream:
            assert len([chunk async for chunk in answer]) > 0

    def scall() -> None:
        answer = used.completion(**said)
        if stream:
            assert len(list(answer)) > 0

    if is_async:
        await arun(acall)
    else:
        await asyncio.to_thread(run, scall)


@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_retry_asks_again_with_the_same_call(
    is_async: bool, stream: bool, provider: str, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    a.fail(1, 503)
    with using_litellm(client):
        used = router(a.url, b.url, provider=provider, num_retries=1)
        await call(used, is_async=is_async, stream=stream)
    assert story(client) == ["?1 agent", "1 error 503", "?2 agent", "2 ok"]
    assert [body["priority"] for body in a.bodies + b.bodies] == [-1000, -2000]
    assert b.requests[0].headers["x-vllm-priority"] == "-2000"
    first, second = client.asks
    assert second.age_s > first.age_s


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_fallback_asks_for_the_other_group(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    a.fail(1, 500)
    with using_litellm(client):
        used = router(a.url, b.url, fallbacks=[{"agent": ["other"]}])
        await call(used, is_async=is_async)
    assert story(client) == ["?1 agent", "1 error 500", "?2 other", "2 ok"]
    assert client.asks[1].endpoints == ("b",)
    assert b.bodies[0]["priority"] == -2000


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_cooled_deployment_is_not_offered(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    a.fail(1, 500)
    client.choose = lambda ask: "a" if "a" in ask.endpoints else "b"
    with using_litellm(client):
        used = router(
            a.url, b.url, num_retries=1, disable_cooldowns=False, allowed_fails=0, cooldown_time=60
        )
        await call(used, is_async=is_async)
    assert [ask.endpoints for ask in client.asks] == [("a", "b"), ("b",)]
    assert len(b.requests) == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_users_order_holds(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        used = Router(
            model_list=[
                deployment("agent", a.url, "hosted_vllm/small", "a", order=2),
                deployment("agent", b.url, "hosted_vllm/large", "b", order=1),
            ]
        )
        await call(used, is_async=is_async)
    assert [ask.endpoints for ask in client.asks] == [("b",)]
    assert len(b.requests) == 1


async def test_other_peoples_filters_come_first(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    class OnlyB(CustomLogger):
        async def async_filter_deployments(  # type: ignore[no-untyped-def]
            self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None
        ):
            return [one for one in healthy_deployments if one["model_info"]["id"] == "b"]

    with using_litellm(client):
        litellm.callbacks.append(OnlyB())  # after ours
        await call(router(a.url, b.url), is_async=True)
    assert [ask.endpoints for ask in client.asks] == [("b",)]
    assert len(b.requests) == 1 and a.requests == []


async def test_a_failing_filter_of_others_fails_as_without_us(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    class Broken(CustomLogger):
        async def async_filter_deployments(self, *args: Any, **kwargs: Any) -> Any:
            raise ValueError("not ours")

    with using_litellm(client):
        litellm.callbacks.append(Broken())
        with pytest.raises(ValueError, match="not ours"):
            await call(router(a.url, b.url), is_async=True)
    assert client.asks == []


@pytest.mark.parametrize(
    "strategy",
    ["simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing-v2"],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_whatever_the_users_strategy(
    strategy: str, is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.choose = lambda ask: "b"
    with using_litellm(client):
        used = router(a.url, b.url, routing_strategy=strategy)
        for _ in range(3):
            await call(used, is_async=is_async)
    assert a.requests == [] and len(b.requests) == 3 and len(client.asks) == 3


@pytest.mark.parametrize("is_async", [False, True])
async def test_without_a_decision_the_host_chooses_and_says_so(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    client.choose = lambda ask: None
    with using_litellm(client):
        for _ in range(6):
            await call(router(a.url, b.url), is_async=is_async)
    sent = client.of(CallSent)
    assert [one.endpoint for one in sent].count("a") == len(a.requests)
    assert [one.endpoint for one in sent].count("b") == len(b.requests)
    assert len(sent) == 6
    assert all("priority" not in body for body in a.bodies + b.bodies)
    assert [end.outcome for end in client.of(CallEnded)] == ["ok"] * 6


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_deployment_asked_for_by_its_id(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        await call(router(a.url, b.url), is_async=is_async, model="a")
    assert [(ask.endpoints, ask.pool_name) for ask in client.asks] == [(("a",), "small")]
    assert a.bodies[0]["priority"] == -1000


@pytest.mark.parametrize("is_async", [False, True])
async def test_deployments_outside_the_pool_are_untouched(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with FakeOpenAI() as c, using_litellm(client):
        used = Router(model_list=[deployment("agent", c.url, "hosted_vllm/x", "c")])
        await call(used, is_async=is_async)
        assert len(c.requests) == 1 and "priority" not in c.bodies[0]
    assert client.asks == [] and client.of(CallEnded) == []
    (passed,) = client.passed
    assert passed.target == c.url


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "own", [{"priority": 0}, {"priority": 7}, {"extra_body": {"priority": 5, "other": 1}}]
)
async def test_a_priority_of_the_callers_own(
    own: dict[str, Any], is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client):
        await call(router(a.url, b.url), is_async=is_async, **own)
        complaints.counts.pop("own urgency", None)
    assert len(a.requests) == 1 and len(client.asks) == 1
    # LiteLLM's asynchronous Router keeps a priority other than 0 for itself.
    eaten = is_async and own.get("priority") == 7
    kept = own.get("priority", own.get("extra_body", {}).get("priority"))
    assert a.bodies[0]["priority"] == (-1000 if eaten else kept)


async def test_default_priority_fails_as_without_us(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client), pytest.raises(TypeError, match="priority"):
        await call(router(a.url, b.url, default_priority=1), is_async=True)
    assert client.asks == [] and a.requests == []


async def test_the_deployments_own_extra_body_survives(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    extra = {"cache_salt": "s"}
    with using_litellm(client):
        used = Router(
            model_list=[deployment("agent", a.url, "hosted_vllm/small", "a", extra_body=extra)]
        )
        await call(used, is_async=True)
        await call(used, is_async=True)
    assert [body["cache_salt"] for body in a.bodies] == ["s", "s"]
    assert extra == {"cache_salt": "s"}


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_callers_own_api_base_through_a_router(
    is_async: bool, a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with FakeOpenAI() as c, using_litellm(client):
        await call(router(a.url, b.url), is_async=is_async, api_base=c.url)
        assert len(c.requests) == 1 and "priority" not in c.bodies[0]
    assert client.asks == []


async def test_what_the_cache_answers_teaches_nothing(
    a: FakeOpenAI, b: FakeOpenAI, client: FakeClient
) -> None:
    with using_litellm(client), pytest.MonkeyPatch.context() as patch:
        patch.setattr(litellm, "cache", Cache(type=LiteLLMCacheType.LOCAL))
        used = router(a.url, b.url, cache_responses=True)
        await call(used, is_async=True)
        await call(used, is_async=True)
    assert len(a.requests) == 1
    assert [end.outcome for end in client.of(CallEnded)] == ["ok", "cancelled"]

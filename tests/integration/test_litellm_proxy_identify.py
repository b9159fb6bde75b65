"""What the callback makes of one request of a proxy, without a proxy."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from headway.calling.calls import get_calls
from headway.calling.coverage import Coverage
from headway.calling.guard import complaints
from headway.context import Scope, live_scope
from headway.context import scope as current_scope
from headway.core.facts import NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.pool import PoolName
from headway.wire.messages import Covered
from headway_litellm import proxy
from tests.support.fake_client import FakeClient
from tests.support.scheduled import two_endpoints

NOBODY = SimpleNamespace(team_alias=None, team_id=None, key_alias=None, user_id="default_user_id")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    pool = two_endpoints("http://a/v1", "http://b/v1")
    names = (PoolName(name="agent", models=("small", "large")),)
    fake = FakeClient(msgspec.structs.replace(pool, names=names))
    monkeypatch.setattr(proxy, "get_client", lambda: fake)
    complaints.counts.clear()
    return fake


def request(headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    said = {"model": "agent", "messages": [], **body}
    return {**said, "proxy_server_request": {"headers": headers or {}, "body": {**said}}}


async def within(
    data: dict[str, Any], *, key: Any = NOBODY, call_type: str = "acompletion"
) -> tuple[Scope | None, Scope | None]:
    """The scope during the request, and what is live of it in a task that outlives it."""
    late: list[asyncio.Task[Scope | None]] = []
    over = asyncio.Event()

    async def straggler() -> Scope | None:
        await over.wait()
        return live_scope()

    async def handle() -> Scope | None:
        proxy.identify(data, key, call_type)
        late.append(asyncio.create_task(straggler()))
        return live_scope()

    found = await asyncio.create_task(handle())
    over.set()
    return found, await late[0]


async def test_a_plain_request_begins_and_ends_a_run(client: FakeClient) -> None:
    key = SimpleNamespace(team_alias="research", team_id="t", key_alias="k", user_id="u")
    scope, after = await within(request(), key=key)
    assert scope is not None and after is None
    assert (scope.graph, scope.node_name, scope.tenant) == ("proxy:agent", "call", "research")
    kinds = [type(fact) for fact in client.of(RunStarted, NodeStarted, NodeEnded, RunEnded)]
    assert kinds == [RunStarted, NodeStarted, NodeEnded, RunEnded]
    (ended,) = client.of(RunEnded)
    # It never made a call (LiteLLM's cache answered): nobody learns from that.
    assert (ended.run, ended.outcome) == (scope.run, "cancelled")


async def test_a_run_by_header_is_not_ended_and_its_node_only_if_it_is_ours(
    client: FakeClient,
) -> None:
    scope, _ = await within(request({"x-headway-run": "r", "x-headway-node": "n"}))
    assert scope is not None and (scope.run, scope.node) == ("r", "n")
    assert client.facts == []
    scope, _ = await within(request({"x-headway-run": "r"}))
    assert scope is not None and scope.node not in ("", "n")
    kinds = [type(fact) for fact in client.of(RunStarted, NodeStarted, NodeEnded, RunEnded)]
    assert kinds == [NodeStarted, NodeEnded]


async def test_a_final_session_is_ended(client: FakeClient) -> None:
    headers = {"X-Dynamo-Session-ID": "s", "X-Dynamo-Session-Final": "true"}
    await within(request(headers))
    (ended,) = client.of(RunEnded)
    assert ended.run == "s"


@pytest.mark.parametrize(
    ("headers", "body", "timeout_s"),
    [
        ({}, {}, None),
        ({"x-stainless-read-timeout": "600"}, {}, 600.0),
        ({"x-stainless-read-timeout": "600"}, {"timeout": 20}, 20.0),
        ({"x-headway-timeout-s": "5", "x-stainless-read-timeout": "600"}, {}, 5.0),
        ({"x-stainless-read-timeout": "soon"}, {"timeout": -1}, None),
    ],
)
async def test_how_long_the_caller_waits(
    client: FakeClient, headers: dict[str, str], body: dict[str, Any], timeout_s: float | None
) -> None:
    scope, _ = await within(request(headers, **body))
    assert scope is not None and scope.timeout_s == timeout_s


async def test_what_litellm_copies_from_headers_into_the_body_is_not_the_bodys(
    client: FakeClient,
) -> None:
    copied = {"litellm_session_id": "s1", "metadata": {"session_id": "s1"}}
    scope, _ = await within(request({"x-session-id": "s1"}, **copied))
    assert scope is not None and (scope.run, scope.graph) == ("s1", "session")
    scope, _ = await within(request({}, **copied))
    assert scope is not None and (scope.run, scope.graph) == ("s1", "litellm")


async def test_our_headers_are_not_forwarded_to_engines_and_the_trace_is(
    client: FakeClient,
) -> None:
    trace = f"00-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-01"
    data = request({"traceparent": trace})
    data["headers"] = {"X-Headway-Run": "r", "x-mine": "1"}
    data["extra_headers"] = {"x-theirs": "2"}
    await within(data)
    assert data["headers"] == {"x-mine": "1"}
    assert data["extra_headers"] == {"x-theirs": "2", "traceparent": trace}


async def test_priority_stays_where_headway_has_no_say(client: FakeClient) -> None:
    known, foreign = request(priority=3), request(priority=3, model="elsewhere")
    await within(known)
    await within(foreign)
    assert "priority" not in known and foreign["priority"] == 3
    client.pool = None
    lonely = request(priority=3)
    await within(lonely)
    assert lonely["priority"] == 3


async def test_a_decided_request_and_other_kinds_are_left_alone(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_calls(), "coverage", Coverage())
    scope, _ = await within(request({"x-headway-decision": "dep-b"}, model="dep-b"))
    assert scope is None
    assert [fact.way for fact in client.of(Covered)] == [proxy.DECIDED_WAY]
    scope, _ = await within(request(), call_type="aembedding")
    assert scope is None
    client.off = True
    scope, _ = await within(request())
    assert scope is None and client.of(RunStarted) == []


async def test_nothing_is_left_over(client: FakeClient) -> None:
    await within(request())
    assert current_scope.get() is None
    calls = get_calls()
    assert calls._endings == {} and calls._open == {}
    broken: dict[str, Any] = {"model": None, "proxy_server_request": "odd", "messages": 3}
    scope, _ = await within(broken)
    assert scope is not None
    assert complaints.counts == {}


async def test_a_key_that_tells_its_team_is_believed_before_the_request(client: FakeClient) -> None:
    key = SimpleNamespace(team_alias="research", team_id="t", key_alias="k", user_id="u")
    scope, _ = await within(request({"x-headway-tenant": "somebody else"}), key=key)
    assert scope is not None and scope.tenant == "research"
    scope, _ = await within(request({"x-headway-tenant": "ann"}))
    assert scope is not None and scope.tenant == "ann"

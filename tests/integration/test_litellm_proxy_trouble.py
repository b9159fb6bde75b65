"""What goes wrong at a LiteLLM proxy: clients that leave, backends that fail, no daemon."""

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from tests.support.litellm_proxy import MASTER_KEY, TEAM_KEY, WORKERS, LiteLLMProxy, chat, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def run() -> str:
    return f"run-{uuid.uuid4().hex}"


def leave(
    proxy: LiteLLMProxy,
    body: dict[str, Any],
    headers: dict[str, str],
    *,
    key: str = TEAM_KEY,
    once: Callable[[], object] | None = None,
) -> None:
    """Ask, and hang up: once something is so, or else in the middle of the streamed answer."""
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=20)
    told = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), told)
        if once is not None:
            until(once)
        else:
            with connection.getresponse() as response:
                assert response.status == 200 and response.read(1)
    finally:
        connection.close()


def test_a_client_that_leaves_in_the_middle_of_a_stream(proxy: LiteLLMProxy, run: str) -> None:
    leave(proxy, chat("stall", stream=True), {"x-headway-run": run})
    (call,) = proxy.story(run)["calls"]
    assert call["outcome"] == "cancelled"


def test_a_plain_client_that_leaves_ends_its_run(proxy: LiteLLMProxy, run: str) -> None:
    leave(proxy, chat("stall", stream=True), {}, key=f"{TEAM_KEY}-{run}")
    story = proxy.story(tenant=f"research-{run}")
    assert (story["outcome"], story["calls"][0]["outcome"]) == ("cancelled", "cancelled")


def test_a_client_that_leaves_before_the_answer_with_cancel_on_disconnect(
    proxy: LiteLLMProxy, run: str
) -> None:
    headers = {"x-headway-run": run, "x-test-cancel": "1"}
    leave(proxy, chat("slow"), headers, once=proxy.sent)
    (call,) = proxy.story(run)["calls"]
    assert call["outcome"] == "cancelled"


def test_without_it_the_backend_finishes_and_the_slot_is_taken_until_then(
    proxy: LiteLLMProxy, run: str
) -> None:
    leave(proxy, chat("slow"), {"x-headway-run": run}, once=proxy.sent)
    (call,) = proxy.query("explain", run=run)["calls"]
    assert "outcome" not in call
    for server in (proxy.a, proxy.b):
        server.release.set()
    (call,) = proxy.story(run)["calls"]
    assert (call["outcome"], call["output_tokens"]) == ("ok", 7)


def test_a_client_that_leaves_while_its_call_is_held(proxy: LiteLLMProxy, run: str) -> None:
    def is_held() -> bool:
        return "narrow" in proxy.query("status")["waiting"]

    body = chat("slow", model="narrow")
    # The first one's backend goes on, in the only seat.
    leave(proxy, body, {"x-headway-run": f"{run}-1"}, key=MASTER_KEY, once=proxy.sent)
    headers = {"x-headway-run": f"{run}-2", "x-test-cancel": "1"}
    leave(proxy, body, headers, key=MASTER_KEY, once=is_held)
    (call,) = proxy.story(f"{run}-2")["calls"]
    assert (call["outcome"], call["endpoint"]) == ("cancelled", None)
    proxy.a.release.set()
    proxy.story(f"{run}-1")
    assert len(proxy.a.requests) == 1


def test_a_retry_asks_again(proxy: LiteLLMProxy, run: str) -> None:
    proxy.a.fail()
    answer = proxy.ask(headers={"x-headway-run": run, "x-headway-models": "small"})
    assert answer.status_code == 200
    first, second = proxy.story(run, calls=2)["calls"]
    assert first["call"] == second["call"]
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert (first["outcome"], first["error"], second["outcome"]) == ("error", "500", "ok")
    assert [endpoint for endpoint, _ in proxy.sent()] == ["dep-a", "dep-a"]


def test_a_plain_call_that_fails_for_good_ends_its_run_as_failed(
    proxy: LiteLLMProxy, run: str
) -> None:
    proxy.a.fail(3, 400)
    answer = proxy.ask(key=f"{TEAM_KEY}-{run}", headers={"x-headway-models": "small"})
    proxy.a.drop_failures()
    assert answer.status_code == 400
    story = proxy.story(tenant=f"research-{run}", calls=len(proxy.sent()))
    assert (story["outcome"], story["calls"][-1]["outcome"]) == ("error", "error")


def test_every_worker_schedules(proxy: LiteLLMProxy) -> None:
    workers: set[str] = set()

    def ask(_: int) -> None:
        answer = proxy.ask()
        assert "x-headway-endpoint" in answer.headers
        workers.add(answer.headers["x-test-worker"])

    # One after the other, the same idle worker would take them all.
    with ThreadPoolExecutor(16) as pool:
        until(lambda: list(pool.map(ask, range(16))) and len(workers) == WORKERS)


@pytest.mark.parametrize("size", [30_000, 100_000])
def test_huge_header_values_are_harmless(proxy: LiteLLMProxy, run: str, size: int) -> None:
    headers = {"x-headway-run": run * (size // len(run))}
    try:
        status = proxy.ask(headers=headers).status_code
    except httpx.TransportError:
        status = 431  # the HTTP server hung up on it
    assert status in (200, 400, 431)
    if status == 200:
        story = proxy.story(run[:32])
        assert len(story["run"]) < 100 and story["calls"][0]["outcome"] == "ok"
    assert "x-headway-endpoint" in proxy.ask().headers


def test_nonsense_in_headers_and_body_is_harmless(proxy: LiteLLMProxy, run: str) -> None:
    headers = [
        ("x-headway-run", run),
        ("X-Headway-Run", run),
        ("x-headway-deadline-s", "-5"),
        ("x-headway-visit", "soon"),
        ("x-headway-parents", ",,%00,"),
        ("x-stainless-read-timeout", "later"),
        ("traceparent", "garbage"),
    ]
    answer = proxy.ask(
        headers=headers, vllm_xargs={"agentic_context": json.dumps(["no"])}, agent_hint={"x": 1}
    )
    assert answer.status_code == 200
    assert proxy.story(run)["deadline_s"] is None


@pytest.mark.parametrize("is_streamed", [False, True])
def test_without_a_daemon_the_proxy_routes_as_always(
    proxy: LiteLLMProxy, run: str, is_streamed: bool
) -> None:
    with proxy.without_daemon():
        for headers in ({}, {"x-headway-run": run}, {"x-session-id": run}):
            answer = proxy.ask(headers=headers, stream=is_streamed)
            assert answer.status_code == 200 and "hello" in answer.text
        refused = proxy.ask(model="private")
        assert refused.status_code in (401, 403)
        assert proxy.ask(model="private", key=MASTER_KEY).status_code == 200
    assert len(proxy.sent()) == 4
    until(lambda: "priority" in _sent_body(proxy))


def _sent_body(proxy: LiteLLMProxy) -> dict[str, object]:
    """The body of one more request."""
    proxy.a.clear()
    proxy.b.clear()
    assert proxy.ask().status_code == 200
    ((_, request),) = proxy.sent()
    return request.body

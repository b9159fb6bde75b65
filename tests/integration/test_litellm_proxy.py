"""Clients of a real LiteLLM proxy with Headway's callback: plain ones, and ones that say who."""

import uuid
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.support.litellm_proxy import MASTER_KEY, TEAM_KEY, LiteLLMProxy, chat, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def run() -> str:
    return f"run-{uuid.uuid4().hex}"


def one_sent(proxy: LiteLLMProxy) -> tuple[str, dict[str, str], dict[str, object]]:
    """The only request that reached a backend."""
    ((endpoint, request),) = proxy.sent()
    return endpoint, request.headers, request.body


def test_a_plain_client_is_a_run_of_one_call(proxy: LiteLLMProxy, run: str) -> None:
    answer = proxy.ask(key=f"{TEAM_KEY}-{run}")
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hello there"
    endpoint, headers, body = one_sent(proxy)
    assert answer.headers["x-headway-endpoint"] == endpoint
    assert answer.headers["x-headway-model"] == body["model"]
    assert isinstance(body["priority"], int)
    assert headers["x-vllm-priority"] == str(body["priority"])
    assert headers["authorization"] == f"Bearer key-of-{endpoint[-1]}"
    story = proxy.story(tenant=f"research-{run}")
    assert (story["graph"], story["outcome"]) == ("proxy:agent", "ok")
    assert [node["node"] for node in story["nodes"]] == ["call"]
    (call,) = story["calls"]
    assert (call["endpoint"], call["pool_name"], call["outcome"]) == (endpoint, "agent", "ok")
    assert (call["prompt_tokens"], call["output_tokens"]) == (11, 7)
    assert proxy.query("status")["covered"]["litellm_proxy"] >= 1


def test_a_streamed_answer_says_where_it_comes_from_too(proxy: LiteLLMProxy, run: str) -> None:
    with (
        proxy.client(key=f"{TEAM_KEY}-{run}") as client,
        client.stream("POST", "/v1/chat/completions", json=chat("hi", stream=True)) as got,
    ):
        said = [line for line in got.iter_lines() if line]
    assert said[-1] == "data: [DONE]" and "hello" in "".join(said)
    endpoint, headers, sent = one_sent(proxy)
    assert got.headers["x-headway-endpoint"] == endpoint
    assert headers["x-vllm-priority"] == str(sent["priority"])
    story = proxy.story(tenant=f"research-{run}")
    assert story["outcome"] == "ok"
    assert story["calls"][0]["output_tokens"] == 7


def test_a_plain_completion_is_scheduled_too(proxy: LiteLLMProxy, run: str) -> None:
    headers = {"x-headway-run": run, "x-headway-models": "large"}
    with proxy.client() as client:
        body = {"model": "agent", "prompt": "two and two", "max_tokens": 5}
        answer = client.post("/v1/completions", json=body, headers=headers)
    assert answer.status_code == 200 and "four" in answer.text
    endpoint, _, sent = one_sent(proxy)
    assert endpoint == answer.headers["x-headway-endpoint"] == "dep-b"
    assert isinstance(sent["priority"], int)
    assert proxy.story(run)["calls"][0]["outcome"] == "ok"


@pytest.mark.parametrize("model", ["small", "large"])
def test_headers_say_whose_call_it_is(proxy: LiteLLMProxy, run: str, model: str) -> None:
    headers = {
        "X-Headway-Run": run,
        "x-headway-graph": "writing%20desk",
        "x-headway-node": "n2",
        "x-headway-node-name": "draft",
        "x-headway-parents": "n0,n1",
        "x-headway-visit": "2",
        "x-headway-age-s": "5",
        "x-headway-deadline-s": "90",
        "x-headway-class": "interactive",
        "x-headway-models": model,
    }
    answer = proxy.ask(headers=headers)
    assert answer.headers["x-headway-model"] == model
    endpoint, _, body = one_sent(proxy)
    assert (endpoint, body["model"]) == ("dep-a" if model == "small" else "dep-b", model)
    story = proxy.story(run)
    assert (story["graph"], story["tenant"], story["state"]) == ("writing desk", "research", "open")
    assert (story["deadline_s"], story["service_class"]) == (90.0, "interactive")
    (node,) = story["nodes"]
    assert (node["node"], node["visit"]) == ("draft", 2)
    assert story["calls"][0]["excluded"]


def test_several_requests_are_one_run_until_its_session_is_final(
    proxy: LiteLLMProxy, run: str
) -> None:
    headers = {"x-dynamo-session-id": run}
    for _ in range(2):
        assert proxy.ask(headers=headers).status_code == 200
    name = f"research/{run}"
    story = proxy.story(name, calls=2)
    assert (story["graph"], story["state"]) == ("dynamo", "open")
    assert [node["node"] for node in story["nodes"]] == ["agent", "agent"]
    assert proxy.ask(headers={**headers, "x-dynamo-session-final": "true"}).status_code == 200
    assert until(lambda: proxy.query("explain", run=name)["state"] == "ended")


def test_one_keys_session_is_not_anothers(proxy: LiteLLMProxy, run: str) -> None:
    for key in (MASTER_KEY, TEAM_KEY):
        assert proxy.ask(key=key, headers={"x-session-id": run}).status_code == 200
    assert proxy.story(run)["tenant"] == ""
    assert proxy.story(f"research/{run}")["tenant"] == "research"


def test_a_trace_is_the_run_of_last_resort_and_goes_on_to_the_engine(proxy: LiteLLMProxy) -> None:
    trace = uuid.uuid4().hex
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    assert proxy.ask(headers={"traceparent": parent}).status_code == 200
    assert proxy.story(trace)["nodes"][0]["node"] == "agent"
    assert one_sent(proxy)[1]["traceparent"] == parent


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_openai_sdk(proxy: LiteLLMProxy, run: str, is_streamed: bool) -> None:
    sdk = openai.OpenAI(
        base_url=f"{proxy.url}/v1",
        api_key=TEAM_KEY,
        default_headers={"x-headway-run": run, "x-headway-models": "large"},
        http_client=httpx.Client(trust_env=False),
        max_retries=0,
    )
    with sdk:
        if is_streamed:
            with sdk.chat.completions.create(**chat("hi"), stream=True) as stream:
                text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        else:
            text = sdk.chat.completions.create(**chat("hi")).choices[0].message.content or ""
    assert text == "hello there"
    assert one_sent(proxy)[0] == "dep-b"
    assert proxy.story(run)["calls"][0]["outcome"] == "ok"


# Keys


def test_a_virtual_key_is_for_its_group_only(proxy: LiteLLMProxy, run: str) -> None:
    refused = proxy.ask(model="private")
    assert refused.status_code in (401, 403) and proxy.sent() == []
    headers = {"x-headway-tenant": run}
    allowed = proxy.ask(model="private", key=MASTER_KEY, headers=headers)
    assert allowed.status_code == 200 and allowed.headers["x-headway-endpoint"] == "dep-p"
    story = proxy.story(tenant=run)
    assert story["graph"] == "proxy:private"
    assert story["calls"][0]["endpoint"] == "dep-p"


def test_a_wrong_key_is_no_run(proxy: LiteLLMProxy) -> None:
    assert proxy.ask(key="sk-wrong", model="nobody").status_code == 401
    assert proxy.sent() == []
    assert "proxy:nobody" not in proxy.query("status")["graphs"]


# What is asked for, and what is not ours


def test_priority_in_the_body_does_not_reach_litellms_own_queue(proxy: LiteLLMProxy) -> None:
    assert proxy.ask(priority=77).status_code == 200
    headers, body = one_sent(proxy)[1:]
    assert body["priority"] != 77 and headers["x-vllm-priority"] == str(body["priority"])


def test_a_request_that_is_decided_is_only_counted(proxy: LiteLLMProxy) -> None:
    def counted() -> int:
        way = "litellm_proxy (decided by the client)"
        found: int = proxy.query("status")["covered"].get(way, 0)
        return found

    answer = proxy.ask(key=MASTER_KEY, model="dep-b", headers={"x-headway-decision": "dep-b"})
    assert answer.status_code == 200 and "x-headway-endpoint" not in answer.headers
    endpoint, _, body = one_sent(proxy)
    assert endpoint == "dep-b" and "priority" not in body
    assert until(counted) >= 1
    assert "proxy:dep-b" not in proxy.query("status")["graphs"]


def test_nobody_decides_by_a_header_alone(proxy: LiteLLMProxy) -> None:
    for value in ("1", "dep-b"):
        answer = proxy.ask(headers={"x-headway-decision": value})
        assert "x-headway-endpoint" in answer.headers
    for deployment in ("dep-p", "dep-b"):  # a key of the group `agent` may not name deployments
        refused = proxy.ask(model=deployment, headers={"x-headway-decision": deployment})
        assert refused.status_code in (401, 403), deployment


def test_models_that_are_not_of_the_pool_pass_untouched(proxy: LiteLLMProxy) -> None:
    answer = proxy.ask(key=MASTER_KEY, model="wild/thing", priority=0)
    assert answer.status_code == 200 and "x-headway-endpoint" not in answer.headers
    _, headers, body = one_sent(proxy)
    assert body["model"] == "thing" and "x-vllm-priority" not in headers
    assert body.get("priority", 0) == 0


def test_off_for_one_request(proxy: LiteLLMProxy, run: str) -> None:
    answer = proxy.ask(headers={"x-headway-run": run, "x-headway-off": "1"})
    assert answer.status_code == 200 and "x-headway-endpoint" not in answer.headers
    assert "priority" not in one_sent(proxy)[2]


@pytest.fixture
def mode(proxy: LiteLLMProxy) -> Iterator[None]:
    yield
    proxy.query("mode", mode="on")
    until(lambda: "x-headway-endpoint" in proxy.ask().headers)


@pytest.mark.parametrize("other", ["off", "shadow"])
def test_other_modes_leave_requests_as_they_are(
    proxy: LiteLLMProxy, mode: None, other: str
) -> None:
    proxy.query("mode", mode=other)

    def untouched() -> bool:
        proxy.a.clear()
        proxy.b.clear()
        answer = proxy.ask()
        assert answer.status_code == 200
        is_decided = "priority" in one_sent(proxy)[2]
        assert ("x-headway-endpoint" in answer.headers) == is_decided
        return not is_decided

    # Both workers have heard of it when some answers in a row are untouched.
    until(lambda: all(untouched() for _ in range(6)))

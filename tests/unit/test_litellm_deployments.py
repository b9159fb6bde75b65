"""Deployments matched to endpoints; the arguments of a call read and changed, without a network."""

import os
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
pytest.importorskip("litellm")

import litellm

from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway_litellm.deployments import doubts, endpoint_of, offered, without_provider
from headway_litellm.request import (
    Target,
    is_routers,
    named,
    readdressed,
    target_of,
    timeout_of,
)


def spec(id_: str, url: str = "http://one:8000/v1", model: str = "small") -> EndpointSpec:
    return EndpointSpec(id=EndpointId(id_), url=url, model=model, engine="vllm")


POOL = Pool(endpoints=(spec("a"), spec("b", model="org/large"), spec("c", "http://two/v1")))


def entry(id_: str | None, model: str = "hosted_vllm/x", **params: Any) -> dict[str, Any]:
    info = {} if id_ is None else {"id": id_}
    return {"model_name": "g", "litellm_params": {"model": model, **params}, "model_info": info}


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [
        (entry("a", api_base="http://elsewhere/v1"), "a"),
        (entry("?", "hosted_vllm/small", api_base="http://one:8000/v1/"), "a"),
        (entry("?", "openai/org/large", api_base="HTTP://One:8000/v1"), "b"),
        (entry(None, "small", api_base="http://one:8000/v1"), "a"),
        (entry("?", "hosted_vllm/small", base_url="http://two:80/v1"), "c"),
        (entry("?", "hosted_vllm/large", api_base="http://one:8000/v1"), None),
        (entry("?", "hosted_vllm/small", api_base="http://three/v1"), None),
        (entry("?", "hosted_vllm/small"), None),
        ({}, None),
        ({"model_info": None, "litellm_params": None}, None),
        (entry("?", "hosted_vllm/small", api_base=7), None),
    ],
)
def test_which_endpoint_a_deployment_is(deployment: dict[str, Any], expected: str | None) -> None:
    found = endpoint_of(POOL, deployment)
    assert (None if found is None else found.id) == expected


def test_what_is_offered_keeps_litellms_order() -> None:
    found = offered(POOL, [entry("c"), entry("?"), entry("a")])
    assert [endpoint.id for _, endpoint in found] == ["c", "a"]


def test_doubts() -> None:
    assert doubts(POOL, [entry("a"), entry("elsewhere")]) == []
    assert doubts(None, [entry("elsewhere")]) == []
    (said,) = doubts(POOL, [entry("elsewhere")])
    assert "elsewhere" in said and "a, b, c" in said
    (said,) = doubts(POOL, [entry("a"), entry("0" * 64)])
    assert "g" in said and "model_info" in said


def test_names_of_providers() -> None:
    assert without_provider("hosted_vllm/org/name") == "org/name"
    assert without_provider("name") == "name"


def test_arguments_by_position_get_their_names() -> None:
    assert named(("m", [1]), {"stream": True}) == {"model": "m", "messages": [1], "stream": True}


def test_time_outs() -> None:
    class Timeout:
        read = 3.0

    assert timeout_of(None, Timeout(), 9) == 3.0
    assert timeout_of(None, 9) == 9.0
    assert timeout_of(None, True) is None


def test_calls_of_routers_are_known_by_what_they_carry() -> None:
    assert is_routers({"metadata": {"model_group": "g"}, "model_info": {"id": "a"}})
    assert not is_routers({"metadata": {"model_group": "g"}})
    assert not is_routers({"metadata": None, "model_info": {"id": "a"}})


@pytest.mark.parametrize(
    ("kwargs", "prefix", "model", "base"),
    [
        ({"model": "hosted_vllm/org/x", "api_base": "http://u/v1"}, "hosted_vllm/", "org/x", None),
        ({"model": "openai/x", "api_base": "http://u/v1"}, "openai/", "x", None),
        ({"model": "gpt-4o"}, "openai/", "gpt-4o", "https://api.openai.com/v1"),
        (
            {"model": "x", "custom_llm_provider": "hosted_vllm", "base_url": "http://u/v1"},
            *("", "x", None),
        ),
    ],
)
def test_where_a_call_would_go(
    kwargs: dict[str, Any],
    prefix: str,
    model: str,
    base: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    found = target_of(litellm, kwargs)
    assert isinstance(found, Target)
    assert (found.prefix, found.model, found.base_url) == (prefix, model, base or "http://u/v1")


@pytest.mark.parametrize(
    ("kwargs", "why"),
    [
        ({"model": ""}, "names no model"),
        ({"model": None}, "names no model"),
        ({"model": "anthropic/claude"}, "provider anthropic"),
        ({"model": "hosted_vllm/x", "api_base": "http://me:pw@u/v1"}, "password"),
        ({"model": "hosted_vllm/x", "client": object()}, "own client"),
        ({"model": "hosted_vllm/x", "litellm_credential_name": "c"}, "credential"),
        ({"model": "hosted_vllm/x", "extra_query": {"k": "v"}}, "URL parameters"),
    ],
)
def test_what_must_go_out_as_it_is(kwargs: dict[str, Any], why: str) -> None:
    found = target_of(litellm, kwargs)
    assert isinstance(found, str) and why in found


def test_nothing_of_the_callers_is_changed_in_place() -> None:
    headers = {"Authorization": "Bearer sk", "X-Kept": "yes"}
    kwargs = {"model": "hosted_vllm/x", "base_url": "http://u/v1", "extra_headers": headers}
    target = target_of(litellm, kwargs)
    assert isinstance(target, Target)
    changed = readdressed(litellm, kwargs, target, POOL.endpoints[1])
    assert changed == {
        "model": "hosted_vllm/org/large",
        "api_base": "http://one:8000/v1",
        "api_key": "none",
        "extra_headers": {"X-Kept": "yes"},
    }
    assert headers["Authorization"] == "Bearer sk" and kwargs["base_url"] == "http://u/v1"

"""Who may serve a call: the filter before any scoring."""

from typing import Any

import msgspec

from headway.core.candidates import candidates
from headway.core.pool import Pool, PoolName
from tests.support.telling import ask, endpoint, pool

THREE = pool(
    endpoint("s1", "small"), endpoint("s2", "small"), endpoint("m1", "mid"), endpoint("l1", "large")
)


def may(of: Pool, *, prompt_tokens: int = 100, **fields: Any) -> list[str]:
    return [spec.id for spec in candidates(of, ask(**fields), prompt_tokens)[0]]


def why(of: Pool, *, prompt_tokens: int = 100, **fields: Any) -> dict[str, str]:
    return candidates(of, ask(**fields), prompt_tokens)[1]


def test_the_pool_name_lists_who_may_answer_in_the_users_order() -> None:
    listed = PoolName(name="agent", models=("large", "small"))
    of = msgspec.structs.replace(THREE, names=(listed,))
    assert may(of) == ["l1", "s1", "s2"]
    assert why(of) == {"m1": "mid is not listed for agent"}


def test_a_name_that_is_not_listed_means_itself() -> None:
    assert may(THREE, pool_name="mid") == ["m1"]
    assert may(THREE, pool_name="gpt-9") == []


def test_needs_rule_out_models_that_are_not_declared_able() -> None:
    of = msgspec.structs.replace(THREE, capabilities={"large": ("vision", "tools"), "mid": ()})
    assert may(of, needs=("vision",)) == ["l1"]
    assert may(of, needs=("tools",)) == ["s1", "s2", "l1"]  # assumed where nothing is declared
    assert may(of, needs=("response_format",)) == ["s1", "s2"]
    assert why(of, needs=("vision",))["s1"] == "not declared able to do vision"


def test_runs_and_nodes_may_narrow_to_models() -> None:
    assert may(THREE, models=("mid", "large")) == ["m1", "l1"]
    assert why(THREE, models=("mid",))["s1"] == "the run or node asks for mid"
    assert may(THREE, models=("gpt-9",)) == []


def test_runs_and_nodes_may_pin_an_endpoint() -> None:
    assert may(THREE, models=("s2",)) == ["s2"]
    assert may(THREE, models=("s2", "large")) == ["s2", "l1"]
    assert may(THREE, models=("s2", "small")) == ["s1", "s2"]
    assert "s1" in why(THREE, models=("s2",))


def test_a_tool_loop_stays_with_its_model() -> None:
    assert may(THREE, loop_model="mid") == ["m1"]
    assert why(THREE, loop_model="mid")["s1"] == "inside a tool loop of mid"
    free = pool(*THREE.endpoints, switch_in_loop=True)
    assert may(free, loop_model="mid") == ["s1", "s2", "m1", "l1"]


def test_a_loop_model_that_may_not_answer_binds_nothing() -> None:
    assert may(THREE, loop_model="gpt-9") == ["s1", "s2", "m1", "l1"]
    assert may(THREE, loop_model="mid", models=("large",)) == ["l1"]


def test_the_context_must_hold_prompt_and_answer() -> None:
    of = pool(endpoint("a", "small", context_tokens=1000), endpoint("b", "large"))
    assert may(of, prompt_tokens=900, max_tokens=100) == ["a", "b"]
    assert may(of, prompt_tokens=901, max_tokens=100) == ["b"]
    assert may(of, prompt_tokens=1001) == ["b"]
    assert why(of, prompt_tokens=1001)["a"] == "1001 tokens do not fit into 1000"


def test_a_client_that_reaches_only_some_endpoints_gets_one_of_them() -> None:
    assert may(THREE, endpoints=("s2", "l1")) == ["s2", "l1"]
    assert why(THREE, endpoints=("s2",))["m1"] == "the client does not offer it"


def test_a_pool_name_that_only_the_client_knows_means_what_it_offers() -> None:
    assert may(THREE, pool_name="group", endpoints=("l1", "s1")) == ["s1", "l1"]
    assert may(THREE, pool_name="group", endpoints=("gone",)) == []


def test_an_endpoint_without_a_url_serves_only_who_names_it() -> None:
    of = pool(msgspec.structs.replace(endpoint("paid", "large"), url=""), endpoint("s1", "small"))
    assert may(of) == ["s1"]
    assert why(of) == {"paid": "it has no URL: only LiteLLM reaches it"}
    assert may(of, endpoints=("paid",)) == ["paid"]
    assert of.fallback("agent") == of.endpoints[1]


def test_a_drained_endpoint_gets_no_new_calls() -> None:
    drained = msgspec.structs.replace(THREE.endpoints[0], drain=True)
    of = msgspec.structs.replace(THREE, endpoints=(drained, *THREE.endpoints[1:]))
    assert may(of) == ["s2", "m1", "l1"]
    assert why(of)["s1"] == "being drained"
    assert may(of, models=("s1",)) == []
    assert may(of, endpoints=("s1", "m1")) == ["m1"]
    fallback = of.fallback("agent")
    assert fallback is not None
    assert fallback.id == "s2"

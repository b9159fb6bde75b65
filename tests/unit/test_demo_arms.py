"""Which arms a demo has, what it says of a wrong one, and what those through LiteLLM are given."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from headway.core.errors import ConfigError
from headway.daemon.config import load_config
from headway.daemon.litellm_config import load_litellm
from headway_samples.demo.arms import ALL_ARMS, ARMS, OURS, PROXY_ARMS, parse_arms
from headway_samples.demo.command import plan_of
from headway_samples.demo.plan import PROXY_SPEEDUP, full_plan
from headway_samples.demo.proxies import planned, proxy_config
from headway_samples.demo.routers import CALLBACK_LISTS, callbacks_as_before, model_list
from headway_samples.pool import make_pool
from headway_samples.sample import POOL_NAME

pytest.importorskip("litellm")
pytest.importorskip("langchain_litellm")


def _plan(arms: str | None = None, *, proxy: bool = False, quick: bool = False):  # type: ignore[no-untyped-def]
    return plan_of(arms, proxy=proxy, quick=quick, seed=3)


def test_the_default_stays_the_four_and_all_are_seven() -> None:
    assert _plan() == full_plan(3)
    assert _plan().arms == ("least-busy", "static", "large-only", "headway")
    assert _plan("all").arms == (*ARMS, "simple-shuffle", "router-least-busy", "router-headway")
    assert _plan(quick=True).arms == ("least-busy", "headway")


def test_arms_are_taken_in_the_order_given_each_once() -> None:
    assert parse_arms(" headway, simple-shuffle,headway,") == ("headway", "simple-shuffle")
    plan = _plan("simple-shuffle", quick=True)
    assert (plan.arms, plan.window_s) == (("simple-shuffle",), _plan(quick=True).window_s)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("headway,simple-shufle", "no arm `simple-shufle`; did you mean `simple-shuffle`?"),
        ("qqq", r"no arm `qqq` \(the arms are"),
        ("", "names no arm"),
        (" , ", "names no arm"),
        ("proxy-headway", "`proxy-headway` is an arm of --proxy"),
    ],
)
def test_an_unknown_arm_is_an_error_that_lists_them(said: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as failed:
        _plan(said)
    assert ", ".join(ALL_ARMS) in str(failed.value)


def test_the_proxy_has_its_own_arms_and_a_slower_clock() -> None:
    plan = _plan(proxy=True)
    assert plan.arms == PROXY_ARMS
    assert (plan.speedup, plan.pilot_speedup) == (PROXY_SPEEDUP, full_plan(3).speedup)
    assert plan.window_s <= 60.0
    with pytest.raises(ConfigError, match="leave out --arms"):
        _plan("headway", proxy=True)


def _without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, *rest: object) -> object:
        return None if name == package else found(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_without_litellm_the_arms_on_it_say_what_to_install(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    _without(monkeypatch, "litellm")
    with pytest.raises(ConfigError, match=r"simple-shuffle, router-headway: .*headway\[litellm\]"):
        _plan("simple-shuffle,headway,router-headway")
    with pytest.raises(ConfigError, match=r"litellm not installed: .*litellm\[proxy\]"):
        _plan(proxy=True)
    assert _plan("headway").arms == ("headway",)


def test_without_its_langchain_package_too(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    _without(monkeypatch, "langchain_litellm")
    with pytest.raises(ConfigError, match="pip install langchain-litellm"):
        _plan("router-least-busy")


def test_the_deployments_are_the_pools_endpoints_under_their_ids() -> None:
    pool = make_pool(speedup=4.0)
    made = model_list(pool)
    assert {each["model_name"] for each in made} == {POOL_NAME}
    assert [(each["model_info"]["id"], each["litellm_params"]["api_base"]) for each in made] == [
        (each.id, each.url) for each in pool.endpoints
    ]
    assert made[0]["litellm_params"]["model"] == f"hosted_vllm/{pool.endpoints[0].model}"


def test_the_daemon_reads_of_the_proxys_file_the_pool_that_the_samples_file_says(
    tmp_path: Path,
) -> None:
    pool = make_pool(speedup=4.0)
    proxy = planned("proxy-headway", pool, folder=tmp_path)
    theirs = load_litellm(proxy.config).pool
    ours = load_config(pool.write(tmp_path / "pool.yaml")).pool
    assert [(one.id, one.url, one.model, one.engine, one.profile) for one in theirs.endpoints] == [
        (one.id, one.url, one.model, one.engine, one.profile) for one in ours.endpoints
    ]
    assert theirs.name(POOL_NAME) == ours.name(POOL_NAME)
    assert theirs.quality == ours.quality
    assert theirs.gateways == {proxy.url: "headway"}


def test_only_headways_proxy_has_anything_of_headway_and_no_file_holds_the_key(
    tmp_path: Path,
) -> None:
    pool = make_pool(speedup=4.0)
    for name in PROXY_ARMS:
        proxy = planned(name, pool, folder=tmp_path)
        text = proxy.config.read_text()
        assert proxy.key not in text
        assert ("headway" in text) is (name in OURS)
    plain = proxy_config(pool, url="http://h/v1", headway=False)
    with_it = proxy_config(pool, url="http://h/v1", headway=True)
    assert with_it["litellm_settings"] == {"callbacks": ["headway_litellm.callback"]}
    assert plain == yaml.safe_load((tmp_path / "proxy.yaml").read_text())


def test_no_callback_of_an_arm_is_left_to_the_next() -> None:
    lists = {name: ["theirs"] for name in CALLBACK_LISTS}
    litellm = SimpleNamespace(**lists)
    with callbacks_as_before(litellm):
        litellm.callbacks.append("ours")
        litellm._async_success_callback.append("ours")
    assert vars(litellm) == {name: ["theirs"] for name in CALLBACK_LISTS}
    assert litellm.callbacks is lists["callbacks"]

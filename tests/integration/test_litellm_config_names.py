"""What we read of LiteLLM's configuration, beside what the installed LiteLLM makes of it."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from headway.daemon.litellm_config import load_litellm
from headway.daemon.litellm_deployment import ENGINES

pytest.importorskip("litellm")

CASES: list[dict[str, Any]] = [
    {"model": "hosted_vllm/Qwen/Qwen2.5-7B"},
    {"model": "openai/openai/gpt-oss"},
    {"model": "gpt-4o"},
    {"model": "Qwen/m", "custom_llm_provider": "hosted_vllm"},
    {"model": "hosted_vllm/m", "custom_llm_provider": "hosted_vllm"},
    {"model": "hosted_vllm/m", "custom_llm_provider": "openai"},
    {"model": "openrouter/qwen/m"},
    {"model": "anthropic/claude-sonnet-4-5"},
    {"model": "ollama/m"},
    *({"model": f"{provider}/org/m"} for provider in sorted(ENGINES)),
]
BASE = "http://127.0.0.1:9/v1"


@pytest.fixture(scope="module")
def litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no fetch at import
    import litellm

    return litellm


@pytest.mark.parametrize("params", CASES, ids=str)
def test_models_and_providers_are_read_alike(
    tmp_path: Path, litellm: Any, params: dict[str, Any]
) -> None:
    theirs, provider, _key, _base = litellm.get_llm_provider(**params, api_base=BASE)
    deployment = {
        "model_name": "agent",
        "litellm_params": {**params, "api_base": BASE},
        "model_info": {"id": "a"},
    }
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"model_list": [deployment]}))
    (spec,) = load_litellm(path).pool.endpoints
    assert spec.model == theirs
    assert spec.url == (BASE if provider in ENGINES else "")
    assert spec.engine == ENGINES.get(provider, "openai")


def test_the_router_knows_the_same_ids_and_leaves_our_keys_alone(
    litellm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMALL_URL", BASE)
    monkeypatch.setenv("LARGE_URL", BASE)
    path = Path(__file__).parents[2] / "docs" / "recipes" / "config.yaml"
    model_list = yaml.safe_load(path.read_text())["model_list"]
    model_list[0]["model_info"]["headway"] = {"profile": {"seats": 8}}
    model_list[1]["model_info"]["id"] = 72
    router = litellm.Router(model_list=model_list)
    assert router.get_model_ids() == ["small-1", "72"]
    assert [spec.id for spec in load_litellm(path).pool.endpoints] == ["small-1", "large-1"]

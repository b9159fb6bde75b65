"""Which of LiteLLM's deployments is which endpoint of the pool. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from headway.client.poolview import normal_url
from headway.core.pool import EndpointSpec, Pool

_GENERATED_ID = re.compile(r"[0-9a-f]{64}")

Deployment = Mapping[str, Any]


def deployment_id(deployment: Deployment) -> str:
    """LiteLLM's id of `deployment`; empty if it has none."""
    info = deployment.get("model_info")
    found = info.get("id") if isinstance(info, Mapping) else getattr(info, "id", None)
    return str(found or "")


def without_provider(model: str) -> str:
    """``hosted_vllm/org/name`` as the server knows it: ``org/name``."""
    return model.partition("/")[2] or model


def endpoint_of(pool: Pool, deployment: Deployment) -> EndpointSpec | None:
    """The endpoint with the deployment's id; else the one with its address and model."""
    own_id = deployment_id(deployment)
    for spec in pool.endpoints:
        if spec.id == own_id:
            return spec
    params = deployment.get("litellm_params")
    if not isinstance(params, Mapping):
        return None
    url = params.get("api_base") or params.get("base_url")
    model = str(params.get("model") or "")
    if not isinstance(url, str) or not url:
        return None
    url = normal_url(url)
    for spec in pool.endpoints:
        same_model = spec.model in (model, without_provider(model))
        if same_model and spec.url and normal_url(spec.url) == url:
            return spec
    return None


def offered(pool: Pool, deployments: Iterable[Deployment]) -> list[tuple[Deployment, EndpointSpec]]:
    """The deployments that are endpoints of the pool, in LiteLLM's order, with them."""
    found = []
    for deployment in deployments:
        spec = endpoint_of(pool, deployment)
        if spec is not None:
            found.append((deployment, spec))
    return found


def doubts(pool: Pool | None, deployments: Iterable[Deployment]) -> list[str]:
    """What a user should know about a router's deployments before the first call."""
    every = list(deployments)
    if pool is None or not every:
        return []
    unknown = [one for one in every if endpoint_of(pool, one) is None]
    said = []
    if len(unknown) == len(every):
        said.append(
            f"none of the router's deployments ({_ids(every)}) is an endpoint of the pool "
            f"({', '.join(spec.id for spec in pool.endpoints)}): its calls pass untouched. Set "
            "model_info: {id: ...} to the endpoint's id, or the same api_base and model"
        )
    unnamed = [one for one in unknown if _GENERATED_ID.fullmatch(deployment_id(one))]
    if unnamed:
        names = ", ".join(sorted({str(one.get("model_name")) for one in unnamed}))
        said.append(
            f"deployments of {names} have no model_info: {{id: ...}}, and no endpoint of the pool "
            "has their api_base and model: they are not scheduled"
        )
    return said


def _ids(deployments: Iterable[Deployment]) -> str:
    return ", ".join(deployment_id(one)[:40] or "?" for one in deployments)

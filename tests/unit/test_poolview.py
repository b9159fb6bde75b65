"""The client's pool view: which endpoint, and which kind of gateway, a base URL is."""

from pathlib import Path

import pytest

from headway.client.once import Once
from headway.client.poolview import PoolView
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId

POOL = Pool(
    endpoints=(
        EndpointSpec(id=EndpointId("alone"), url="", model="m"),
        EndpointSpec(id=EndpointId("a"), url="http://h:1/v1", model="m"),
    ),
    gateways={"http://proxy:4000": "litellm", "https://q/gate/v1": "headway"},
)


@pytest.fixture
def view(tmp_path: Path) -> PoolView:
    return PoolView(tmp_path / "none.sock", retry_s=1.0, once=Once())


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("http://proxy:4000", "litellm"),
        ("http://Proxy:4000/v1/", "litellm"),
        ("https://q:443/gate", "headway"),
        ("https://q/gate/v1", "headway"),
        ("https://q/v1", ""),
        ("http://proxy:4001/v1", ""),
        ("http://h:1/v1", ""),
        ("", ""),
    ],
)
def test_a_gateway_counts_with_and_without_v1(view: PoolView, base_url: str, kind: str) -> None:
    view.told(POOL)
    assert view.gateway_at(base_url, 0.0) == kind


def test_without_a_pool_there_are_no_gateways(view: PoolView) -> None:
    assert view.gateway_at("http://proxy:4000", 0.0) == ""
    view.told(POOL)
    view.told(Pool(endpoints=POOL.endpoints))
    assert view.gateway_at("http://proxy:4000", 0.0) == ""


def test_an_endpoint_without_a_url_is_at_no_url(view: PoolView) -> None:
    view.told(POOL)
    assert view.at_url("", 0.0) is None
    assert view.at_url("http://h:1/v1/", 0.0) == POOL.endpoints[1]

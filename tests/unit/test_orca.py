"""Reading an engine's load from headers that anybody may have written."""

import json

import pytest

from headway.calling.orca import waiting_told
from tests.support.telling import Teller, endpoint, pool


def said(**metrics: object) -> str:
    return f"JSON {json.dumps({'named_metrics': metrics})}"


def test_the_queue_is_read() -> None:
    told = said(num_requests_waiting=4.0, kv_cache_usage_perc=0.25)
    assert waiting_told({"endpoint-load-metrics": told}) == 4
    assert waiting_told({"llm_provider-endpoint-load-metrics": told}) == 4


@pytest.mark.parametrize(
    "header",
    [
        "",
        "JSON",
        "JSON {",
        "JSON []",
        'JSON {"named_metrics": 3}',
        "TEXT named_metrics.num_requests_waiting=4",
        said(),
        said(num_requests_waiting="many"),
        said(num_requests_waiting=-1),
        said(num_requests_waiting=1e12),
        'JSON {"named_metrics": {"num_requests_waiting": NaN}}',
    ],
)
def test_what_cannot_be_is_not_believed(header: str) -> None:
    assert waiting_told({"endpoint-load-metrics": header}) is None
    assert waiting_told({}) is None


def test_others_in_the_queue_count_until_a_scrape_knows_better() -> None:
    told = Teller(pool(endpoint("a", seats=4)))
    told.seen("a", running=0, waiting=0)
    told.ready("c1")
    told.ended("c1", output_tokens=10, engine_waiting=2)
    assert told.endpoint("a").foreign == 2
    told.ready("c2")
    told.ended("c2", output_tokens=10, engine_waiting=0)
    assert told.endpoint("a").foreign == 2  # they may be running by now: only a scrape can tell
    told.seen("a", running=0, waiting=0)
    assert told.endpoint("a").foreign == 0


def test_where_nothing_would_take_it_back_a_header_is_not_heeded() -> None:
    told = Teller(pool(endpoint("a", seats=4), endpoint("b", seats=None)))
    told.seen("b", running=0, waiting=0)
    for name in ("a", "b"):
        told.sent(f"c{name}", to=name)
        told.ended(f"c{name}", output_tokens=10, engine_waiting=2)
        assert told.endpoint(name).foreign == 0

"""OTLP's JSON: what the protobuf encoder says too, one request a line, for its owner only."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from headway_otel.files import OtlpJsonFile, request
from tests.support.traced import Traced, begun, done, over, ready
from tests.unit.test_otel_spans import GRANTED


def some_spans() -> list[Any]:
    """Our own spans, and one with all kinds of values."""
    traced = Traced()
    traced.tell(begun())
    traced.tracing.asked(ready())
    traced.tracing.routed(ready(), GRANTED)
    traced.tell([done(output_tokens=7, finish_reason="stop"), *over()])
    provider = TracerProvider(resource=Resource.create({"service.name": "ünï"}))
    provider.add_span_processor(SimpleSpanProcessor(traced.exporter))
    other = traced.spans[0].context
    with provider.get_tracer("user", "1.2").start_as_current_span(
        "odd", kind=SpanKind.SERVER, links=[Link(other, {"why": "not"})]
    ) as span:
        span.set_attributes({"yes": True, "big": 2**53 + 1, "pi": 3.5, "words": ("a", "b")})
        span.add_event("happened", {"n": 1}, timestamp=17)
        span.set_status(Status(StatusCode.ERROR, "bad"))
    return traced.spans


def as_protobuf_says(value: Any) -> Any:
    """Protobuf's own JSON has ids in base64, where OTLP has hex; and words for its enums."""
    if isinstance(value, list):
        return [as_protobuf_says(one) for one in value]
    if not isinstance(value, dict):
        return value
    said = {key: as_protobuf_says(one) for key, one in value.items()}
    for key in ("traceId", "spanId", "parentSpanId"):
        if key in said:
            said[key] = base64.b64encode(bytes.fromhex(said[key])).decode()
    return said


def test_it_says_what_the_protobuf_encoder_says() -> None:
    encoder = pytest.importorskip("opentelemetry.exporter.otlp.proto.common.trace_encoder")
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = some_spans()
    theirs = encoder.encode_spans(spans)
    ours = json_format.Parse(
        json.dumps(as_protobuf_says(request(spans))), ExportTraceServiceRequest()
    )
    for message in (theirs, ours):
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    # The W3C bits, which we write and that encoder leaves out.
                    span.flags &= ~0xFF
                    for link in span.links:
                        link.flags &= ~0xFF
    assert ours == theirs


def test_one_line_a_batch_and_only_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "trace.otlp.json"
    spans = some_spans()
    file = OtlpJsonFile(path)
    assert file.export(spans[:2]) is SpanExportResult.SUCCESS
    assert file.export(spans[2:]) is SpanExportResult.SUCCESS
    file.force_flush()
    file.shutdown()
    assert path.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [sum(len(s["spans"]) for r in line["resourceSpans"] for s in r["scopeSpans"])
            for line in lines] == [2, len(spans) - 2]  # fmt: skip
    assert file.export(spans) is SpanExportResult.FAILURE


def test_numbers_that_are_none_are_still_json() -> None:
    provider = TracerProvider()
    span = provider.get_tracer("t").start_span("s", attributes={"a": math.nan, "b": -math.inf})
    span.end()
    text = json.dumps(request([span]), allow_nan=False)  # type: ignore[list-item]
    assert '"NaN"' in text and '"-Infinity"' in text


def test_a_place_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        OtlpJsonFile(tmp_path / "missing" / "trace.json")

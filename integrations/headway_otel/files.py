"""Spans into a file, as OTLP's JSON: one export request a line.

OpenTelemetry's own writer of such files is a beta that fits one version of the SDK only, so
this small one is ours: any SDK that Headway allows, no more packages, and a file that only
its owner may read.
"""

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

KINDS = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}
HAS_IS_REMOTE, IS_REMOTE = 0x100, 0x200


class OtlpJsonFile(SpanExporter):
    """Appends each batch of spans to `path` as one line of JSON; the file is made with mode 0600.

    Raises `OSError` when it cannot be opened. What cannot be written later is reported to the
    SDK as a failed export.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(handle, "a", encoding="utf-8")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line."""
        line = json.dumps(request(spans), ensure_ascii=False, separators=(",", ":"))
        try:
            with self._lock:
                self._file.write(line + "\n")
                self._file.flush()
        except (OSError, ValueError):  # ValueError: it is closed
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits."""
        del timeout_millis
        return True


def request(spans: Iterable[ReadableSpan]) -> dict[str, Any]:
    """An ``ExportTraceServiceRequest`` in OTLP's JSON mapping: hex ids, 64-bit numbers as text."""
    by_resource: dict[Any, dict[Any, list[dict[str, Any]]]] = {}
    for span in spans:
        scopes = by_resource.setdefault(span.resource, {})
        scopes.setdefault(span.instrumentation_scope, []).append(_span(span))
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource.attributes)},
                "scopeSpans": [
                    {
                        "scope": {} if scope is None else _scope(scope),
                        "spans": of_scope,
                        **_given("schemaUrl", "" if scope is None else scope.schema_url),
                    }
                    for scope, of_scope in scopes.items()
                ],
                **_given("schemaUrl", resource.schema_url),
            }
            for resource, scopes in by_resource.items()
        ]
    }


def _span(span: ReadableSpan) -> dict[str, Any]:
    own: SpanContext = span.get_span_context()  # type: ignore[assignment]
    said: dict[str, Any] = {
        "traceId": f"{own.trace_id:032x}",
        "spanId": f"{own.span_id:016x}",
        **_given("traceState", own.trace_state.to_header()),
    }
    if span.parent is not None:
        said["parentSpanId"] = f"{span.parent.span_id:016x}"
    said |= {
        "flags": _flags(own, span.parent),
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": _attributes(span.attributes or {}),
        **_given("events", [_event(event) for event in span.events]),
        **_given("links", [_link(link) for link in span.links]),
        "status": {
            **_given("code", CODES[span.status.status_code]),
            **_given("message", span.status.description),
        },
    }
    for name, dropped in (
        ("droppedAttributesCount", span.dropped_attributes),
        ("droppedEventsCount", span.dropped_events),
        ("droppedLinksCount", span.dropped_links),
    ):
        said |= _given(name, dropped)
    return said


def _event(event: Any) -> dict[str, Any]:
    return {
        "timeUnixNano": str(event.timestamp),
        "name": event.name,
        **_given("attributes", _attributes(event.attributes or {})),
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "traceId": f"{link.context.trace_id:032x}",
        "spanId": f"{link.context.span_id:016x}",
        **_given("attributes", _attributes(link.attributes or {})),
        "flags": _flags(link.context, link.context),
    }


def _flags(own: SpanContext, seen: SpanContext | None) -> int:
    """The W3C flags, and whether `seen` (the parent, or what is linked to) came from elsewhere."""
    remote = IS_REMOTE if seen is not None and seen.is_remote else 0
    return int(own.trace_flags) | HAS_IS_REMOTE | remote


def _scope(scope: Any) -> dict[str, Any]:
    return {
        "name": scope.name,
        **_given("version", scope.version),
        **_given("attributes", _attributes(scope.attributes or {})),
    }


def _attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": _double(value)}
    if isinstance(value, Mapping):
        return {"kvlistValue": {"values": _attributes(value)}}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    return {"stringValue": str(value)}


def _double(value: float) -> float | str:
    """JSON has no word for the numbers that are none; protobuf's mapping has."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _given(name: str, value: Any) -> dict[str, Any]:
    return {name: value} if value else {}

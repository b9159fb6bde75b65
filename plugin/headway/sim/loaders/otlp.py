"""OTLP's JSON lines, as ``headway_otel`` writes them, as a trace.

Runs are the spans of ``invoke_workflow`` and ``invoke_agent``, their nodes those with
``headway.node.name``, calls those with ``headway.call.id``. Spans of others are passed over.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from headway.core.types import Seconds
from headway.sim.loaders.recorded import RecordedCall, RecordedNode, RecordedRun, trace_runs
from headway.sim.trace import Trace
from headway.sim.tracefile import TraceError, digest_of_files, lines_of

NS = 1e9
CHARS_PER_TOKEN = 4.0
RUNS = ("invoke_workflow", "invoke_agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span with its attributes as plain values; ids hold the trace's.

    `links` are (span id, kind of link), `feedback` is the last that was said about it.
    """

    id: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    feedback: bool | None
    links: tuple[tuple[str, str], ...]

    def text(self, name: str) -> str:
        """An attribute as text; empty without it."""
        return str(self.attributes.get(name, ""))

    def count(self, name: str) -> int | None:
        """An attribute as a whole number; None without it."""
        value = self.attributes.get(name)
        return None if value is None else int(value)


def from_otlp(paths: Path | Iterable[Path]) -> Trace:
    """The runs of OTLP JSON files (plain or gzipped), one export request a line.

    A resumed run goes on where its link says; a run whose span is missing had not ended.
    Prompt tokens are the server's, else a quarter of the characters. Raises `TraceError`.
    """
    files = (paths,) if isinstance(paths, Path) else tuple(paths)
    digest = digest_of_files()
    spans = [span for path in files for span in _spans(path, digest)]
    spans = list({span.id: span for span in spans}.values())
    runs = trace_runs(_Reading(spans).runs())
    names = ", ".join(path.name for path in files)
    if not runs:
        raise TraceError(f"no run that made a call is in {names or 'no file at all'}")
    return Trace(
        name=files[0].name.partition(".")[0],
        source=f"OTLP {names}",
        runs=runs,
        digest=digest.hexdigest(),
    )


class _Reading:
    """Puts spans together to runs."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._zero_ns = min((span.start_ns for span in spans), default=0)
        self._below: dict[str, list[Span]] = {}
        for span in sorted(spans, key=lambda span: (span.start_ns, span.end_ns, span.id)):
            self._below.setdefault(span.parent, []).append(span)
        self._spans = {span.id: span for span in spans}
        self._starts = [
            span
            for span in spans
            if span.text("gen_ai.operation.name") in RUNS and span.text("headway.run.id")
        ]
        self._starts.sort(key=lambda span: (span.start_ns, span.id))

    def runs(self) -> list[RecordedRun]:
        """The runs that are not inside another; a resumed one continues what it resumes."""
        made: dict[str, RecordedRun] = {}
        latest: dict[str, Span] = {}
        for span in self._starts:
            inside = self._spans.get(span.parent)
            if inside is not None and inside.text("headway.node.name"):
                continue
            run = self._run(span)
            resumed = [target for target, kind in span.links if kind == "resumes"]
            before = next((made[target] for target in resumed if target in made), None)
            if before is not None:
                # the same run under another span: what comes later may resume either
                ended = max(latest[before.id].end_ns, latest[before.id].start_ns)
                before.pauses.append((self._s(ended), self._s(span.start_ns)))
                before.nodes.update(run.nodes)
                before.ok = run.ok
                run = before
            made[span.id] = run
            latest[run.id] = span
        return list({id(run): run for run in made.values()}.values())

    def _run(self, span: Span) -> RecordedRun:
        run = RecordedRun(
            id=span.text("headway.run.id"),
            graph=span.text("headway.graph"),
            started_s=self._s(span.start_ns),
            thread=span.text("gen_ai.conversation.id"),
            service_class=span.text("headway.objective.class"),
            tenant=span.text("headway.tenant"),
            ok=False if span.text("headway.outcome") in ("error", "cancelled") else None,
        )
        if span.feedback is not None:
            run.ok = span.feedback
        for inner in self._below.get(span.id, ()):
            if inner.text("headway.node.name"):
                node = self._node(inner)
                run.nodes[node.id] = node
        return run

    def _node(self, span: Span) -> RecordedNode:
        node = RecordedNode(
            id=span.text("headway.node.id"),
            name=span.text("headway.node.name"),
            order=self._order(span),
            started_s=self._s(span.start_ns),
            ended_s=self._s(span.end_ns),
            parents=tuple(span.attributes.get("headway.node.parents", ())),
        )
        attempts: dict[str, list[Span]] = {}
        for inner in self._below.get(span.id, ()):
            if call := inner.text("headway.call.id"):
                attempts.setdefault(call, []).append(inner)
            elif inner.text("gen_ai.operation.name") in RUNS:
                node.inside.append(self._run(inner))
        for spans in attempts.values():
            spans.sort(key=lambda one: one.count("headway.attempt") or 1)
            node.calls.append(self._call(spans[0], spans[-1]))
        return node

    def _call(self, first: Span, last: Span) -> RecordedCall:
        chars = last.count("headway.prompt_chars") or 0
        told = last.count("gen_ai.usage.input_tokens")
        return RecordedCall(
            order=self._order(first),
            ready_s=self._s(first.start_ns),
            ended_s=self._s(last.end_ns),
            prompt_tokens=told if told is not None else int(chars / CHARS_PER_TOKEN),
            output_tokens=last.count("gen_ai.usage.output_tokens"),
            tool_calls=last.count("headway.tool_calls") or 0,
            max_tokens=last.count("gen_ai.request.max_tokens"),
            failed=last.text("headway.outcome") != "ok",
        )

    def _s(self, ns: int) -> Seconds:
        return (ns - self._zero_ns) / NS

    def _order(self, span: Span) -> tuple[float, ...]:
        """By start; of what began at once, by step, then what was over first."""
        step = span.count("headway.step") or 0
        return (self._s(span.start_ns), float(step), self._s(span.end_ns))


def _spans(path: Path, digest: blake2b) -> Iterator[Span]:
    for number, line in lines_of(path, digest):
        try:
            request = json.loads(line)
            for resource in request["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    yield from [_span(said) for said in scope["spans"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TraceError(
                f"{path}:{number}: not a line of OTLP's JSON ({type(error).__name__}: {error})"
            ) from error


def _span(said: Mapping[str, Any]) -> Span:
    feedback = [
        attributes(event)["headway.feedback.ok"]
        for event in said.get("events", ())
        if event.get("name") == "headway.feedback"
    ]
    start_ns, end_ns = int(said["startTimeUnixNano"]), int(said["endTimeUnixNano"])
    if end_ns < start_ns:
        raise ValueError(f"span {said['spanId']} ends before it begins")
    return Span(
        id=f"{said['traceId']}/{said['spanId']}",
        parent=f"{said['traceId']}/{said.get('parentSpanId') or ''}",
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=attributes(said),
        feedback=feedback[-1] if feedback else None,
        links=tuple(
            (f"{link['traceId']}/{link['spanId']}", str(attributes(link).get("headway.link", "")))
            for link in said.get("links", ())
        ),
    )


def attributes(said: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a span, a link or an event in OTLP's JSON, as plain values by name."""
    return {each["key"]: _value(each["value"]) for each in said.get("attributes", ())}


def _value(said: Mapping[str, Any]) -> Any:
    (kind, value), *_ = said.items()
    if kind == "intValue":
        return int(value)
    if kind == "doubleValue":
        return float(value)
    if kind == "arrayValue":
        return tuple(_value(each) for each in value.get("values", ()))
    return value

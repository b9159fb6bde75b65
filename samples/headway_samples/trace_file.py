"""Reads a trace back from OTLP's JSON: runs, their nodes with parents, calls, waits and tools.

Everything is in the file (docs/reference/spans.md); this is all the code that it takes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.sim.loaders.otlp import attributes

NS = 1e9


class NotATrace(ValueError):
    """The file holds no trace. Its message says where and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span, with its times in seconds since 1970 and its attributes as plain values."""

    trace: str
    id: str
    parent: str
    name: str
    start_s: float
    end_s: float
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]

    def text(self, name: str) -> str:
        """An attribute as text; empty without it."""
        return str(self.attributes.get(name, ""))

    def number(self, name: str) -> float:
        """An attribute as a number; 0 without it."""
        return float(self.attributes.get(name, 0.0))


@dataclass(slots=True, kw_only=True)
class Node:
    """A node of a run: its parents are indices into the run's nodes."""

    span: Span
    parents: tuple[int, ...]
    calls: list[Span] = field(default_factory=list)
    tools: list[Span] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Its name, and which visit it is from the second on."""
        visit = int(self.span.number("headway.visit"))
        name = self.span.text("headway.node.name")
        return f"{name} ({visit})" if visit > 1 else name


@dataclass(slots=True, kw_only=True)
class Run:
    """One run of a graph: its nodes by start."""

    span: Span
    nodes: list[Node]

    @property
    def id(self) -> str:
        """Its id."""
        return self.span.text("headway.run.id")

    @property
    def graph(self) -> str:
        """The graph's name."""
        return self.span.text("headway.graph")

    @property
    def waited_s(self) -> float:
        """Seconds that its calls waited for their release, together."""
        return sum(call.number("headway.wait_s") for node in self.nodes for call in node.calls)


def read_runs(path: Path) -> list[Run]:
    """The runs of a file, by start. Raises `OSError` and `NotATrace`."""
    spans = sorted(read_spans(path), key=lambda span: (span.start_s, span.id))
    below: dict[str, list[Span]] = {}
    for span in spans:
        below.setdefault(span.parent, []).append(span)
    starts = ("invoke_workflow", "invoke_agent")
    runs = [_run(span, below) for span in spans if span.text("gen_ai.operation.name") in starts]
    if not runs:
        raise NotATrace(f"{path}: no span of a run is in this file")
    return runs


def read_spans(path: Path) -> Iterator[Span]:
    """Every span of a file, one export request a line. Raises `OSError` and `NotATrace`."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                request = json.loads(line)
                for resource in request["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        yield from (_span(each) for each in scope["spans"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise NotATrace(
                    f"{path}:{number}: not a line of OTLP's JSON ({type(error).__name__}: {error})"
                ) from error


def _run(span: Span, below: Mapping[str, list[Span]]) -> Run:
    of_run = [each for each in below.get(span.id, ()) if "headway.node.name" in each.attributes]
    place = {each.id: number for number, each in enumerate(of_run)}
    nodes = []
    for each in of_run:
        node = Node(
            span=each,
            parents=tuple(place[link] for _, link in each.links if link in place),
        )
        for inner in below.get(each.id, ()):
            operation = inner.text("gen_ai.operation.name")
            if operation == "execute_tool":
                node.tools.append(inner)
            elif "headway.call.id" in inner.attributes:
                node.calls.append(inner)
        nodes.append(node)
    return Run(span=span, nodes=nodes)


def _span(said: Mapping[str, Any]) -> Span:
    return Span(
        trace=said["traceId"],
        id=said["spanId"],
        parent=said.get("parentSpanId", ""),
        name=said["name"],
        start_s=int(said["startTimeUnixNano"]) / NS,
        end_s=int(said["endTimeUnixNano"]) / NS,
        attributes=attributes(said),
        links=tuple((link["traceId"], link["spanId"]) for link in said.get("links", ())),
    )

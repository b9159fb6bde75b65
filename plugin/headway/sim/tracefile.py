"""Trace files: reading and writing the documented format, and what makes a run a run.

A file that is wrong anywhere is refused as a whole, with the line and what is wrong
there: a number that was guessed would end in a table as if it had been measured.
"""

import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.sim.trace import (
    TRACE_FORMAT,
    Label,
    Question,
    Trace,
    TraceHeader,
    TraceNode,
    TraceRun,
)

DIGEST_BYTES = 16
SUFFIXES = (".jsonl.gz", ".jsonl")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`(?: - at `([^`]*)`)?")


class TraceError(ConfigError):
    """A file of traces is wrong: its text names file, line and what is wrong. Show it and stop."""


def digest_of_files() -> blake2b:
    """A fresh digest over the bytes of files, compressed ones as they lie there."""
    return blake2b(digest_size=DIGEST_BYTES)


def lines_of(path: Path, digest: blake2b) -> Iterator[tuple[int, bytes]]:
    """(number, line) of every line of a plain or gzipped file that is not blank; feeds `digest`.

    Raises `TraceError` if the file cannot be read, or not to its end.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error
    digest.update(data)
    file = io.BytesIO(data)
    lines = gzip.GzipFile(fileobj=file) if path.name.endswith(".gz") else file
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line
    except EOFError as error:
        raise TraceError(f"{path}:{number + 1}: the file is cut: its gzip stream ends") from error
    except (OSError, zlib.error) as error:
        raise TraceError(f"{path}:{number + 1}: not gzip that can be read: {error}") from error


def read_trace(path: Path) -> Trace:
    """The trace in the file `path` (``.jsonl`` or ``.jsonl.gz``).

    Raises `TraceError` for a file that is cut, has no header or a wrong one, names an
    unknown key, or has a run that is none (`fault`) or comes twice.
    """
    digest = digest_of_files()
    lines = lines_of(path, digest)
    header = _header(path, lines)
    runs: list[TraceRun] = []
    line_of: dict[str, int] = {}
    decoder = msgspec.json.Decoder(TraceRun)
    for number, line in lines:
        run = _decoded(decoder, line, f"{path}:{number}")
        if wrong := fault(run):
            raise TraceError(f"{path}:{number}: run {run.id!r}: {wrong}")
        if run.id in line_of:
            first = line_of[run.id]
            raise TraceError(f"{path}:{number}: run {run.id!r} is in line {first} already")
        line_of[run.id] = number
        runs.append(run)
    if not runs:
        raise TraceError(f"{path}: the trace {header.name!r} has no run")
    return Trace(
        name=header.name, source=header.source, runs=tuple(runs), digest=digest.hexdigest()
    )


def write_trace(path: Path, trace: Trace) -> None:
    """Write `trace` to `path`, gzipped if it ends in ``.gz``; the same trace gives the same bytes.

    Raises `TraceError` rather than write what `read_trace` would refuse.
    """
    seen: set[str] = set()
    for run in trace.runs:
        wrong = fault(run) or ("it comes twice" if run.id in seen else "")
        if wrong:
            raise TraceError(f"{path} is not written: run {run.id!r}: {wrong}")
        seen.add(run.id)
    encoder = msgspec.json.Encoder()
    header = TraceHeader(headway_trace=TRACE_FORMAT, name=trace.name, source=trace.source)
    text = b"".join(encoder.encode(each) + b"\n" for each in (header, *trace.runs))
    path.write_bytes(gzip.compress(text, mtime=0) if path.name.endswith(".gz") else text)


def fault(run: TraceRun) -> str:
    """What is wrong with a run, in words; empty for a run that can be simulated."""
    if run.block_tokens < 1:
        return f"block_tokens is {run.block_tokens}: it must be 1 or more"
    if run.arrival_s is not None and not _is_time(run.arrival_s):
        return f"arrival_s is {run.arrival_s}: it must be 0 or more"
    if run.question is not None and (wrong := _question_fault(run.question)):
        return wrong
    for place, node in enumerate(run.nodes):
        if wrong := _node_fault(node, place, run.block_tokens):
            return f"nodes[{place}] ({node.name}): {wrong}"
    if run.question is None and not any(node.prompt_tokens for node in run.nodes):
        return "it is empty: no node has a prompt, and there is no question"
    return ""


def _node_fault(node: TraceNode, place: int, block_tokens: int) -> str:
    for parent in node.parents:
        if not 0 <= parent < place:
            return f"parent {parent} is not one of the nodes before it"
    counts = {
        "prompt_tokens": node.prompt_tokens,
        "output_tokens": node.output_tokens,
        "tool_calls": node.tool_calls,
        "max_tokens": node.max_tokens or 0,
        **{f"outputs[{model}]": tokens for model, tokens in node.outputs.items()},
    }
    for name, count in counts.items():
        if count < 0:
            return f"{name} is {count}: it must be 0 or more"
    for name, seconds in (("tool_s", node.tool_s), ("think_s", node.think_s)):
        if not _is_time(seconds):
            return f"{name} is {seconds}: it must be 0 or more"
    blocks = 0
    for first, count in node.prefix:
        if first < 0 or count < 1:
            return f"prefix has ({first}, {count}): no stretch of blocks"
        blocks += count
    if blocks > -(-node.prompt_tokens // block_tokens):
        return (
            f"prefix has {blocks} blocks of {block_tokens} tokens, "
            f"more than its {node.prompt_tokens} prompt tokens"
        )
    return ""


def _question_fault(question: Question) -> str:
    if question.prompt_tokens < 1:
        return f"question: prompt_tokens is {question.prompt_tokens}: it must be 1 or more"
    if not question.labels:
        return "question: it has no labels"
    for model, label in question.labels.items():
        if label.output_tokens < 0:
            return (
                f"question: {model}: output_tokens is {label.output_tokens}: it must be 0 or more"
            )
        if label.chance is not None and not 0.0 <= label.chance <= 1.0:
            return f"question: {model}: chance is {label.chance}: it must be from 0 to 1"
    return ""


def _is_time(seconds: float) -> bool:
    return math.isfinite(seconds) and seconds >= 0.0


def _header(path: Path, lines: Iterator[tuple[int, bytes]]) -> TraceHeader:
    number, line = next(lines, (1, b""))
    if not line:
        raise TraceError(f"{path}: the file is empty: no header of a trace")
    place = f"{path}:{number}"
    try:
        said = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{place}: not JSON: {error}") from error
    if not isinstance(said, dict) or "headway_trace" not in said:
        raise TraceError(
            f'{place}: no header: a trace begins with {{"headway_trace": {TRACE_FORMAT}, '
            f'"name": ..., "source": ...}}'
        )
    if said["headway_trace"] != TRACE_FORMAT:
        raise TraceError(
            f"{place}: its format is {said['headway_trace']!r}, this Headway reads {TRACE_FORMAT}"
        )
    header: TraceHeader = _decoded(msgspec.json.Decoder(TraceHeader), line, place)
    return header


def _decoded(decoder: msgspec.json.Decoder[Any], line: bytes, place: str) -> Any:
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        raise TraceError(f"{place}: {_worded(str(error), decoder.type)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TraceError(f"{place}: not JSON: {error}") from error


def _worded(error: str, kind: type[msgspec.Struct]) -> str:
    """The error with the nearest known key, if it is about an unknown one."""
    found = _UNKNOWN.search(error)
    if found is None:
        return error
    key, where = found.group(1), found.group(2) or "$"
    if ".labels[" in where:
        kind = Label
    elif ".question" in where:
        kind = Question
    elif ".nodes[" in where:
        kind = TraceNode
    inside = f" in {where}" if where != "$" else ""
    return f"unknown key `{key}`{inside}{nearest(key, kind.__struct_fields__)}"

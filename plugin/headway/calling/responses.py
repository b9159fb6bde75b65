"""Reading requests and answers of the Responses API: sizes, needs, usage, stored parts. Pure.

`headway.calling.body` reads both forms and asks here for this one.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headway.calling.fields import SYSTEM_ROLES, Body, field, items, text_chars, texts
from headway.core.types import Need

_OWN_TOOLS = ("function", "custom")
"""Tools that the program runs itself; all others are run by the server, with what it stores."""


def is_responses(body: Body) -> bool:
    """Whether a request is of this form. One that is all in a stored `prompt` has no input."""
    return "messages" not in body and ("input" in body or isinstance(body.get("prompt"), Mapping))


def prompt_chars(body: Body) -> int:
    """Characters of all text in the request's instructions and input."""
    chars = text_chars(body.get("instructions"))
    given = body.get("input")
    if isinstance(given, str):
        return chars + len(given)
    for item in items(given):
        if isinstance(item, str):
            chars += len(item)
            continue
        for name in ("content", "arguments", "output", "input"):
            chars += text_chars(field(item, name))
    return chars


def prompt_text(body: Body) -> str:
    """What the request asks: the texts of its input, without those of the system."""
    given = body.get("input")
    if isinstance(given, str):
        return given
    found: list[str] = []
    for item in items(given):
        if isinstance(item, str):
            found.append(item)
        elif field(item, "role") not in SYSTEM_ROLES:
            for name in ("content", "output"):
                found.extend(texts(field(item, name)))
    return "\n".join(found)


def needs(body: Body) -> tuple[Need, ...]:
    """The capabilities that the request uses, in the order of `Need`."""
    kinds = _part_kinds(body)
    text_format = field(field(body.get("text"), "format"), "type")
    reasoning = body.get("reasoning")
    found: list[Need] = []
    if body.get("tools"):
        found.append("tools")
    if text_format and text_format != "text":
        found.append("response_format")
    if kinds & {"input_image", "computer_screenshot"}:
        found.append("vision")
    if "input_audio" in kinds or "audio" in (body.get("modalities") or ()):
        found.append("audio")
    if body.get("top_logprobs") or "message.output_text.logprobs" in items(body.get("include")):
        found.append("logprobs")
    if any(field(reasoning, name) not in (None, "none") for name in ("effort", "summary")):
        found.append("reasoning")
    return tuple(found)


def max_tokens(body: Body) -> int | None:
    """The caller's own limit on the output, if there is one."""
    value = body.get("max_output_tokens")
    return value if isinstance(value, int) else None


def answered_tool_calls(body: Body) -> tuple[str, ...]:
    """What ties the request to the model that began it: ids of the tool calls whose results end
    the input, and marks of reasoning that only its own model can read; the latest first.
    """
    given = items(body.get("input"))
    ids = []
    for item in reversed(given):
        if not str(field(item, "type") or "").endswith("_output"):
            break
        if call_id := field(item, "call_id"):
            ids.append(str(call_id))
    return (*ids, *(_sealed_mark(text) for text in reversed(list(_sealed(given)))))


def holds_sealed_reasoning(body: Body) -> bool:
    """Whether the input holds encrypted items, which only the model that made them can read."""
    return any(True for _ in _sealed(items(body.get("input"))))


def continued(body: Body) -> str:
    """The id of the stored answer that the request goes on from; empty if there is none."""
    previous = body.get("previous_response_id")
    return previous if isinstance(previous, str) else ""


def kept_by_server(body: Body) -> str:
    """Why only the caller's own server can answer the request, which builds on what that one
    stores; empty if any can.
    """
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name):
            return f"responses api: {name} names what the server keeps"
    if body.get("background"):
        return "responses api: a background response is fetched from its server later"
    if body.get("store") is True:
        return "responses api: the answer is to be kept by the server (store)"
    for tool in items(body.get("tools")):
        kind = field(tool, "type")
        if kind not in _OWN_TOOLS:
            return f"responses api: the tool {str(kind)[:40]!r} is run by the server"
    for item in items(body.get("input")):
        if field(item, "type") == "item_reference":
            return "responses api: item_reference names what the server keeps"
        if any(field(part, "file_id") for part in _parts(item)):
            return "responses api: file_id names what the server keeps"
    return ""


# Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What an answer says of itself. `asked` are the (place, id) of its tool calls, `sealed` the
    marks of its encrypted reasoning; `error` is the kind of a failure.
    """

    id: str = ""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    finish_reason: str = ""
    asked: tuple[tuple[int, str], ...] = ()
    sealed: tuple[str, ...] = ()
    error: str = ""


def whole(part: Any) -> Any:
    """The response that `part` is or (the last event of a stream) brings; None if neither."""
    if field(part, "object") == "response":
        return part
    if str(field(part, "type") or "").startswith("response."):
        return field(part, "response")
    return None


def is_preamble(part: Any) -> bool:
    """Whether a stream's event comes before all output: nothing of the answer is in it."""
    kind = str(field(part, "type") or "")
    return kind.startswith("response.") and (
        kind.endswith(".added")
        or kind in ("response.created", "response.queued", "response.in_progress")
    )


def said_by(response: Any) -> Said:
    """Read a response, whole or (while its stream goes on) still empty."""
    usage = field(response, "usage")
    output = items(field(response, "output"))
    asked = tuple(
        (place, str(field(item, "call_id") or ""))
        for place, item in enumerate(output)
        if str(field(item, "type") or "").endswith("_call") and field(item, "call_id")
    )
    status = field(response, "status")
    return Said(
        id=str(field(response, "id") or ""),
        prompt_tokens=field(usage, "input_tokens"),
        cached_tokens=field(field(usage, "input_tokens_details"), "cached_tokens"),
        output_tokens=field(usage, "output_tokens"),
        finish_reason=_finish_reason(response, tools=bool(asked)),
        asked=asked,
        sealed=tuple(_sealed_mark(text) for text in _sealed(output)),
        error=str(field(field(response, "error"), "code") or "failed")
        if status == "failed"
        else "",
    )


def _finish_reason(response: Any, *, tools: bool) -> str:
    """Why the answer ended, in the words of the chat form."""
    status = field(response, "status")
    if status == "completed":
        return "tool_calls" if tools else "stop"
    if status == "incomplete":
        reason = str(field(field(response, "incomplete_details"), "reason") or "incomplete")
        return "length" if reason == "max_output_tokens" else reason
    return ""


def _part_kinds(body: Body) -> set[str]:
    return {str(field(part, "type")) for item in items(body.get("input")) for part in _parts(item)}


def _parts(item: Any) -> Iterator[Any]:
    """The parts of an input item's content, or of a tool's result."""
    yield from items(field(item, "content"))
    output = field(item, "output")
    if isinstance(output, list | tuple):
        yield from output
    elif output is not None and not isinstance(output, str):
        yield output


def _sealed(given: tuple[Any, ...]) -> Iterator[str]:
    for item in given:
        text = field(item, "encrypted_content")
        if isinstance(text, str) and text:
            yield text


def _sealed_mark(text: str) -> str:
    """A short name for an encrypted text: what is remembered must not grow with it."""
    return f"sealed-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:24]}"

"""OpenAI's Responses API without the network: reading requests, making bodies and events.

A request is put into the chat form (items become messages, flat tools nested
ones), so that answers, prompts and cache blocks do not depend on the way in.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from headway.emulate.protocol import (
    BadRequest,
    Reply,
    Wanted,
    call_id,
    read_body,
    read_limit,
    read_priority,
)

_STORED = {
    "previous_response_id": "send the whole conversation as input",
    "conversation": "send the whole conversation as input",
    "prompt": "send the prompt's text as instructions and input",
    "background": "wait for the answer, or stream it",
}
"""Parameters that need a server which keeps something, and what to do without it."""


def read_responses(raw: bytes, *, headers: Mapping[str, str]) -> Wanted:
    """Check the body and headers of a Responses request. Raises `BadRequest`."""
    body = read_body(raw)
    for name, instead in _STORED.items():
        if body.get(name):
            raise BadRequest(f"{name}: the emulator stores nothing; {instead}", param=name)
    if body.get("n") is not None:
        raise BadRequest("n: the Responses API gives one answer; leave n out", param="n")
    return Wanted(
        kind="responses",
        model=body["model"],
        messages=_messages(body),
        tools=_tools(body),
        tool_choice=_tool_choice(body),
        response_format=_response_format(body),
        body=body,
        stream=bool(body.get("stream")),
        include_usage=True,
        max_tokens=read_limit(body, "max_output_tokens"),
        priority=read_priority(body, headers),
    )


def _messages(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    given, instructions = body.get("input"), body.get("instructions")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(items, list) or not items:
        raise BadRequest("input must be a text or a list with at least one item", param="input")
    if not isinstance(instructions, str | None):
        raise BadRequest("instructions must be a text", param="instructions")
    messages: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        _add_item(messages, item, param=f"input[{index}]")
    if not messages:
        raise BadRequest("input must hold more than reasoning", param="input")
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    return tuple(messages)


def _add_item(messages: list[dict[str, Any]], item: Any, *, param: str) -> None:
    if not isinstance(item, dict):
        raise BadRequest(f"{param} must be an object", param=param)
    kind = item.get("type") or "message"
    if kind == "message":
        role = item.get("role")
        if not isinstance(role, str) or not role:
            raise BadRequest(f"{param}: a message must have a role", param=param)
        messages.append({"role": role, "content": _content(item.get("content"), param)})
    elif kind == "function_call":
        # In the chat form a turn is one message; so the next turn's prompt begins with this one.
        if not messages or messages[-1]["role"] != "assistant":
            messages.append({"role": "assistant", "content": None})
        messages[-1].setdefault("tool_calls", []).append(_chat_call(item, param))
    elif kind == "function_call_output":
        content = _content(item.get("output"), param)
        call = _text(item, "call_id", param)
        messages.append({"role": "tool", "tool_call_id": call, "content": content})
    elif kind != "reasoning":
        # Reasoning of another model is not part of the prompt: engines drop it between turns.
        raise BadRequest(
            f"{param}: the emulator knows no item of type {kind!r}; it knows message, "
            "function_call, function_call_output and reasoning",
            param=param,
        )


def _text(item: dict[str, Any], key: str, param: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise BadRequest(f"{param}: {key} must be a text", param=param)
    return value


def _chat_call(item: dict[str, Any], param: str) -> dict[str, Any]:
    function = {key: _text(item, key, param) for key in ("name", "arguments")}
    return {"id": _text(item, "call_id", param), "type": "function", "function": function}


def _content(given: Any, param: str) -> str | list[dict[str, Any]]:
    if isinstance(given, str):
        return given
    if not isinstance(given, list) or not all(isinstance(part, dict) for part in given):
        raise BadRequest(f"{param}: the content must be a text or a list of parts", param=param)
    return [_chat_part(part) for part in given]


def _chat_part(part: dict[str, Any]) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("input_text", "output_text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image":
        return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
    return part


def _tools(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise BadRequest("tools must be a list", param="tools")
    for index, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function" or not tool.get("name"):
            raise BadRequest(
                f"tools[{index}] must be an object of type function with a name; "
                "the emulator has no tools of its own",
                param="tools",
            )
    return tuple(
        {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
        for tool in tools
    )


def _tool_choice(body: dict[str, Any]) -> Any:
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _response_format(body: dict[str, Any]) -> dict[str, Any] | None:
    text = body.get("text") or {}
    wanted = (text.get("format") or {}) if isinstance(text, dict) else None
    if not isinstance(wanted, dict):
        raise BadRequest("text must be an object, and so must text.format", param="text")
    if wanted.get("type") != "json_schema":
        return wanted or None
    if not isinstance(wanted.get("schema"), dict):
        raise BadRequest("text.format.schema must be an object", param="text.format.schema")
    schema = {key: value for key, value in wanted.items() if key != "type"}
    return {"type": "json_schema", "json_schema": schema}


# Answers as bodies


def responses_usage(
    *, prompt_tokens: int, output_tokens: int, cached_tokens: int
) -> dict[str, Any]:
    """The usage object of the Responses API."""
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"cached_tokens": cached_tokens, "cache_write_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt_tokens + output_tokens,
    }


def response_body(reply: Reply, wanted: Wanted, used: dict[str, Any] | None) -> dict[str, Any]:
    """The response object of a finished answer."""
    output = [_done_item(reply, item) for item in _items(reply)]
    return _response(reply, wanted, status=_status(reply), output=output, used=used)


def _status(reply: Reply) -> str:
    return "incomplete" if reply.finish_reason == "length" else "completed"


def _response(
    reply: Reply,
    wanted: Wanted,
    *,
    status: str,
    output: list[dict[str, Any]],
    used: dict[str, Any] | None,
) -> dict[str, Any]:
    """The object with all the fields of OpenAI's: what was asked is told back."""
    body = wanted.body
    reason = {"reason": "max_output_tokens"} if status == "incomplete" else None
    asked: dict[str, Any] = {
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }
    told = {key: body.get(key) for key in asked if body.get(key) is not None}
    return {
        "id": reply.id,
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "error": None,
        "incomplete_details": reason,
        "model": reply.model,
        "output": output,
        "usage": used,
        **asked,
        **told,
        "background": False,
        "conversation": None,
        "previous_response_id": None,
        "prompt": None,
        "service_tier": "default",
        "store": False,
    }


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the output: a message, or with a `call_id` a function call.

    `text` is what is said in it: the message's text, or the call's arguments.
    """

    id: str
    text: str
    call_id: str = ""
    name: str = ""


def _items(reply: Reply) -> list[_Item]:
    answer = reply.answer
    items = []
    if answer.text or not answer.tool_calls:
        items.append(_Item(id=f"msg_{reply.id}", text=answer.text))
    items += [
        _Item(
            id=f"fc_{reply.id}_{index}",
            text=call.arguments,
            call_id=call_id(reply, index),
            name=call.name,
        )
        for index, call in enumerate(answer.tool_calls)
    ]
    return items


def _item_body(item: _Item, *, status: str, arguments: str, parts: list[Any]) -> dict[str, Any]:
    if item.call_id:
        what = {"call_id": item.call_id, "name": item.name, "arguments": arguments}
        return {"id": item.id, "type": "function_call", "status": status, **what}
    said = {"role": "assistant", "content": parts}
    return {"id": item.id, "type": "message", "status": status, **said}


def _done_item(reply: Reply, item: _Item) -> dict[str, Any]:
    parts = [_text_part(item.text)]
    return _item_body(item, status=_status(reply), arguments=item.text, parts=parts)


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class EventMaker:
    """Cuts one reply into the typed events of a stream, as many tokens at a time as there are."""

    def __init__(self, reply: Reply, wanted: Wanted) -> None:
        self._reply = reply
        self._wanted = wanted
        self._items = _items(reply)
        self._total = sum(len(item.text) for item in self._items)
        self._sent = 0
        self._opened = 0
        self._closed = 0
        self._number = 0

    def opening(self) -> bytes:
        """What is sent before the first token, as soon as the request is taken."""
        begun = _response(self._reply, self._wanted, status="in_progress", output=[], used=None)
        events = ("response.created", "response.in_progress")
        return b"".join(self._event(kind, response=begun) for kind in events)

    def upto(self, tokens: int) -> bytes:
        """Events for all that `tokens` output tokens say and that was not sent before."""
        reply = self._reply
        target = self._total * min(tokens, reply.output_tokens) // reply.output_tokens
        events = b"".join(self._said(target))
        self._sent = target
        return events

    def finish(self, used: dict[str, Any] | None) -> bytes:
        """The last events, with the whole response."""
        rest = self.upto(self._reply.output_tokens)
        whole = response_body(self._reply, self._wanted, used)
        return rest + self._event(f"response.{_status(self._reply)}", response=whole)

    def _said(self, target: int) -> Iterator[bytes]:
        start = 0
        for index, item in enumerate(self._items):
            if target < start:
                break
            if self._opened == index:
                self._opened += 1
                yield from self._open(index, item)
            piece = item.text[max(0, self._sent - start) : target - start]
            if piece:
                yield self._delta(index, item, piece)
            start += len(item.text)
            if self._closed == index and target >= start:
                self._closed += 1
                yield from self._close(index, item)

    def _open(self, index: int, item: _Item) -> Iterator[bytes]:
        empty = _item_body(item, status="in_progress", arguments="", parts=[])
        yield self._event("response.output_item.added", output_index=index, item=empty)
        if not item.call_id:
            place = self._place(index, item)
            yield self._event("response.content_part.added", **place, part=_text_part(""))

    def _delta(self, index: int, item: _Item, piece: str) -> bytes:
        place = self._place(index, item)
        if item.call_id:
            return self._event("response.function_call_arguments.delta", **place, delta=piece)
        return self._event("response.output_text.delta", **place, delta=piece, logprobs=[])

    def _close(self, index: int, item: _Item) -> Iterator[bytes]:
        place, text = self._place(index, item), item.text
        if item.call_id:
            kind = "response.function_call_arguments.done"
            yield self._event(kind, **place, name=item.name, arguments=text)
        else:
            yield self._event("response.output_text.done", **place, text=text, logprobs=[])
            yield self._event("response.content_part.done", **place, part=_text_part(text))
        done = _done_item(self._reply, item)
        yield self._event("response.output_item.done", output_index=index, item=done)

    def _place(self, index: int, item: _Item) -> dict[str, Any]:
        place: dict[str, Any] = {"item_id": item.id, "output_index": index}
        return place if item.call_id else {**place, "content_index": 0}

    def _event(self, kind: str, **content: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **content}
        self._number += 1
        return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"

"""The OpenAI protocol without the network: reading requests, making bodies and chunks.

What all forms share, and the forms of chat and plain completions; the
Responses API has a module of its own, `responses`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal

import msgspec

from headway.core.errors import HeadwayError
from headway.emulate.answers import CHARS_PER_TOKEN, Answer, text_of

Kind = Literal["chat", "text", "responses"]
PRIORITY_LIMIT = 1 << 63


class BadRequest(HeadwayError):
    """A request that the server refuses. Answer with `status` and `body()`."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param

    def body(self) -> dict[str, Any]:
        """OpenAI's error form, with vLLM's type names."""
        return error_body(str(self), status=self.status, param=self.param)


_ERROR_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
}


def error_body(message: str, *, status: int, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error form."""
    kind = _ERROR_TYPES.get(status, "InternalServerError")
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A completion request, checked. All but `body` is in the chat form, whatever its kind."""

    kind: Kind
    model: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    tool_choice: Any
    response_format: dict[str, Any] | None
    body: dict[str, Any]
    stream: bool
    include_usage: bool
    max_tokens: int | None
    priority: int


def read_body(raw: bytes) -> dict[str, Any]:
    """The body as an object that names a model. Raises `BadRequest`."""
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise BadRequest("the body must be an object with a model", param="model")
    return body


def read_request(raw: bytes, *, kind: Kind, headers: Mapping[str, str]) -> Wanted:
    """Check the body and headers of a chat or a plain completion. Raises `BadRequest`."""
    body = read_body(raw)
    if body.get("n") not in (None, 1):
        raise BadRequest("n must be 1: the emulator gives one choice", param="n")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadRequest("stream_options must be an object", param="stream_options")
    messages = _chat_messages(body) if kind == "chat" else _text_messages(body)
    return Wanted(
        kind=kind,
        model=body["model"],
        messages=messages,
        tools=_tools(body),
        tool_choice=body.get("tool_choice"),
        response_format=body.get("response_format"),
        body=body,
        stream=bool(body.get("stream")),
        include_usage=bool(options.get("include_usage")),
        max_tokens=read_limit(body, "max_completion_tokens", "max_tokens"),
        priority=read_priority(body, headers),
    )


def _chat_messages(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages must be a list with at least one message", param="messages")
    if not all(isinstance(message, dict) and message.get("role") for message in messages):
        raise BadRequest("each message must be an object with a role", param="messages")
    return tuple(messages)


def _text_messages(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequest("prompt must be one text", param="prompt")
    return ({"role": "user", "content": prompt},)


def _tools(body: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    tools = body.get("tools")
    if tools is None:
        return ()
    if not isinstance(tools, list) or not all(
        isinstance(tool, dict) and isinstance(tool.get("function") or {}, dict) for tool in tools
    ):
        raise BadRequest("tools must be a list of objects", param="tools")
    return tuple(tools)


def read_limit(body: dict[str, Any], *keys: str) -> int | None:
    """The most tokens that the answer may have: the first of `keys` that is there."""
    for key in keys:
        value = body.get(key)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadRequest(f"{key} must be at least 1", param=key)
            return value
    return None


def read_priority(body: dict[str, Any], headers: Mapping[str, str]) -> int:
    """The engine's priority. The header wins, as in vLLM; both are 64-bit integers, lower first."""
    given: Any = headers.get("X-Vllm-Priority")
    if given is None:
        given = body.get("priority", 0)
        if given is None:
            return 0
    elif given.removeprefix("-").isdecimal():
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or abs(given) >= PRIORITY_LIMIT:
        raise BadRequest("priority must be a 64-bit integer", param="priority")
    return given


# Prompts in tokens and blocks


def rendered(wanted: Wanted) -> str:
    """The prompt as one text, in which the next turn's prompt begins with this one."""
    parts = [f"{wanted.model}\n"]
    parts += [msgspec.json.encode(tool).decode() for tool in wanted.tools]
    for message in wanted.messages:
        parts.append(f"{message['role']}\n{text_of(message)}{_called(message)}\n")
    return "".join(parts)


def _called(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return ""
    functions = [call.get("function") or {} for call in calls if isinstance(call, dict)]
    return "".join(f"{f.get('name', '')}{f.get('arguments', '')}" for f in functions)


def token_count(text: str) -> int:
    """Tokens of a text: a quarter of its characters, at least 1."""
    return max(1, len(text) // CHARS_PER_TOKEN)


def block_hashes(prompt: str, answer: Answer, *, block_tokens: int) -> tuple[int, ...]:
    """One chained hash per full block of the prompt and of the answer behind it."""
    calls = "".join(call.name + call.arguments for call in answer.tool_calls)
    text = f"{prompt}assistant\n{answer.text}{calls}"
    size = block_tokens * CHARS_PER_TOKEN
    hashes = []
    digest = b""
    for start in range(0, len(text) - size + 1, size):
        chunk = text[start : start + size].encode("utf-8", "replace")
        digest = blake2b(digest + chunk, digest_size=8).digest()
        hashes.append(int.from_bytes(digest, "little"))
    return tuple(hashes)


# Answers as bodies


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it will be sent: cut to `output_tokens`, with its finish reason."""

    id: str
    kind: Kind
    model: str
    created: int
    answer: Answer
    output_tokens: int
    finish_reason: str


def cut(answer: Answer, max_tokens: int | None) -> tuple[Answer, str]:
    """The answer within `max_tokens`, and why it ends. A cut answer loses its tool calls."""
    if max_tokens is None or answer.output_tokens <= max_tokens:
        return answer, "tool_calls" if answer.tool_calls else "stop"
    keep = len(answer.text) * max_tokens // answer.output_tokens
    return Answer(text=answer.text[:keep], output_tokens=max_tokens), "length"


def lengthened(answer: Answer, min_tokens: int | None) -> Answer:
    """The answer, said again until it has `min_tokens` (vLLM's field), then without tool calls."""
    if min_tokens is None or answer.output_tokens >= min_tokens:
        return answer
    again = -(-min_tokens // max(answer.output_tokens, 1))
    text = (answer.text or "again ") * again
    keep = len(text) * min_tokens // (again * max(answer.output_tokens, 1))
    return Answer(text=text[:keep], output_tokens=min_tokens)


def usage(*, prompt_tokens: int, output_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": prompt_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


def call_id(reply: Reply, index: int) -> str:
    """The id by which the client returns the result of the answer's tool call `index`."""
    return f"call_{reply.id}_{index}"


def _tool_calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": call_id(reply, index),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(reply.answer.tool_calls)
    ]


def whole_body(reply: Reply, used: dict[str, Any]) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    text = reply.answer.text
    choice: dict[str, Any] = {
        "index": 0,
        "logprobs": None,
        "finish_reason": reply.finish_reason,
    }
    if reply.kind == "text":
        choice["text"] = text
    else:
        calls = _tool_calls(reply)
        message: dict[str, Any] = {"role": "assistant", "content": text or None if calls else text}
        if calls:
            message["tool_calls"] = calls
        choice["message"] = message
    return {
        "id": reply.id,
        "object": "chat.completion" if reply.kind == "chat" else "text_completion",
        "created": reply.created,
        "model": reply.model,
        "choices": [choice],
        "usage": used,
    }


DONE = b"data: [DONE]\n\n"


class ChunkMaker:
    """Cuts one reply into server-sent events, as many tokens at a time as there are."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._sent = 0
        self._began = False
        calls = _tool_calls(reply)
        self._total = len(reply.answer.text) + sum(len(c["function"]["arguments"]) for c in calls)
        self._calls = calls
        self._next_call = 0

    def opening(self) -> bytes:
        """What is sent before the first token: nothing."""
        return b""

    def upto(self, tokens: int) -> bytes:
        """Events for all that `tokens` output tokens say and that was not sent before."""
        reply = self._reply
        target = self._total * min(tokens, reply.output_tokens) // reply.output_tokens
        if reply.kind == "text":
            text = reply.answer.text[self._sent : target]
            self._sent = target
            return self._event({"text": text}) if text else b""
        deltas: list[dict[str, Any]] = []
        if not self._began:
            self._began = True
            deltas.append({"role": "assistant", "content": ""})
        text = reply.answer.text[self._sent : target]
        if text:
            deltas.append({"content": text})
        deltas += self._call_deltas(target)
        self._sent = target
        return b"".join(self._event({"delta": delta}) for delta in deltas)

    def _call_deltas(self, target: int) -> list[dict[str, Any]]:
        deltas = []
        start = len(self._reply.answer.text)
        for index, call in enumerate(self._calls):
            arguments = call["function"]["arguments"]
            if target < start:
                break
            if self._next_call == index:
                self._next_call += 1
                named = {"name": call["function"]["name"], "arguments": ""}
                opening = {"index": index, "id": call["id"], "type": "function", "function": named}
                deltas.append({"tool_calls": [opening]})
            piece = arguments[max(0, self._sent - start) : target - start]
            if piece:
                delta = {"index": index, "function": {"arguments": piece}}
                deltas.append({"tool_calls": [delta]})
            start += len(arguments)
        return deltas

    def finish(self, used: dict[str, Any] | None) -> bytes:
        """The last events; with usage if it was asked for."""
        rest = self.upto(self._reply.output_tokens)
        closing: dict[str, Any] = {"text": ""} if self._reply.kind == "text" else {"delta": {}}
        last = self._event(closing, finish_reason=self._reply.finish_reason)
        told = b"" if used is None else self._line({"choices": [], "usage": used})
        return rest + last + told + DONE

    def _event(self, content: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}
        return self._line({"choices": [choice]})

    def _line(self, content: dict[str, Any]) -> bytes:
        reply = self._reply
        chunk = {
            "id": reply.id,
            "object": "chat.completion.chunk" if reply.kind == "chat" else "text_completion",
            "created": reply.created,
            "model": reply.model,
            **content,
        }
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"

"""Reading chat and completion requests and their answers: sizes, needs, usage. Pure."""

from collections.abc import Mapping
from typing import Any

from headway.core.types import Need

Body = Mapping[str, Any]


def field(thing: Any, name: str) -> Any:
    """`name` of a mapping or of one of the SDK's objects; None if it has none."""
    if isinstance(thing, Mapping):
        return thing.get(name)
    return getattr(thing, name, None)


def prompt_chars(body: Body) -> int:
    """Characters of all text in the request's messages or prompt."""
    prompt = body.get("prompt")
    if prompt is not None:
        return _text_chars(prompt)
    chars = 0
    for message in _messages(body):
        chars += _text_chars(field(message, "content"))
        for call in field(message, "tool_calls") or ():
            chars += _text_chars(field(field(call, "function"), "arguments"))
    return chars


def needs(body: Body) -> tuple[Need, ...]:
    """The capabilities that the request uses, in the order of `Need`."""
    kinds = _part_kinds(body)
    response_format = body.get("response_format")
    found: list[Need] = []
    if body.get("tools") or body.get("functions"):
        found.append("tools")
    if response_format and field(response_format, "type") != "text":
        found.append("response_format")
    if "image_url" in kinds:
        found.append("vision")
    if "input_audio" in kinds or "audio" in (body.get("modalities") or ()):
        found.append("audio")
    logprobs = body.get("logprobs")
    if logprobs is True or body.get("top_logprobs") or type(logprobs) is int:
        found.append("logprobs")
    if (body.get("n") or 1) > 1:
        found.append("n")
    if body.get("reasoning_effort"):
        found.append("reasoning")
    return tuple(found)


def max_tokens(body: Body) -> int | None:
    """The caller's own limit on the output, if there is one."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int):
            return value
    return None


def answered_tool_calls(body: Body) -> tuple[str, ...]:
    """Ids of the tool calls whose results end the messages: the request goes on a tool loop."""
    ids = []
    for message in reversed(_messages(body)):
        if field(message, "role") != "tool":
            break
        tool_call_id = field(message, "tool_call_id")
        if tool_call_id:
            ids.append(str(tool_call_id))
    return tuple(ids)


class Answer:
    """What is worth knowing of an answer, gathered from one object or from a stream's chunks."""

    __slots__ = (
        "cached_tokens",
        "finish_reason",
        "output_tokens",
        "prompt_tokens",
        "tool_ids",
        "tools",
    )

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.output_tokens: int | None = None
        self.finish_reason = ""
        self.tool_ids: list[str] = []
        self.tools: set[tuple[int, int]] = set()

    def absorb(self, part: Any) -> None:
        """Take in a whole answer or one chunk of it."""
        usage = field(part, "usage")
        if usage is not None:
            self.prompt_tokens = field(usage, "prompt_tokens")
            self.output_tokens = field(usage, "completion_tokens")
            self.cached_tokens = field(field(usage, "prompt_tokens_details"), "cached_tokens")
        for choice in field(part, "choices") or ():
            reason = field(choice, "finish_reason")
            if reason:
                self.finish_reason = str(reason)
            said = field(choice, "delta") or field(choice, "message")
            if said is not None:
                self._absorb_tools(field(choice, "index") or 0, field(said, "tool_calls") or ())

    def _absorb_tools(self, choice: int, calls: Any) -> None:
        for position, call in enumerate(calls):
            index = field(call, "index")
            self.tools.add((choice, position if index is None else index))
            if tool_id := field(call, "id"):
                self.tool_ids.append(str(tool_id))


def _messages(body: Body) -> list[Any]:
    messages = body.get("messages")
    return messages if isinstance(messages, list) else []


def _part_kinds(body: Body) -> set[str]:
    kinds: set[str] = set()
    for message in _messages(body):
        content = field(message, "content")
        if isinstance(content, list):
            kinds.update(str(field(part, "type")) for part in content)
    return kinds


def _text_chars(content: Any) -> int:
    if isinstance(content, str):
        return len(content)
    if isinstance(content, list):
        return sum(
            len(part) if isinstance(part, str) else _text_chars(field(part, "text"))
            for part in content
        )
    return 0

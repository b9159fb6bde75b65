"""Reading requests and their answers: sizes, needs, usage. Pure.

Chat and plain completions are read here, the Responses API by `headway.calling.responses`;
callers need not know which form a request has.
"""

from typing import Any

from headway.calling import responses
from headway.calling.fields import SYSTEM_ROLES, text_chars, texts
from headway.calling.fields import Body as Body
from headway.calling.fields import field as field
from headway.core.pool import Pool
from headway.core.prompts import both_ends, features
from headway.core.types import Need


def prompt_chars(body: Body) -> int:
    """Characters of all text in the request's messages, prompt or input."""
    if responses.is_responses(body):
        return responses.prompt_chars(body)
    prompt = body.get("prompt")
    if prompt is not None:
        return text_chars(prompt)
    chars = 0
    for message in _messages(body):
        chars += text_chars(field(message, "content"))
        for call in field(message, "tool_calls") or ():
            chars += text_chars(field(field(call, "function"), "arguments"))
    return chars


def prompt_text(body: Body) -> str:
    """What the request asks: its texts but those of the system, which all calls of a node share."""
    if responses.is_responses(body):
        return responses.prompt_text(body)
    prompt = body.get("prompt")
    if prompt is not None:
        return "\n".join(texts(prompt))
    asked = (one for one in _messages(body) if field(one, "role") not in SYSTEM_ROLES)
    return "\n".join(text for one in asked for text in texts(field(one, "content")))


def prompt_told(body: Body, pool: Pool | None) -> tuple[tuple[int, ...], str]:
    """What the request asks, as hashed words if its pool name says ``send_text``, and as both ends
    of its text if there is an encoder; else nothing.
    """
    model = body.get("model")
    declared = (
        None if pool is None else next((one for one in pool.names if one.name == model), None)
    )
    if declared is None or not declared.send_text:
        return (), ""
    text = both_ends(prompt_text(body))
    return features(text), text if declared.encode else ""


def needs(body: Body) -> tuple[Need, ...]:
    """The capabilities that the request uses, in the order of `Need`."""
    if responses.is_responses(body):
        return responses.needs(body)
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
    if responses.is_responses(body):
        return responses.max_tokens(body)
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if isinstance(value, int):
            return value
    return None


def answered_tool_calls(body: Body) -> tuple[str, ...]:
    """Ids of the tool calls whose results end the messages: the request goes on a tool loop.

    Encrypted reasoning ties a request to its model as well, so its marks stand here too.
    """
    if responses.is_responses(body):
        return responses.answered_tool_calls(body)
    ids = []
    for message in reversed(_messages(body)):
        if field(message, "role") != "tool":
            break
        tool_call_id = field(message, "tool_call_id")
        if tool_call_id:
            ids.append(str(tool_call_id))
    return tuple(ids)


def kept_by_server(body: Body) -> str:
    """Why only the caller's own server can answer the request, which builds on what that one
    stores; empty if any can.
    """
    if responses.is_responses(body):
        return responses.kept_by_server(body)
    if body.get("store") is True:
        return "the answer is to be kept by the server (store)"
    for message in _messages(body):
        if field(field(message, "audio"), "id"):
            return "an earlier answer's audio is kept by the server"
        content = field(message, "content")
        for part in content if isinstance(content, list) else ():
            if field(field(part, "file"), "file_id"):
                return "file_id names what the server keeps"
    return ""


MOST_QUEUE_MS = 1e9


class Answer:
    """What is worth knowing of an answer, gathered from one object or from a stream's chunks.

    `tool_ids` are what a later request may name that only the same model should read,
    `id` what it may name that only the same endpoint has stored (the Responses API); `error`
    is the kind of a failure that came as an answer; `queue_s` the seconds in the engine's queue
    (vLLM with ``--enable-per-request-metrics``), `waiting` how many stood there when it answered.
    """

    __slots__ = (
        "cached_tokens",
        "error",
        "finish_reason",
        "id",
        "output_tokens",
        "prompt_tokens",
        "queue_s",
        "tool_ids",
        "tools",
        "waiting",
    )

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None
        self.cached_tokens: int | None = None
        self.output_tokens: int | None = None
        self.queue_s: float | None = None
        self.waiting: int | None = None
        self.finish_reason = ""
        self.error = ""
        self.id = ""
        self.tool_ids: list[str] = []
        self.tools: set[tuple[int, int]] = set()

    def absorb(self, part: Any) -> None:
        """Take in a whole answer or one chunk of it."""
        response = responses.whole(part)
        if response is not None:
            self._absorb_response(responses.said_by(response))
            return
        usage = field(part, "usage")
        if usage is not None:
            self.prompt_tokens = field(usage, "prompt_tokens")
            self.output_tokens = field(usage, "completion_tokens")
            self.cached_tokens = field(field(usage, "prompt_tokens_details"), "cached_tokens")
        queue_ms = field(field(part, "metrics"), "queue_time_ms")
        if isinstance(queue_ms, int | float) and 0 <= queue_ms <= MOST_QUEUE_MS:
            self.queue_s = queue_ms / 1000.0
        for choice in field(part, "choices") or ():
            reason = field(choice, "finish_reason")
            if reason:
                self.finish_reason = str(reason)
            said = field(choice, "delta") or field(choice, "message")
            if said is not None:
                self._absorb_tools(field(choice, "index") or 0, field(said, "tool_calls") or ())

    def _absorb_response(self, said: responses.Said) -> None:
        """The end of a stream says all; what came before says less and is written over."""
        self.prompt_tokens = said.prompt_tokens
        self.cached_tokens = said.cached_tokens
        self.output_tokens = said.output_tokens
        self.finish_reason = said.finish_reason
        self.error = said.error
        self.id = said.id
        self.tools = {(0, place) for place, _ in said.asked}
        self.tool_ids = [*(tool_id for _, tool_id in said.asked), *said.sealed]

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

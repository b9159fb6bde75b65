"""What an emulated model says: the protocol for users' own answers, and a default one."""

import importlib
from typing import Any, Protocol

import msgspec

from headway.core.errors import ConfigError
from headway.emulate.skill import output_tokens

CHARS_PER_TOKEN = 4
"""Prompt tokens are counted as characters / 4, at least 1: close enough for English, and free."""


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the emulated model sees it.

    `messages` and `tools` are as the client sent them in a chat request; a plain
    completion is one user message, and the Responses API's items, tools and
    text format are put into the chat form. `skill` is the model's, from the configuration. `seed`,
    `temperature` and `user` are passed on for answers that depend on them.
    """

    model: str
    skill: float
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    max_tokens: int | None = None
    response_format: dict[str, Any] | None = None
    seed: int | None = None
    temperature: float | None = None
    user: str = ""

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return text_of(self.messages[-1]) if self.messages else ""


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool that the answer asks for. `arguments` is JSON text."""

    name: str
    arguments: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says, and how many tokens it takes to say it.

    `output_tokens` sets the time; it need not fit the text's length. The
    server cuts the text in proportion where `max_tokens` ends it early.
    """

    text: str
    output_tokens: int
    tool_calls: tuple[ToolCall, ...] = ()


class Answers(Protocol):
    """Gives an answer to every request: quickly (it runs in the server's loop), and always
    the same one to the same request.
    """

    def answer(self, request: ChatRequest) -> Answer:
        """The model's answer. An exception becomes an HTTP 500 with its text."""
        ...


def text_of(message: dict[str, Any]) -> str:
    """The text of a message whose content is a string, a list of parts, or nothing."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


_FILLER = (
    "The request was read in full and its parts were taken in turn. Each step follows from the "
    "one before it, with the assumptions named where they matter. "
) * 8
_MEDIAN_TOKENS = 220
_TOOL_CALL_TOKENS = 40


class FillerAnswers:
    """Plausible text of plausible length; a call of the first tool offered, once a turn."""

    def answer(self, request: ChatRequest) -> Answer:
        """Filler text, minimal JSON if a JSON format is asked for, or a tool call."""
        last = request.messages[-1] if request.messages else {}
        if request.tools and request.tool_choice != "none" and last.get("role") != "tool":
            return Answer(
                text="", output_tokens=_TOOL_CALL_TOKENS, tool_calls=(_call_of(request.tools),)
            )
        tokens = output_tokens(
            task=request.last_text, model=request.model, role="filler", median=_MEDIAN_TOKENS
        )
        wanted = request.response_format or {}
        if wanted.get("type") in ("json_object", "json_schema"):
            schema = (wanted.get("json_schema") or {}).get("schema") or {}
            text = msgspec.json.encode(example_of(schema or {"type": "object"})).decode()
            return Answer(text=text, output_tokens=max(1, len(text) // CHARS_PER_TOKEN))
        size = tokens * CHARS_PER_TOKEN
        text = (_FILLER * (size // len(_FILLER) + 1))[:size].strip()
        return Answer(text=text, output_tokens=tokens)


def _call_of(tools: tuple[dict[str, Any], ...]) -> ToolCall:
    function = tools[0].get("function") or {}
    arguments = example_of(function.get("parameters") or {"type": "object"})
    return ToolCall(
        name=str(function.get("name", "tool")), arguments=msgspec.json.encode(arguments).decode()
    )


_PLAIN: dict[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "null": None,
}


def example_of(schema: dict[str, Any], root: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """A value that fits a simple JSON schema (objects, enums, references, unions)."""
    root = schema if root is None else root
    if depth > 8:
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        named = root.get("$defs", {}).get(reference.rsplit("/", 1)[-1], {})
        return example_of(named, root, depth + 1)
    for union in ("anyOf", "oneOf", "allOf"):
        if schema.get(union):
            return example_of(schema[union][0], root, depth + 1)
    if schema.get("enum"):
        return schema["enum"][0]
    if "properties" in schema or schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: example_of(inner, root, depth + 1) for name, inner in properties.items()}
    kind = schema.get("type")
    return _PLAIN.get(kind, "text") if isinstance(kind, str) else "text"


def load_answers(reference: str) -> Answers:
    """The answers that ``module:attribute`` names; a class is made an instance of.

    An empty reference means the default. Raises `ConfigError`.
    """
    if not reference:
        return FillerAnswers()
    module_name, _, attribute = reference.partition(":")
    if not module_name or not attribute:
        raise ConfigError(f"emulate.answers: {reference!r} is not of the form module:attribute")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"emulate.answers: cannot load {reference!r}: {error}") from error
    answers = found() if isinstance(found, type) else found
    if not callable(getattr(answers, "answer", None)):
        raise ConfigError(f"emulate.answers: {reference!r} has no method answer(request)")
    loaded: Answers = answers
    return loaded

"""Looking into requests and answers, which are mappings here and objects of an SDK there. Pure."""

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]


def field(thing: Any, name: str) -> Any:
    """`name` of a mapping or of one of the SDK's objects; None if it has none."""
    if isinstance(thing, Mapping):
        return thing.get(name)
    return getattr(thing, name, None)


def items(value: Any) -> tuple[Any, ...]:
    """The elements of a list; none of anything else."""
    return tuple(value) if isinstance(value, list | tuple) else ()


def text_chars(content: Any) -> int:
    """Characters of a text, or of all texts in a list of strings and parts."""
    if isinstance(content, str):
        return len(content)
    return sum(
        len(part) if isinstance(part, str) else text_chars(field(part, "text"))
        for part in items(content)
    )

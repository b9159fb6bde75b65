"""Looking into requests and answers, which are mappings here and objects of an SDK there. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Body = Mapping[str, Any]
SYSTEM_ROLES = ("system", "developer")


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
    return sum(map(len, texts(content)))


def texts(content: Any) -> Iterator[str]:
    """A text, or all texts in a list of strings and parts."""
    if isinstance(content, str):
        yield content
        return
    for part in items(content):
        if isinstance(part, str):
            yield part
        else:
            yield from texts(field(part, "text"))

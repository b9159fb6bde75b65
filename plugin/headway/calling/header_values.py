"""Texts and numbers in HTTP headers: written so that they are safe, read as from strangers.

A text that is too long or not printable is replaced by a readable beginning and a digest,
so that equal ones stay equal. A number that is none is ignored, with one warning that
names its header. Nothing here raises.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from headway.calling.guard import warn_once
from headway.core.errors import nearest, nearest_name
from headway.core.types import Seconds

MAX_TEXT = 128
MAX_LIST = 2048
"""Characters of one id or name, and of all of a list's encoded names together."""
MAX_SECONDS: Seconds = 1e9
MAX_COUNT = 1_000_000
_READABLE = 32
_ON = ("1", "true", "yes", "on")
_OFF = ("", "0", "false", "no", "off")


def encode(text: str) -> str:
    """`text` as it may stand in a header: bounded and percent-encoded."""
    return quote(clean(text), safe=" :/@~+=()!*'", errors="replace")


def encode_list(items: Sequence[str]) -> str:
    """As many of `items` as may go into one header, in their order."""
    joined = ""
    for item in items:
        longer = f"{joined},{encode(item)}" if joined else encode(item)
        if len(longer) > MAX_LIST:
            break
        joined = longer
    return joined


def named_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """`headers` by lower-case name. One that is said twice and differently counts as not said."""
    found: dict[str, str] = {}
    twice: set[str] = set()
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        name = name.lower()
        if found.setdefault(name, value) != value:
            twice.add(name)
    for name in twice:
        del found[name]
    if twice:
        # One warning for all: the names are strangers' too.
        _ignored(min(twice), "it is there twice, with two values", kind="a header twice")
    return found


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping, or one in JSON (engines take only plain values as extra arguments)."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, Mapping) else {}


def first_text(said: Mapping[str, Any], *names: str) -> str:
    """The first of `names` that holds a text or a whole number; empty if none does."""
    for name in names:
        value = said.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{value:x}" if abs(value) >= 1 << 64 else str(value)
        if isinstance(value, str) and (text := clean(value)):
            return text
    return ""


def decode(value: str) -> str:
    """What `encode` wrote, or somebody who encodes less."""
    return clean(unquote(value)) if "%" in value else clean(value)


def decode_list(value: str) -> tuple[str, ...]:
    """Names with commas between them; of a list that is too long, those that come whole."""
    if len(value) > MAX_LIST:
        value = value[: MAX_LIST + 1].rpartition(",")[0]
    return tuple(text for part in value.split(",") if (text := decode(part)))


def clean(text: str) -> str:
    """`text` if it is short and printable, else its readable beginning and a digest of all."""
    text = text.strip()
    if len(text) <= MAX_TEXT and text.isprintable():
        return text
    readable = "".join(letter for letter in text[:_READABLE] if letter.isprintable())
    return f"{readable}~{digest(text)}"


def digest(text: str) -> str:
    """A short stand-in for `text`, the same for the same text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def number_in(value: str | None, name: str, most: float) -> float | None:
    """The number from 0 to `most` that the header `name` holds; None if it holds none."""
    if value is None or not value.strip():
        return None
    try:
        number = float(value) if len(value) <= _READABLE else math.nan
    except ValueError:
        number = math.nan
    if 0 <= number <= most:
        return number
    _ignored(name, f"it should be a number from 0 to {most:g}, not {value[:_READABLE]!r}")
    return None


def count_in(value: str | None, name: str, least: int) -> int:
    """The whole number from `least` that the header `name` holds; `least` if it holds none."""
    number = number_in(value, name, MAX_COUNT)
    if number is None:
        return least
    if number.is_integer():
        return max(least, int(number))
    _ignored(name, f"it should be a whole number, not {(value or '')[:_READABLE]!r}")
    return least


def truth(value: str, name: str) -> bool:
    """Whether the switch that the header `name` holds is on."""
    word = value.strip().lower()
    if word not in _ON + _OFF:
        _ignored(name, f"it should be 1 or 0, not {value[:_READABLE]!r}")
    return word in _ON


def warn_of_unknown(name: str, known: Sequence[str]) -> None:
    """Warn of the header `name`, which looks like one of `known` and is none.

    Once for each of `known` that strangers' names may be like: they are without number.
    """
    short = clean(name)
    _ignored(
        short, f"it is not known{nearest(short, known)}", kind=nearest_name(short, known) + "?"
    )


def _ignored(name: str, why: str, *, kind: str = "") -> None:
    warn_once(kind or f"header {name}", "headway: the header %r is ignored: %s", clean(name), why)

"""Keeps what one run or call says wrongly from ending the connection of all the others.

A daemon closes a connection over a frame it cannot trust. What a user or a
graph hands in is therefore checked here, before it is told or remembered.
"""

import math
from typing import TypeVar

import msgspec

from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Feedback,
    GraphSeen,
    NodeStarted,
    RunStarted,
)
from headway.wire.messages import HEADER_BYTES, Covered, Passed, Prompt, decode_client, encode_frame

LONGEST_HOLD_S = 86_400.0

Told = TypeVar("Told", bound=msgspec.Struct)

_NUMBERS: dict[type[msgspec.Struct], tuple[str, ...]] = {
    RunStarted: ("age_s", "deadline_s"),
    NodeStarted: ("age_s",),
    CallReady: (
        *("age_s", "run_age_s", "deadline_s", "hold_limit_s"),
        *("prompt_chars", "max_tokens"),
    ),
    CallEnded: ("duration_s", "first_token_s"),
}
_COUNTS_OF_SERVERS = ("prompt_tokens", "cached_tokens", "output_tokens")
MOST_TOKENS = 1 << 40
# Frequent facts (a node's start and end) hold only what integrations make themselves.
_FROM_USERS = frozenset(
    {GraphSeen, RunStarted, CallReady, CallSent, Feedback, Passed, Covered, Prompt}
)


def sound(fact: Told) -> Told:
    """`fact` with impossible durations and counts (negative, not finite) set to their defaults.

    Raises `FrameError`, which names the field, for what no daemon would understand.
    """
    names = _NUMBERS.get(type(fact))
    if names is not None:
        fact = _mended(fact, names)
    if isinstance(fact, CallEnded):
        fact = _counted(fact)
    if type(fact) in _FROM_USERS:
        decode_client(memoryview(encode_frame(fact))[HEADER_BYTES:])
    return fact


def _counted(fact: Told) -> Told:
    """An end without the counts that are none: a server may say anything, and the end counts."""
    counts = {name: getattr(fact, name) for name in _COUNTS_OF_SERVERS}
    changes = {
        name: None
        for name, count in counts.items()
        if count is not None and not (type(count) is int and 0 <= count <= MOST_TOKENS)
    }
    return msgspec.structs.replace(fact, **changes) if changes else fact


def _mended(fact: Told, names: tuple[str, ...]) -> Told:
    wrong = []
    for name in names:
        number = getattr(fact, name)
        if number is None or isinstance(number, str | bytes):  # the decoder names wrong types
            continue
        if not 0 <= number < math.inf:
            wrong.append(name)
    if not wrong:
        return fact
    usual = {field.name: field.default for field in msgspec.structs.fields(type(fact))}
    changes = {name: usual[name] for name in wrong}
    if "hold_limit_s" in changes:
        endless = getattr(fact, "hold_limit_s") == math.inf  # noqa: B009 -- not every fact has it
        changes["hold_limit_s"] = LONGEST_HOLD_S if endless else 0.0
    return msgspec.structs.replace(fact, **changes)

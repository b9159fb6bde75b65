"""What an engine tells: requests that got their first token, ended or were turned away."""

from typing import Literal

import msgspec

from headway.core.types import Seconds


class FirstToken(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The prompt is computed and the first output token exists."""

    id: str
    at: Seconds


class Finished(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All output tokens exist.

    `cached_tokens` of the prompt came from the prefix cache; `waited_s` is the
    time from submission to the first seat; `preemptions` how often the request
    lost its KV blocks and was computed again.
    """

    id: str
    at: Seconds
    submitted_at: Seconds
    first_token_at: Seconds
    output_tokens: int
    cached_tokens: int
    waited_s: Seconds
    preemptions: int


class Rejected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The engine does not take the request. `kind`: ``busy`` (queue full) or ``too_long``."""

    id: str
    at: Seconds
    kind: Literal["busy", "too_long"]
    why: str


Happening = FirstToken | Finished | Rejected

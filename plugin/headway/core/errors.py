"""One small tree of errors. Each says what whoever catches it should do.

And the hint that belongs to an unknown name, worded once.
"""

import difflib
from collections.abc import Iterable

ALIKE = 0.5


class HeadwayError(Exception):
    """Anything Headway raises on purpose. Its text names the thing and what to do."""


class UnknownEndpoint(HeadwayError):
    """An endpoint id that the pool does not have. Skip it, or fix the configuration."""

    def __init__(self, endpoint_id: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no endpoint {endpoint_id!r} in the pool; it has {', '.join(known)}")


class ConfigError(HeadwayError):
    """The configuration is wrong. Show the text to the user and stop."""


class FrameError(HeadwayError):
    """A frame that cannot be read (malformed, too large, another version). Close the connection."""


class JournalError(HeadwayError):
    """A journal that cannot be read at all. Show the text to the user and stop."""


class DaemonUnreachable(HeadwayError):
    """No daemon answers on the socket. Start one with ``headway up``."""


class IllegalTransition(HeadwayError):
    """A call was asked to do what its state does not allow: a defect of Headway, with its story."""


def nearest_name(name: str, known: Iterable[str], *, alike: float = ALIKE) -> str:
    """The known name most like `name`; empty if none is, by `alike` from 0 (any) to 1 (equal)."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=alike)
    return close[0] if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean `X`?`` for the known name nearest to `name`, or all that are known."""
    names = sorted(known)
    if found := nearest_name(name, names):
        return f"; did you mean `{found}`?"
    return f"; known: {', '.join(names)}" if names else ""

"""One small tree of errors. Each says what whoever catches it should do."""


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

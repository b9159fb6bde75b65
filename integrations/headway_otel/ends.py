"""How spans end: outcome, error and status by the conventions, and never an exception."""

import logging

from opentelemetry.trace import Span, Status, StatusCode

from headway.core.types import Outcome
from headway_otel import conventions as names

log = logging.getLogger("headway")


def conclude(span: Span, outcome: Outcome, error: str) -> str:
    """Note on `span` how it ended; returns the kind of error, empty if it is none."""
    span.set_attribute(names.OUTCOME, outcome)
    if outcome != "error":
        return ""
    kind = error or names.OTHER_ERROR
    span.set_attribute(names.ERROR, kind)
    span.set_status(Status(StatusCode.ERROR))
    return kind


class Ends:
    """Ends spans: a processor that fails must not keep the others from their end."""

    def __init__(self) -> None:
        self._complained = False

    def end(self, span: Span, at_ns: int) -> None:
        """End `span`. What its processors raise is logged, once."""
        try:
            span.end(at_ns)
        except Exception:
            if not self._complained:
                self._complained = True
                log.warning("headway: a span processor failed; its spans are lost", exc_info=True)

"""The wall between Headway and its hosts: what goes wrong of ours is logged once and stays here."""

import logging
from typing import Any

_log = logging.getLogger("headway")


class Complaints:
    """Logs each kind of trouble once per process, with its first traceback; counts the rest."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def add(self, kind: str, error: BaseException) -> None:
        """Note that `kind` of hook failed. Never raises."""
        seen = self.counts.get(kind, 0)
        self.counts[kind] = seen + 1
        if not seen:
            _log.warning(
                "headway: %s failed and was skipped; the program goes on without it (%s: %s)",
                kind,
                type(error).__name__,
                error,
                exc_info=error,
            )


complaints = Complaints()


def warn_once(kind: str, message: str, *args: Any) -> None:
    """Log `message` the first time that `kind` comes up."""
    if not complaints.counts.get(kind):
        complaints.counts[kind] = 1
        _log.warning(message, *args)

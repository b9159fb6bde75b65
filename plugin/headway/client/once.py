"""Says each thing once: a guest in the user's process must not fill the user's log."""

import logging

log = logging.getLogger("headway")


class Once:
    """Logs under ``headway``, the first message of each kind only."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def warn(self, kind: str, message: str) -> None:
        """A warning, unless one of this `kind` was given."""
        if self._first(kind):
            log.warning("%s", message)

    def debug(self, kind: str, message: str) -> None:
        """A debug line, unless one of this `kind` was given."""
        if self._first(kind):
            log.debug("%s", message)

    def failure(self, where: str) -> None:
        """The exception now being handled: a defect of Headway, which the host must not feel."""
        if self._first(f"failure in {where}"):
            log.warning("headway failed in %s; calls go on without it", where, exc_info=True)

    def _first(self, kind: str) -> bool:
        if kind in self._said:
            return False
        self._said.add(kind)
        return True

"""Errors on demand: what a test tells an emulated endpoint to do wrong, and how often."""

from dataclasses import dataclass

from headway.core.errors import HeadwayError

REQUEST_FAULTS = ("500", "503", "429", "hang", "drop")
METRIC_FAULTS = ("lie_metrics", "garble_metrics")
FAULTS = (*REQUEST_FAULTS, *METRIC_FAULTS, "down")
"""``hang``: no answer until the client leaves. ``drop``: the connection breaks after the first
token. ``lie_metrics``: claims to be idle. ``garble_metrics``: impossible numbers. ``down``: every
request's connection is cut, on all paths but the control endpoint's."""

FAULT_HEADER = "X-Emulate-Fault"
"""A request may carry its own fault, one of `REQUEST_FAULTS`."""


class UnknownFault(HeadwayError):
    """A fault of a kind that there is not. Show the text to whoever asked for it."""


@dataclass(slots=True)
class _Fault:
    kind: str
    left: int | None


class Faults:
    """Faults waiting to strike, first come first served; a count of None strikes for ever."""

    def __init__(self) -> None:
        self._waiting: list[_Fault] = []

    def add(self, kind: str, *, count: int | None = 1) -> None:
        """Let the next `count` requests that `kind` applies to fail. Raises `UnknownFault`."""
        if kind not in FAULTS:
            raise UnknownFault(f"no fault {kind!r}; there are {', '.join(FAULTS)}")
        if count is not None and count < 1:
            raise UnknownFault(f"count must be at least 1, or null for ever; not {count}")
        self._waiting.append(_Fault(kind, count))

    def clear(self) -> None:
        """No more faults."""
        self._waiting.clear()

    def take(self, *kinds: str) -> str:
        """The first waiting fault among `kinds`, one fewer from now on; empty if there is none."""
        for fault in self._waiting:
            if fault.kind in kinds:
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left == 0:
                        self._waiting.remove(fault)
                return fault.kind
        return ""

    def for_request(self, named: str | None) -> str:
        """The fault of one completion request: the one that it named itself, else the next one.

        Raises `UnknownFault` for a name that no request can ask for.
        """
        if named is None:
            return self.take(*REQUEST_FAULTS)
        if named not in REQUEST_FAULTS:
            raise UnknownFault(f"{FAULT_HEADER}: {named!r} is none of {', '.join(REQUEST_FAULTS)}")
        return named

    def listing(self) -> list[dict[str, object]]:
        """What waits, as plain data."""
        return [{"kind": fault.kind, "count": fault.left} for fault in self._waiting]

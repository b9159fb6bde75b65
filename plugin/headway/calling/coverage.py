"""Counts for `headway status`: requests that were scheduled, and those that passed untouched."""

import threading
from collections import Counter

from headway.client import Scheduling
from headway.wire.messages import Covered, Passed

BATCH = 50
"""Counts are told at the first sight of a kind, then in batches, and whenever no call is open."""


class Coverage:
    """Batches `Covered` and `Passed` messages. Thread-safe."""

    def __init__(self) -> None:
        self._covered: Counter[str] = Counter()
        self._passed: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def covered(self, client: Scheduling, way: str) -> None:
        """A decision was asked for a request made in this `way` (``openai``, ``chat_openai``)."""
        with self._lock:
            first = way not in self._covered
            self._covered[way] += 1
            count = self._covered[way] if first or self._covered[way] >= BATCH else 0
            if count:
                self._covered[way] = 0
        if count:
            client.observe(Covered(way=way, count=count))

    def passed(self, client: Scheduling, why: str, target: str) -> None:
        """A request inside a run went out as it was; `target` is a base URL, never with a key."""
        key = (why, target)
        with self._lock:
            first = key not in self._passed
            self._passed[key] += 1
            count = self._passed[key] if first or self._passed[key] >= BATCH else 0
            if count:
                self._passed[key] = 0
        if count:
            client.observe(Passed(why=why, target=target, count=count))

    def flush(self, client: Scheduling) -> None:
        """Tell what is counted and not told yet."""
        if not any(self._covered.values()) and not any(self._passed.values()):
            return
        with self._lock:
            ways = [(way, n) for way, n in self._covered.items() if n]
            passed = [(key, n) for key, n in self._passed.items() if n]
            self._covered.update({way: -n for way, n in ways})
            self._passed.update({key: -n for key, n in passed})
        for way, count in ways:
            client.observe(Covered(way=way, count=count))
        for (why, target), count in passed:
            client.observe(Passed(why=why, target=target, count=count))

"""`Typical`: the usual logarithm of a size at a place of a graph: a mean that can be built upon.

A median will not do as the zero of a regression: where answers are of two lengths it jumps from the
one to the other and back, and all that was learned of what lies beside it is off by as much.
"""

from math import log1p
from typing import Any

from headway.core.protocols import Query
from headway.predict.places import Level, Places

SHRINK = 5.0
"""Values at which a place counts as much as the more general one."""
MOST_COUNTED = 1000.0
"""Older values fade."""
MAX_VISIT = 16
"""Later visits of a node are taken together."""


class Typical:
    """Means of log(1 + value) on nested levels of a `Query`, each shrunk to the one above.

    `levels` are those of `Places`; `prior` is believed before anything was seen.
    """

    def __init__(self, levels: tuple[Level, ...], *, prior: float) -> None:
        self._levels = len(levels)
        self._prior = log1p(prior)
        self._places = Places(levels, lambda: [0.0, 0.0], most_visits=MAX_VISIT)

    def log(self, query: Query) -> float:
        """The usual logarithm there; learns nothing."""
        return self._logs(query)[-1]

    def over(self, query: Query) -> float:
        """By how much that is more than it is one level above."""
        found = self._logs(query)
        return found[-1] - found[-2] if len(found) > self._levels else 0.0

    def _logs(self, query: Query) -> list[float]:
        """On each level that is known, after what is believed before anything was seen."""
        found = [self._prior]
        for count, mean in self._places.of(query):
            found.append((count * mean + SHRINK * found[-1]) / (count + SHRINK))
        return found

    def learn(self, query: Query, log: float) -> None:
        """Take a log(1 + value) in."""
        for known in self._places.of(query, learning=True):
            known[0] = min(known[0] + 1.0, MOST_COUNTED)
            known[1] += (log - known[1]) / known[0]

    def saved(self) -> list[Any]:
        """All that was learned, in plain msgpack types."""
        return [[list(key), *known] for key, known in self._places.items()]

    def load(self, saved: list[Any]) -> None:
        """Take back what was `saved`. Raises `TypeError` or `ValueError` if it is not that."""
        self._places.load((tuple(key), [float(count), float(mean)]) for key, count, mean in saved)

"""`Typical`: the usual logarithm of a size at a place of a graph: a mean that can be built upon.

A median will not do as the zero of a regression: where answers are of two lengths it jumps from the
one to the other and back, and all that was learned of what lies beside it is off by as much.
"""

from math import log1p
from typing import Any

from headway.core.protocols import Query

SHRINK = 5.0
"""Values at which a place counts as much as the more general one."""
MOST_COUNTED = 1000.0
"""Older values fade."""
MAX_VISIT = 16
"""Later visits of a node are taken together."""
MAX_PLACES = 20_000
"""Kept; the half that was met first goes."""

Level = tuple[str, ...]


class Typical:
    """Means of log(1 + value) on nested levels of a `Query`, each shrunk to the one above.

    `levels` name the fields of each, general first; `prior` is believed before anything was seen.
    """

    def __init__(self, levels: tuple[Level, ...], *, prior: float) -> None:
        self._levels = levels
        self._prior = log1p(prior)
        self._means: dict[tuple[Any, ...], list[float]] = {}
        self._chains: dict[tuple[str, str, int, str], list[list[float]]] = {}

    def log(self, query: Query) -> float:
        """The usual logarithm there; learns nothing."""
        return self._logs(query)[-1]

    def over(self, query: Query) -> float:
        """By how much that is more than it is one level above."""
        above, there = self._logs(query)[-2:]
        return there - above

    def _logs(self, query: Query) -> list[float]:
        """On each level, after what is believed before anything was seen."""
        found = [self._prior]
        for count, mean in self._chain(query, learning=False):
            found.append((count * mean + SHRINK * found[-1]) / (count + SHRINK))
        return found

    def learn(self, query: Query, log: float) -> None:
        """Take a log(1 + value) in."""
        for known in self._chain(query, learning=True):
            known[0] = min(known[0] + 1.0, MOST_COUNTED)
            known[1] += (log - known[1]) / known[0]

    def _chain(self, query: Query, *, learning: bool) -> list[list[float]]:
        """Count and mean of each level; learning keeps those that are new."""
        visit = query.visit
        place = (query.graph, query.node, visit if visit < MAX_VISIT else MAX_VISIT, query.model)
        chain = self._chains.get(place)
        if chain is not None:
            return chain
        names = dict(zip(("graph", "node", "visit", "model"), place, strict=True))
        keys = [(len(level), *(names[name] for name in level)) for level in self._levels]
        if not learning:
            return [self._means.get(key, [0.0, 0.0]) for key in keys]
        if len(self._chains) >= MAX_PLACES:
            self._chains.clear()
        if len(self._means) >= MAX_PLACES and any(key not in self._means for key in keys):
            self._chains.clear()
            for old in list(self._means)[: MAX_PLACES // 2]:
                if len(old) > 1:
                    del self._means[old]
        self._chains[place] = [self._means.setdefault(key, [0.0, 0.0]) for key in keys]
        return self._chains[place]

    def saved(self) -> list[Any]:
        """All that was learned, in plain msgpack types."""
        return [[list(key), *known] for key, known in self._means.items()]

    def load(self, saved: list[Any]) -> None:
        """Take back what was `saved`. Raises `TypeError` or `ValueError` if it is not that."""
        self._means = {tuple(key): [float(count), float(mean)] for key, count, mean in saved}
        self._chains.clear()

"""`Places`: what is kept for each place of a graph, on nested levels, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from headway.core.protocols import Query
from headway.predict.roles import kind_of

MAX_PLACES = 20_000
"""Kept of each; a program that names its graphs anew with each run must not fill the memory."""

Level = tuple[str, ...]
Key = tuple[str, ...]
Kept = TypeVar("Kept")


class Places(Generic[Kept]):
    """One of what `make` makes for each level of a `Query`.

    `levels` name the fields of each, general first; ``kind`` is what the node's name says of itself
    (`roles`). Visits from `most_visits` on are taken together.
    """

    def __init__(
        self, levels: tuple[Level, ...], make: Callable[[], Kept], *, most_visits: int
    ) -> None:
        self._levels = levels
        self._make = make
        self._most_visits = most_visits
        self._kept: dict[Key, Kept] = {}
        self._chains: dict[tuple[str, str, int, str], Sequence[Kept]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, query: Query, *, learning: bool = False) -> Sequence[Kept]:
        """Those of its levels, general first; learning makes what is missing."""
        visit, most = query.visit, self._most_visits
        place = (query.graph, query.node, visit if visit < most else most, query.model)
        chain = self._chains.get(place)
        if chain is not None:
            return chain
        names = dict(zip(("graph", "node", "visit", "model"), map(str, place), strict=True))
        names["kind"] = kind_of(query.node)
        keys = [
            (str(depth), *(names[name] for name in level))
            for depth, level in enumerate(self._levels)
        ]
        if learning and any(key not in self._kept for key in keys):
            self._forget_oldest()
            for key in keys:
                if key not in self._kept:
                    self._kept[key] = self._make()
        chain = tuple(self._kept[key] for key in keys if key in self._kept)
        if len(chain) == len(keys):
            if len(self._chains) >= MAX_PLACES:
                self._chains.clear()
            self._chains[place] = chain
        return chain

    def _forget_oldest(self) -> None:
        """The half that was met first goes, but for what is known of all."""
        if len(self._kept) >= MAX_PLACES:
            self._chains.clear()
            for key in list(self._kept)[: MAX_PLACES // 2]:
                if len(key) > 1:
                    del self._kept[key]

    def items(self) -> Iterator[tuple[Key, Kept]]:
        """All that is kept, in the order in which it was met."""
        yield from self._kept.items()

    def load(self, items: Iterable[tuple[Key, Kept]]) -> None:
        """Keep these, and nothing else."""
        self._kept = dict(items)
        self._chains.clear()

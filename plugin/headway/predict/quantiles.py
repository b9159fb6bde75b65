"""Quantity predictors: running quantiles per place in a graph, shrunk to their parents.

A place is known on several levels, general to specific; each level's quantiles
are mixed with those of the level above by sample count (`n / (n + SHRINK)`),
so a new node starts with what its graph shows and soon stands on its own.
"""

from typing import Any

from headway.core.protocols import Estimate, Query
from headway.predict.window import QuantileWindow

SHRINK = 4.0
"""Samples at which a level weighs as much as the level above it."""

NEGLIGIBLE = 0.001
"""Levels that weigh less all together are not looked at."""

MAX_VISIT = 4
"""Later visits of a node are taken together, if nothing else is said."""

MAX_WINDOWS = 20_000
"""Windows kept; a program that names its graphs anew with each run must not fill the memory."""

Level = tuple[str, ...]


class ShrunkQuantiles:
    """Predicts a quantity by quantiles on nested levels of a `Query`.

    `levels` names the fields of each level, general first. `prior` holds the
    (p50, p90) believed before anything was seen. Visits from `most_visits` on are taken together.
    """

    def __init__(
        self,
        *,
        levels: tuple[Level, ...],
        prior: tuple[float, float],
        most_visits: int = MAX_VISIT,
    ) -> None:
        self._levels = levels
        self._most_visits = most_visits
        self._prior = prior
        self._windows: dict[tuple[str, ...], QuantileWindow] = {}
        self._chains: dict[tuple[str, str, int, str], tuple[QuantileWindow, ...]] = {}

    def _chain(self, query: Query, *, learning: bool) -> tuple[QuantileWindow, ...]:
        """The windows of a place, general first; learning makes those that are missing."""
        place = (query.graph, query.node, min(query.visit, self._most_visits), query.model)
        chain = self._chains.get(place)
        if chain is not None:
            return chain
        names = dict(zip(("graph", "node", "visit", "model"), map(str, place), strict=True))
        keys = [
            (str(depth), *(names[name] for name in level))
            for depth, level in enumerate(self._levels)
        ]
        if learning:
            self._forget_oldest()
            for key in keys:
                self._windows.setdefault(key, QuantileWindow())
        chain = tuple(self._windows[key] for key in keys if key in self._windows)
        if len(chain) == len(keys):
            self._chains[place] = chain
        return chain

    def _forget_oldest(self) -> None:
        """Keep the number of places bounded: the half that was met first goes."""
        if len(self._windows) >= MAX_WINDOWS:
            self._chains.clear()
            for key in list(self._windows)[: MAX_WINDOWS // 2]:
                if len(key) > 1:
                    del self._windows[key]

    def estimate(self, query: Query) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90."""
        visit, most = query.visit, self._most_visits
        place = (query.graph, query.node, visit if visit < most else most, query.model)
        p50 = p90 = 0.0
        samples, left = 0, 1.0
        # from the most specific level up: most need not look far
        for window in reversed(self._chains.get(place) or self._chain(query, learning=False)):
            size = len(window)
            if size:
                median, high = window.pair()
                samples = samples or window.count
                beyond = left * SHRINK / (size + SHRINK)
                if beyond < NEGLIGIBLE:
                    beyond = 0.0
                p50 += (left - beyond) * median
                p90 += (left - beyond) * high
                left = beyond
                if not left:
                    break
        else:
            p50 += left * self._prior[0]
            p90 += left * self._prior[1]
        return Estimate(p50=p50, p90=p90 if p90 > p50 else p50, samples=samples)

    def learn(self, query: Query, value: float) -> None:
        """What it really was."""
        visit, most = query.visit, self._most_visits
        place = (query.graph, query.node, visit if visit < most else most, query.model)
        for window in self._chains.get(place) or self._chain(query, learning=True):
            window.learn(value)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "windows": [
                [list(key), *window.saved()]
                for key, window in sorted(self._windows.items())
                if len(window)
            ]
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        self._windows = {
            tuple(key): QuantileWindow.loaded(*saved) for key, *saved in snapshot["windows"]
        }
        self._chains.clear()


def output_length() -> ShrunkQuantiles:
    """Output tokens of a call, per (graph, node, model), then visit.

    The model alone comes first: what a model writes elsewhere is the best guess for a new node.
    """
    return ShrunkQuantiles(
        levels=(
            (),
            ("model",),
            ("graph", "node"),
            ("graph", "node", "model"),
            ("graph", "node", "model", "visit"),
        ),
        prior=(200.0, 800.0),
    )


def rest_of_run(prior: tuple[float, float]) -> ShrunkQuantiles:
    """What is left of a run from the start of a node, per (graph, node, visit).

    The conditional median over history given the state is Maestro's T_future
    (arXiv 2606.12950), here with visits and including the node itself.
    """
    return ShrunkQuantiles(
        levels=((), ("graph",), ("graph", "node"), ("graph", "node", "visit")),
        prior=prior,
    )


def prefix_share() -> ShrunkQuantiles:
    """Share of a prompt found in the cache when a call follows its run to the same endpoint."""
    return ShrunkQuantiles(levels=((), ("graph", "node")), prior=(0.2, 0.8))

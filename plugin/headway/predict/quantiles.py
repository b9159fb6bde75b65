"""Quantity predictors: running quantiles per place in a graph, shrunk to their parents.

A place is known on several levels, general to specific; each level's quantiles
are mixed with those of the level above by sample count (`n / (n + SHRINK)`),
so a new node starts with what its graph shows and soon stands on its own.
"""

from collections.abc import Mapping
from typing import Any

from headway.core.protocols import Estimate, Query
from headway.predict.places import Level, Places
from headway.predict.roles import PRIORS, kind_of
from headway.predict.window import QuantileWindow, at_place

SHRINK = 4.0
"""Samples at which a level weighs as much as the level above it."""

STANDS = 8
"""Samples of a place from which on its P90 is never below a value that is its median too: a share
of what is usual elsewhere would put it below a length that never changes."""

NEGLIGIBLE = 0.001
"""Levels that weigh less all together are not looked at."""

DECIMALS = 9
"""Of a forecast: what is beyond them comes of adding shares."""

MAX_VISIT = 4
"""Later visits of a node are taken together, if nothing else is said."""


class ShrunkQuantiles:
    """Predicts a quantity by quantiles on nested levels of a `Query`.

    `levels` and `most_visits` are those of `Places`. `prior` holds the (p50, p90) believed before
    anything was seen, `priors` those of kinds.
    """

    def __init__(
        self,
        *,
        levels: tuple[Level, ...],
        prior: tuple[float, float],
        priors: Mapping[str, tuple[float, float]] | None = None,
        most_visits: int = MAX_VISIT,
    ) -> None:
        self._priors = priors or {}
        self._prior = prior
        self._places = Places(levels, QuantileWindow, most_visits=most_visits)

    def estimate(self, query: Query, *, prior: tuple[float, float] | None = None) -> Estimate:
        """The prediction; learns nothing. 0 <= p50 <= p90. `prior` stands for the usual one."""
        p50 = p90 = settled = 0.0
        samples, left = 0, 1.0
        # from the most specific level up: most need not look far
        for window in reversed(self._places.of(query)):
            size = len(window)
            if size:
                median, high = window.pair()
                samples = samples or window.count
                if not settled and size >= STANDS and high == median:
                    settled = high
                beyond = left * SHRINK / (size + SHRINK)
                if beyond < NEGLIGIBLE:
                    beyond = 0.0
                p50 += (left - beyond) * median
                p90 += (left - beyond) * high
                left = beyond
                if not left:
                    break
        else:
            if prior is None:
                prior = self._prior
                if self._priors:
                    prior = self._priors.get(kind_of(query.node), prior)
            p50 += left * prior[0]
            p90 += left * prior[1]
        # where all were alike the forecast is just that: sums of shares come out a little below
        p50, p90 = round(p50, DECIMALS), round(max(p90, settled), DECIMALS)
        return Estimate(p50=p50, p90=p90 if p90 > p50 else p50, samples=samples)

    def left(self, query: Query, passed: float) -> Estimate:
        """What is still to come when `passed` has come and there is no end yet; learns nothing.

        By the values that were larger, mixed like those of `estimate`. Of what has gone on for
        longer than anything known, as much again (P50) and nine times as much (P90): so goes a
        Pareto tail of index 1.
        """
        if passed <= 0.0:
            return self.estimate(query)
        p50 = p90 = 0.0
        samples, share = 0, 1.0
        for window in reversed(self._places.of(query)):
            if larger := window.left(passed):
                size, last = len(larger), len(larger) - 1
                samples = samples or size
                beyond = share * SHRINK / (size + SHRINK)
                p50 += (share - beyond) * at_place(larger, 0.5 * last)
                p90 += (share - beyond) * at_place(larger, 0.9 * last)
                share = beyond
        p50 += share * passed
        p90 += share * 9.0 * passed
        return Estimate(p50=p50, p90=max(p90, p50), samples=samples)

    def learn(self, query: Query, value: float) -> None:
        """What it really was."""
        for window in self._places.of(query, learning=True):
            window.learn(value)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "windows": [
                [list(key), *window.saved()] for key, window in self._places.items() if len(window)
            ]
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        self._places.load(
            (tuple(key), QuantileWindow.loaded(*saved)) for key, *saved in snapshot["windows"]
        )


def output_length(*, reads_names: bool = True) -> ShrunkQuantiles:
    """Output tokens of a call, per (graph, node, model), then visit.

    The model alone comes first: what it writes elsewhere, at nodes whose names are of the same
    kind above all, is the best guess for a new node. Without `reads_names` names say nothing.
    """
    return ShrunkQuantiles(
        levels=(
            (),
            ("model",),
            *((("model", "kind"),) if reads_names else ()),
            ("graph", "node"),
            ("graph", "node", "model"),
            ("graph", "node", "model", "visit"),
        ),
        prior=(200.0, 800.0),
        priors=PRIORS if reads_names else None,
    )


def rest_of_run(prior: tuple[float, float]) -> ShrunkQuantiles:
    """What is left of a run from the start of a node, per (graph, node, visit): the plainest way.

    The conditional median over history given the state is Maestro's T_future
    (arXiv 2606.12950), here with visits and including the node itself. `horizon` does better.
    """
    return ShrunkQuantiles(
        levels=((), ("graph",), ("graph", "node"), ("graph", "node", "visit")),
        prior=prior,
    )


def return_time() -> ShrunkQuantiles:
    """Seconds until a run that waits for a tool or a person comes back, per (graph, tool)."""
    return ShrunkQuantiles(levels=((), ("graph",), ("graph", "node")), prior=(2.0, 30.0))


def prefix_share() -> ShrunkQuantiles:
    """Share of a prompt found in the cache when a call follows its run to the same endpoint."""
    return ShrunkQuantiles(levels=((), ("graph", "node")), prior=(0.2, 0.8))

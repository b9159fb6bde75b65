"""Confidence: base rates per (graph, node, model), and what failures teach.

The chance that an answer suffices is a Beta mean: the model's prior quality,
moved by judged answers. Answers are judged by several sources; the most
telling one that has ever seen a failure counts. After failures in the same
run the chance is scaled by kappa, learned as observed over predicted
successes with prior weight, since a small prior plus noise ends in "repeats
never work" and is never unlearned.
"""

from typing import Any

from headway.core.protocols import Query

SOURCES = ("feedback", "loop", "node")
"""Most telling first: somebody said so; the graph went round again; the node failed."""

PRIOR_QUALITY = 0.7
PRIOR_WEIGHT = 6.0
KAPPA_WEIGHT = 10.0
KAPPA_PRIOR = {"repeat": 0.6, "other": 0.9}
CHANCE_RANGE = (0.02, 0.98)


def _after(model: str, failed: tuple[str, ...]) -> str:
    """What the failures so far mean for `model`: it failed itself, another did, or none."""
    if not failed:
        return ""
    return "repeat" if model in failed else "other"


class BaseRates:
    """Implements `Confidence` with counts. `quality` is the user's prior per model."""

    def __init__(self, quality: dict[str, float]) -> None:
        self._quality = dict(quality)
        self._counts: dict[tuple[str, str, str, str], list[float]] = {}
        self._failures: dict[tuple[str, str, str], float] = {}
        self._kappas: dict[tuple[str, str], list[float]] = {}

    def _telling(self, query: Query) -> str:
        """The source that counts at this place; empty if none has seen a failure yet."""
        for source in SOURCES:
            if self._failures.get((source, query.graph, query.node), 0.0) > 0:
                return source
        return ""

    def _rate(self, query: Query) -> float:
        prior = self._quality.get(query.model, PRIOR_QUALITY)
        source = self._telling(query)
        good, bad = self._counts.get((source, query.graph, query.node, query.model), (0, 0))
        return (PRIOR_WEIGHT * prior + good) / (PRIOR_WEIGHT + good + bad)

    def _kappa(self, model: str, after: str) -> float:
        good, expected = self._kappas.get((model, after), (0.0, 0.0))
        prior = KAPPA_PRIOR[after]
        return (KAPPA_WEIGHT * prior + good) / (KAPPA_WEIGHT + expected)

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """Probability in (0, 1), given the models that have failed at this so far in the run."""
        rate = self._rate(query)
        after = _after(query.model, failed)
        if after and not explore:
            rate *= self._kappa(query.model, after)
        low, high = CHANCE_RANGE
        return min(max(rate, low), high)

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged. Raises `ValueError` for a source that is not known."""
        if source not in SOURCES:
            raise ValueError(f"no source {source!r} of judgements; known: {', '.join(SOURCES)}")
        expected = self._rate(query)
        counts = self._counts.setdefault((source, query.graph, query.node, query.model), [0.0, 0.0])
        counts[0 if ok else 1] += 1.0
        if not ok:
            place = (source, query.graph, query.node)
            self._failures[place] = self._failures.get(place, 0.0) + 1.0
        after = _after(query.model, failed)
        if after and self.counts(query, source):
            kappa = self._kappas.setdefault((query.model, after), [0.0, 0.0])
            kappa[0] += ok
            kappa[1] += expected

    def counts(self, query: Query, source: str) -> bool:
        """Whether this source's word is the one that counts at the place.

        An answer is judged by several sources, but is one observation.
        """
        telling = self._telling(query)
        return source == telling or (not telling and source != "node")

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "counts": [[list(key), list(pair)] for key, pair in sorted(self._counts.items())],
            "kappas": [[list(key), list(pair)] for key, pair in sorted(self._kappas.items())],
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        counts = {tuple(key): [float(v) for v in pair] for key, pair in snapshot["counts"]}
        self._kappas = {tuple(key): [float(v) for v in pair] for key, pair in snapshot["kappas"]}
        self._counts = counts
        self._failures = {}
        for (source, graph, node, _), (_, bad) in counts.items():
            if bad:
                place = (source, graph, node)
                self._failures[place] = self._failures.get(place, 0.0) + bad

"""`NodeRidge`: online ridge regression for each node of a graph, shrunk to that of all nodes.

Pure Python and deterministic. What is left over (the residuals of forecasts made before the
truth was known) is kept per node, and its quantiles make P50 and P90 of the forecast: split
conformal prediction (Vovk et al. 2005; Lei et al., JASA 2018) over the most recent calls.
"""

from typing import Any

from headway.predict.window import QuantileWindow

PULL = 20.0
"""Samples at which a node's own weights count as much as those of all nodes."""
RIDGE = 3.0
HUBER = 1.5
"""Residuals beyond this (in units of the target, here nats) pull no harder than at it."""
LEAST_SAMPLES = 8
MAX_PLACES = 2_000
"""Nodes kept: some 460 numbers each, and what they left over."""


class _Place:
    """The normal equations of one node (or of all), its weights, and what they left over."""

    __slots__ = ("count", "gram", "moment", "residuals", "stale", "weights")

    def __init__(self, width: int) -> None:
        self.gram = [[0.0] * (row + 1) for row in range(width)]  # symmetric: one half
        self.moment = [0.0] * width
        self.weights = [0.0] * width
        self.count = 0.0
        self.stale = 0
        self.residuals = QuantileWindow()

    def told(self) -> list[int]:
        """Places of the features that were not always zero."""
        return [at for at, line in enumerate(self.gram) if line[-1] > 0.0]

    def add(self, signs: list[tuple[int, float]], target: float, weight: float) -> None:
        """One more sample; `signs` are the features that are not zero, by place."""
        for at, (row, value) in enumerate(signs):
            scaled = weight * value
            self.moment[row] += scaled * target
            line = self.gram[row]
            for column, other in signs[: at + 1]:
                line[column] += scaled * other
        self.count += weight
        self.stale += 1


class NodeRidge:
    """Predicts a number from `width` features, the first of which should be 1."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._all = _Place(width)
        self._places: dict[tuple[str, str], _Place] = {}

    def predict(self, node: tuple[str, str], features: list[float]) -> tuple[float, float] | None:
        """Median and P90; None before anything was seen."""
        place = self._places.get(node)
        left = place if place is not None and len(place.residuals) >= LEAST_SAMPLES else self._all
        if len(left.residuals) < LEAST_SAMPLES:
            return None
        mean = self._mean(place, features)
        median, high = left.residuals.pair()
        return mean + median, mean + high

    def learn(self, node: tuple[str, str], features: list[float], target: float) -> None:
        """What it really was."""
        place = self._places.get(node)
        if place is None:
            if len(self._places) >= MAX_PLACES:
                for old in list(self._places)[: MAX_PLACES // 2]:
                    del self._places[old]
            place = self._places[node] = _Place(self._width)
        residual = target - self._mean(place, features)
        weight = 1.0 if abs(residual) <= HUBER else HUBER / abs(residual)
        signs = [(at, value) for at, value in enumerate(features) if value]
        for one in (place, self._all):
            one.residuals.learn(residual)
            one.add(signs, target, weight)
        if self._all.stale * 8 > self._all.count or self._all.stale > 500:
            self._all.weights = self._solved(self._all, None)
        known = place.count >= LEAST_SAMPLES  # before that all nodes' weights stand in
        if known and (place.stale * 12 > place.count or place.stale > 200):
            place.weights = self._solved(place, self._all)

    def _mean(self, place: _Place | None, features: list[float]) -> float:
        known = place if place is not None and place.count >= LEAST_SAMPLES else self._all
        return sum([weight * value for weight, value in zip(known.weights, features, strict=True)])

    def _solved(self, place: _Place, pulls: _Place | None) -> list[float]:
        """The weights that explain a place best, pulled towards those of `pulls`."""
        place.stale = 0
        seen = place if pulls is None else pulls  # by all nodes: what one has seen is among it
        # a feature that nobody ever told has no weight, and costs nothing
        told = seen.told()
        gram = [
            [place.gram[row][column] for column in told[: at + 1]] for at, row in enumerate(told)
        ]
        moment = [place.moment[row] for row in told]
        if pulls is not None:
            _pull(gram, moment, pulls, told)
        for line in gram:
            line[-1] += RIDGE
        weights = [0.0] * self._width
        for row, weight in zip(told, _solve(gram, moment), strict=True):
            weights[row] = weight
        return weights

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "width": self._width,
            "all": _saved(self._all),
            "places": [[*node, _saved(place)] for node, place in self._places.items()],
        }

    def restore(self, snapshot: dict[str, Any]) -> bool:
        """Take a snapshot back; whether it was. Raises `KeyError` or `TypeError` if it is none.

        One of another width was learned from other features, and is left.
        """
        if snapshot["width"] != self._width:
            return False
        self._all = self._loaded(snapshot["all"])
        self._places = {
            (graph, node): self._loaded(saved) for graph, node, saved in snapshot["places"]
        }
        return True

    def _loaded(self, saved: dict[str, Any]) -> _Place:
        place = _Place(self._width)
        for row, moment, *line in saved["told"]:
            place.moment[row] = float(moment)
            for (column, *_), value in zip(saved["told"], line, strict=False):
                place.gram[row][column] = float(value)
        for at, weight in saved["weights"]:
            place.weights[at] = float(weight)
        place.count, place.stale = float(saved["count"]), int(saved["stale"])
        place.residuals = QuantileWindow.loaded(*saved["residuals"])
        return place


def _pull(gram: list[list[float]], moment: list[float], pulls: _Place, told: list[int]) -> None:
    """Add a share of what `pulls` has seen, as if it had all been as its weights say."""
    share = PULL / pulls.count
    weights = [pulls.weights[row] for row in told]
    for at, row in enumerate(told):
        line, other = gram[at], pulls.gram[row]
        moment[at] += RIDGE * weights[at]
        for to, column in enumerate(told[: at + 1]):
            scaled = share * other[column]
            line[to] += scaled
            moment[at] += scaled * weights[to]
            if to < at:
                moment[to] += scaled * weights[at]


def _saved(place: _Place) -> dict[str, Any]:
    told = place.told()
    return {
        "told": [
            [row, place.moment[row], *(place.gram[row][column] for column in told[: at + 1])]
            for at, row in enumerate(told)
        ],
        "weights": [[at, weight] for at, weight in enumerate(place.weights) if weight],
        "count": place.count,
        "stale": place.stale,
        "residuals": place.residuals.saved(),
    }


def _solve(gram: list[list[float]], moment: list[float]) -> list[float]:
    """``gram @ x = moment`` for a symmetric positive definite matrix (its half), by Cholesky."""
    size = len(moment)
    lower: list[list[float]] = []
    half: list[float] = []
    for row in range(size):
        line = gram[row][: row + 1]
        for column in range(row):
            other = lower[column]
            known = sum([a * b for a, b in zip(line[:column], other[:column], strict=True)])
            line[column] = (line[column] - known) / other[column]
        left = line[row] - sum([value * value for value in line[:row]])
        line[row] = max(left, 1e-9) ** 0.5
        lower.append(line)
        before = sum([a * b for a, b in zip(line[:row], half, strict=True)])
        half.append((moment[row] - before) / line[row])
    found = [0.0] * size
    for row in range(size - 1, -1, -1):
        after = sum([lower[below][row] * found[below] for below in range(row + 1, size)])
        found[row] = (half[row] - after) / lower[row][row]
    return found

"""Logistic regression with two or three unknowns, pulled to what is believed of them."""

import math
from collections.abc import Iterable, Sequence

Place = tuple[str, ...]
"""Where something is believed: graph, node, model, and who failed before."""

Row = tuple[tuple[float, ...], float, bool]
"""What goes in, the logit that is believed without it, and what came."""

BIAS_PULL = 10.0
"""Of the last unknown, whose input is 1: it follows a rate that has moved."""


MAX_PLACES = 500


def remember(offsets: dict[Place, float], place: Place, offset: float) -> None:
    """Keep what is believed at a place; of too many places the half that was met first goes."""
    if place not in offsets and len(offsets) >= MAX_PLACES:
        for old in list(offsets)[: MAX_PLACES // 2]:
            del offsets[old]
    offsets[place] = offset


def sigmoid(logit: float) -> float:
    """The probability of a logit; of an absurd one, all but 0 or 1."""
    return 1.0 / (1.0 + math.exp(-min(max(logit, -30.0), 30.0)))


def logit(chance: float) -> float:
    """Of a probability in (0, 1)."""
    return math.log(chance / (1.0 - chance))


def weighed(unknowns: Sequence[float], inputs: Sequence[float]) -> float:
    """The sum of the inputs, each by its slope."""
    return sum([slope * value for slope, value in zip(unknowns, inputs, strict=True)])


def fitted(
    rows: Iterable[Row],
    *,
    prior: Sequence[float],
    start: Sequence[float],
    pull: float,
    steps: int,
) -> list[float]:
    """Slopes for the inputs of `rows` by so many steps of Newton's method from `start`.

    `pull` is the ridge towards `prior`: as much as that many rows of inputs about 2 in size.
    """
    size = len(prior)
    pulls = [pull] * (size - 1) + [BIAS_PULL]
    known = list(rows)
    found = list(start)
    for _ in range(steps):
        slope = [pulls[one] * (found[one] - prior[one]) for one in range(size)]
        bend = [[0.0] * size for _ in range(size)]
        for one in range(size):
            bend[one][one] = pulls[one]
        for inputs, offset, ok in known:
            chance = sigmoid(offset + weighed(found, inputs))
            off, spread = chance - ok, max(chance * (1.0 - chance), 1e-4)
            for one in range(size):
                slope[one] += off * inputs[one]
                bent, line = spread * inputs[one], bend[one]
                for other in range(size):
                    line[other] += bent * inputs[other]
        step = _solved(bend, slope)
        found = [value - moved for value, moved in zip(found, step, strict=True)]
        if max(map(abs, step)) < 1e-4:
            break
    return found


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """``matrix @ x = right`` for a positive definite one, by Gauss."""
    size = len(right)
    rows = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for pivot in range(size):
        for row in range(pivot + 1, size):
            share = rows[row][pivot] / rows[pivot][pivot]
            rows[row] = [
                value - share * above for value, above in zip(rows[row], rows[pivot], strict=True)
            ]
    found = [0.0] * size
    for row in range(size - 1, -1, -1):
        after = sum(rows[row][below] * found[below] for below in range(row + 1, size))
        found[row] = (rows[row][size] - after) / rows[row][row]
    return found

"""The usual router to compare with: TF-IDF of words and pairs, and a linear model of it.

On the hashed n-grams of `headway.core.prompts`, so that no library is needed: logistic for
right or wrong, least squares for the logarithm of lengths. Fitted in `EPOCHS` passes (AdaGrad).
"""

import math
from array import array
from collections.abc import Sequence
from random import Random

from headway.core.prompts import GRAMS, Sample
from headway.predict.slopes import logit, sigmoid

EPOCHS = 4
RATE = 0.3
RIDGE = 1e-4

Bag = tuple[list[int], list[float]]
"""Places and weights of one text's n-grams."""


class TfIdf:
    """Weighs n-grams by how few of the train half's texts hold them."""

    def __init__(self, texts: Sequence[tuple[int, ...]]) -> None:
        held = [0] * GRAMS
        for told in texts:
            for place in Sample(told).at:
                if place < GRAMS:
                    held[place] += 1
        self._rarity = [math.log((1 + len(texts)) / (1 + count)) + 1.0 for count in held]

    def bag(self, told: tuple[int, ...]) -> Bag:
        """The text's weights, of unit length."""
        sample, rarity = Sample(told), self._rarity
        pairs = [
            (place, value * rarity[place])
            for place, value in zip(sample.at, sample.value, strict=True)
            if place < GRAMS
        ]
        size = math.sqrt(sum(value * value for _, value in pairs)) or 1.0
        return [place for place, _ in pairs], [value / size for _, value in pairs]


class Linear:
    """A linear model of bags around the mean of what it is fitted on."""

    def __init__(self, bags: Sequence[Bag], values: Sequence[float], *, is_chance: bool) -> None:
        self._weights = array("d", bytes(8 * GRAMS))
        self._is_chance = is_chance
        mean = sum(values) / max(len(values), 1)
        self._base = logit(min(max(mean, 0.01), 0.99)) if is_chance else mean
        self._fit(bags, values)

    def predict(self, bag: Bag) -> float:
        """The chance, or the value."""
        score = self._score(bag)
        return sigmoid(score) if self._is_chance else score

    def _score(self, bag: Bag) -> float:
        weights = self._weights
        return self._base + sum(
            [weights[at] * value for at, value in zip(bag[0], bag[1], strict=True)]
        )

    def _fit(self, bags: Sequence[Bag], values: Sequence[float]) -> None:
        weights, squares = self._weights, array("d", [1.0]) * GRAMS
        order = list(range(len(bags)))
        rng = Random(0)
        for _ in range(EPOCHS):
            rng.shuffle(order)
            for one in order:
                off = self.predict(bags[one]) - values[one]
                for at, value in zip(*bags[one], strict=True):
                    gradient = off * value + RIDGE * weights[at]
                    squares[at] += gradient * gradient
                    weights[at] -= RATE * gradient / math.sqrt(squares[at])

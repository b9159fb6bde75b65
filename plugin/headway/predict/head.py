"""`Head`: how a prompt's text moves the chance that one model's answer is right.

What. Online logistic regression (AdaGrad, small ridge) on hashed n-grams, around the logit of what
is believed without the text. Every judged text is learned from as it comes and again when it has
reached the ages `AGAIN`: one pass alone is noise below some hundred labels, and fitting anew would
hold the scheduler up for seconds. So all texts count about equally; drawn at random, the first
ones would count several times as much as the last. Forecasts are made by weights averaged over the
last part of the way (Polyak and Juditsky, 1992): what all prompts of a node share is a direction
along which single steps swing to and fro, by up to fifteen points of probability in our own study.
Calibration is a slope and an intercept, fitted on the forecasts that were made before the truth
was known, pulled to `PRIOR`, and never sharper than what was learned.
Source: ours (how well: docs/prediction.md); slopes on forecasts of texts not learned from did no
worse than Platt scaling or isotonic steps in our own study.
"""

import math
from array import array
from collections import deque
from typing import Any
from zlib import crc32

from headway.core.prompts import WIDTH, Sample
from headway.predict.coverage import Coverage
from headway.predict.slopes import Place, fitted, remember, sigmoid

KEPT = 1024
AGAIN = (0.1, 0.3, 0.6)
"""Ages at which a text is learned from again, as shares of those that are kept."""
RATE, RIDGE = 0.4, 1e-4
FIRST_STEP = 30
"""Judged texts that are only kept at first: the base rate to learn around is a guess by then."""
AVERAGED_EVERY = 8
AVERAGED_SHARE, MOST_AVERAGED = 0.15, 16
"""The average reaches back over that share of the way, at most so many times `AVERAGED_EVERY`."""
FIRST = 100
"""Judged texts before anything is said."""
GROWTH = 1.25
"""What words are known is settled anew when the texts have grown so much."""
WINDOW = 256
"""Forecasts that the slope is fitted on, every `REFITTED` new ones."""
REFITTED = 16
PRIOR = (0.9, 0.0)
PULL = 10.0
"""Forecasts in the window are of a head that knew less: they ask for less than it deserves now."""
STEPS = 3


class Head:
    """One model's. Memory: some 2 MB of kept texts, 0.1 MB of weights."""

    def __init__(self) -> None:
        self._weights = array("f", bytes(4 * WIDTH))
        self._squares = array("f", [1.0]) * WIDTH
        self._steady = array("f", bytes(4 * WIDTH))
        self._kept: list[tuple[Sample, Place, bool]] = []
        self._told: deque[tuple[float, Place, bool]] = deque(maxlen=WINDOW)
        self._offsets: dict[Place, float] = {}
        self._slopes = list(PRIOR)
        self._coverage = Coverage()
        self._count = 0
        self._settled = 0

    @property
    def ready(self) -> bool:
        """Whether enough was seen to say anything."""
        return self._settled > 0

    def shift(self, sample: Sample) -> float:
        """What the text adds to the logit of what is believed without it, calibrated."""
        slope, bias = self._slopes
        return slope * _dot(self._steady, sample) + bias

    def trust(self, sample: Sample) -> float:
        """From 0 (a foreign text, or nothing is known) to 1."""
        return self._coverage.trust(sample.words) if self.ready else 0.0

    def learn(self, sample: Sample, place: Place, offset: float, ok: bool) -> None:
        """How an answer to this text was judged; `offset` is the logit believed without it.

        Older answers at the place are learned from around its newest offset too: what was
        believed before anything was known there would be learned as the texts' doing.
        """
        remember(self._offsets, place, offset)
        self._told.append((_dot(self._steady, sample), place, ok))
        if len(self._kept) < KEPT:
            self._kept.append((sample, place, ok))
        else:
            self._kept[self._count % KEPT] = (sample, place, ok)
        self._count += 1
        if self._count > FIRST_STEP:
            self._follow(sample, offset, ok)
        if self._count >= FIRST and self._count >= self._settled * GROWTH:
            self._settle()
        if self._count % REFITTED == 0:
            rows = [
                ((score, 1.0), self._offsets.get(where, offset), was_ok)
                for score, where, was_ok in self._told
            ]
            slope, bias = fitted(rows, prior=PRIOR, start=self._slopes, pull=PULL, steps=STEPS)
            self._slopes = [min(max(slope, 0.0), 1.0), bias]

    def _follow(self, sample: Sample, offset: float, ok: bool) -> None:
        """Steps for this text and for some older ones, and the average of where they lead."""
        self._step(sample, offset, ok)
        for age in AGAIN:
            one = self._count - 1 - int(age * len(self._kept))
            seen, where, was_ok = self._kept[one % len(self._kept)]
            self._step(seen, self._offsets.get(where, offset), was_ok)
        if self._count % AVERAGED_EVERY == 0:
            times = AVERAGED_SHARE * (self._count - FIRST_STEP) / AVERAGED_EVERY
            part = 1.0 / min(1.0 + times, MOST_AVERAGED)
            both = zip(self._steady, self._weights, strict=True)
            self._steady = array("f", [old + part * (new - old) for old, new in both])

    def _step(self, sample: Sample, offset: float, ok: bool) -> None:
        """One step of AdaGrad (Duchi et al., JMLR 2011)."""
        weights, squares = self._weights, self._squares
        off = sigmoid(offset + _dot(weights, sample)) - ok
        for at, value in zip(sample.at, sample.value, strict=True):
            gradient = off * value + RIDGE * weights[at]
            squares[at] += gradient * gradient
            weights[at] -= RATE * gradient / math.sqrt(squares[at])

    def _settle(self) -> None:
        """Know the kept texts' words, in an order that has nothing to do with their arrival."""
        order = sorted(range(len(self._kept)), key=lambda one: (crc32(b"%d" % one), one))
        self._coverage.settle([self._kept[one][0].words for one in order])
        self._settled = self._count

    # -- what was learned ------------------------------------------------------------------------

    def saved(self) -> dict[str, Any]:
        """All of it in plain types."""
        return {
            "weights": self._weights.tobytes(),
            "squares": self._squares.tobytes(),
            "steady": self._steady.tobytes(),
            "kept": [[*sample.saved(), list(place), ok] for sample, place, ok in self._kept],
            "told": [[score, list(place), ok] for score, place, ok in self._told],
            "offsets": [[list(place), offset] for place, offset in self._offsets.items()],
            "slopes": list(self._slopes),
            "coverage": self._coverage.saved(),
            "count": self._count,
            "settled": self._settled,
        }

    @classmethod
    def loaded(cls, saved: dict[str, Any]) -> "Head":
        """What was `saved`. Raises `KeyError`, `TypeError` or `ValueError` if it is none."""
        head = cls()
        arrays = {"weights": head._weights, "squares": head._squares, "steady": head._steady}
        for name, into in arrays.items():
            values = array("f")
            values.frombytes(saved[name])
            if len(values) != WIDTH or not all(map(math.isfinite, values)):
                raise ValueError("no weights of these features")
            into[:] = values
        for *parts, place, ok in saved["kept"]:
            head._kept.append((Sample.loaded(parts), tuple(place), bool(ok)))
        for score, place, ok in saved["told"]:
            head._told.append((float(score), tuple(place), bool(ok)))
        head._offsets = {tuple(place): float(offset) for place, offset in saved["offsets"]}
        slope, bias = saved["slopes"]
        head._slopes = [float(slope), float(bias)]
        head._coverage = Coverage.loaded(saved["coverage"])
        head._count, head._settled = int(saved["count"]), int(saved["settled"])
        return head


def _dot(weights: "array[float]", sample: Sample) -> float:
    return sum([weights[at] * value for at, value in zip(sample.at, sample.value, strict=True)])

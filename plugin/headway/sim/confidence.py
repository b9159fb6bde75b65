"""Confidence sources of the laboratory: named per suite, shared by all policies of a cell.

``base-rate``       counts only, as the daemon does without a router;
``learned``         base rates, and heads that learn in the cell from the questions' texts;
``noisy(auc=0.7)``  a calibrated score that tells right from wrong with this AUC;
``oracle``          knows what the model's next answer will be.

The last two stand for routers that are (or could never be) built: they look at
the truth by way of the run's id and know nothing of runs without a question,
for which they count as ``base-rate`` does.
"""

import math
import re
from statistics import NormalDist
from typing import Any

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.prompts import features
from headway.core.protocols import Confidence, Query
from headway.predict.confidence import CHANCE_RANGE, BaseRates
from headway.predict.text_confidence import TextConfidence
from headway.sim.luck import Luck, unit_draw

DEFAULT_AUC = 0.7
MAX_TEXTS = 2_000
_SOURCES: dict[str, tuple[str, ...]] = {
    "base-rate": (),
    "learned": (),
    "noisy": ("auc",),
    "oracle": (),
}
_SPEC = re.compile(r"\s*([^\s()]+)\s*(?:\(([^()]*)\))?\s*")
_NORMAL = NormalDist()


class ConfidenceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A source as a suite names it. `auc` counts for ``noisy`` only."""

    name: str
    auc: float = DEFAULT_AUC

    def __str__(self) -> str:
        return f"noisy(auc={self.auc:g})" if self.name == "noisy" else self.name


def parse_confidence(text: str) -> ConfidenceSpec:
    """The source written as ``name`` or ``name(key=value)``. Raises `ConfigError` if none is."""
    found = _SPEC.fullmatch(text)
    if found is None:
        raise ConfigError(f"confidence {text!r}: write it as `oracle` or `noisy(auc=0.7)`")
    name, inside = found[1], found[2]
    if name not in _SOURCES:
        raise ConfigError(f"confidence {text!r}: no source {name!r}{nearest(name, _SOURCES)}")
    values: dict[str, float] = {}
    for part in (inside or "").split(",") if (inside or "").strip() else ():
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in _SOURCES[name]:
            hint = nearest(key, _SOURCES[name]) or "; it takes none"
            raise ConfigError(f"confidence {text!r}: {name} has no parameter {key!r}{hint}")
        if key in values:
            raise ConfigError(f"confidence {text!r}: {key} is given twice")
        try:
            values[key] = float(value)
        except ValueError:
            raise ConfigError(f"confidence {text!r}: {key} is no number: {value!r}") from None
    spec = ConfidenceSpec(name=name, **values)
    if not 0.5 <= spec.auc < 1.0:
        raise ConfigError(
            f"confidence {text!r}: auc is at least 0.5 (knows nothing) and less than 1; "
            "for certainty there is `oracle`"
        )
    return spec


def make_confidence(spec: ConfidenceSpec, *, quality: dict[str, float], luck: Luck) -> Confidence:
    """A fresh source. `quality` is the user's prior per model, `luck` the cell's truth and seed."""
    if spec.name == "noisy":
        return NoisyScores(quality, luck=luck, auc=spec.auc)
    if spec.name == "oracle":
        return Oracle(quality, luck=luck)
    if spec.name == "learned":
        return Learned(quality, luck=luck)
    return BaseRates(quality)


def _clipped(chance: float) -> float:
    low, high = CHANCE_RANGE
    return min(max(chance, low), high)


class NoisyScores(BaseRates):
    """A router of known quality: the true label seen through Gaussian noise (binormal model).

    The score of (run, model) is s = d*y + e with y the first answer's outcome, e standard
    normal and d = sqrt(2) * the normal quantile of `auc`, so that a right answer outscores a
    wrong one with probability `auc` within a kind. Its chance is Bayes' rule on the base
    rate of (kind, model), hence calibrated: logit p = logit base + d*s - d*d/2. What failures
    teach is learned as `BaseRates` does, observed over predicted by this score.
    """

    def __init__(self, quality: dict[str, float], *, luck: Luck, auc: float) -> None:
        super().__init__(quality)
        self._luck = luck
        self._shift = math.sqrt(2.0) * _NORMAL.inv_cdf(auc)
        self._scores: dict[tuple[str, str], float] = {}

    def score(self, run: str, model: str) -> float:
        """The chance of the model's first answer. Raises `ConfigError` if nobody labelled it."""
        luck, shift = self._luck, self._shift
        ok = luck.label(run, model).ok
        base = _clipped(luck.kinds.base_rate(luck.question(run).kind, model))
        noise = _NORMAL.inv_cdf(unit_draw(luck.seed, "score", run, model))
        logit = math.log(base / (1.0 - base)) + shift * (shift * ok + noise) - shift * shift / 2.0
        return 1.0 / (1.0 + math.exp(-logit))

    def _rate(self, query: Query) -> float:
        if not _is_labelled(self._luck, query):
            return super()._rate(query)
        key = (query.run, query.model)
        found = self._scores.get(key)  # asked at every decision, and always the same
        if found is None:
            found = self._scores[key] = self.score(*key)
        return found


class Learned:
    """`TextConfidence`, as a daemon would have it whose clients send what their prompts say.

    It learns from the cell's own judged answers and reads the question's text, by way of the run's
    id, and nothing else of it. A cell that draws a question twice lets it learn it by heart.
    """

    def __init__(self, quality: dict[str, float], *, luck: Luck) -> None:
        self._reader = TextConfidence(quality)
        self._luck = luck
        self._features: dict[str, tuple[int, ...]] = {}

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """Probability in (0, 1), given the models that have failed at this so far in the run."""
        return self._reader.chance(self._read(query), failed, explore=explore)

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged."""
        self._reader.learn(self._read(query), ok, source=source, failed=failed)

    def _read(self, query: Query) -> Query:
        question = self._luck.questions.get(query.run)
        if question is None or not question.text:
            return query
        known = self._features.get(question.text)  # asked at every decision, and always the same
        if known is None:
            if len(self._features) >= MAX_TEXTS:
                self._features.clear()
            known = self._features[question.text] = features(question.text)
        return msgspec.structs.replace(query, features=known)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return self._reader.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        self._reader.restore(snapshot)


class Oracle:
    """The bound for any router: the outcome of the model's next answer, all but certain."""

    def __init__(self, quality: dict[str, float], *, luck: Luck) -> None:
        self._rates = BaseRates(quality)
        self._luck = luck

    def chance(self, query: Query, failed: tuple[str, ...] = (), *, explore: bool = False) -> float:
        """Near 0 or near 1; `explore` changes nothing, there is nothing to find out."""
        if not _is_labelled(self._luck, query):
            return self._rates.chance(query, failed, explore=explore)
        answer = self._luck.answer(query.run, query.model, failed.count(query.model))
        return _clipped(float(answer.ok))

    def learn(self, query: Query, ok: bool, *, source: str, failed: tuple[str, ...] = ()) -> None:
        """How an answer was judged, for runs without a question."""
        self._rates.learn(query, ok, source=source, failed=failed)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return self._rates.snapshot()

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back."""
        self._rates.restore(snapshot)


def _is_labelled(luck: Luck, query: Query) -> bool:
    question = luck.questions.get(query.run)
    return question is not None and query.model in question.labels

"""Forecasts of right and wrong on labelled questions: ours, and the simple ones to beat.

Each learns from the train half and then tells, of every question of the test half, the chance
that the small model is right, that the large one is, and, where the small model was wrong, that the
large one is right given that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from headway.core import prompts
from headway.core.protocols import Query
from headway.predict.text_confidence import TextConfidence
from headway.sim.assess.labelled import GRAPH, NODE, KnownQuestion
from headway.sim.assess.tfidf import Linear, TfIdf

KIND_WEIGHT = 20.0
"""Questions at which a kind's own rate weighs as much as that of all."""
TIMED = 200
SMALL, LARGE = "small", "large"

Questions = Sequence[KnownQuestion]


@dataclass(slots=True, kw_only=True)
class Told:
    """Chances of the test half: `after` only for questions that the small model got wrong."""

    small: list[float]
    large: list[float]
    after: list[float]


@dataclass(slots=True, kw_only=True)
class Costs:
    """What forecasting takes: microseconds, and bytes of all that was learned."""

    learn_us: list[float] = field(default_factory=list)
    forecast_us: list[float] = field(default_factory=list)
    state_bytes: int = 0


def failures(questions: Questions) -> list[KnownQuestion]:
    """The questions that the small model got wrong."""
    return [one for one in questions if not one.small_ok]


def rate_of(questions: Questions, model: str) -> float:
    """Share of the questions that the model got right; of none, a half."""
    right = sum(one.small_ok if model == SMALL else one.large_ok for one in questions)
    return right / len(questions) if questions else 0.5


def constant(train: Questions, test: Questions) -> Told:
    """The train half's rates."""
    failed = rate_of(failures(train), LARGE)
    return Told(
        small=[rate_of(train, SMALL)] * len(test),
        large=[rate_of(train, LARGE)] * len(test),
        after=[failed] * len(failures(test)),
    )


def kind(train: Questions, test: Questions) -> Told:
    """The train half's rates by the set's own kinds, which a scheduler would have to be told."""

    def rates(taught: Questions, asked: Questions, model: str) -> list[float]:
        base = rate_of(taught, model)
        by_kind: dict[str, list[KnownQuestion]] = {}
        for one in taught:
            by_kind.setdefault(one.kind, []).append(one)
        known = {
            name: (KIND_WEIGHT * base + len(some) * rate_of(some, model))
            / (KIND_WEIGHT + len(some))
            for name, some in by_kind.items()
        }
        return [known.get(one.kind, base) for one in asked]

    return Told(
        small=rates(train, test, SMALL),
        large=rates(train, test, LARGE),
        after=rates(failures(train), failures(test), LARGE),
    )


def tfidf(train: Questions, test: Questions) -> Told:
    """Logistic regression on TF-IDF for each of the three."""
    weigher = TfIdf([one.features for one in train])

    def chances(taught: Questions, asked: Questions, model: str) -> list[float]:
        right = [float(one.small_ok if model == SMALL else one.large_ok) for one in taught]
        fitted = Linear([weigher.bag(one.features) for one in taught], right, is_chance=True)
        return [fitted.predict(weigher.bag(one.features)) for one in asked]

    return Told(
        small=chances(train, test, SMALL),
        large=chances(train, test, LARGE),
        after=chances(failures(train), failures(test), LARGE),
    )


def clairvoyant(train: Questions, test: Questions) -> Told:
    """Knows the truth: what the measures come to at best."""
    return Told(
        small=[float(one.small_ok) for one in test],
        large=[float(one.large_ok) for one in test],
        after=[float(one.large_ok) for one in failures(test)],
    )


SIMPLE: dict[str, Callable[[Questions, Questions], Told]] = {
    "constant": constant,
    "kind": kind,
    "tf-idf": tfidf,
    "clairvoyant": clairvoyant,
}


class Reader:
    """`headway.predict.text_confidence.TextConfidence`, taught as a daemon would be.

    Two of them: one is told how both models did on each question, asked directly; for chances
    after a failure another one also sees the large model asked after the small one's failures.
    """

    def __init__(self, train: Questions, *, clock: Callable[[], float]) -> None:
        self.costs = Costs()
        self.foretold: list[tuple[float, float]] = []
        """Gain of the large model over the small one, forecast before it was known, and true."""
        self._clock = clock
        self._direct, self._after = TextConfidence({}), TextConfidence({})
        for one in train:
            chances = [self._direct.chance(query_of(one, model)) for model in (SMALL, LARGE)]
            self.foretold.append((chances[1] - chances[0], float(one.large_ok - one.small_ok)))
            began = clock()
            _teach(self._direct, one)
            self.costs.learn_us.append(0.5e6 * (clock() - began))
            if not one.small_ok:
                self._after.learn(query_of(one, SMALL), False, source="feedback")
                self._after.learn(
                    query_of(one, LARGE), one.large_ok, source="feedback", failed=(SMALL,)
                )
                self._after.learn(query_of(one, LARGE), one.large_ok, source="feedback")
            else:
                _teach(self._after, one)
        self.costs.state_bytes = len(msgspec.msgpack.encode(self._direct.snapshot()))

    def believed(self, test: Questions) -> Told:
        """What a scheduler is told: the base rate where the text's word is not believed."""
        return Told(
            small=[self._direct.chance(query_of(one, SMALL)) for one in test],
            large=[self._direct.chance(query_of(one, LARGE)) for one in test],
            after=[self._after.chance(query_of(one, LARGE), (SMALL,)) for one in failures(test)],
        )

    def ungated(self, test: Questions) -> Told:
        """The text's word whether it is believed or not (still moved less for foreign texts)."""

        def reading(one: KnownQuestion, model: str, failed: tuple[str, ...]) -> float:
            source, query = (self._after if failed else self._direct), query_of(one, model)
            found = source.reading(query, failed)
            return source.chance(query, failed) if found is None else found

        return Told(
            small=[reading(one, SMALL, ()) for one in test],
            large=[reading(one, LARGE, ()) for one in test],
            after=[reading(one, LARGE, (SMALL,)) for one in failures(test)],
        )

    def time(self, test: Questions) -> None:
        """How long a forecast takes from the text on, for both models."""
        for one in test[:TIMED]:
            began = self._clock()
            told = msgspec.structs.replace(one, features=prompts.features(one.text))
            for model in (SMALL, LARGE):
                self._direct.chance(query_of(told, model))
            self.costs.forecast_us.append(1e6 * (self._clock() - began))


def query_of(question: KnownQuestion, model: str) -> Query:
    """What a scheduler asks before the question goes to a model."""
    return Query(graph=GRAPH, node=NODE, model=model, features=question.features)


def _teach(confidence: TextConfidence, one: KnownQuestion) -> None:
    confidence.learn(query_of(one, SMALL), one.small_ok, source="feedback")
    confidence.learn(query_of(one, LARGE), one.large_ok, source="feedback")

"""Luck: what happens when a model answers a question, the first time and again.

Every draw is a hash of stable names (seed, run, model, how many times before),
so all policies of a cell meet the same luck whatever they do and in whatever
order. A first answer follows the question's label. A repeat by the same model
is, with probability `rho`, a fresh draw from its calibrated chance, else the
same result again: `rho` 0, 0.5 and 1 are the worlds a, m and b of the suites.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.sim.trace import Label, Question

WORLDS = {"a": 0.0, "m": 0.5, "b": 1.0}
"""`rho` by world: labels fixed, mixed, and attempts independent given the difficulty."""


def unit_draw(*names: str | int) -> float:
    """A number in (0, 1), uniform over `names` and always the same for the same ones."""
    text = "\x1f".join(map(str, names)).encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "big")
    return ((number >> 12) + 0.5) / 2.0**52


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a model wrote: whether it is right, and how many tokens it took."""

    ok: bool
    output_tokens: int


class Kinds:
    """What is known of each (kind, model) over a set of questions: base rate and lengths."""

    def __init__(self, questions: Iterable[Question]) -> None:
        self._lengths: dict[tuple[str, str, bool], list[int]] = {}
        for question in questions:
            for model, label in question.labels.items():
                key = (question.kind, model, label.ok)
                self._lengths.setdefault(key, []).append(label.output_tokens)
        for lengths in self._lengths.values():
            lengths.sort()  # the order of the questions must not decide anything

    def lengths(self, kind: str, model: str, ok: bool) -> list[int]:
        """Output tokens of the model's right (or wrong) answers to this kind, sorted."""
        return self._lengths.get((kind, model, ok), [])

    def base_rate(self, kind: str, model: str) -> float:
        """Share of the kind's questions that the model answers right. `KeyError` if none is."""
        good, bad = len(self.lengths(kind, model, True)), len(self.lengths(kind, model, False))
        if not good + bad:
            raise KeyError((kind, model))
        return good / (good + bad)


class Luck:
    """The world's answers to `questions` (by run id) and the graph's verdicts on them.

    `rho` is the share of repeats that are fresh draws, `verifier` the probability that a
    verdict is right, both ways. `kinds` tells base rates and lengths: those of the whole trace
    where the cell's questions are only some of it (default: of the questions themselves).
    Raises `ConfigError` for a probability outside its range.
    """

    def __init__(
        self,
        questions: Mapping[str, Question],
        *,
        seed: int,
        rho: float,
        verifier: float = 1.0,
        kinds: Kinds | None = None,
    ) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ConfigError(f"rho: a probability from 0 to 1, not {rho}")
        if not 0.5 <= verifier <= 1.0:
            raise ConfigError(
                f"verifier: a probability from 0.5 (knows nothing) to 1, not {verifier}"
            )
        self.questions = questions
        self.seed = seed
        self.rho = rho
        self.verifier = verifier
        self.kinds = kinds or Kinds(questions.values())

    def question(self, run: str) -> Question:
        """The run's question. Raises `ConfigError` if the run has none."""
        found = self.questions.get(run)
        if found is None:
            raise ConfigError(f"run {run!r} has no question: nobody knows how it is answered")
        return found

    def label(self, run: str, model: str) -> Label:
        """How the model did on the run's question. Raises `ConfigError` if it was not asked."""
        labels = self.question(run).labels
        if model not in labels:
            raise ConfigError(
                f"run {run!r} has no label of model {model!r}{nearest(model, labels)}"
            )
        return labels[model]

    def answer(self, run: str, model: str, nth: int = 0) -> Answer:
        """The model's answer after it has answered this run `nth` times before."""
        label = self.label(run, model)
        for repeat in range(nth, 0, -1):
            if unit_draw(self.seed, "fresh", run, model, repeat) < self.rho:
                return self._fresh(run, model, repeat, label)
        return Answer(ok=label.ok, output_tokens=label.output_tokens)

    def _fresh(self, run: str, model: str, nth: int, label: Label) -> Answer:
        kind = self.question(run).kind
        chance = self.kinds.base_rate(kind, model) if label.chance is None else label.chance
        ok = unit_draw(self.seed, "ok", run, model, nth) < chance
        # a kind that a model always (or never) gets right has no lengths for the other outcome
        lengths = self.kinds.lengths(kind, model, ok) or [label.output_tokens]
        place = unit_draw(self.seed, "length", run, model, nth)
        return Answer(ok=ok, output_tokens=lengths[int(place * len(lengths))])

    def verdict(self, run: str, attempt: int, ok: bool) -> bool:
        """What the graph thinks of the run's answer number `attempt`, which is `ok` or not."""
        right = unit_draw(self.seed, "verdict", run, attempt) < self.verifier
        return ok if right else not ok

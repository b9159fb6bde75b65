"""The labelled sets that confidence is judged on: questions with the answers of two models."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import msgspec

from headway.core.errors import ConfigError, nearest
from headway.core.prompts import both_ends, embedded, features
from headway.encoding.encoder import Encoder
from headway.sim.loaders import load
from headway.sim.loaders.labels import LARGE, SMALL

GRAPH, NODE = "questions", "answer"
"""One node asks all questions of a set: a scheduler is not told of what kind they are."""


class KnownQuestion(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A prompt and how two models did on it. Tokens are 0 where nobody told.

    `embedding` is what an encoder made of the text, in the form of features (empty: none read it).
    """

    text: str
    features: tuple[int, ...]
    kind: str
    group: str
    small_ok: bool
    large_ok: bool
    small_tokens: int
    large_tokens: int
    embedding: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Which rows of which data set, and the two models."""

    data: str
    where: dict[str, str]
    small: str
    large: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSet:
    """The questions that both models of a pair have answered."""

    name: str
    source: str
    pair: Pair
    questions: tuple[KnownQuestion, ...]

    @property
    def has_lengths(self) -> bool:
        """Whether it is known how much both models wrote."""
        return all(one.small_tokens and one.large_tokens for one in self.questions)


def _pair(data: str, small: str, large: str, where: dict[str, str] | None = None) -> Pair:
    return Pair(data=data, where=where or {}, small=small, large=large)


QWEN, LLAMA = "Qwen2.5-{}B-Instruct", "Meta-Llama-3.1-{}B-Instruct"
PAIRS: dict[str, Pair] = {
    "zeroeval-qwen2.5-7-72": _pair("zeroeval_routing", QWEN.format(7), QWEN.format(72)),
    "zeroeval-qwen2.5-3-32": _pair("zeroeval_routing", QWEN.format(3), QWEN.format(32)),
    "zeroeval-llama3.1-8-70": _pair("zeroeval_routing", LLAMA.format(8), LLAMA.format(70)),
    "mmlupro-llama3.1-8-70": _pair("mmlupro_routing", LLAMA.format(8), LLAMA.format(70)),
    "mmlupro-qwen1.5-7-72": _pair("mmlupro_routing", "Qwen1.5-7B-Chat", "Qwen1.5-72B-Chat"),
    "routellm-gsm8k": _pair("routellm_labels", SMALL, LARGE, {"set": "gsm8k"}),
    "routellm-mmlu": _pair("routellm_labels", SMALL, LARGE, {"set": "mmlu"}),
}
"""By name: the data set, and which models."""


def read_pair(name: str, folder: Path) -> LabelledSet:
    """The set of that name. Raises `ConfigError` for one that is not known, or not there."""
    if name not in PAIRS:
        raise ConfigError(f"no labelled set {name!r}{nearest(name, PAIRS)}")
    pair = PAIRS[name]
    trace = load(pair.data, folder, where=pair.where)
    questions = []
    for run in trace.runs:
        question = run.question
        if question is None or not {pair.small, pair.large} <= question.labels.keys():
            continue
        small, large = question.labels[pair.small], question.labels[pair.large]
        questions.append(
            KnownQuestion(
                text=question.text,
                features=features(question.text),
                kind=question.kind,
                group=hashlib.sha1(question.text.strip().encode()).hexdigest(),
                small_ok=small.ok,
                large_ok=large.ok,
                small_tokens=small.output_tokens,
                large_tokens=large.output_tokens,
            )
        )
    if not questions:
        raise ConfigError(f"{name}: no question has labels of both models")
    return LabelledSet(name=name, source=trace.source, pair=pair, questions=tuple(questions))


def read_by(encoder: Encoder, known: LabelledSet) -> LabelledSet:
    """The set with an embedding for each question."""
    vectors = encoder.encode([both_ends(one.text) for one in known.questions])
    questions = tuple(
        msgspec.structs.replace(one, embedding=embedded(vector))
        for one, vector in zip(known.questions, vectors, strict=True)
    )
    return replace(known, questions=questions)


def split_questions(
    questions: Sequence[KnownQuestion], split: int
) -> tuple[list[KnownQuestion], list[KnownQuestion]]:
    """Questions to learn from, in an order that means nothing, and questions to be judged on.

    A prompt that comes twice is on one side.
    """
    rng = Random(f"confidence/{split}")
    groups = sorted({one.group for one in questions})
    rng.shuffle(groups)
    taught = frozenset(groups[: len(groups) // 2])
    train = [one for one in questions if one.group in taught]
    rng.shuffle(train)
    return train, [one for one in questions if one.group not in taught]

"""What a prompt's text says, as small whole numbers: hashed n-grams, a few shapes, hashed words.

For these the text itself goes no further than this file. Words (lower case, numbers as zeros,
symbols as themselves) and pairs of neighbours are hashed into `GRAMS` places with their counts;
`SHAPES` are what can be counted about the text; `WORDS` say which words there are, for those who
ask whether they know them. Hashed is not secret: who has a list of words can tell which of them
may be in a prompt. Order beyond pairs is lost.

Where an encoder has read the text (`headway.encoding`), its embedding is told in the same form.

Pure Python; what it takes, with the forecasts made of it, is in docs/prediction.md. Source: ours.
"""

import math
import re
from array import array
from collections.abc import Iterable, Sequence
from zlib import crc32

GRAMS = 1 << 13
"""Places of words and of pairs of neighbours."""
SHAPES = (
    "bias",
    "chars",
    "lines",
    "digits",
    "symbols",
    "upper",
    "word length",
    "foreign",
    "options",
)
DENSE_FROM = GRAMS + len(SHAPES)
MOST_DENSE = 1024
"""Of an embedding at most so many numbers are told; encoders of sentences have 384 to 1,024."""
WIDTH = DENSE_FROM + MOST_DENSE
"""Places that a head has weights for."""
WORDS_FROM = 1 << 14
WORDS = 1 << 15
"""Places of words that can be known, from `WORDS_FROM` on."""
MOST_FEATURES = 1536
"""Of a text at most so many are told, which a page of prose does not reach."""
HEAD_CHARS, TAIL_CHARS = 3000, 1000
"""A longer text is read at both ends only: a megabyte costs what a page costs."""

_LEVELS = 255
_SHAPE_RANGE = 4.0
"""Shapes are cut to within it and told in steps of 1/32."""
_SHAPE_WEIGHT = 0.3
"""Keeps the few shapes from drowning the n-grams, which have unit length all together."""
_DENSE_WEIGHT = 1.0
"""Length of an embedding beside the n-grams', which is 1."""
_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_OPTION = re.compile(r"(?m)^\(?[A-J][).]")
_COUNT_WEIGHTS = (0.0, *(1.0 + math.log(count) for count in range(1, _LEVELS + 1)))


def features(text: str) -> tuple[int, ...]:
    """The text as numbers ``place * 256 + level``; of a long one, of both its ends.

    Shapes come first, then known words, then n-grams: what is cut is the last.
    """
    text = both_ends(text)
    words = _words(text)
    counts: dict[int, int] = {}
    known: set[int] = set()
    before = ""
    for word in words:
        place = _hash(word) % GRAMS
        counts[place] = counts.get(place, 0) + 1
        if before:
            place = _hash(f"{before} {word}") % GRAMS
            counts[place] = counts.get(place, 0) + 1
        if len(word) > 1 and word[0] != "0":
            known.add(WORDS_FROM + _hash(f"known {word}") % WORDS)
        before = word
    counted = enumerate(_shapes(text, words), start=GRAMS)
    found = [place << 8 | _level(value) for place, value in counted]
    found.extend(place << 8 for place in sorted(known))
    found.extend(place << 8 | min(count, _LEVELS) for place, count in sorted(counts.items()))
    return tuple(found[:MOST_FEATURES])


def both_ends(text: str) -> str:
    """What is read of a text: of a long one its beginning and its end."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]} \x1f {text[-TAIL_CHARS:]}"


def shapes_of(told: Sequence[int]) -> tuple[int, ...]:
    """Of what `features` gave, the part that tells `SHAPES`: cheap to keep, and to look at."""
    return tuple(number for number in told[: len(SHAPES)] if GRAMS <= number >> 8 < DENSE_FROM)


def shapes(told: Sequence[int]) -> list[float]:
    """By `SHAPES` but for the bias: what can be counted about the text; zeros if nobody told."""
    found = [0.0] * (len(SHAPES) - 1)
    for number in shapes_of(told):
        if place := (number >> 8) - GRAMS:
            found[place - 1] = _shape(number & _LEVELS)
    return found


def embedded(vector: Sequence[float]) -> tuple[int, ...]:
    """An embedding in the form of `features`: each number in steps of 1/32 of their usual size.

    Of one that says nothing (no length, or none that is finite) it is empty.
    """
    vector = vector[:MOST_DENSE]
    size = math.sqrt(sum([value * value for value in vector]))
    if not 0.0 < size < math.inf:
        return ()
    usual = math.sqrt(len(vector)) / size
    return tuple(
        (DENSE_FROM + place) << 8 | _level(value * usual) for place, value in enumerate(vector)
    )


class Sample:
    """A text's features as a head uses them: `at` and `value` of its weights, `words` to know.

    Made of what `features` and `embedded` gave. Numbers that cannot be are left out, and so is
    what comes after as many as both may give.
    """

    __slots__ = ("at", "value", "words")

    def __init__(self, told: Sequence[int]) -> None:
        self.at = array("H")
        self.value = array("f")
        self.words = array("H")
        counted: list[tuple[int, float]] = []
        dense: list[tuple[int, float]] = []
        weights: list[float] = []
        for number in told[: MOST_FEATURES + MOST_DENSE]:
            place, level = number >> 8, number & _LEVELS
            if 0 <= place < GRAMS:
                self.at.append(place)
                weights.append(_COUNT_WEIGHTS[level])
            elif DENSE_FROM <= place < WIDTH:
                dense.append((place, _shape(level)))
            elif GRAMS <= place < DENSE_FROM:
                counted.append((place, _shape(level)))
            elif WORDS_FROM <= place < WORDS_FROM + WORDS:
                self.words.append(place - WORDS_FROM)
        length = math.sqrt(sum([weight * weight for weight in weights])) or 1.0
        self.value.extend([weight / length for weight in weights])
        for place, value in counted:
            self.at.append(place)
            self.value.append(value * _SHAPE_WEIGHT)
        part = _DENSE_WEIGHT / math.sqrt(len(dense) or 1)
        for place, value in dense:
            self.at.append(place)
            self.value.append(value * part)

    def saved(self) -> list[bytes]:
        """Itself in plain types."""
        return [self.at.tobytes(), self.value.tobytes(), self.words.tobytes()]

    @classmethod
    def loaded(cls, saved: Iterable[bytes]) -> "Sample":
        """The sample that was `saved`. Raises `TypeError` or `ValueError` if it is none."""
        sample = cls(())
        at, value, words = saved
        sample.at.frombytes(at)
        sample.value.frombytes(value)
        sample.words.frombytes(words)
        if len(sample.at) != len(sample.value) or any(place >= WIDTH for place in sample.at):
            raise ValueError("no sample of these features")
        return sample


def _words(text: str) -> list[str]:
    found: list[str] = _WORD.findall(text.lower())
    # a number says how long it is, up to four digits
    return ["0" * min(len(word), 4) if word[0].isdigit() else word[:20] for word in found]


def _hash(word: str) -> int:
    return crc32(word.encode("utf-8", "replace"))


def _shapes(text: str, words: list[str]) -> tuple[float, ...]:
    """By `SHAPES`: about 0 for a usual prompt, about 1 for one that stands out."""
    size = max(len(text), 1)
    letters = sum(map(str.isalpha, text))
    foreign = 0 if text.isascii() else sum(letter > "\x7f" for letter in text)
    return (
        1.0,
        (math.log(size) - 5.8) / 1.5,
        (math.log1p(text.count("\n")) - 1.5) / 1.5,
        min(10.0 * sum(map(str.isdigit, text)) / size, 3.0),
        min(5.0 * (size - letters - text.count(" ")) / size, 3.0),
        min(10.0 * sum(map(str.isupper, text)) / size, 3.0),
        (sum(map(len, words)) / max(len(words), 1) - 4.0) / 2.0,
        min(5.0 * foreign / size, 3.0),
        min(len(_OPTION.findall(text)) / 5.0, 2.0),
    )


def _level(value: float) -> int:
    return round((min(max(value, -_SHAPE_RANGE), _SHAPE_RANGE - 1 / 32) + _SHAPE_RANGE) * 32)


def _shape(level: int) -> float:
    return level / 32 - _SHAPE_RANGE

"""A tiny corpus of invented towns, generated in code, and the search over it.

Each document states one fact: an aspect of a town and its value. A research
task asks for a report on three to five aspects of one town.
"""

import random
from dataclasses import dataclass
from functools import cache

SUBJECTS = (
    "Veyra",
    "Oskold",
    "Tamrin",
    "Brelle",
    "Quarnmouth",
    "Idlewick",
    "Sorrento-on-Mere",
    "Halvik",
    "Pellworth",
    "Zanderberg",
    "Norrfall",
    "Cinderby",
)
ASPECTS = ("founding", "population", "river", "industry", "festival")
_NOUNS = {
    "river": ("Aldin", "Mossel", "Grey Arrow", "Kelpie", "Thorne", "Umber", "Lisk", "Wend"),
    "industry": ("glass", "salt", "clocks", "linen", "tin", "paper", "bells", "cider"),
    "festival": ("Lanterns", "First Snow", "Kites", "Herring", "Masks", "Bees", "Ferries", "Rye"),
}
_SAYS = {
    "founding": "{subject} was founded in the year {value}.",
    "population": "{subject} has a population of {value}.",
    "river": "{subject} lies on the river {value}.",
    "industry": "The main industry of {subject} is the making of {value}.",
    "festival": "The festival of {subject} is the Feast of {value}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One fact: `text` says that the `aspect` of `subject` is `value`."""

    id: str
    subject: str
    aspect: str
    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One research task: a report on these aspects of this subject."""

    number: int
    subject: str
    aspects: tuple[str, ...]
    difficulty: float

    @property
    def question(self) -> str:
        """What the person asked for."""
        return f"Write a report on {self.subject}: its {', '.join(self.aspects)}."


@cache
def documents() -> dict[str, Document]:
    """The corpus by document id, in a fixed order."""
    rng = random.Random(20)
    found = {}
    for subject in SUBJECTS:
        for aspect in ASPECTS:
            if aspect == "founding":
                value = str(rng.randrange(900, 1850))
            elif aspect == "population":
                value = str(rng.randrange(2, 900) * 100)
            else:
                value = rng.choice(_NOUNS[aspect])
            key = document_id(subject, aspect)
            text = _SAYS[aspect].format(subject=subject, value=value)
            found[key] = Document(id=key, subject=subject, aspect=aspect, value=value, text=text)
    return found


@cache
def topics() -> tuple[Topic, ...]:
    """All research tasks, in a fixed order: two for each town, of three to five aspects."""
    made: list[Topic] = []
    for place, subject in enumerate(SUBJECTS):
        for half in range(2):
            size = 3 + (place + half) % 3
            first = (place + 2 * half) % len(ASPECTS)
            aspects = tuple(ASPECTS[(first + step) % len(ASPECTS)] for step in range(size))
            made.append(
                Topic(
                    number=len(made),
                    subject=subject,
                    aspects=aspects,
                    difficulty=round(0.1 + 0.05 * ((7 * place + 3 * half) % 12), 2),
                )
            )
    return tuple(made)


def document_id(subject: str, aspect: str) -> str:
    """The id under which the corpus keeps that fact."""
    return f"{subject.lower()}-{aspect}"


def search(query: str, *, limit: int = 3) -> tuple[Document, ...]:
    """The documents that share most words with `query`; ties in the order of their ids."""
    asked = set(_words(query))

    def common(document: Document) -> int:
        said = {*_words(document.text), *_words(document.aspect), *_words(document.subject)}
        return len(asked & said)

    ranked = sorted(documents().values(), key=lambda each: (-common(each), each.id))
    return tuple(each for each in ranked[:limit] if common(each))


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()

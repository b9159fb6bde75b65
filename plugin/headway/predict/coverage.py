"""Whether a text is of the kind that something was learned from: how many of its words are known.

A head is confidently wrong about texts of another kind (other scripts, logs, noise: off by 0.1 to
0.5 in our own study), so its word is to count only for texts whose words it has met.
"""

from collections.abc import Sequence
from typing import Any

from headway.core.prompts import WORDS

LEAST_TEXTS = 2
"""Texts that must have held a word before it is known."""
LOW, HIGH = 0.005, 0.05
"""Quantiles of the texts' own coverage: none is trusted below, all from there."""
LEAST_RANGE = 0.01
"""Between the two, where all texts are alike."""


class Coverage:
    """Share of a text's words that are known, against what is usual of the texts learned from."""

    def __init__(self) -> None:
        self._seen = bytearray(WORDS)
        self._low = self._high = 1.0

    def settle(self, texts: Sequence[Sequence[int]]) -> None:
        """Know the words of these texts anew. They should come in an order that means nothing.

        What is usual is told by each text of the later half before its own words are known. In
        order of arrival a change of work midway would lower what counts as usual, and let
        foreign texts through.
        """
        self._seen = seen = bytearray(WORDS)
        shares = []
        for number, words in enumerate(texts):
            if 2 * number >= len(texts):
                shares.append(self._share(words))
            for place in words:
                if seen[place] < LEAST_TEXTS:
                    seen[place] += 1
        shares.sort()
        if shares:
            self._high = shares[int(len(shares) * HIGH)]
            self._low = min(shares[int(len(shares) * LOW)], self._high - LEAST_RANGE)

    def trust(self, words: Sequence[int]) -> float:
        """From 0 (foreign) to 1 (as the texts learned from)."""
        far = (self._share(words) - self._low) / max(self._high - self._low, LEAST_RANGE)
        return min(max(far, 0.0), 1.0)

    def _share(self, words: Sequence[int]) -> float:
        seen = self._seen
        known = sum([seen[place] >= LEAST_TEXTS for place in words])
        return (known + 1) / (len(words) + 2)

    def saved(self) -> list[Any]:
        """Itself in plain types."""
        return [bytes(self._seen), self._low, self._high]

    @classmethod
    def loaded(cls, saved: list[Any]) -> "Coverage":
        """The coverage that was `saved`. Raises `ValueError` for one of other words."""
        coverage = cls()
        seen, low, high = saved
        if len(seen) != WORDS:
            raise ValueError("no words of these features")
        coverage._seen = bytearray(seen)
        coverage._low, coverage._high = float(low), float(high)
        return coverage

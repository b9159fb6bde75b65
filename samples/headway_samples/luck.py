"""How the emulated models fare at the samples' tasks: right or wrong, and how long.

A thin layer over `headway.emulate.skill` that speaks in markers: the fate of
an answer depends on the task and its variant, the model, the question and the
attempt, on nothing else, so it is the same in every arm of a comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from headway.emulate.answers import ChatRequest
from headway.emulate.skill import output_tokens, succeeds, uniform
from headway_samples.marker import Marker

WRONG_IS_LONGER = 1.25
"""A model that does not see the answer writes more: wrong answers are this much longer."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Luck:
    """The fate of one request."""

    request: ChatRequest
    marker: Marker

    @property
    def task(self) -> str:
        """Names the task and its variant."""
        return f"{self.marker.sample}:{self.marker.task}:{self.marker.variant}"

    def right(self, *, difficulty: float, question: str) -> bool:
        """Whether the model gets it right. All attempts at one question share `question`."""
        return succeeds(
            task=self.task,
            difficulty=difficulty,
            model=self.request.model,
            skill=self.request.skill,
            attempt=self.marker.attempt,
            prompt=f"{question}/{self.marker.part}",
        )

    def tokens(self, *, median: float, role: str, right: bool = True) -> int:
        """How many tokens the answer takes."""
        return output_tokens(
            task=self.task,
            model=self.request.model,
            role=f"{role}/{self.marker.part}",
            median=median if right else median * WRONG_IS_LONGER,
            attempt=self.marker.attempt,
        )

    def choice(self, options: Sequence[T], *, what: str) -> T:
        """One of `options`, by the same kind of fate."""
        place = uniform("choice", what, self.task, self.request.model, self.marker.attempt)
        return options[int(place * len(options))]

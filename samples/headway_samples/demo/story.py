"""Which run's story the demo ends with: one in which a failed attempt changed the next choice."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from headway_samples.demo.measures import RunRecord
from headway_samples.pool import MODELS

TOLD_BY = "code_generation"
"""The sample whose runs are short enough to be read and fail visibly: its unit tests run."""
MOST_ATTEMPTS = 3
LOOKED_AT = 8
Explained = Callable[[int], Awaitable[str]]
"""Gives ``headway explain RUN --json`` of the run with that number."""


def candidates(records: Sequence[RunRecord]) -> list[int]:
    """Numbers of runs that failed at first and were then solved, in few attempts; latest first.

    The later the run, the more had been learned when it was decided.
    """
    found = [
        each.number
        for each in records
        if each.sample == TOLD_BY and each.solved and 1 < each.attempts <= MOST_ATTEMPTS
    ]
    return sorted(found, reverse=True)[:LOOKED_AT]


def escalates(story: dict[str, Any]) -> bool:
    """Whether the last call of the run went to a larger model than the first."""
    models = [each.get("model") for each in story.get("calls") or ()]
    known = [MODELS.index(each) for each in models if each in MODELS]
    return len(known) > 1 and known[-1] > known[0]


async def choose(records: Sequence[RunRecord], explained: Explained) -> int | None:
    """The number of the run to tell of; None if no run is instructive."""
    numbers = candidates(records)
    for number in numbers:
        try:
            story = json.loads(await explained(number))
        except ValueError:  # the daemon has forgotten it
            continue
        if escalates(story):
            return number
    return numbers[0] if numbers else None

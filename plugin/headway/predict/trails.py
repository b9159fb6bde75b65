"""What a run has shown so far, and what its next call asks for, as features of that call. Pure.

Of a run what every client tells: nodes, prompt sizes, answers' lengths. Lengths enter as
logarithms, answers as deviations from what is typical of their place, so that 0 means nothing
special, or that nobody told. Of a prompt's text (where it is sent) what can be counted about it.
"""

from collections import deque
from dataclasses import dataclass
from math import log1p, sqrt
from typing import Any

from headway.core.past import NO_PAST
from headway.core.prompts import SHAPES, shapes
from headway.core.protocols import Query

KEPT_CALLS = 48
"""Of a run: the last ones."""
DEVIATION_SHRINK = 2.0
"""Answers at which a run's own factor counts half."""
FEATURES = (
    "one",
    "visit: what is typical of it, over what is typical of the node",
    "prompt, over what is typical of the node",
    "last answer at this node, over typical",
    "mean answer at this node, over typical",
    "whether the node has answered before",
    "mean answer of the run, over typical",
    "last answer, over typical",
    "growth of the prompt since the last call",
    "prompt tokens beyond the last call's prompt and answer",
    "growth of the prompt since the last call at this node",
    "longest answer of the run",
    "step",
    "times in a row at this node",
    "tools that the last answer called",
    "whether the request limits its answer",
    "its limit",
    "whether it offers tools",
    "whether it asks for a format",
    "whether it asks for reasoning",
    *(f"text: {shape}" for shape in SHAPES[1:]),
)
USUAL_LIMIT = 6.0
"""Logarithm of a limit that says nothing special: 400 tokens."""


@dataclass(frozen=True, slots=True)
class Done:
    """One call that was answered: logarithms of tokens, `over` is log(answer / typical)."""

    step: int
    node: str
    prompt: float
    answer: float
    over: float
    tokens: int

    def saved(self) -> list[Any]:
        """In plain types."""
        return [self.step, self.node, self.prompt, self.answer, self.over, self.tokens]


Trail = deque[Done]


def new_trail() -> Trail:
    """Of a run that begins."""
    return deque(maxlen=KEPT_CALLS)


def features_of(
    trail: Trail, query: Query, *, typical_prompt: float, visit_over: float
) -> list[float]:
    """The numbers that `FEATURES` names, for a call that begins after those of the steps before it.

    Calls of the same step run beside it and tell nothing; without steps (0) all are before it.
    """
    node, step = query.node, query.step
    prompt_tokens = max(query.prompt_tokens, 0)
    prompt = log1p(prompt_tokens)
    before = [one for one in trail if one.step < step] if step else trail
    last: Done | None = None
    same_last: Done | None = None
    same_over = over = longest = 0.0
    same = count = streak = 0
    for one in before:
        count += 1
        over += one.over
        if one.answer > longest:
            longest = one.answer
        if one.node == node:
            same += 1
            same_over += one.over
            same_last = one
            streak += 1
        else:
            streak = 0
        last = one
    found = [1.0, visit_over, prompt - typical_prompt]
    if same_last is None:
        found += (0.0, 0.0, 0.0)
    else:
        found += (same_last.over, same_over / same, 1.0)
    if last is None:
        found += (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    else:
        found += (
            over / (count + DEVIATION_SHRINK),
            last.over,
            prompt - last.prompt,
            0.2 * _signed(prompt_tokens - last.tokens),
            prompt - same_last.prompt if same_last is not None else 0.0,
            longest - 6.0,
        )
    found += (0.2 * sqrt(min(count, 40)), 0.3 * min(streak, 5))
    return found + _asked(query)


def _asked(query: Query) -> list[float]:
    """What the request itself says."""
    limit, needs = max(query.max_tokens or 0, 0), query.needs
    return [
        log1p(max((query.past or NO_PAST).tool_calls, 0)),
        float(limit > 0),
        log1p(limit) - USUAL_LIMIT if limit else 0.0,
        float("tools" in needs),
        float("response_format" in needs),
        float("reasoning" in needs),
        *shapes(query.features),
    ]


def _signed(count: int) -> float:
    return log1p(count) if count >= 0 else -log1p(-count)

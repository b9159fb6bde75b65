"""A small model of skill: which model solves which task, and how long its answers are.

Everything is a hash of what it depends on, so that the same question to the
same model has the same fate in every arm of a comparison and in every process.
"""

import math
from hashlib import blake2b
from statistics import NormalDist

SHARPNESS = 8.0
"""Slope of the logistic: at 8, a model 0.25 above a task's difficulty solves it 88 times in 100."""

RHO = 0.5
"""Chance that a repeat by the same model ends as its last attempt did. Repeats of one model fail
together far more often than independent draws would (the gap between pass@k and 1-(1-p)^k in
Brown et al., "Large Language Monkeys", arXiv 2407.21787)."""

LENGTH_SIGMA = 0.6
"""Spread of log output length: P95 is about 2.7 times the median, as in public chat traces."""

LONGEST = 8
"""No answer is longer than so many medians."""

_NORMAL = NormalDist()


def uniform(*parts: str | int) -> float:
    """A number in (0, 1) that depends on the parts and on nothing else."""
    text = "\x1f".join(map(str, parts)).encode()
    number = int.from_bytes(blake2b(text, digest_size=8).digest(), "little")
    return ((number >> 11) + 0.5) / (1 << 53)


def chance(skill: float, difficulty: float) -> float:
    """Probability that a model of `skill` solves a task of `difficulty` (both about 0 to 1)."""
    return 1.0 / (1.0 + math.exp(-SHARPNESS * (skill - difficulty)))


def succeeds(
    *,
    task: str,
    difficulty: float,
    model: str,
    skill: float,
    attempt: int = 1,
    prompt: str = "",
) -> bool:
    """Whether this model's `attempt` (from 1) at the task succeeds.

    With probability `RHO` an attempt repeats the fate of the model's one
    before, else it is drawn anew; each attempt alone succeeds with `chance`.
    `prompt` tells questions of one task apart (write, repair); it is the same
    for all attempts at one question.
    """
    drawn = max(1, attempt)
    while drawn > 1 and uniform("keep", task, model, prompt, drawn) < RHO:
        drawn -= 1
    return uniform("fate", task, model, prompt, drawn) < chance(skill, difficulty)


def output_tokens(
    *,
    task: str,
    model: str,
    role: str,
    median: float,
    attempt: int = 1,
    sigma: float = LENGTH_SIGMA,
) -> int:
    """Length of the answer in tokens: log-normal over tasks around `median`, at least 1.

    Half of the log variance belongs to the task and role (a long question is
    long for every model), half to the model and the attempt.
    """
    shared = _NORMAL.inv_cdf(uniform("length", task, role))
    own = _NORMAL.inv_cdf(uniform("length", task, role, model, attempt))
    drawn = median * math.exp(sigma * (shared + own) / math.sqrt(2))
    return max(1, round(min(drawn, LONGEST * median)))

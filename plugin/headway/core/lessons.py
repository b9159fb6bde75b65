"""`Lesson`: one truth that a predictor was told, as plain data, so that it can be told again.

A shell keeps the lessons since its last snapshot: a daemon that was killed is taught them anew.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from headway.core.protocols import Foresight, Query

Quantity = Literal[
    "output_tokens", "rest_s", "rest_tokens", "rest_calls", "prefix_share", "return_s"
]


class Lesson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What `value` a quantity really had, or that an answer did (1) or did not (0) suffice.

    `about` names a predictor of `Foresight`; `source` and `failed` are of confidence only.
    """

    about: Literal[Quantity, "confidence"]
    query: Query
    value: float
    source: str = ""
    failed: tuple[str, ...] = ()


def teach(foresight: Foresight, lessons: Iterable[Lesson]) -> None:
    """Tell the predictors again, in the order in which they were told."""
    before: Query | None = None
    for lesson in lessons:
        # predictors that learn several quantities of one node know it by its `Query` object
        query = before if before is not None and before == lesson.query else lesson.query
        before = query
        if lesson.about == "confidence":
            foresight.confidence.learn(
                query, lesson.value > 0.0, source=lesson.source, failed=lesson.failed
            )
        else:
            getattr(foresight, lesson.about).learn(query, lesson.value)

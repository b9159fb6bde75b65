"""Output limits: beyond some length a model's answers are almost never right, so stop there.

What answers cost and which were right is kept per (graph, node, model) in a bounded window.
The limit is the length at which writing on costs more than what is lost by stopping.
"""

from collections import deque
from typing import Any

from headway.core.protocols import Query
from headway.core.types import Seconds

WINDOW = 512
LEAST_SAMPLES = 50
MAX_PLACES = 5_000
"""Places kept; a program that names its graphs anew with each run must not fill the memory."""

Place = tuple[str, str, str]


class OutputLimits:
    """Learns, per (graph, node, model), after how many output tokens an answer is to be cut.

    From at least `LEAST_SAMPLES` judged answers, the last `WINDOW` of them (our own study B, its
    section 2: 8 to 45 % of all tokens saved for at most one point of success)::

        limit = argmin_x  E[min(len, x)] * s_per_token + P(right and len > x) * failure_s
    """

    def __init__(self) -> None:
        self._answers: dict[Place, deque[tuple[int, bool]]] = {}

    def learn(self, query: Query, output_tokens: int, ok: bool) -> None:
        """An answer of so many tokens was right, or was not."""
        place = (query.graph, query.node, query.model)
        answers = self._answers.get(place)
        if answers is None:
            if len(self._answers) >= MAX_PLACES:
                for oldest in list(self._answers)[: MAX_PLACES // 2]:
                    del self._answers[oldest]
            answers = self._answers[place] = deque(maxlen=WINDOW)
        answers.append((max(int(output_tokens), 0), bool(ok)))

    def limit(self, query: Query, *, s_per_token: Seconds, failure_s: Seconds) -> int | None:
        """The most output tokens worth writing; None if no limit pays or too little is known.

        `s_per_token` is what a token costs, `failure_s` what losing a right answer does.
        """
        answers = self._answers.get((query.graph, query.node, query.model), ())
        if len(answers) < LEAST_SAMPLES:
            return None
        ordered = sorted(answers)
        count = len(ordered)
        written = 0  # by the answers that are no longer than the limit
        right_after = sum(ok for _, ok in ordered)
        best: int | None = None
        least = sum(length for length, _ in ordered) * s_per_token
        # The cost only falls where the limit lets one more right answer through, and the longest of
        # one length is met last, so right answers of equal length are let through together.
        for place, (length, ok) in enumerate(ordered):
            written += length
            if not ok:
                continue
            right_after -= 1
            if place + 1 < count and ordered[place + 1] == (length, True):
                continue
            tokens = written + (count - place - 1) * length
            cost = tokens * s_per_token + right_after * failure_s
            if cost < least:
                best, least = length, cost
        return max(best, 1) if best is not None else None

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "answers": [
                [list(place), [[length, ok] for length, ok in answers]]
                for place, answers in self._answers.items()
            ]
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` or `TypeError` if it is not one."""
        answers: dict[Place, deque[tuple[int, bool]]] = {}
        for (graph, node, model), pairs in snapshot["answers"]:
            kept = [(int(length), bool(ok)) for length, ok in pairs]
            answers[(str(graph), str(node), str(model))] = deque(kept, maxlen=WINDOW)
        self._answers = answers

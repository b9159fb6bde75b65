"""The place of a node and what its run has shown, as a row of small codes. Pure."""

from math import log1p

from headway.core.past import NO_PAST
from headway.core.protocols import Query

FEATURES = (
    "node",
    "name before",
    "name before that",
    "nodes before",
    "visit",
    "streak",
    "visits of the name before",
    "repeats",
    "stretches",
    "last stretch of the node",
    "longest streak",
    "answers as long as the one before",
    "times that the node was entered",
    "last answer of the node",
    "last answer",
    "answer before that",
    "tools that the last answer called",
    "nodes of the last step",
    "prompt",
    "all answers together",
    "longest answer",
    "first prompt",
    "growth of the prompt",
)
SHAPE = tuple(range(18))
"""Which way the run went, its last answers, and the tools that they called."""
ALL = tuple(range(len(FEATURES)))
MOST_NAMES = 250
STRANGE = 255
"""The code of a name that was not learned."""
_PER_E_FOLD = 19
"""Codes of sizes: 5 % apart, up to 600,000 tokens."""


class Names:
    """Codes for the names of a graph's nodes, in the order in which they were learned.

    Runs are learned from their ends, so names with close codes stand close in a run.
    """

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def add(self, name: str) -> None:
        """Give the name a code, while there are some."""
        if name not in self._codes and len(self._codes) < MOST_NAMES:
            self._codes[name] = len(self._codes) + 1

    def code(self, name: str) -> int:
        """Its code; 0 for no name."""
        return self._codes.get(name, STRANGE) if name else 0

    def saved(self) -> list[str]:
        """The names in order."""
        return list(self._codes)


def row_of(query: Query, names: Names) -> bytes:
    """The codes that `FEATURES` names; what was not told counts as nothing."""
    past = query.past or NO_PAST
    counts = (
        past.position,
        query.visit,
        past.streak,
        past.last_visits,
        past.repeats,
        past.stretches,
        past.stretch,
        past.longest_streak,
        past.alike,
        past.entries,
        _size(past.own_output),
        _size(past.last_output),
        _size(past.second_last_output),
        past.tool_calls,
        past.width,
        _size(query.prompt_tokens),
        _size(past.outputs),
        _size(past.longest_output),
        _size(past.first_prompt),
    )
    grown = query.prompt_tokens - past.last_prompt if past.last_prompt > 0 else 0
    growth = 128 + int(8 * log1p(grown)) if grown >= 0 else 128 - int(8 * log1p(-grown))
    code = names.code
    try:
        return bytes((code(query.node), code(past.last), code(past.second_last), *counts, growth))
    except ValueError:  # a count beyond 255: rare, and not worth a comparison each
        kept = [min(max(count, 0), 255) for count in (*counts, growth)]
        return bytes((code(query.node), code(past.last), code(past.second_last), *kept))


def _size(tokens: int) -> int:
    return 1 + int(_PER_E_FOLD * log1p(tokens)) if tokens > 0 else 0

"""What a node's name says of how much it writes, before anything was seen of it.

People name nodes after what they do: one that classifies, routes or judges writes a little, one
that writes code or reports writes much. Words are those of common agent graphs; a name that holds
none of them says nothing. Source: ours (what it is worth: docs/prediction.md).
"""

import re
from functools import lru_cache

SHORT, LONG = "short", "long"
PRIORS: dict[str, tuple[float, float]] = {SHORT: (60.0, 250.0), LONG: (400.0, 1200.0)}
"""P50 and P90 of output tokens, where nothing else is known."""
_SHORT = (
    *("approv", "choos", "classif", "decid", "detect", "extract", "filter", "grad", "guard"),
    *("intent", "judg", "label", "moderat", "pick", "rank", "rout", "scor", "select", "supervis"),
    *("title", "triage", "valid", "verif", "vote"),
)
_LONG = (
    *("author", "cod", "compos", "develop", "draft", "essay", "generat", "implement", "modif"),
    *("programm", "refactor", "report", "revis", "rewrit", "synthes", "translat", "writ"),
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@lru_cache(maxsize=4096)
def kind_of(node: str) -> str:
    """``short``, ``long``, or nothing; of several words the last one that says something counts."""
    for word in reversed(_WORD.findall(node)):
        low = word.lower()
        if low.startswith(_SHORT):
            return SHORT
        if low.startswith(_LONG):
            return LONG
    return ""

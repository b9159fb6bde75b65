"""What a prompt's text says of one model's chance once another has failed at it.

What the text said of the model alone is too hopeful then (15 to 25 points in our own study), since
a failure says that this one is hard. Two slopes tell the text's part anew: one for what it says of
the model that is to answer, one for what it said of the model that failed. Source: ours.
"""

from collections import deque
from typing import Any

from headway.predict.slopes import Place, fitted, remember, weighed

WINDOW = 512
REFITTED = 32
PRIOR = (0.5, 0.0, 0.0)
PULL = 10.0
STEPS = 2


class AfterFailure:
    """One ordered pair of models: who failed, and who is asked next."""

    def __init__(self) -> None:
        self._told: deque[tuple[float, float, Place, bool]] = deque(maxlen=WINDOW)
        self._offsets: dict[Place, float] = {}
        self._slopes = list(PRIOR)
        self._count = 0

    def shift(self, own: float, failed: float) -> float:
        """What the text adds to the logit of the rate after such failures.

        `own` and `failed` are the shifts that it makes by the two models' heads.
        """
        return weighed(self._slopes, (own, failed, 1.0))

    def learn(self, shifts: tuple[float, float], place: Place, offset: float, ok: bool) -> None:
        """How the next model did; `offset` is the logit believed without the text.

        `shifts` are as in `shift`: own, failed.
        """
        remember(self._offsets, place, offset)
        self._told.append((*shifts, place, ok))
        self._count += 1
        if self._count % REFITTED == 0:
            rows = [
                ((own, failed, 1.0), self._offsets.get(where, offset), was_ok)
                for own, failed, where, was_ok in self._told
            ]
            self._slopes = fitted(rows, prior=PRIOR, start=self._slopes, pull=PULL, steps=STEPS)

    def saved(self) -> dict[str, Any]:
        """All that was learned, in plain types."""
        return {
            "count": self._count,
            "slopes": list(self._slopes),
            "told": [[own, failed, list(place), ok] for own, failed, place, ok in self._told],
            "offsets": [[list(place), offset] for place, offset in self._offsets.items()],
        }

    @classmethod
    def loaded(cls, saved: dict[str, Any]) -> "AfterFailure":
        """What was `saved`. Raises `KeyError`, `TypeError` or `ValueError` if it is none."""
        pair = cls()
        pair._count = int(saved["count"])
        own, failed, bias = (float(one) for one in saved["slopes"])
        pair._slopes = [own, failed, bias]
        for own, failed, place, ok in saved["told"]:
            pair._told.append((float(own), float(failed), tuple(place), bool(ok)))
        pair._offsets = {tuple(place): float(offset) for place, offset in saved["offsets"]}
        return pair

"""Where a forecast is believed: where it has beaten the simpler one on what was judged of late."""

from typing import Any

from headway.predict.slopes import MAX_PLACES, Place

FADING = 0.998
"""Of past judgements, with each new one: about the last five hundred count."""
LEAST_JUDGED = 100
LEEWAY = 0.002
"""How much worse (Brier) a forecast that is believed may do before it is not: no flutter."""


class Gate:
    """By place, whether a forecast's Brier score has been below the simpler one's."""

    def __init__(self) -> None:
        self._places: dict[Place, list[float]] = {}

    def judge(self, place: Place, forecast: float, simple: float, ok: bool) -> None:
        """Both chances were told before it came out."""
        seen = self._places.get(place)
        if seen is None:
            if len(self._places) >= MAX_PLACES:
                for old in list(self._places)[: MAX_PLACES // 2]:
                    del self._places[old]
            seen = self._places[place] = [0.0, 0.0, 0.0, 0.0]
        seen[0] += 1.0
        seen[1] = FADING * seen[1] + 1.0
        seen[2] = FADING * seen[2] + (forecast - ok) ** 2 - (simple - ok) ** 2
        if seen[0] >= LEAST_JUDGED:
            seen[3] = float(seen[2] < (LEEWAY * seen[1] if seen[3] else 0.0))

    def believes(self, place: Place) -> bool:
        """Whether the forecast is to be used at the place."""
        seen = self._places.get(place)
        return seen is not None and seen[3] > 0.0

    def saved(self) -> list[Any]:
        """Itself in plain types."""
        return [[list(place), list(seen)] for place, seen in self._places.items()]

    @classmethod
    def loaded(cls, saved: list[Any]) -> "Gate":
        """The gate that was `saved`."""
        gate = cls()
        for place, seen in saved:
            judged, weight, gained, on = (float(one) for one in seen)
            gate._places[tuple(place)] = [judged, weight, gained, on]
        return gate

"""The set of predictors that a scheduler works with, saved and restored together."""

from typing import Any

from headway.core.protocols import Confidence, Lasting, Predictor
from headway.predict.horizon import Horizons
from headway.predict.length import OutputLength
from headway.predict.places import Level
from headway.predict.quantiles import ShrunkQuantiles, prefix_share, return_time
from headway.predict.text_confidence import TextConfidence
from headway.predict.trust import CheckedChances, Guarded, GuardedReturns

PRIORS = {
    "output_tokens": (200.0, 800.0),
    "rest_s": (10.0, 40.0),
    "rest_tokens": (600.0, 2400.0),
    "rest_calls": (3.0, 12.0),
    "return_s": (2.0, 30.0),
}
"""P50 and P90 of each quantity before anything was seen."""
HORIZONS = ("rest_s", "rest_tokens", "rest_calls")
"""What is left of a run is told in this order."""
USUAL: tuple[Level, ...] = ((), ("graph",))
"""What stands in for a predictor that errs: what is usual in the graph."""


class OnlineForesight:
    """Predictors that start from priors, learn from every completion, and are used while right."""

    def __init__(self, quality: dict[str, float]) -> None:
        self._lengths = OutputLength()
        self._horizons = Horizons({name: PRIORS[name] for name in HORIZONS})
        inner: dict[str, Predictor] = {"output_tokens": self._lengths}
        inner |= {name: self._horizons.of(name) for name in HORIZONS}
        self._guards: dict[str, Guarded] = {
            name: Guarded(one, ShrunkQuantiles(levels=USUAL, prior=PRIORS[name]))
            for name, one in inner.items()
        }
        self.output_tokens: Predictor = self._guards["output_tokens"]
        self.rest_s: Predictor = self._guards["rest_s"]
        self.rest_tokens: Predictor = self._guards["rest_tokens"]
        self.rest_calls: Predictor = self._guards["rest_calls"]
        self._returns = GuardedReturns(
            return_time(), ShrunkQuantiles(levels=USUAL, prior=PRIORS["return_s"])
        )
        self._guards["return_s"] = self._returns
        self.return_s: Lasting = self._returns
        self.prefix_share: Predictor = prefix_share()
        self.confidence: Confidence = CheckedChances(TextConfidence(quality))

    def records(self) -> list[dict[str, Any]]:
        """How each has done of late, in plain types."""
        told: list[dict[str, Any]] = [
            {"predictor": name, **guard.record.told()} for name, guard in self._guards.items()
        ]
        if isinstance(self.confidence, CheckedChances):
            told.append({"predictor": "confidence", **self.confidence.told()})
        return told

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "output_tokens": self._lengths.snapshot(),
            "horizons": self._horizons.snapshot(),
            "guards": {name: guard.guard_snapshot() for name, guard in self._guards.items()},
            "return_s": self._returns.inner.snapshot(),
            "prefix_share": self.prefix_share.snapshot(),
            "confidence": self.confidence.snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` if it is not one.

        What a version before knew of what is left of runs is left: it is learned anew.
        """
        self._lengths.restore(snapshot["output_tokens"])
        if "horizons" in snapshot or "rest_s" not in snapshot:
            self._horizons.restore(snapshot["horizons"])
        for name, saved in snapshot.get("guards", {}).items():
            self._guards[name].restore_guard(saved)
        if "return_s" in snapshot:
            self._returns.inner.restore(snapshot["return_s"])
        self.prefix_share.restore(snapshot["prefix_share"])
        self.confidence.restore(snapshot["confidence"])

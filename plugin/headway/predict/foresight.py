"""The set of predictors that a scheduler works with, saved and restored together."""

from typing import Any

from headway.core.protocols import Confidence, Predictor
from headway.predict.horizon import Horizons
from headway.predict.length import OutputLength
from headway.predict.quantiles import prefix_share
from headway.predict.text_confidence import TextConfidence


class OnlineForesight:
    """Predictors that start from priors and learn from every completion."""

    def __init__(self, quality: dict[str, float]) -> None:
        self.output_tokens: Predictor = OutputLength()
        self._horizons = Horizons({"seconds": (10.0, 40.0), "tokens": (600.0, 2400.0)})
        self.rest_s: Predictor = self._horizons.of("seconds")
        self.rest_tokens: Predictor = self._horizons.of("tokens")
        self.prefix_share: Predictor = prefix_share()
        self.confidence: Confidence = TextConfidence(quality)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "output_tokens": self.output_tokens.snapshot(),
            "horizons": self._horizons.snapshot(),
            "prefix_share": self.prefix_share.snapshot(),
            "confidence": self.confidence.snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` if it is not one.

        What a version before knew of what is left of runs is left: it is learned anew.
        """
        self.output_tokens.restore(snapshot["output_tokens"])
        if "horizons" in snapshot or "rest_s" not in snapshot:
            self._horizons.restore(snapshot["horizons"])
        self.prefix_share.restore(snapshot["prefix_share"])
        self.confidence.restore(snapshot["confidence"])

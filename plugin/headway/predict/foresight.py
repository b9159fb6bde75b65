"""The set of predictors that a scheduler works with, saved and restored together."""

from typing import Any

from headway.core.protocols import Confidence, Predictor
from headway.predict.length import OutputLength
from headway.predict.quantiles import prefix_share, rest_of_run
from headway.predict.text_confidence import TextConfidence


class OnlineForesight:
    """Predictors that start from priors and learn from every completion."""

    def __init__(self, quality: dict[str, float]) -> None:
        self.output_tokens: Predictor = OutputLength()
        self.rest_s: Predictor = rest_of_run(prior=(10.0, 40.0))
        self.rest_tokens: Predictor = rest_of_run(prior=(600.0, 2400.0))
        self.prefix_share: Predictor = prefix_share()
        self.confidence: Confidence = TextConfidence(quality)

    def snapshot(self) -> dict[str, Any]:
        """All that was learned, in plain msgpack types."""
        return {
            "output_tokens": self.output_tokens.snapshot(),
            "rest_s": self.rest_s.snapshot(),
            "rest_tokens": self.rest_tokens.snapshot(),
            "prefix_share": self.prefix_share.snapshot(),
            "confidence": self.confidence.snapshot(),
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Take a snapshot back. Raises `KeyError` if it is not one."""
        self.output_tokens.restore(snapshot["output_tokens"])
        self.rest_s.restore(snapshot["rest_s"])
        self.rest_tokens.restore(snapshot["rest_tokens"])
        self.prefix_share.restore(snapshot["prefix_share"])
        self.confidence.restore(snapshot["confidence"])

"""Boost: order of arrival, each run moved forward by a boost that service uses up."""

import math
from typing import ClassVar

from headway.core.calls import Call
from headway.core.types import Seconds
from headway.core.view import View
from headway.policy.placing import Plain, Sweep

LEAST_S = 0.1
"""Service that every run is taken to have had: without it a new run's boost has no bound."""


class Boost(Plain):
    """Prediction-free boost: arrival less a head start that falls with attained service.

    What: a run counts as if it had arrived earlier; the more it was served, the less so. Why
    choose it: short tails of completion without any prediction; old runs are safe, as no boost
    outruns time. Inputs: start of the run, service so far. Parameters: `scale_s`, the head start's
    scale C = 1 / gamma: 0 is order of arrival, much of it is least attained service first.
    Trade-offs: slowdown of short runs is poor. Source: UniBoost (arXiv 2606.18431), after
    gamma-Boost (Yu and Scully 2024): order = a_w - C * ln(1 / (1 - exp(-x / C))), with x the size
    there and the attained service of the run here. Its statistical signals are open: C is swept.
    """

    SWEEP: ClassVar[Sweep] = tuple(
        {"scale_s": scale_s} for scale_s in (1.0, 256.0, 16.0, 4.0, 64.0)
    )

    def __init__(self, *, scale_s: Seconds = 16.0) -> None:
        if scale_s < 0:
            raise ValueError("scale_s must be >= 0")
        self._scale_s = scale_s

    def order(self, view: View, call: Call) -> float:
        """The arrival that the run counts as having, since the scheduler began."""
        root = view.runs[call.run].root
        arrived_s = root.started_at - view.began
        if not self._scale_s:
            return arrived_s
        used = (root.served_s + LEAST_S) / self._scale_s
        return arrived_s + self._scale_s * math.log(-math.expm1(-used))

"""What is still to come of an answer, given how much has come: the median of those that go on.

From its P50 and P90 alone. Beyond the P50 an answer is taken to be as likely to end at any token
(an exponential tail through P50 and P90), so the median ahead stays as it is. Up to there it moves
along a line, down, or up where the tail is long. Beyond the P90 the forecast has missed, and the
more has come, the longer the tail must be. Lines, so that a server's sum can be kept without a look
at each call (`inflight`). How well it does is in docs/prediction.md. Source: ours, in place of P50
less what has come (Chimera, arXiv 2603.22206, sec. 3).
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

TAIL_HALF = log(2.0) / log(5.0)
"""Median beyond P50 of an exponential tail, as a share of P90 - P50: half of the half, a tenth."""
LEAST_SHARE = 0.1
"""Of its P50 is ahead of a call that outlived it, however sure the forecast was."""
MOST_OUTLIVED = 4.0
"""Times its P90: a call that seems to have written more is stuck rather than busy."""


class Piece(NamedTuple):
    """From `start` tokens on, `ahead` less what `fall` says for each further token."""

    start: float
    ahead: float
    fall: float

    def left(self, written: float) -> float:
        """Tokens ahead once `written` have come."""
        return self.ahead - self.fall * (written - self.start)


def pieces(p50: float, p90: float) -> tuple[Piece, ...]:
    """The lines for an answer of these quantiles (tokens), by the tokens that have come."""
    if p50 < 1.0:
        p50 = (
            0.0  # where there is no first line: one to next to nothing would be too steep for sums
        )
    p90 = max(p90, p50)
    beyond = max(TAIL_HALF * (p90 - p50), LEAST_SHARE * p50)
    growth = beyond / p90 if p90 > 0.0 else 0.0
    return (
        Piece(0.0, p50, (p50 - beyond) / p50 if p50 else 0.0),
        Piece(p50, beyond, 0.0),
        Piece(p90, beyond, -growth),
        Piece(MOST_OUTLIVED * p90, MOST_OUTLIVED * beyond, 0.0),
    )


def ahead(course: Sequence[Piece], written: float) -> float:
    """Tokens still to come by these `pieces` once `written` have come."""
    written = max(written, 0.0)
    return next(one for one in reversed(course) if one.start <= written).left(written)

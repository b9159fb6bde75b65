"""The client's clocks and bounds: every duration that decides how long a host may wait."""

import msgspec

from headway.core.types import Seconds


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """Durations in seconds, with the reason for each; tests hand in shorter ones."""

    ack_idle_s: Seconds = 0.05
    """No acknowledgement and no other frame for this long: the daemon does not answer."""
    ack_busy_s: Seconds = 0.25
    """The same while other frames of the daemon arrive: it is busy, not gone."""
    hold_grace_s: Seconds = 1.0
    """The daemon grants before ``hold_limit_s``; the client stops waiting this much later."""
    spread_s: Seconds = 2.0
    """Held calls of a lost connection fall open spread over this long, never at one moment."""
    retry_s: Seconds = 1.0
    """A socket is tried, and an open breaker probed, at most this often."""
    pong_s: Seconds = 3.0
    """A connection that leaves a ping unanswered for this long, and says nothing, is dead."""
    flush_s: Seconds = 0.05
    """Observations wait at most this long for company."""
    failures: int = 3
    """Consecutive failures that open the breaker."""

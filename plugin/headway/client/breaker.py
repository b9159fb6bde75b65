"""The circuit breaker between callers and a daemon that does not answer. Pure."""


class Breaker:
    """Opens after `limit` consecutive failures, closes when the daemon answers again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether callers should not even ask."""
        return self._failures >= self._limit

    def failed(self) -> None:
        """An ask was not acknowledged, or a connection spoke nonsense."""
        self._failures += 1

    def refused(self) -> None:
        """The daemon said that it will not talk to us: open at once."""
        self._failures = max(self._failures, self._limit)

    def acknowledged(self) -> None:
        """An ask was acknowledged: failures are no longer consecutive; an open breaker waits on."""
        if not self.is_open:
            self._failures = 0

    def answered(self) -> None:
        """A probe was answered."""
        self._failures = 0

"""A run of steps with the same batch: what lets the engine skip ahead.

While nobody joins or leaves, each step takes as long as the one before plus
the attention to the tokens just added, so any number of steps has a closed
form and only the last one needs to be visited.
"""

from dataclasses import dataclass

from headway.core.types import Seconds


@dataclass(slots=True, kw_only=True)
class Stretch:
    """`steps` steps from `start`; the first takes `first_s`, each later one `growth_s` more."""

    start: Seconds
    first_s: Seconds
    growth_s: Seconds
    steps: int

    def elapsed_s(self, steps: int) -> Seconds:
        """Seconds that the first `steps` steps take."""
        return steps * self.first_s + self.growth_s * (steps * (steps - 1) // 2)

    @property
    def end(self) -> Seconds:
        """When the last step ends."""
        return self.start + self.elapsed_s(self.steps)

    def done(self, at: Seconds) -> int:
        """How many steps have ended by `at`. By bisection: exact under the same rounding."""
        low, high = 0, self.steps
        while low < high:
            middle = (low + high + 1) // 2
            if self.start + self.elapsed_s(middle) <= at:
                low = middle
            else:
                high = middle - 1
        return low

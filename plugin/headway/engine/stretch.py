"""A run of steps with the same batch: what lets the engine skip ahead.

While nobody joins or leaves, each step takes as long as the one before plus
the attention to the tokens just added, so any number of steps has a closed
form and only the last one needs to be visited.
"""

from math import sqrt

from headway.core.types import Seconds


class Stretch:
    """`steps` steps from `start` to `end`; the first takes `first_s`, each next `growth_s` more."""

    __slots__ = ("end", "first_s", "growth_s", "start", "steps")

    def __init__(
        self, *, start: Seconds, first_s: Seconds, growth_s: Seconds = 0.0, steps: int = 1
    ) -> None:
        self.start = start
        self.first_s = first_s
        self.growth_s = growth_s
        self.steps = steps
        self.end: Seconds = start + self.elapsed_s(steps)

    def elapsed_s(self, steps: int) -> Seconds:
        """Seconds that the first `steps` steps take."""
        return steps * self.first_s + self.growth_s * (steps * (steps - 1) // 2)

    def done(self, at: Seconds) -> int:
        """How many steps have ended by `at`: by closed form, made exact under the same rounding."""
        if at >= self.end:
            return self.steps
        # growth/2 n^2 + (first - growth/2) n = passed, in the form that is stable for small growth.
        passed = max(0.0, at - self.start)
        linear = self.first_s - self.growth_s / 2
        root = sqrt(max(0.0, linear * linear + 2 * self.growth_s * passed))
        steps = min(self.steps, int(2 * passed / (linear + root)))
        while steps and self.start + self.elapsed_s(steps) > at:
            steps -= 1
        while self.start + self.elapsed_s(steps + 1) <= at:
            steps += 1
        return steps

"""Which runs arrive when: a seeded, bursty mix of the samples, the same for every arm.

The gaps between arrivals are gamma distributed with a coefficient of variation
above one: bursts, then silence. They are drawn once with mean one and scaled to
a rate, so that two rates differ only in how fast the same story is told.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A sample in the mix: its part of the arrivals and how many tasks it has."""

    sample: str
    weight: float
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One run to be: when it arrives (in mean gaps), of which sample, with which task."""

    at: float
    number: int
    sample: str
    task: int

    def at_s(self, rate: float) -> float:
        """Seconds after the start at `rate` arrivals a second."""
        return self.at / rate


def draw_arrivals(
    *, seed: int, count: int, mix: Sequence[Share], variation: float
) -> tuple[Arrival, ...]:
    """`count` arrivals, the last one at about `count` mean gaps.

    `variation` is the coefficient of variation of the gaps. The sequence is
    scaled to end exactly at ``count`` gaps, so that the rate is the one asked
    for and not a draw around it; its burstiness stays. The samples follow one
    another in shuffled rounds, so that their shares are exact as well.
    """
    rng = random.Random(seed)
    shape = 1.0 / variation**2
    gaps = [rng.gammavariate(shape, 1.0 / shape) for _ in range(count)]
    total = sum(gaps) or 1.0
    made = []
    clock = 0.0
    for number, (gap, share) in enumerate(zip(gaps, _mixed(rng, count, mix), strict=True)):
        clock += gap * count / total
        made.append(
            Arrival(at=clock, number=number, sample=share.sample, task=rng.randrange(share.tasks))
        )
    return tuple(made)


def _mixed(rng: random.Random, count: int, mix: Sequence[Share]) -> list[Share]:
    """`count` shares in random order, each as often as its weight says (to within one)."""
    total = sum(share.weight for share in mix)
    dealt: list[Share] = []
    for share in mix:
        dealt += [share] * int(count * share.weight / total)
    while len(dealt) < count:
        dealt.append(mix[len(dealt) % len(mix)])
    rng.shuffle(dealt)
    return dealt

"""What the gate leaves behind: every pair, and the verdicts that are read off them."""

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import msgspec

from tests.vllm.gate.comparing import MOST_MEAN_ERROR, MOST_P99_ERROR, Pair
from tests.vllm.gate.setting import EARLY, HEADWAY, LITELLM

FORMAT = 1


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All of one evening. `stands` hold what each pool is and what was fitted of it."""

    headway_gate: int = FORMAT
    command: str
    commit: str
    machine: str
    vllm: str
    litellm: str
    seed: int
    quick: bool
    stands: dict[str, str]
    fitted: dict[str, tuple[dict[str, Any], ...]]
    pairs: tuple[Pair, ...]

    @property
    def cells(self) -> dict[str, dict[str, Pair]]:
        """The pairs of a cell by policy."""
        found: dict[str, dict[str, Pair]] = {}
        for pair in self.pairs:
            found.setdefault(pair.cell, {})[pair.policy] = pair
        return found

    @property
    def passed(self) -> bool:
        """Whether every cell is green and within both bounds, and all orders are alike."""
        return all(pair.green and pair.passes for pair in self.pairs) and not list(
            swapped(self.cells)
        )


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """Two policies of a cell whose order differs between the worlds."""

    cell: str
    policies: tuple[str, str]
    live: float
    virtual: float


def swapped(cells: dict[str, dict[str, Pair]]) -> Iterator[Swap]:
    """Every two policies whose mean completions are in another order live than in virtual time."""
    for cell, by_policy in cells.items():
        for one, other in combinations(by_policy.values(), 2):
            live = one.live_mean_s / other.live_mean_s
            virtual = one.virtual.mean_s / other.virtual.mean_s
            if (live - 1.0) * (virtual - 1.0) < 0:
                yield Swap(
                    cell=cell, policies=(one.policy, other.policy), live=live, virtual=virtual
                )


class Gain(msgspec.Struct, frozen=True, kw_only=True):
    """Mean completion of a rival over Headway's, in both worlds."""

    cell: str
    rival: str
    live: float
    virtual: float

    @property
    def within(self) -> bool:
        """Whether they differ by no more than two means may that are each within the bound."""
        most = (1.0 + MOST_MEAN_ERROR) / (1.0 - MOST_MEAN_ERROR)
        return 1.0 / most <= self.virtual / self.live <= most


def gains(cells: dict[str, dict[str, Pair]]) -> Iterable[Gain]:
    """Over each rival in each cell."""
    for cell, by_policy in cells.items():
        ours = by_policy[HEADWAY]
        for rival in (EARLY, LITELLM):
            theirs = by_policy[rival]
            yield Gain(
                cell=cell,
                rival=rival,
                live=theirs.live_mean_s / ours.live_mean_s,
                virtual=theirs.virtual.mean_s / ours.virtual.mean_s,
            )


BOUNDS = (
    f"{MOST_MEAN_ERROR:.0%} for the mean completion of runs, "
    f"{MOST_P99_ERROR:.0%} for the P99 latency of calls"
)

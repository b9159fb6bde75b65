"""KV footprints foreseen on recorded runs: what is reserved for calls together, and what they held.

Some calls of different runs are put together as a server would hold them, each somewhere on its
way. From forecasts of their lengths alone it is said how much they will hold; then they write
what they really wrote, a token a step, and free what they hold when they end.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import NamedTuple

import msgspec
from rich.console import Console

from headway.core.footprint import OVERFLOW, Holding, Peak, peak
from headway.sim.assess.lengths import FORECASTERS, foreseen
from headway.sim.assess.sets import JudgedSet, KnownCall, KnownSet, halves
from headway.sim.assess.tables import terminal_table

TOGETHER = (4, 16)
"""Calls in a batch."""
BATCHES = 1000
RESERVED_COLUMNS: dict[str, tuple[str, str]] = {
    **{f"reserved_{size}": (f"{size} calls: reserved / held", ".3f") for size in TOGETHER},
    **{f"then_{size}": (f"{size} calls: more then", ".3f") for size in TOGETHER},
    **{f"ever_{size}": (f"{size} calls: more ever", ".3f") for size in TOGETHER},
}


class ReservedScores(msgspec.Struct, frozen=True, kw_only=True):
    """One way to reserve on one split, for batches of 4 and of 16 calls.

    `reserved` is over what the batch held at its worst moment (mean); the others are shares of
    batches that held more than was reserved: at the moment foreseen as the worst, or ever.
    """

    reserved_4: float
    reserved_16: float
    then_4: float
    then_16: float
    ever_4: float
    ever_16: float


class AssessedFootprint(JudgedSet[ReservedScores], frozen=True, kw_only=True):
    """Footprints on one set, by way of reserving."""

    calls: int

    @property
    def about(self) -> str:
        """What its table is of."""
        return f"{self.calls} calls, {BATCHES} batches of each size"


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A call on its way: what is foreseen of it, and what it will really write."""

    holding: Holding
    output_tokens: int


class _Batch(NamedTuple):
    """Calls that are there together: what they hold at most, what is foreseen of that (`peak`),
    and what they hold at the moment that is foreseen as the worst.
    """

    seen: Sequence[_Seen]
    most: float
    peak: Peak
    then: float


Foretold = tuple[KnownCall, float, float]
"""A call, and P50 and P90 of its length."""
Way = Callable[[_Batch, float], float]
"""What is reserved for a batch, by the longest answer of the train half."""


def _longest_each(batch: _Batch, longest: float) -> float:
    return sum(one.holding.prompt + longest for one in batch.seen)


def _p90_each(batch: _Batch, longest: float) -> float:
    return sum(one.holding.prompt + max(one.holding.p90, one.holding.written) for one in batch.seen)


def _quantile(batch: _Batch, longest: float) -> float:
    return batch.peak.tokens


def _clairvoyant(batch: _Batch, longest: float) -> float:
    return batch.most


WAYS: dict[str, Way] = {
    "the longest answer each": _longest_each,
    "P90 each": _p90_each,
    f"headway: {1 - OVERFLOW:.0%} of the sum": _quantile,
    "clairvoyant": _clairvoyant,
}


def foretold(known: KnownSet, split: int) -> list[Foretold]:
    """Every call of the test half."""
    train, test = halves(known.runs, split)
    forecaster = FORECASTERS["headway"]()
    for run in train:
        forecaster.teach(run)
    return [
        (test[one.run].calls[one.place], one.p50, one.p90) for one in foreseen(forecaster, test)
    ]


def held_after(batch: Sequence[_Seen], steps: float) -> float:
    """KV tokens after so many steps of a token each."""
    return sum(
        one.holding.prompt + one.holding.written + steps
        for one in batch
        if one.output_tokens - one.holding.written >= steps
    )


def held(batch: Sequence[_Seen]) -> float:
    """KV tokens at the worst moment, if all write a token a step and free theirs at their end."""
    left = sorted(
        (one.output_tokens - one.holding.written, one.holding.prompt + one.holding.written)
        for one in batch
    )
    worst, size = 0.0, sum(base for _, base in left)
    for place, (steps, base) in enumerate(left):
        worst = max(worst, size + (len(left) - place) * steps)
        size -= base
    return worst


def assess_footprint(
    known: KnownSet, splits: int, *, advance: Callable[[str], None]
) -> AssessedFootprint:
    """Every way of reserving on every split; `advance` is told of each."""
    scores: dict[str, list[ReservedScores]] = {name: [] for name in WAYS}
    for split in range(splits):
        advance(f"{known.name}, footprints, split {split + 1}")
        train, _ = halves(known.runs, split)
        longest = float(max(call.output_tokens for run in train for call in run.calls))
        calls = foretold(known, split)
        rng = Random(f"footprint/{split}")
        # drawn by how long they are there
        stays = list(accumulate(call.output_tokens for call, _, _ in calls))
        batches = {
            size: [
                _batch(rng.choices(calls, cum_weights=stays, k=size), rng) for _ in range(BATCHES)
            ]
            for size in TOGETHER
        }
        for name, way in WAYS.items():
            scores[name].append(_scores(batches, way, longest))
    return AssessedFootprint(
        set_name=known.name,
        source=known.source,
        calls=sum(len(run.calls) for run in known.runs),
        scores={name: tuple(done) for name, done in scores.items()},
    )


def show(console: Console, found: AssessedFootprint) -> None:
    """One table, means over the splits."""
    title = f"{found.set_name}: KV footprints, {found.calls} calls"
    console.print(terminal_table(title, RESERVED_COLUMNS, found.scores))


def _batch(calls: Sequence[Foretold], rng: Random) -> _Batch:
    """Each of the calls at some moment of its time."""
    seen = []
    for call, p50, p90 in calls:
        written = float(rng.randrange(call.output_tokens))
        holding = Holding(prompt=float(call.prompt_tokens), written=written, p50=p50, p90=p90)
        seen.append(_Seen(holding=holding, output_tokens=call.output_tokens))
    foreseen_peak = peak([one.holding for one in seen])
    return _Batch(seen, held(seen), foreseen_peak, held_after(seen, foreseen_peak.steps))


def _scores(batches: dict[int, list[_Batch]], way: Way, longest: float) -> ReservedScores:
    found: dict[str, float] = {}
    for size, some in batches.items():
        pairs, count = [(one, way(one, longest)) for one in some], len(some)
        found[f"reserved_{size}"] = sum(kept / one.most for one, kept in pairs) / count
        found[f"then_{size}"] = sum(one.then > kept for one, kept in pairs) / count
        found[f"ever_{size}"] = sum(one.most > kept for one, kept in pairs) / count
    return ReservedScores(**found)

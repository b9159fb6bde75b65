"""Percentiles, paired ratios and their spread; what `bench.json` holds and the table shows.

Every cost is taken beside its reference in the same run, turn by turn, so that
a busy machine slows both. `ratio` is always the cost over the reference: where
the cost is an overhead, it is the share that is added (0.05: 5 % more).
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One cost: `value` in `unit`, `ratio` times the reference `ratio_to`.

    `goal` is the largest `goal_of` ("ratio" or "value") that meets it, None
    without a goal. `spread` are the quartiles over rounds or pairs, of what the
    goal is on; `n` how many samples or pairs there were.
    """

    name: str
    value: float
    unit: str
    ratio_to: str
    ratio: float
    n: int
    spread: tuple[float, float]
    goal: float | None = None
    goal_of: str = "ratio"

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return (self.ratio if self.goal_of == "ratio" else self.value) <= self.goal


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `bench.json`."""

    value: float
    unit: str
    ratio_to: str
    ratio: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The value at `percent` (0 to 100), linear between neighbours. Raises `ValueError` if none."""
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100.0
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The values at 25 and 75 percent."""
    return percentile(values, 25), percentile(values, 75)


def in_turns(pairs: int) -> Iterator[tuple[bool, bool]]:
    """For each pair, whether the scheduled side has its turn (False: the bare one), alternating."""
    for number in range(pairs):
        yield (False, True) if number % 2 == 0 else (True, False)


def overhead(
    name: str,
    bare: Sequence[float],
    with_it: Sequence[float],
    *,
    unit: str,
    ratio_to: str,
    goal: float | None = None,
) -> Result:
    """What `with_it` adds to `bare`, pair by pair: medians of the differences and of the shares."""
    if len(bare) != len(with_it):
        raise ValueError(f"{len(bare)} bare values, but {len(with_it)} with it: no pairs")
    added = [there - here for here, there in zip(bare, with_it, strict=True)]
    shares = [more / here for more, here in zip(added, bare, strict=True)]
    return Result(
        name=name,
        value=statistics.median(added),
        unit=unit,
        ratio_to=ratio_to,
        ratio=statistics.median(shares),
        n=len(added),
        spread=quartiles(shares),
        goal=goal,
    )


def added_p50(
    name: str,
    bare: Sequence[float],
    with_it: Sequence[float],
    *,
    ratio_to: str,
    goal: float | None = None,
) -> Result:
    """The difference of the two medians, in the unit of the values (ms); the goal is on it."""
    before = percentile(bare, 50)
    value = percentile(with_it, 50) - before
    added = [there - here for here, there in zip(bare, with_it, strict=True)]
    return Result(
        name=name,
        value=value,
        unit="ms",
        ratio_to=ratio_to,
        ratio=value / before,
        n=len(bare),
        spread=quartiles(added),
        goal=goal,
        goal_of="value",
    )


def against(
    name: str,
    rounds: Sequence[Sequence[float]],
    reference: Sequence[Sequence[float]],
    *,
    percent: float,
    unit: str,
    ratio_to: str,
    goal: float,
) -> Result:
    """A percentile over all rounds beside the reference's; the spread is over pairs of rounds."""
    value = percentile([one for each in rounds for one in each], percent)
    beside = percentile([one for each in reference for one in each], percent)
    ratios = [
        percentile(one, percent) / percentile(other, percent)
        for one, other in zip(rounds, reference, strict=True)
    ]
    return Result(
        name=name,
        value=value,
        unit=unit,
        ratio_to=ratio_to,
        ratio=value / beside,
        n=sum(map(len, rounds)),
        spread=quartiles(ratios),
        goal=goal,
    )


def to_json(results: Sequence[Result]) -> bytes:
    """The content of `bench.json`. Raises `ValueError` if two results share a name."""
    told: dict[str, dict[str, Any]] = {}
    for one in results:
        if one.name in told:
            raise ValueError(f"two results are called {one.name!r}")
        told[one.name] = {
            "value": round(one.value, 4),
            "unit": one.unit,
            "ratio_to": one.ratio_to,
            "ratio": round(one.ratio, 4),
        }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def from_json(content: bytes) -> Mapping[str, Told]:
    """What a `bench.json` says. Raises `msgspec.ValidationError` if it is none."""
    return msgspec.json.decode(content, type=dict[str, Told])

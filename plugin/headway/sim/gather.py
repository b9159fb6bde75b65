"""From finished cells to results: rows, pooled rows with intervals, comparisons."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from headway.core.errors import ConfigError
from headway.sim.cells import CellSpec
from headway.sim.intervals import cell_row, compare, pooled_row
from headway.sim.measures import measures_of
from headway.sim.results import Cell, Comparison, Place, Pooled, Setting, settings_text
from headway.sim.statistics import Point, at_equal_success, paired_difference
from headway.sim.tally import Tally

JUDGED = "headway"
"""The policy that every baseline is compared with."""
COMPARED = ("mean_s", "p95_s", "slowdown_mean", "s_per_token", "req95")
"""What the report compares in."""
DRAWS = 400
"""Bootstrap draws for a row's intervals: the report has thousands of them."""

Group = tuple[Place, str, tuple[tuple[str, Setting], ...]]


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A finished cell: what it was, how it is called in the report, what came of it."""

    spec: CellSpec
    label: str
    world: str
    tally: Tally

    @property
    def place(self) -> Place:
        """Where it may be compared with others."""
        return Place(
            trace=self.label,
            load=self.spec.load,
            pool=self.spec.pool.name,
            world=self.world,
            belief_error=self.spec.belief_error,
            confidence=self.spec.confidence,
        )

    @property
    def group(self) -> Group:
        """The same policy at the same place, whatever the seed."""
        return self.place, self.spec.policy, tuple(sorted(self.spec.params.items()))


def cell_rows(cells: Iterable[Finished]) -> tuple[Cell, ...]:
    """A row a cell."""
    return tuple(
        cell_row(
            cell.place,
            policy=cell.spec.policy,
            seed=cell.spec.seed,
            tally=cell.tally,
            settings=cell.spec.params,
            rate=_rate(cell),
        )
        for cell in cells
    )


def grouped(cells: Iterable[Finished]) -> dict[Group, dict[int, Finished]]:
    """Cells by group and seed, in the order of first sight."""
    found: dict[Group, dict[int, Finished]] = defaultdict(dict)
    for cell in cells:
        found[cell.group][cell.spec.seed] = cell
    return dict(found)


def pooled_rows(groups: Mapping[Group, Mapping[int, Finished]]) -> tuple[Pooled, ...]:
    """A row a policy and place, the runs of all seeds together."""
    return tuple(
        pooled_row(
            place,
            policy=policy,
            tallies={seed: cell.tally for seed, cell in by_seed.items()},
            generator=np.random.default_rng(number),
            settings=dict(settings),
            rate=_rate(next(iter(by_seed.values()))),
            draws=DRAWS,
        )
        for number, ((place, policy, settings), by_seed) in enumerate(groups.items())
    )


def comparisons(groups: Mapping[Group, Mapping[int, Finished]]) -> tuple[Comparison, ...]:
    """Headway against every baseline: run by run, and at equal success where knobs were swept."""
    places: dict[Place, list[Group]] = defaultdict(list)
    for group in groups:
        places[group[0]].append(group)
    found: list[Comparison] = []
    for place, here in places.items():
        ours = [group for group in here if group[1] == JUDGED]
        if not ours:
            continue
        for rival in here:
            if rival[1] != JUDGED:
                found += _against(place, ours[0], rival, groups)
        found += _at_equal_success(place, here, groups)
    return tuple(found)


def _against(
    place: Place, ours: Group, rival: Group, groups: Mapping[Group, Mapping[int, Finished]]
) -> Iterable[Comparison]:
    for measure in COMPARED:
        try:
            yield compare(
                place,
                policy=(_named(ours), {s: c.tally for s, c in groups[ours].items()}),
                baseline=(_named(rival), {s: c.tally for s, c in groups[rival].items()}),
                measure=measure,
                generator=np.random.default_rng(0),
                draws=DRAWS,
            )
        except ConfigError:
            continue  # nothing to pair: the measure is not known for one of the two


def _at_equal_success(
    place: Place, here: Sequence[Group], groups: Mapping[Group, Mapping[int, Finished]]
) -> Iterable[Comparison]:
    """The frontier of each policy against Headway's, seed by seed."""
    by_policy: dict[str, list[Group]] = defaultdict(list)
    for group in here:
        by_policy[group[1]].append(group)
    for rival, theirs in sorted(by_policy.items()):
        if rival == JUDGED:
            continue
        logs = []
        seeds = sorted({seed for group in theirs for seed in groups[group]})
        for seed in seeds:
            found = at_equal_success(
                _points(by_policy[JUDGED], seed, groups), _points(theirs, seed, groups)
            )
            if found is not None:
                logs.append(math.log(found.ratio))
        if not logs:
            continue
        gap = paired_difference(logs, [0.0] * len(logs))
        known = len(logs) > 1
        yield Comparison(
            **msgspec.structs.asdict(place),
            baseline=rival,
            policy=JUDGED,
            measure="mean_s",
            ratio=math.exp(gap.mean),
            low=math.exp(gap.low) if known else None,
            high=math.exp(gap.high) if known else None,
            seeds=len(logs),
            at_equal_success=True,
        )


def _points(
    of: Sequence[Group], seed: int, groups: Mapping[Group, Mapping[int, Finished]]
) -> tuple[Point, ...]:
    points = []
    for group in of:
        cell = groups[group].get(seed)
        if cell is None:
            continue
        known = measures_of(cell.tally)
        if known.success is not None and known.mean_s is not None:
            points.append(Point(success=known.success, completion_s=known.mean_s))
    return tuple(points)


def _named(group: Group) -> str:
    return f"{group[1]} ({settings_text(dict(group[2]))})" if group[2] else group[1]


def _rate(cell: Finished) -> float | None:
    return cell.spec.rate or None

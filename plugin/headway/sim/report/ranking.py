"""Who is best where, where Headway loses, and which policies a plot names."""

import math
from collections.abc import Iterable, Sequence

import msgspec

from headway.sim.measures import BETTER
from headway.sim.results import Place, Pooled, Results

OURS = "headway"
NAMED_IN_PLOTS = 5

JUDGED = (
    *("mean_s", "p50_s", "p95_s", "p99_s", "slowdown_mean", "req95", "req99"),
    *("s_per_token", "s_per_reference_token", "success", "attainment", "goodput"),
    *("time_to_success_s", "cost", "longest_wait_s"),
)
"""Measures in which a policy can win or lose; what a decision costs is told apart."""

_NEED_ALL_RUNS = ("mean_s", "s_per_token", "s_per_reference_token")
"""Means of the runs that did not fail: failing more must not make them better."""


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """A measure at a place in which another policy, not clairvoyant, is better than Headway.

    `factor` is how many times better. `clear`: the two 95 % intervals do not meet.
    """

    place: Place
    measure: str
    rival: str
    ours: float
    theirs: float
    factor: float
    clear: bool


def is_bound(row: Pooled) -> bool:
    """Whether the row is a clairvoyant bound rather than something one can run."""
    return row.policy.startswith("clairvoyant")


def places(results: Results) -> tuple[tuple[Place, tuple[Pooled, ...]], ...]:
    """The pooled rows by place, both in a fixed order: Headway first, bounds last,
    by mean completion between.
    """
    known: dict[Place, list[Pooled]] = {}
    for row in results.pooled:
        known.setdefault(row.place, []).append(row)
    order = sorted(known, key=lambda p: (p.trace, p.pool, p.world, p.belief_error, p.load))
    return tuple((place, tuple(sorted(known[place], key=_shown_order))) for place in order)


def _shown_order(row: Pooled) -> tuple[bool, bool, float, str]:
    mean_s = row.measures.mean_s
    return (row.policy != OURS, is_bound(row), math.inf if mean_s is None else mean_s, row.label)


def value(row: Pooled, measure: str) -> float | None:
    """A measure of a row."""
    found: float | None = getattr(row.measures, measure)
    return found


def better(measure: str, one: float, other: float) -> bool:
    """Whether `one` is better than `other`."""
    return one < other if BETTER[measure] == "less" else one > other


def best(rows: Iterable[Pooled], measure: str) -> tuple[Pooled, ...]:
    """The rows with the best value; bounds do not compete, nor do means that failing made.

    None is best where all that compete are equal.
    """
    running = [row for row in rows if not is_bound(row) and value(row, measure) is not None]
    if measure in _NEED_ALL_RUNS and running:
        least = min(_failed_share(row) for row in running)
        running = [row for row in running if _failed_share(row) <= least]
    values = {_value(row, measure) for row in running}
    if len(values) < 2:
        return tuple(running) if len(running) == 1 else ()
    top = min(values) if BETTER[measure] == "less" else max(values)
    return tuple(row for row in running if _value(row, measure) == top)


def losses(results: Results) -> tuple[Loss, ...]:
    """Every place and measure where the best other policy is better than Headway."""
    found = []
    for place, rows in places(results):
        ours = main_row(rows, OURS)
        if ours is None:
            continue
        for measure in JUDGED:
            mine = value(ours, measure)
            rivals = [row for row in rows if row.policy != OURS]
            if measure in _NEED_ALL_RUNS:
                rivals = [row for row in rivals if _failed_share(row) <= _failed_share(ours)]
            winners = [
                row
                for row in rivals
                if not is_bound(row)
                and mine is not None
                and (theirs := value(row, measure)) is not None
                and better(measure, theirs, mine)
            ]
            if mine is None or not winners:
                continue
            winner = _top(winners, measure)
            theirs = _value(winner, measure)
            found.append(
                Loss(
                    place=place,
                    measure=measure,
                    rival=winner.label,
                    ours=mine,
                    theirs=theirs,
                    factor=_factor(measure, mine, theirs),
                    clear=_apart(ours, winner, measure),
                )
            )
    return tuple(found)


def main_row(rows: Sequence[Pooled], policy: str) -> Pooled | None:
    """The row of a policy with its default knobs; of a sweep without them, the first."""
    own = sorted((row for row in rows if row.policy == policy), key=lambda row: row.label)
    plain = [row for row in own if not row.settings]
    return next(iter(plain or own), None)


def main_rows(rows: Sequence[Pooled]) -> tuple[Pooled, ...]:
    """One row a policy."""
    names = dict.fromkeys(row.policy for row in rows)
    return tuple(row for name in names if (row := main_row(rows, name)) is not None)


def named_policies(results: Results) -> tuple[str, ...]:
    """The policies that plots name and colour: Headway's strongest rivals over all places.

    By the mean of their ranks in mean completion and Req95, so that a policy keeps its colour
    through the whole page.
    """
    ranks: dict[str, list[float]] = {}
    for _, rows in places(results):
        rivals = [row for row in main_rows(rows) if row.policy != OURS and not is_bound(row)]
        for measure in ("mean_s", "req95"):
            ordered = sorted(
                (row for row in rivals if value(row, measure) is not None),
                key=lambda row: (_value(row, measure), row.policy),
            )
            for rank, row in enumerate(ordered):
                ranks.setdefault(row.policy, []).append(rank / max(1, len(ordered) - 1))
    ordered_names = sorted(ranks, key=lambda name: (sum(ranks[name]) / len(ranks[name]), name))
    return tuple(ordered_names[:NAMED_IN_PLOTS])


def verdict(results: Results) -> str:
    """One line: how often Headway has the best mean completion, and its worst loss."""
    known = [(place, rows) for place, rows in places(results) if main_row(rows, OURS)]
    if not known:
        return f"no policy {OURS!r} among the rows: nothing to judge"
    lost = [loss for loss in losses(results) if loss.measure == "mean_s"]
    text = f"{OURS}: best mean completion at {len(known) - len(lost)} of {len(known)} places"
    if lost:
        worst = max(lost, key=lambda loss: (loss.factor, loss.place))
        sure = "" if worst.clear else ", within noise"
        text += f"; at worst {worst.factor:.2f}x {worst.rival}{sure} ({place_text(worst.place)})"
    rows = [row for _, each in known for row in each]
    if all(value(row, "success") is None for row in rows):
        text += ". Answers are not judged: no labels"
    elif lost:
        text += ". A rival may be faster by succeeding less often: see its row"
    return text


def place_text(place: Place) -> str:
    """A place in a few words."""
    load = "idle" if place.load == 0 else f"load {place.load:g}"
    parts = [place.trace, load, place.pool, place.world]
    if place.belief_error:
        parts.append(f"belief off by {100 * place.belief_error:g} %")
    if place.confidence:
        parts.append(f"confidence {place.confidence}")
    return " · ".join(part for part in parts if part)


def _value(row: Pooled, measure: str) -> float:
    found = value(row, measure)
    return math.nan if found is None else found


def _top(rows: Sequence[Pooled], measure: str) -> Pooled:
    sign = 1 if BETTER[measure] == "less" else -1
    return min(rows, key=lambda row: (sign * _value(row, measure), row.label))


def _failed_share(row: Pooled) -> float:
    return row.measures.failed / row.runs if row.runs else 0.0


def _factor(measure: str, ours: float, theirs: float) -> float:
    worse, good = (ours, theirs) if BETTER[measure] == "less" else (theirs, ours)
    return worse / good if good > 0 else math.inf


def _apart(one: Pooled, other: Pooled, measure: str) -> bool:
    """Whether both have an interval and the two do not meet."""
    if measure not in one.intervals or measure not in other.intervals:
        return False
    (low, high), (other_low, other_high) = (
        (-math.inf if a is None else a, math.inf if b is None else b)
        for a, b in (one.intervals[measure], other.intervals[measure])
    )
    return high < other_low or other_high < low

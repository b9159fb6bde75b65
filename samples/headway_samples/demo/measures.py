"""What is measured of a run and of many: completion, percentiles, success, attainment.

Completion is in emulated seconds and leaves out the person's pauses. A run
that raised has ``failed``: it counts among the runs, as unsolved and as a
missed deadline, and has no completion.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as it went; `completion_s` is None for a run that raised."""

    sample: str
    completion_s: float | None
    solved: bool
    deadline_s: float
    number: int = 0
    """Which arrival it was."""
    attempts: int = 1
    """Tries that the program itself counted; 1 where it counts none."""

    @property
    def failed(self) -> bool:
        """Whether the run raised."""
        return self.completion_s is None

    @property
    def in_time(self) -> bool:
        """Whether the run ended, solved or not, before its deadline."""
        return self.completion_s is not None and self.completion_s <= self.deadline_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The measures of a set of runs; times are over the runs that did not fail."""

    runs: int
    failed: int
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    success: float
    attainment: float

    def as_dict(self) -> dict[str, Any]:
        """The measures by name, for JSON."""
        return asdict(self)


def percentile(values: Sequence[float], share: float) -> float:
    """The quantile of `values` at `share` (0 to 1), interpolated between neighbours.

    Raises ValueError if there are no values.
    """
    if not values:
        raise ValueError("no values, no percentile")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def summarize(records: Iterable[RunRecord]) -> Summary:
    """The measures of some runs, which may be none."""
    runs = list(records)
    times = [each.completion_s for each in runs if each.completion_s is not None]
    known = bool(times)
    return Summary(
        runs=len(runs),
        failed=sum(each.failed for each in runs),
        mean_s=sum(times) / len(times) if known else None,
        p50_s=percentile(times, 0.50) if known else None,
        p95_s=percentile(times, 0.95) if known else None,
        p99_s=percentile(times, 0.99) if known else None,
        success=_share(each.solved and not each.failed for each in runs),
        attainment=_share(each.in_time for each in runs),
    )


def report(arms: dict[str, list[RunRecord]]) -> dict[str, Any]:
    """The ``arms`` and ``samples`` parts of the demo's JSON."""
    names = sorted({each.sample for records in arms.values() for each in records})
    return {
        "arms": {arm: summarize(records).as_dict() for arm, records in arms.items()},
        "samples": {
            name: {
                arm: summarize(each for each in records if each.sample == name).as_dict()
                for arm, records in arms.items()
            }
            for name in names
        },
    }


def _share(flags: Iterable[bool]) -> float:
    known = list(flags)
    return sum(known) / len(known) if known else 0.0

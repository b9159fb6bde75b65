"""What a cell boils down to: a few numbers a run and sums over calls, small enough to keep.

`measures` makes its numbers from a tally and nothing else, so the measures of one cell and
those of all seeds together (`join`) come from the same formulae. A tally is stored for each
cell (`results.CellStore`); the calls themselves are not.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from headway.core.errors import ConfigError
from headway.core.types import Seconds
from headway.sim.outcomes import CallOutcome, CellOutcome, EndpointOutcome, RunOutcome

_PLANNER_KEPT = 1000
"""Decision times that are kept, evenly spaced in rank: enough for a P99."""


class RunVectors(msgspec.Struct, frozen=True, kw_only=True):
    """One place a run, in all vectors. No infinities: JSON has none.

    `spent_s` is end - arrival - pauses (None: the run never ended); `met`: whether the run kept
    its deadline (None: it has none).
    """

    ids: tuple[str, ...]
    spent_s: tuple[Seconds | None, ...]
    failed: tuple[bool, ...]
    alone_s: tuple[Seconds, ...]
    ok: tuple[bool | None, ...]
    met: tuple[bool | None, ...]
    output_tokens: tuple[int, ...]
    reference_tokens: tuple[int, ...]
    cost: tuple[float, ...]
    tenants: tuple[str, ...]

    def completion_s(self) -> tuple[Seconds, ...]:
        """Completion of each run; infinite if it failed or never ended."""
        return tuple(
            math.inf if spent is None or failed else spent
            for spent, failed in zip(self.spent_s, self.failed, strict=True)
        )

    def slowdown(self) -> tuple[float, ...]:
        """Completion over stand-alone time; infinite if the run failed or never ended."""
        return tuple(
            completion / alone
            for completion, alone in zip(self.completion_s(), self.alone_s, strict=True)
        )


class CallTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over calls; `..._token_s` are tokens times the seconds that they were held."""

    calls: int
    overflowed: int
    reserved_token_s: float
    max_token_s: float
    prompt_token_s: float
    prompt_tokens: int
    hit_tokens: int
    longest_wait_s: Seconds


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """A cell, or the same cell under several seeds.

    `span_s` is the cell's whole time, `counted_s` the part in which the counted runs
    arrived (all of it unless a window was asked for).
    """

    runs: RunVectors
    calls: CallTotals
    endpoints: tuple[EndpointOutcome, ...]
    span_s: Seconds
    counted_s: Seconds
    planner_ms: tuple[float, ...]


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The runs that count, by arrival, and the seconds in which they arrived."""

    runs: tuple[RunOutcome, ...]
    counted_s: Seconds


def window(cell: CellOutcome, *, skip_first: float = 0.0, skip_last: float = 0.0) -> Window:
    """The runs without the first and last shares by arrival; with no shares, all of them.

    A steady state leaves out its warm-up and drain, burst-and-drain nothing. The runs left out
    still loaded the pool: they are not measured, only.
    """
    runs = sorted(cell.runs, key=lambda run: (run.arrived_s, run.id))
    first = math.floor(skip_first * len(runs) + 1e-9)
    end = len(runs) - math.floor(skip_last * len(runs) + 1e-9)
    begins = runs[first].arrived_s if 0 < first < len(runs) else 0.0
    ends = runs[end].arrived_s if end < len(runs) else cell.span_s
    return Window(runs=tuple(runs[first:end]), counted_s=max(0.0, ends - begins))


def tally(cell: CellOutcome, *, skip_first: float = 0.0, skip_last: float = 0.0) -> Tally:
    """Boil a cell down. Raises `ConfigError` for a run whose times cannot be."""
    kept = window(cell, skip_first=skip_first, skip_last=skip_last)
    return Tally(
        runs=_run_vectors(kept.runs),
        calls=_call_totals([call for run in kept.runs for call in run.calls]),
        endpoints=tuple(sorted(cell.endpoints, key=lambda each: each.id)),
        span_s=cell.span_s,
        counted_s=kept.counted_s,
        planner_ms=_thinned(sorted(1000.0 * each for each in cell.planner_s)),
    )


def join(tallies: Mapping[int, Tally]) -> Tally:
    """The cells of several seeds as one; run ids become ``SEED/ID``. Raises ValueError if none."""
    if not tallies:
        raise ValueError("no cells to join")
    seeds = sorted(tallies)
    parts = [tallies[seed] for seed in seeds]
    vectors = {
        name: tuple(value for part in parts for value in getattr(part.runs, name))
        for name in RunVectors.__struct_fields__
    }
    vectors["ids"] = tuple(f"{seed}/{each}" for seed in seeds for each in tallies[seed].runs.ids)
    sums = {
        name: sum(getattr(part.calls, name) for part in parts)
        for name in CallTotals.__struct_fields__
    }
    sums["longest_wait_s"] = max(part.calls.longest_wait_s for part in parts)
    return Tally(
        runs=RunVectors(**vectors),
        calls=CallTotals(**sums),
        endpoints=_joined_endpoints(parts),
        span_s=sum(part.span_s for part in parts),
        counted_s=sum(part.counted_s for part in parts),
        planner_ms=_thinned(sorted(each for part in parts for each in part.planner_ms)),
    )


def _run_vectors(runs: Sequence[RunOutcome]) -> RunVectors:
    for run in runs:
        _check(run)
    spent = tuple(
        None if run.ended_s is None else run.ended_s - run.arrived_s - run.paused_s for run in runs
    )
    return RunVectors(
        ids=tuple(run.id for run in runs),
        spent_s=spent,
        failed=tuple(run.failed or run.ended_s is None for run in runs),
        alone_s=tuple(run.alone_s for run in runs),
        ok=tuple(run.ok for run in runs),
        met=tuple(_met(run, each) for run, each in zip(runs, spent, strict=True)),
        output_tokens=tuple(sum(call.output_tokens for call in run.calls) for run in runs),
        reference_tokens=tuple(sum(call.reference_tokens for call in run.calls) for run in runs),
        cost=tuple(run.cost for run in runs),
        tenants=tuple(run.tenant for run in runs),
    )


def _check(run: RunOutcome) -> None:
    """A slowdown needs a stand-alone time, and no run ends before it began."""
    if not (math.isfinite(run.alone_s) and run.alone_s > 0):
        raise ConfigError(
            f"run {run.id!r} has a stand-alone time of {run.alone_s} s, so it has no slowdown; "
            "leave runs without calls and tool time out of the trace"
        )
    if run.ended_s is not None and run.ended_s - run.arrived_s - run.paused_s < -1e-6:
        raise ConfigError(
            f"run {run.id!r} ended at {run.ended_s} s, before its arrival at {run.arrived_s} s "
            f"and pauses of {run.paused_s} s"
        )


def _met(run: RunOutcome, spent_s: Seconds | None) -> bool | None:
    if run.deadline_s is None:
        return None
    return not run.failed and spent_s is not None and spent_s <= run.deadline_s


def _call_totals(calls: Sequence[CallOutcome]) -> CallTotals:
    held = [call.ended_s - call.released_s for call in calls]
    return CallTotals(
        calls=len(calls),
        overflowed=sum(call.preemptions > 0 or call.refused for call in calls),
        reserved_token_s=sum(c.reserved_tokens * s for c, s in zip(calls, held, strict=True)),
        max_token_s=sum(c.max_tokens * s for c, s in zip(calls, held, strict=True)),
        prompt_token_s=sum(c.prompt_tokens * s for c, s in zip(calls, held, strict=True)),
        prompt_tokens=sum(call.prompt_tokens for call in calls),
        hit_tokens=sum(call.hit_tokens for call in calls),
        longest_wait_s=max((call.first_token_s - call.ready_s for call in calls), default=0.0),
    )


def _joined_endpoints(parts: Sequence[Tally]) -> tuple[EndpointOutcome, ...]:
    every = [each for part in parts for each in part.endpoints]
    names = sorted({(each.id, each.model) for each in every})
    return tuple(_summed([e for e in every if (e.id, e.model) == name]) for name in names)


def _summed(same: Sequence[EndpointOutcome]) -> EndpointOutcome:
    return EndpointOutcome(
        id=same[0].id,
        model=same[0].model,
        busy_s=sum(each.busy_s for each in same),
        calls=sum(each.calls for each in same),
        prompt_tokens=sum(each.prompt_tokens for each in same),
        hit_tokens=sum(each.hit_tokens for each in same),
        output_tokens=sum(each.output_tokens for each in same),
    )


def _thinned(ordered: Sequence[float]) -> tuple[float, ...]:
    """At most `_PLANNER_KEPT` of sorted values, evenly spaced, the least and the most included."""
    if len(ordered) <= _PLANNER_KEPT:
        return tuple(ordered)
    last = len(ordered) - 1
    return tuple(ordered[round(i * last / (_PLANNER_KEPT - 1))] for i in range(_PLANNER_KEPT))

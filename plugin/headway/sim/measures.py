"""The measures of a cell: what they are called, what they mean, how they are computed.

Definitions follow docs/evaluation.md. A run that failed or never ended has no completion:
means of completion leave it out (and `failed` counts it), every quantile and every slowdown
takes it as infinite, and it missed its deadline. A measure that nothing is known for is None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from headway.sim.outcomes import CellOutcome
from headway.sim.statistics import percentile, reached
from headway.sim.tally import Tally, join, tally

P99_RUNS = 2000
"""A P99 of fewer runs rests on fewer than 20 of them and is not printed."""

Number = float | None
Better = Literal["less", "more"]


class Fairness(Struct, frozen=True, kw_only=True):
    """How evenly tenants were served, by each tenant's mean slowdown."""

    jain: Annotated[
        float,
        Meta(description="Jain's index of the tenants' mean slowdowns: 1 is even, 1/n one-sided"),
    ]
    worst: Annotated[
        Number, Meta(description="mean slowdown of the worst tenant over the mean of all tenants'")
    ]


class Measures(Struct, frozen=True, kw_only=True):
    """What is measured of the runs of a cell. Times in virtual seconds."""

    runs: Annotated[int, Meta(description="runs that count")]
    failed: Annotated[int, Meta(description="runs that could not be served or never ended")]
    mean_s: Annotated[Number, Meta(description="mean completion of the runs that did not fail")]
    p50_s: Annotated[Number, Meta(description="median completion, failed runs infinite")]
    p95_s: Annotated[Number, Meta(description="P95 of completion, failed runs infinite")]
    p99_s: Annotated[Number, Meta(description="P99 of completion; null with under 2,000 runs")]
    slowdown_mean: Annotated[
        Number, Meta(description="mean of completion / stand-alone time, failed runs infinite")
    ]
    s_per_token: Annotated[
        Number, Meta(description="mean over runs of completion / output tokens of the run")
    ]
    s_per_reference_token: Annotated[
        Number,
        Meta(description="the same by the tokens that the reference (largest) model would write"),
    ]
    req95: Annotated[
        Number, Meta(description="smallest slowdown that 95 % of the runs do not exceed")
    ]
    req99: Annotated[
        Number,
        Meta(description="smallest slowdown that 99 % do not exceed; null with under 2,000 runs"),
    ]
    attainment: Annotated[
        Number, Meta(description="share of the runs with a deadline that kept it")
    ]
    goodput: Annotated[
        Number, Meta(description="output tokens a second of runs that kept their deadline")
    ]
    success: Annotated[
        Number, Meta(description="share of right last answers among the runs that can be judged")
    ]
    time_to_success_s: Annotated[
        Number, Meta(description="seconds spent on all runs over the number of successful ones")
    ]
    cost: Annotated[Number, Meta(description="mean cost of a run")]
    kv_output_saved: Annotated[
        Number,
        Meta(description="share of token-seconds saved against reserving max_tokens, output part"),
    ]
    kv_saved: Annotated[
        Number, Meta(description="the same with the prompts' tokens added to both sides")
    ]
    kv_overflow: Annotated[
        Number, Meta(description="share of calls preempted or refused for want of KV")
    ]
    longest_wait_s: Annotated[
        Number, Meta(description="longest time from a call's being ready to its first token")
    ]
    utilisation: Annotated[Number, Meta(description="mean share of the time that endpoints ran")]
    planner_ms: Annotated[Number, Meta(description="median wall time of a decision")]
    planner_p99_ms: Annotated[Number, Meta(description="P99 of the wall time of a decision")]
    prefix_hits: Annotated[
        Number, Meta(description="share of the prompts' tokens found in a prefix cache")
    ]
    fairness: Annotated[
        Fairness | None, Meta(description="across tenants; null with fewer than two")
    ] = None
    endpoint_utilisation: Annotated[
        dict[str, float], Meta(description="share of the time that each endpoint ran")
    ] = {}
    requests_per_s: Annotated[
        dict[str, float], Meta(description="calls a second, by endpoint")
    ] = {}


BETTER: dict[str, Better] = {
    "mean_s": "less",
    "p50_s": "less",
    "p95_s": "less",
    "p99_s": "less",
    "slowdown_mean": "less",
    "s_per_token": "less",
    "s_per_reference_token": "less",
    "req95": "less",
    "req99": "less",
    "attainment": "more",
    "goodput": "more",
    "success": "more",
    "time_to_success_s": "less",
    "cost": "less",
    "kv_output_saved": "more",
    "kv_saved": "more",
    "kv_overflow": "less",
    "longest_wait_s": "less",
    "planner_ms": "less",
    "planner_p99_ms": "less",
    "prefix_hits": "more",
}
"""Which way each measure is better. Utilisation is not: a busy pool may be a wasteful one."""


def measure(cell: CellOutcome, *, skip_first: float = 0.0, skip_last: float = 0.0) -> Measures:
    """The measures of a cell, without the first and last shares of its runs by arrival.

    Utilisation and requests a second are of the whole cell always. Raises `ConfigError` for a
    run whose times cannot be.
    """
    return measures_of(tally(cell, skip_first=skip_first, skip_last=skip_last))


def pooled(tallies: Mapping[int, Tally]) -> Measures:
    """The measures over the runs of all seeds together, by seed. Raises ValueError if none."""
    return measures_of(join(tallies))


def measures_of(known: Tally) -> Measures:
    """All measures of a tally."""
    runs, calls = known.runs, known.calls
    completion, slowdown = runs.completion_s(), runs.slowdown()
    enough = len(completion) >= P99_RUNS
    busy = {each.id: each.busy_s / known.span_s for each in known.endpoints if known.span_s > 0}
    return Measures(
        runs=len(completion),
        failed=sum(runs.failed),
        mean_s=_mean(each for each in completion if math.isfinite(each)),
        p50_s=_percentile(completion, 0.50),
        p95_s=_percentile(completion, 0.95),
        p99_s=_percentile(completion, 0.99) if enough else None,
        slowdown_mean=_mean(slowdown),
        s_per_token=_per_token(completion, runs.output_tokens),
        s_per_reference_token=_per_token(completion, runs.reference_tokens),
        req95=reached(slowdown, 0.95) if slowdown else None,
        req99=reached(slowdown, 0.99) if enough else None,
        attainment=_mean(float(each) for each in runs.met if each is not None),
        goodput=_goodput(known),
        success=_success(known),
        time_to_success_s=_time_to_success(known),
        cost=_mean(runs.cost),
        kv_output_saved=_saved(calls.reserved_token_s, calls.max_token_s),
        kv_saved=_saved(
            calls.reserved_token_s + calls.prompt_token_s, calls.max_token_s + calls.prompt_token_s
        ),
        kv_overflow=calls.overflowed / calls.calls if calls.calls else None,
        longest_wait_s=calls.longest_wait_s if calls.calls else None,
        utilisation=_mean(busy.values()),
        planner_ms=_percentile(known.planner_ms, 0.50),
        planner_p99_ms=_percentile(known.planner_ms, 0.99),
        prefix_hits=calls.hit_tokens / calls.prompt_tokens if calls.prompt_tokens else None,
        fairness=_fairness(slowdown, runs.tenants),
        endpoint_utilisation=busy,
        requests_per_s={e.id: e.calls / known.span_s for e in known.endpoints if known.span_s > 0},
    )


def _mean(values: Iterable[float]) -> Number:
    known = tuple(values)
    return sum(known) / len(known) if known else None


def _percentile(values: Sequence[float], share: float) -> Number:
    return percentile(values, share) if values else None


def _per_token(completion: Sequence[float], tokens: Sequence[int]) -> Number:
    return _mean(
        seconds / count
        for seconds, count in zip(completion, tokens, strict=True)
        if count > 0 and math.isfinite(seconds)
    )


def _goodput(known: Tally) -> Number:
    runs = known.runs
    if known.counted_s <= 0 or all(met is None for met in runs.met):
        return None
    kept = (tokens for tokens, met in zip(runs.output_tokens, runs.met, strict=True) if met)
    return sum(kept) / known.counted_s


def _right(known: Tally) -> tuple[bool | None, ...]:
    """Whether each run succeeded: one that failed did not, whatever its last answer was."""
    return tuple(
        None if ok is None else ok and not failed
        for ok, failed in zip(known.runs.ok, known.runs.failed, strict=True)
    )


def _success(known: Tally) -> Number:
    return _mean(float(each) for each in _right(known) if each is not None)


def _time_to_success(known: Tally) -> Number:
    right = _right(known)
    if all(each is None for each in right):
        return None
    spent = sum(math.inf if each is None else each for each in known.runs.spent_s)
    successes = sum(1 for each in right if each)
    return spent / successes if successes else math.inf


def _saved(reserved: float, static: float) -> Number:
    return 1 - reserved / static if static > 0 else None


def _fairness(slowdown: Sequence[float], tenants: Sequence[str]) -> Fairness | None:
    """Jain, Chiu, Hawe 1984: (sum x)^2 / (n * sum x^2), x a tenant's mean slowdown.

    With k of n tenants infinite the index is its limit, k/n, and the worst ratio is infinite.
    """
    names = sorted(set(tenants))
    if len(names) < 2:
        return None
    each = [
        sum(mine) / len(mine)
        for name in names
        for mine in [[s for s, t in zip(slowdown, tenants, strict=True) if t == name]]
    ]
    endless = sum(math.isinf(value) for value in each)
    if endless:
        return Fairness(jain=endless / len(each), worst=math.inf)
    total = sum(each)
    jain = total**2 / (len(each) * sum(value**2 for value in each))
    return Fairness(jain=jain, worst=max(each) * len(each) / total)

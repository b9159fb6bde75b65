"""Prediction against outcome: what was foretold of a call at its release, and what came.

Pure arithmetic over calls that are closed. What may not live here: learning from it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from headway.core.calls import Call
from headway.core.types import Seconds

Place = tuple[str, str, str]
"""Graph, node name, model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """One call that was answered: predicted output tokens (median, P90) and seconds, and the truth.

    Seconds run from the release to the end, so they hold what the engine let the call wait.
    """

    place: Place
    p50_tokens: float
    p90_tokens: float
    real_tokens: int
    predicted_s: Seconds
    real_s: Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindsight:
    """How predictions of `calls` calls turned out.

    `predicted_tokens`, `real_tokens`, `predicted_s` and `real_s` are medians, `token_ratio` and
    `seconds_ratio` the medians of predicted over real (1 is right, less is too low),
    `p90_coverage` the share of answers no longer than their predicted P90 (0.9 is right).
    """

    calls: int
    predicted_tokens: float
    real_tokens: float
    token_ratio: float
    p90_coverage: float
    predicted_s: Seconds
    real_s: Seconds
    seconds_ratio: float


def foretold(call: Call) -> Foretold | None:
    """What a closed call says of predictions; None if it was not answered where it was decided."""
    ended = call.ended
    if ended is None or ended.outcome != "ok" or ended.output_tokens is None or not call.applied:
        return None
    if call.output is None or call.released_at is None or call.closed_at is None:
        return None
    return Foretold(
        place=(call.ask.graph, call.ask.node_name, call.model),
        p50_tokens=call.output.p50,
        p90_tokens=call.output.p90,
        real_tokens=max(ended.output_tokens, 0),
        predicted_s=call.service_s,
        real_s=max(call.closed_at - call.released_at, 0.0),
    )


def hindsight(told: Sequence[Foretold]) -> Hindsight:
    """The summary of at least one. Answers of no tokens count as one token in the ratio."""
    return Hindsight(
        calls=len(told),
        predicted_tokens=median(one.p50_tokens for one in told),
        real_tokens=median(one.real_tokens for one in told),
        token_ratio=median(one.p50_tokens / max(one.real_tokens, 1) for one in told),
        p90_coverage=fmean(one.real_tokens <= one.p90_tokens for one in told),
        predicted_s=median(one.predicted_s for one in told),
        real_s=median(one.real_s for one in told),
        seconds_ratio=median(one.predicted_s / max(one.real_s, 0.001) for one in told),
    )


def by_place(told: Iterable[Foretold]) -> list[tuple[Place, Hindsight]]:
    """The summary of each place, the place with most calls first."""
    places: dict[Place, list[Foretold]] = {}
    for one in told:
        places.setdefault(one.place, []).append(one)
    found = [(place, hindsight(calls)) for place, calls in places.items()]
    return sorted(found, key=lambda pair: (-pair[1].calls, pair[0]))

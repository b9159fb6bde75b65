"""A trace in numbers: how many calls its runs make, and how long they are."""

import math
from collections.abc import Iterable, Sequence

from headway.sim.loaders.stretches import shared, size
from headway.sim.trace import Trace, TraceRun

REMEMBERED = 8
"""Prompts of a run that the next one is compared with: its agents take turns."""


def statistics(trace: Trace) -> dict[str, float | int | None]:
    """Runs, nodes and calls; nearest-rank percentiles of calls per run and of tokens per call.

    A question counts as one call per label, by that model's length (none where the length is
    not told); its run makes no calls of its own, so calls per run count recorded ones only.
    `reused_blocks` is the share of all prompt blocks that an unlimited cache would find: at
    the beginning of one of the run's eight calls before or, where runs share blocks, in any
    call before. None: the trace does not tell.
    """
    calls = [node for run in trace.runs for node in run.nodes if node.prompt_tokens]
    questions = [run.question for run in trace.runs if run.question is not None]
    prompts = sorted(
        [node.prompt_tokens for node in calls] + [each.prompt_tokens for each in questions]
    )
    outputs = sorted(
        [node.output_tokens for node in calls]
        + [
            label.output_tokens
            for each in questions
            for label in each.labels.values()
            if label.output_tokens
        ]
    )
    per_run = sorted(
        sum(1 for node in run.nodes if node.prompt_tokens) for run in trace.runs if run.nodes
    )
    return {
        "runs": len(trace.runs),
        "groups": len({run.group for run in trace.runs}),
        "nodes": sum(len(run.nodes) for run in trace.runs),
        "calls": len(calls),
        "labels": sum(len(each.labels) for each in questions),
        **_percentiles("calls_per_run", per_run, (50, 90, 100)),
        **_percentiles("prompt_tokens", prompts, (50, 90, 99)),
        **_percentiles("output_tokens", outputs, (50, 90, 99)),
        "reused_blocks": _reused(trace.runs),
    }


def _percentiles(
    name: str, values: Sequence[int], percents: Iterable[int]
) -> dict[str, float | int | None]:
    """Nearest rank: the smallest value that at least `percent` of all do not exceed."""
    return {
        f"{name}_p{percent}": values[max(math.ceil(len(values) * percent / 100) - 1, 0)]
        if values
        else None
        for percent in percents
    }


def _reused(runs: Iterable[TraceRun]) -> float | None:
    total = reused = 0
    seen: set[int] = set()
    for run in runs:
        latest: list[tuple[tuple[int, int], ...]] = []
        for node in run.nodes:
            if not node.prefix:
                continue
            total += size(node.prefix)
            if run.shared_blocks:
                reused += _known(node.prefix, seen)
            else:
                reused += max((shared(before, node.prefix) for before in latest), default=0)
                latest = [*latest[-REMEMBERED + 1 :], node.prefix]
    return reused / total if total else None


def _known(prefix: tuple[tuple[int, int], ...], seen: set[int]) -> int:
    """How many leading blocks were seen before; remembers all of them."""
    ids = [block for first, count in prefix for block in range(first, first + count)]
    known = next((place for place, block in enumerate(ids) if block not in seen), len(ids))
    seen.update(ids)
    return known

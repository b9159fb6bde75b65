"""Judges all that is foreseen of recorded runs on one set, for ``headway assess``."""

from collections.abc import Callable

from rich.console import Console

from headway.sim.assess import ends, footprints, returns, starts, streams, telling, topologies
from headway.sim.assess.lengths import FORECASTERS
from headway.sim.assess.returns import RETURN_FORECASTERS
from headway.sim.assess.sets import KnownSet
from headway.sim.assess.starts import START_FORECASTERS
from headway.sim.assess.telling import Assessment
from headway.sim.assess.topologies import TOLD, UNTOLD


def steps(splits: int) -> int:
    """How often `judge_set` advances on one set, at most."""
    by_split = len(FORECASTERS) + len(START_FORECASTERS) + len(RETURN_FORECASTERS)
    by_split += len((UNTOLD, TOLD)) + 2  # and footprints, and calls on their way
    return splits * by_split + ends.forecasts(splits)


def judge_set(
    whole: Assessment,
    known: KnownSet,
    *,
    clock: Callable[[], float],
    console: Console,
    advance: Callable[[str], None],
) -> None:
    """Adds what is found to `whole`, and shows each part as it is done; `advance` is told."""
    splits = whole.splits
    whole.lengths.append(telling.assess_length(known, splits, clock=clock, advance=advance))
    telling.show(console, whole.lengths[-1])
    whole.starts.append(starts.assess_start(known, splits, advance=advance))
    starts.show(console, whole.starts[-1])
    whole.streams.append(streams.assess_stream(known, splits, advance=advance))
    streams.show(console, whole.streams[-1])
    for one in ends.assess_horizon(known, splits, clock=clock, advance=advance):
        whole.horizons.append(one)
        ends.show_horizon(console, one)
    whole.topologies.append(topologies.assess_topology(known, splits, advance=advance))
    topologies.show(console, whole.topologies[-1])
    whole.footprints.append(footprints.assess_footprint(known, splits, advance=advance))
    footprints.show(console, whole.footprints[-1])
    if (pauses := returns.assess_returns(known, splits, advance=advance)) is not None:
        whole.returns.append(pauses)
        returns.show(console, pauses)

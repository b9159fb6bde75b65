"""Plays runs against servers in virtual time, with the very same scheduler as the daemon's.

Closed loop: a node is ready when its parents have ended here, plus the recorded time of
tools and people; never at the recorded instant. The scheduler is told what a client
would tell it, when it would: no length, branch or label of the future.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

from headway.core.facts import Event
from headway.core.pool import Pool
from headway.core.protocols import Foresight, Policy, Release, Wait
from headway.core.scheduler import Scheduler
from headway.core.view import View
from headway.policy import make_policy
from headway.sim.luck import Luck
from headway.sim.outcomes import CellOutcome
from headway.sim.plans import Planned, Rules
from headway.sim.playing import Playing
from headway.sim.pools import SimPool
from headway.sim.trace import TraceRun

__all__ = ["Planned", "Rules", "play", "rehearse"]
REHEARSAL_GAP_S = 600.0
"""Between the starts of runs in a rehearsal: they hardly ever meet."""


class _Timed:
    """A policy whose work is timed on the wall clock; the rest is the policy's own.

    `spent` gets, for each release, all that the policy took since the one before: looks that
    released nothing and what it learned from events included.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float], spent: list[float]) -> None:
        self.name = policy.name
        self.binds_early = policy.binds_early
        self._policy: Any = policy
        self._clock = clock
        self._spent = spent
        self._since = 0.0
        for method in ("snapshot", "restore", "worth_retrying"):
            if (found := getattr(policy, method, None)) is not None:
                setattr(self, method, found)
        if hasattr(policy, "heed"):
            self.heed = self._heed

    def choose(self, view: View) -> Release | Wait | None:
        """What the policy chooses."""
        began = self._clock()
        chosen: Release | Wait | None = self._policy.choose(view)
        self._since += self._clock() - began
        if isinstance(chosen, Release):
            self._spent.append(self._since)
            self._since = 0.0
        return chosen

    def _heed(self, event: Event, view: View) -> None:
        began = self._clock()
        self._policy.heed(event, view)
        self._since += self._clock() - began


def play(  # noqa: PLR0913  # all that a cell is made of, each by its name
    planned: Sequence[Planned],
    *,
    pool: SimPool,
    belief: Pool,
    policy: Policy,
    foresight: Foresight,
    luck: Luck,
    rules: Rules,
    learned: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
    clock: Callable[[], float] | None = None,
) -> CellOutcome:
    """Play the runs to their end. Same arguments, same outcome (but for `planner_s`).

    `progress` is told now and then how many runs have ended; with a `clock` (seconds) each
    decision of the policy is timed. Raises `ConfigError` for runs that the pool cannot hold.
    """
    spent: list[float] = []
    scheduler = Scheduler(
        belief,
        policy if clock is None else _Timed(policy, clock, spent),
        foresight=foresight,
        rng=random.Random(rules.seed),
        seed=rules.seed,
        learned=learned,
    )
    playing = Playing(planned, pool=pool, scheduler=scheduler, luck=luck, rules=rules)
    return playing.to_the_end(progress, planner_s=spent)


def rehearse(
    history: Sequence[TraceRun],
    *,
    pool: SimPool,
    belief: Pool,
    foresight: Foresight,
    luck: Luck,
    rules: Rules,
    attempts: int = 4,
    heeds: Policy | None = None,
) -> dict[str, Any]:
    """What a scheduler has learned once `history` ran, with no load, each call at a random model.

    A `Scheduler.snapshot()`; it is what all policies of a cell start from. The runs are
    known to `luck` by ``history/N``, N from 0. A policy that learns from events may heed them.
    """
    shuffle: Any = make_policy("shuffle-call")
    if heeds is not None:
        for method in ("heed", "snapshot", "restore"):
            setattr(shuffle, method, getattr(heeds, method))
    scheduler = Scheduler(
        belief,
        shuffle,
        foresight=foresight,
        rng=random.Random(rules.seed),
        seed=rules.seed,
    )
    planned = [
        Planned(
            id=f"history/{number}",
            run=run,
            arrival_s=number * REHEARSAL_GAP_S,
            alone_s=1.0,
            attempts=attempts,
        )
        for number, run in enumerate(history)
    ]
    Playing(planned, pool=pool, scheduler=scheduler, luck=luck, rules=rules).to_the_end()
    return scheduler.snapshot()

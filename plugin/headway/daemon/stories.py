"""Stories of ended runs that outlive their scheduler: a new journal file begins with a new one.

The scheduler tells of the runs that it knows; these are of those before it.
"""

from typing import Any, Protocol

from headway.core.errors import HeadwayError
from headway.core.story import could_mean
from headway.core.types import RunId

STORIES_KEPT = 200

Story = dict[str, Any]


class Storyteller(Protocol):
    """The part of a scheduler that stories come from."""

    def ended_runs(self) -> tuple[RunId, ...]:
        """Runs that are over and still known, oldest first."""

    def explain(self, run: str) -> Story:
        """The story of one run. Raises `HeadwayError` if it is not known."""


class Stories:
    """The newest `STORIES_KEPT` ended runs of the schedulers before the present one."""

    def __init__(self) -> None:
        self._kept: dict[str, Story] = {}
        self._last: Story | None = None

    def keep(self, leaving: Storyteller) -> None:
        """Keep what a scheduler that is replaced knows of ended runs."""
        for run in leaving.ended_runs()[-STORIES_KEPT:]:
            self._kept.pop(run, None)
            self._kept[run] = leaving.explain(run)
        while len(self._kept) > STORIES_KEPT:
            del self._kept[next(iter(self._kept))]
        last = _told(leaving, "last")
        if last is not None and last.get("state") == "ended":
            self._last = last

    def explain(self, present: Storyteller, run: str) -> Story:
        """The story of a run, whoever knows it. Raises `HeadwayError` if nobody does.

        ``last`` is the run that ended last; only without one it is a run that is still open.
        """
        told = _told(present, run)
        if run == "last":
            ended = told is not None and told.get("state") == "ended"
            return (told if ended else self._last or told) or present.explain(run)
        if told is not None and (told.get("run") == run or run not in self._kept):
            return told
        if run in self._kept:
            return self._kept[run]
        alike = [name for name in self._kept if could_mean(run, name)]
        if len(alike) > 1:
            raise HeadwayError(f"{run!r} could be {', '.join(alike[-5:])}: say more of it")
        return self._kept[alike[0]] if alike else present.explain(run)


def _told(teller: Storyteller, run: str) -> Story | None:
    try:
        return teller.explain(run)
    except HeadwayError:
        return None

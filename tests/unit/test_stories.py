"""Stories of ended runs are kept over schedulers, the newest of them only."""

from typing import Any

import pytest

from headway.core.errors import HeadwayError
from headway.core.types import RunId
from headway.daemon.stories import STORIES_KEPT, Stories


class Teller:
    """Knows the ended runs that it was given, oldest first."""

    def __init__(self, *runs: str) -> None:
        self._runs = runs

    def ended_runs(self) -> tuple[RunId, ...]:
        return tuple(map(RunId, self._runs))

    def explain(self, run: str) -> dict[str, Any]:
        known = self._runs[-1:] if run == "last" else [one for one in self._runs if one == run]
        if not known:
            raise HeadwayError(f"no run {run!r}")
        return {"run": known[0], "state": "ended", "told_by": self}


def test_only_the_newest_are_kept() -> None:
    stories, nobody = Stories(), Teller()
    for number in range(STORIES_KEPT + 5):
        stories.keep(Teller(f"r{number:03d}"))
    assert stories.explain(nobody, "r005")["run"] == "r005"
    with pytest.raises(HeadwayError, match="no run 'r004'"):
        stories.explain(nobody, "r004")
    assert stories.explain(nobody, "last")["run"] == f"r{STORIES_KEPT + 4:03d}"


def test_who_knows_a_run_now_tells_of_it() -> None:
    stories, present = Stories(), Teller("old")
    stories.keep(Teller("old", "older"))
    assert stories.explain(present, "old")["told_by"] is present
    assert stories.explain(present, "last")["told_by"] is present
    assert stories.explain(present, "older")["run"] == "older"


def test_a_beginning_that_means_several_is_refused() -> None:
    stories = Stories()
    stories.keep(Teller("aa1", "aa2", "b"))
    with pytest.raises(HeadwayError, match="could be aa1, aa2"):
        stories.explain(Teller(), "aa")
    assert stories.explain(Teller(), "aa1")["run"] == "aa1"

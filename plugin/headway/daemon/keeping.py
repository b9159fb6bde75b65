"""`Keeper`: keeps what the scheduler learned in its file, and takes it out again at the start.

A disk that fails is told of once; learning and scheduling go on without it.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from headway.core.lessons import teach
from headway.daemon.learned import Kept, LearnedStore, of_journals
from headway.daemon.shell import Shell
from headway.predict.foresight import OnlineForesight

log = logging.getLogger("headway.daemon")

MOST_LESSONS = 20_000
"""After a snapshot: more of them would make the next start take more than some seconds."""


class Keeper:
    """One daemon's memory. `learned` is what it begins with, None for nothing.

    `journal` is where that is looked for if the file at `path` holds nothing.
    """

    def __init__(self, path: Path, *, journal: Path | None, quality: dict[str, float]) -> None:
        self._path = path
        self._store: LearnedStore | None = None
        self._failed = False
        self._lessons = 0
        found = Kept(None, ())
        try:
            self._store = LearnedStore(path)
            found = self._store.found
        except (sqlite3.Error, OSError) as error:
            self._failing(error)
        self.learned = _caught_up(found, quality)
        if self.learned is None and journal is not None:
            self.learned = of_journals(journal)

    def note(self, shell: Shell) -> None:
        """Keep what was learned since the last time."""
        lessons = shell.take_lessons()
        if not lessons or self._store is None:
            return
        self._lessons += len(lessons)
        if self._lessons > MOST_LESSONS:
            self.save(shell)
            return
        try:
            self._store.add(lessons, shell.observed())
        except (sqlite3.Error, OSError) as error:
            self._failing(error)
            self._lessons = MOST_LESSONS  # what is missing now must come with a snapshot

    def save(self, shell: Shell) -> None:
        """Keep all of it."""
        try:
            snapshot = shell.snapshot()
        except Exception as error:
            log.error("a defect of Headway: no snapshot", exc_info=error)
            return
        shell.take_lessons()  # the snapshot holds them
        if self._store is None:
            return
        try:
            self._store.keep(snapshot)
        except (sqlite3.Error, OSError) as error:
            self._failing(error)
            return
        self._lessons, self._failed = 0, False

    def close(self) -> None:
        """Nothing is kept from now on."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _failing(self, error: Exception) -> None:
        if not self._failed:
            log.error("cannot keep what was learned in %s: %s", self._path, error)
        self._failed = True


def _caught_up(found: Kept, quality: dict[str, float]) -> dict[str, Any] | None:
    """The snapshot, had it been taken after the lessons; as it is if they cannot be taught."""
    if found.snapshot is None or not found.lessons:
        return found.snapshot
    try:
        foresight = OnlineForesight(quality)
        foresight.restore(found.snapshot["foresight"])
        teach(foresight, found.lessons)
        return {**found.snapshot, "foresight": foresight.snapshot()}
    except Exception as error:
        log.error("what was learned last cannot be taught again", exc_info=error)
        return found.snapshot

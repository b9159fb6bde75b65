"""`Keeper`: keeps what the scheduler learned in its file, and takes it out again at the start.

A disk that fails is told of once; learning and scheduling go on without it. What was missed then
comes with the next snapshot.
"""

import logging
import sqlite3
from pathlib import Path
from typing import Any

from headway.core.errors import JournalError
from headway.core.lessons import Lesson, teach
from headway.daemon.learned import Kept, LearnedStore
from headway.daemon.shell import Shell
from headway.predict.foresight import OnlineForesight
from headway.wire.journal import journals_in, read_journal

log = logging.getLogger("headway.daemon")

MOST_TO_TEACH = 20_000
"""Lessons after a snapshot, more of which would make the next start take more than some seconds."""
OF_TEXTS = 10
"""Other lessons that take as long to teach as one about what a prompt says."""


class Keeper:
    """One daemon's memory, in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: LearnedStore | None = None
        self._to_teach = 0
        self._whole_due = False
        """What is in the file cannot be added to: it lacks something."""
        self._failed = False

    def recall(self, journal: Path | None, quality: dict[str, float]) -> dict[str, Any] | None:
        """What was learned before; where the file has nothing, what the newest journal began with.

        None if nothing was.
        """
        found = Kept({}, ())
        try:
            store = LearnedStore(self._path)
            found, self._store = store.read(), store
        except (sqlite3.Error, OSError) as error:
            self._failing(error)
        self._to_teach = sum(map(_effort, found.lessons))
        learned = _caught_up(found, quality)
        if learned is None and journal is not None:
            return _of_journals(journal)
        return learned

    def refused(self) -> None:
        """What was recalled is of no use to the scheduler: it is not overwritten."""
        if self._store is not None:
            try:
                if self._store.read().parts:  # what was recalled may be of a journal
                    self._store.set_aside("of no use to this version")
            except (sqlite3.Error, OSError) as error:
                self._failing(error)

    def note(self, shell: Shell) -> None:
        """Keep what was learned since the last time."""
        lessons = shell.take_lessons()
        if not lessons or self._store is None or self._whole_due:
            return
        self._to_teach += sum(map(_effort, lessons))
        if self._to_teach > MOST_TO_TEACH:
            self.save(shell)
            return
        try:
            self._store.add(lessons, shell.observed())
        except Exception as error:  # noqa: BLE001 - what cannot be kept must end nothing
            self._whole_due = True
            self._failing(error)

    def save(self, shell: Shell) -> None:
        """Keep all of it."""
        self._whole_due = True
        try:
            shell.take_lessons()  # the snapshot holds them
            if self._store is None:
                self._store = LearnedStore(self._path)
                if self._store.read().parts:  # which nobody could tell at the start
                    self._store.set_aside("could not be read at the start")
            self._store.keep(shell.snapshot())
        except Exception as error:  # noqa: BLE001 - likewise
            self._failing(error)
            return
        self._to_teach, self._whole_due, self._failed = 0, False, False

    def close(self) -> None:
        """Nothing is kept from now on."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _failing(self, error: Exception) -> None:
        if self._failed:
            return
        self._failed = True
        if isinstance(error, sqlite3.Error | OSError):
            log.error("cannot keep what was learned in %s: %s", self._path, error)
        else:
            log.error("a defect of Headway: what was learned is not kept", exc_info=error)


def _effort(lesson: Lesson) -> int:
    return OF_TEXTS if lesson.about == "confidence" and lesson.query.features else 1


def _caught_up(found: Kept, quality: dict[str, float]) -> dict[str, Any] | None:
    """The snapshot, had it been taken after the lessons; as it is if they cannot be taught."""
    if not found.lessons:
        return found.parts or None
    try:
        foresight = OnlineForesight(quality)
        if "foresight" in found.parts:
            foresight.restore(found.parts["foresight"])
        teach(foresight, found.lessons)
        return {**found.parts, "foresight": foresight.snapshot()}
    except Exception as error:
        log.error("what was learned last cannot be taught again", exc_info=error)
        return found.parts or None


def _of_journals(folder: Path) -> dict[str, Any] | None:
    for journal in reversed(journals_in(folder)):
        try:
            return read_journal(journal).header.learned
        except JournalError as error:
            log.warning("%s", error)
    return None

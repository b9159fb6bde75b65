"""Replays a journal: a fresh scheduler is told the same, and should decide the same.

Under another policy the events stay what they were (the world does not answer
the new choices), so that is a judgement of choices, not of times.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headway.core.commands import AnyCommand, Grant
from headway.daemon.shell import MakeScheduler, Recipe, SchedulerLike, make_scheduler
from headway.wire.journal import Entry, JournalReader, digest_of, read_journal, without_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first event (from 1) after which other commands came. Lists are without scores."""

    number: int
    entry: Entry
    recorded: tuple[AnyCommand, ...]
    redecided: tuple[AnyCommand, ...]
    error: str = ""

    @property
    def only_scores(self) -> bool:
        """Whether the commands are the same but for the candidates' scores."""
        return self.recorded == without_scores(self.redecided)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How a replay went."""

    events: int
    decisions: int
    difference: Difference | None
    cut_at: int | None
    cut_why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Decisions of the record against those of another policy, told the same events.

    `other_endpoint` chose differently, `never` were not released by the other
    policy, `only_there` only by it.
    """

    policy: str
    events: int
    decisions: int
    other_endpoint: int
    never: int
    only_there: int
    first: tuple[int, Grant, Grant] | None
    cut_at: int | None
    cut_why: str


def replay(path: Path, *, make: MakeScheduler = make_scheduler) -> Replayed:
    """Decide a journal again, up to the first difference. Raises `JournalError`, `ConfigError`."""
    reader = read_journal(path)
    scheduler = make(Recipe.of(reader.header))
    events = decisions = 0
    difference = None
    for entry, commands, error in _told(reader, scheduler):
        events += 1
        decisions += sum(isinstance(command, Grant) for command in entry.commands)
        if digest_of(commands) != entry.digest or bool(error) != bool(entry.error):
            difference = Difference(
                number=events,
                entry=entry,
                recorded=entry.commands,
                redecided=commands,
                error=error,
            )
            break
    return Replayed(
        events=events,
        decisions=decisions,
        difference=difference,
        cut_at=reader.cut_at,
        cut_why=reader.cut_why,
    )


def compare(
    path: Path,
    policy: str,
    params: dict[str, Any] | None = None,
    *,
    make: MakeScheduler = make_scheduler,
) -> Compared:
    """What another policy would have chosen. Raises `JournalError`, `ConfigError`."""
    reader = read_journal(path)
    recipe = replace(Recipe.of(reader.header), policy=policy, params=params or {})
    scheduler = make(recipe)
    was: dict[tuple[str, int], tuple[int, Grant]] = {}
    would: dict[tuple[str, int], Grant] = {}
    events = 0
    for entry, commands, _ in _told(reader, scheduler):
        events += 1
        for command in entry.commands:
            if isinstance(command, Grant):
                was.setdefault((command.call, command.attempt), (events, command))
        for command in commands:
            if isinstance(command, Grant):
                would.setdefault((command.call, command.attempt), command)
    pairs = [(number, old, would.get(key)) for key, (number, old) in was.items()]
    changed = [
        (number, old, new)
        for number, old, new in pairs
        if new is not None and new.endpoint != old.endpoint
    ]
    return Compared(
        policy=policy,
        events=events,
        decisions=len(was),
        other_endpoint=len(changed),
        never=sum(new is None for _, _, new in pairs),
        only_there=sum(key not in was for key in would),
        first=changed[0] if changed else None,
        cut_at=reader.cut_at,
        cut_why=reader.cut_why,
    )


def _told(
    reader: JournalReader, scheduler: SchedulerLike
) -> Iterator[tuple[Entry, tuple[AnyCommand, ...], str]]:
    """Each entry with what the scheduler commands (and raises) now, as the shell would have it."""
    for entry in reader.entries():
        commands: tuple[AnyCommand, ...] = ()
        error = ""
        try:
            commands = scheduler.handle(entry.event)
        except Exception as raised:  # noqa: BLE001 - the daemon lived through it, so does a replay
            error = f"{type(raised).__name__}: {raised}"
            commands = scheduler.made()
        yield entry, commands, error

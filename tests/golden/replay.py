"""Replays a golden journal on a fresh scheduler and says where it first differs."""

from itertools import zip_longest
from pathlib import Path

import msgspec

from headway.core.commands import AnyCommand
from headway.policy import make_scheduler
from headway.wire.journal import digest_of, read_journal, without_scores


def _told(command: AnyCommand | None) -> str:
    return "nothing" if command is None else msgspec.json.encode(command).decode()


def first_difference(path: Path) -> str:
    """What differs first, for people; empty if all decisions are as recorded."""
    reader = read_journal(path)
    header = reader.header
    scheduler = make_scheduler(
        header.pool, policy=header.policy, params=header.params, seed=header.seed
    )
    for number, entry in enumerate(reader.entries(), 1):
        commands = scheduler.handle(entry.event)
        if digest_of(commands) == entry.digest:
            continue
        lines = [f"event {number}: {msgspec.json.encode(entry.event).decode()}"]
        for was, now in zip_longest(entry.commands, without_scores(commands)):
            if was != now:
                lines += [f"  recorded {_told(was)}", f"  now      {_told(now)}"]
        if len(lines) == 1:
            lines += ["  only the scores differ; now", *(f"  {_told(one)}" for one in commands)]
        return "\n".join(lines)
    if reader.cut_at is not None:
        return f"the journal is cut at byte {reader.cut_at}: {reader.cut_why}"
    return ""

"""The journal of a living daemon: replay, rotation, damage; and what is learned, kept."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headway.cli.up import ready_line
from headway.core.commands import AnyCommand, Grant, SetTimer
from headway.core.facts import CallEnded, Event
from headway.core.types import RunId
from headway.daemon.files import learned_path
from headway.daemon.replay import compare, replay
from headway.daemon.shell import Recipe, make_scheduler
from headway.wire.journal import (
    Entry,
    encode_record,
    journals_in,
    read_journal,
)
from headway.wire.messages import Granted
from tests.support.daemons import Peer, call, process, running, until
from tests.support.fake_scheduler import FakeScheduler


async def work(peer: Peer, calls: int, first: int = 1) -> None:
    """Calls from asking to the end."""
    for number in range(first, first + calls):
        ask = call(number, graph="hold" if number % 5 == 0 else "g")
        peer.send(ask)
        await peer.of(Granted)
        peer.send(CallEnded(call=ask.call, attempt=1, run=ask.run, duration_s=0.5))


async def recorded(folder: Path, calls: int = 12) -> Path:
    async with running(folder) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        await work(peer, calls)
        path = Path((await peer.query("journal")).body["path"])
        await peer.close()
        await until(lambda: daemon.clients == 0)
    return path


async def test_a_replay_decides_the_same(tmp_path: Path) -> None:
    path = await recorded(tmp_path)
    result = replay(path, make=FakeScheduler)
    assert result.difference is None
    assert result.cut_at is None
    assert result.decisions == 12
    assert result.events > 24


async def test_a_replay_finds_the_first_altered_decision(tmp_path: Path) -> None:
    path = await recorded(tmp_path)
    reader = read_journal(path)
    data = encode_record(reader.header)
    grants = 0
    altered_at = 0
    for number, entry in enumerate(reader.entries(), start=1):
        grants += any(isinstance(command, Grant) for command in entry.commands)
        if grants == 3 and not altered_at:
            altered_at = number
            entry = Entry(event=entry.event, digest=b"x" * 8, commands=())
        data += encode_record(entry)
    path.write_bytes(data)
    difference = replay(path, make=FakeScheduler).difference
    assert difference is not None
    assert difference.number == altered_at
    assert difference.recorded == ()
    assert isinstance(difference.redecided[0], Grant)
    assert not difference.only_scores


async def test_another_seed_of_learning_is_found_out(tmp_path: Path) -> None:
    path = await recorded(tmp_path)

    def other(recipe: Recipe) -> FakeScheduler:
        scheduler = FakeScheduler(recipe)
        scheduler.seen += 1
        return scheduler

    difference = replay(path, make=other).difference
    assert difference is not None
    assert len(difference.recorded) == len(difference.redecided) == 1


async def test_another_policy_is_compared_by_its_choices(tmp_path: Path) -> None:
    path = await recorded(tmp_path)
    same = compare(path, "least-busy", make=FakeScheduler)
    assert (same.decisions, same.other_endpoint, same.never, same.only_there) == (12, 0, 0, 0)
    other = compare(path, "fcfs", make=FakeScheduler)
    assert (other.decisions, other.other_endpoint, other.never) == (12, 12, 0)
    assert other.first is not None
    _, was, would = other.first
    assert (was.endpoint, would.endpoint) == ("a", "b")


async def test_a_cut_journal_replays_to_the_cut(tmp_path: Path) -> None:
    path = await recorded(tmp_path)
    whole = replay(path, make=FakeScheduler).events
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    result = replay(path, make=FakeScheduler)
    assert result.difference is None
    assert result.events == whole - 1
    assert result.cut_at is not None
    assert "are left" in result.cut_why


async def test_every_file_of_a_rotation_replays_alone(tmp_path: Path) -> None:
    async with running(tmp_path, journal_bytes=4000, journal_keep=1000) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        await work(peer, 60)
        folder = daemon.options.journal
    assert folder is not None
    files = journals_in(folder)
    assert len(files) > 3
    results = [replay(path, make=FakeScheduler) for path in files]
    assert [result.difference for result in results] == [None] * len(files)
    assert sum(result.decisions for result in results) == 60
    learned = [read_journal(path).header.learned for path in files]
    assert learned[0] is None
    assert learned[-1] is not None
    assert learned[-1]["seen"] > 0


async def test_what_is_held_survives_a_rotation_and_is_granted_once(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(1, graph="hold"))
        await until(lambda: daemon.shell.events == 1)
        daemon.shell.rebase()
        granted = [await peer.of(Granted)]
        peer.send(call(2))
        granted.append(await peer.of(Granted))
        assert [each.call for each in granted] == ["c1", "c2"]
        folder = daemon.options.journal
    assert folder is not None
    last = list(read_journal(journals_in(folder)[-1]).entries())
    assert last[0].event.fact == call(1, graph="hold")


async def test_a_scheduler_that_cannot_be_told_anew_goes_on_without_a_journal(
    tmp_path: Path,
) -> None:
    class Stubborn(FakeScheduler):
        def open_facts(self, at: float) -> tuple[()]:
            raise RuntimeError("no")

    async with running(tmp_path, make=Stubborn, journal_bytes=1000) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        await work(peer, 20)
        status = (await peer.query("status")).body["daemon"]
        assert "no journal any more" in status["journal_error"]
        assert "journal any more" in (await peer.query("journal")).error


async def test_a_disk_that_fails_ends_the_journal_not_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        await work(peer, 1)

        def full(descriptor: int, data: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        daemon.shell.flush()
        monkeypatch.undo()
        assert daemon.shell.journal is None
        assert "No space left" in daemon.shell.journal_error
        await work(peer, 1, first=2)


async def test_learning_survives_a_clean_restart_and_a_damaged_file(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await work(await Peer.hello(daemon.options.socket), 4)
        await until(lambda: daemon.shell.snapshot()["seen"] == 4)
        path = learned_path(daemon.options.socket)
        assert "learned before" not in ready_line(daemon)
    async with running(tmp_path) as daemon:
        assert "with what was learned before" in ready_line(daemon)
        assert daemon.shell.snapshot() == {"seen": 4}
        assert daemon.shell.recipe.learned == {"seen": 4}
    path.write_bytes(b"damage" + path.read_bytes()[6:])
    async with running(tmp_path) as daemon:  # the newest journal began with it
        assert daemon.shell.snapshot() == {"seen": 4}
    path.unlink()
    async with running(tmp_path, journal=None) as daemon:
        assert daemon.shell.snapshot() == {"seen": 0}


async def test_a_second_stop_touches_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await work(await Peer.hello(daemon.options.socket), 1)
        await until(lambda: daemon.shell.snapshot()["seen"] == 1)
        path = learned_path(daemon.options.socket)
        await daemon.stop()
        before = {each: each.stat().st_mtime_ns for each in path.parent.iterdir()}
    assert {each: each.stat().st_mtime_ns for each in path.parent.iterdir()} == before
    assert parts_in(path) == [("seen", b"\x01")]


async def test_learning_is_kept_now_and_then_without_a_stop(tmp_path: Path) -> None:
    async with running(tmp_path, flush_s=0.01, save_s=0.02) as daemon:
        await work(await Peer.hello(daemon.options.socket), 2)
        path = learned_path(daemon.options.socket)
        await until(lambda: path.exists() and parts_in(path) == [("seen", b"\x02")])
        assert path.stat().st_mode & 0o777 == 0o600


async def test_a_daemon_that_is_killed_has_forgotten_next_to_nothing(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "headway.sock"
    with process(tmp_path, "--no-journal") as killed:
        peer = await Peer.hello(socket)
        for number in range(30):
            peer.send(ask := call(number))
            await peer.of(Granted)
            ended = CallEnded(call=ask.call, attempt=1, run=ask.run, output_tokens=70)
            peer.send(ended)
        await until(lambda: len(lessons_in(learned_path(socket))) >= 30)
        killed.kill()
        killed.wait()
        peer.writer.close()
    async with running(tmp_path, make=make_scheduler, journal=None) as daemon:
        learned = daemon.shell.recipe.learned
        assert learned is not None
        assert learned["foresight"]["output_tokens"]["sketch"]["windows"][0][1] == 30  # all of them
        assert lessons_in(learned_path(socket)) == []  # they are in the snapshot now


def rows_in(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as file:
        try:
            return file.execute(query).fetchall()
        except sqlite3.OperationalError:  # not yet there, or just being written
            return []


def lessons_in(path: Path) -> list[tuple[object, ...]]:
    return rows_in(path, "SELECT number FROM lessons")


def parts_in(path: Path) -> list[tuple[object, ...]]:
    return rows_in(path, "SELECT name, body FROM parts")


async def test_learning_that_the_scheduler_refuses_is_left_out(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        await work(await Peer.hello(daemon.options.socket), 1)
        await until(lambda: daemon.shell.snapshot()["seen"] == 1)

    class Picky(FakeScheduler):
        def __init__(self, recipe: Recipe) -> None:
            if recipe.learned:
                raise KeyError("another shape")
            super().__init__(recipe)

    async with running(tmp_path, make=Picky) as daemon:
        assert daemon.shell.snapshot() == {"seen": 0}


async def test_an_event_that_raised_is_recorded_and_replays(tmp_path: Path) -> None:
    async with running(tmp_path) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(1, graph="raise"))
        assert (await peer.of(Granted)).endpoint == ""
        path = Path((await peer.query("journal")).body["path"])
    result = replay(path, make=FakeScheduler)
    assert result.difference is None
    entry = next(iter(read_journal(path).entries()))
    assert "RuntimeError" in entry.error
    assert entry.event.fact == call(1, graph="raise")
    assert RunId("r1") == "r1"


class HalfWay(FakeScheduler):
    """Has made a command by the time it raises."""

    def made(self) -> tuple[AnyCommand, ...]:
        return self.half

    def handle(self, event: Event) -> tuple[AnyCommand, ...]:
        self.half: tuple[AnyCommand, ...] = (SetTimer(timer="later", at=event.at + 60.0),)
        return super().handle(event)


async def test_what_was_commanded_before_it_raised_replays_too(tmp_path: Path) -> None:
    async with running(tmp_path, make=HalfWay) as daemon:
        peer = await Peer.hello(daemon.options.socket)
        peer.send(call(1, graph="raise"))
        await peer.of(Granted)
        path = Path((await peer.query("journal")).body["path"])
    (entry, *_) = read_journal(path).entries()
    assert entry.error and len(entry.commands) == 1
    assert replay(path, make=HalfWay).difference is None

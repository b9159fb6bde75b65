"""What is kept of what was learned: the file, lessons beyond its snapshot, and damage."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from headway.core.lessons import Lesson, teach
from headway.core.past import Past
from headway.core.protocols import Query
from headway.daemon import keeping
from headway.daemon.keeping import Keeper
from headway.daemon.learned import Kept, LearnedStore
from headway.predict.foresight import OnlineForesight

QUALITY = {"small": 0.6, "large": 0.9}


def lessons(first: int, count: int) -> list[Lesson]:
    """Of runs of three nodes each: lengths, what was left, pauses, judgements."""
    found: list[Lesson] = []
    for number in range(first, first + count):
        for place in range(3):
            query = Query(
                graph="g",
                node=f"n{place}",
                model="small",
                run=f"r{number}",
                step=place + 1,
                prompt_tokens=100,
                features=(1, 5, 9),
                past=Past(position=place),
            )
            found.append(Lesson(about="output_tokens", query=query, value=50.0 + number))
            node = msgspec.structs.replace(query, model="")
            found.append(Lesson(about="rest_s", query=node, value=9.0 - place))
            found.append(Lesson(about="rest_tokens", query=node, value=90.0 - place))
            found.append(Lesson(about="rest_calls", query=node, value=3.0 - place))
            found.append(
                Lesson(
                    about="confidence",
                    query=query,
                    value=float(number % 3 > 0),
                    source="feedback",
                    failed=("large",) if number % 5 == 0 else (),
                )
            )
        pause = Query(graph="g", node="tool search")
        found.append(Lesson(about="return_s", query=pause, value=2.0))
        found.append(Lesson(about="prefix_share", query=pause, value=0.5))
    return found


def taught(*those: Lesson) -> OnlineForesight:
    foresight = OnlineForesight(QUALITY)
    teach(foresight, those)
    return foresight


def plain(snapshot: object) -> object:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot))


class Taught:
    """What a keeper asks of a shell."""

    def __init__(self, *new: Lesson, snapshot: dict[str, Any] | None = None) -> None:
        self.new, self.whole, self.snapshots = list(new), snapshot or {"foresight": {}}, 0

    def take_lessons(self) -> list[Lesson]:
        taken, self.new = self.new, []
        return taken

    def observed(self) -> dict[str, Any]:
        return {"speeds": [["a", 0.5, 3]]}

    def snapshot(self) -> dict[str, Any]:
        self.snapshots += 1
        return self.whole


def shell(*new: Lesson, snapshot: dict[str, Any] | None = None) -> Any:
    return Taught(*new, snapshot=snapshot)


def kept(path: Path) -> Kept:
    store = LearnedStore(path)
    found = store.read()
    store.close()
    return found


def filled(path: Path, foresight: dict[str, Any], *new: Lesson) -> Path:
    """A file with a snapshot, and lessons beyond it."""
    store = LearnedStore(path)
    store.keep({"foresight": foresight})
    store.add(new, {})
    store.close()
    return path


def recalled(path: Path) -> dict[str, Any] | None:
    keeper = Keeper(path)
    learned = keeper.recall(None, QUALITY)
    keeper.close()
    return learned


def test_lessons_beyond_a_snapshot_are_as_good_as_a_later_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    early, late = lessons(0, 30), lessons(30, 30)
    keeper = Keeper(path)
    assert keeper.recall(None, QUALITY) is None
    keeper.save(shell(*early, snapshot={"foresight": taught(*early).snapshot(), "speeds": []}))
    for start in range(0, len(late), 7):
        keeper.note(shell(*late[start : start + 7]))
    # nobody closes it: the daemon was killed
    learned = recalled(path)
    assert learned is not None
    assert plain(learned["foresight"]) == plain(taught(*early, *late).snapshot())
    assert learned["speeds"] == [["a", 0.5, 3]]


def test_lessons_without_any_snapshot_are_taught_too(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    keeper = Keeper(path)
    keeper.recall(None, QUALITY)
    keeper.note(shell(*lessons(0, 5)))
    learned = recalled(path)
    assert learned is not None
    assert plain(learned["foresight"]) == plain(taught(*lessons(0, 5)).snapshot())


def test_a_snapshot_takes_the_place_of_lessons(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    store = LearnedStore(path)
    assert store.read() == ({}, ())
    store.add(lessons(0, 2), {})
    store.keep({"foresight": {"a": 1}})
    store.close()
    assert kept(path) == ({"foresight": {"a": 1}}, ())
    assert path.stat().st_mode & 0o777 == 0o600


def changed(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(statement)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE parts SET body = x'00'",
        "UPDATE parts SET body = 'a text'",
        "UPDATE parts SET body = 7",
        "UPDATE parts SET checksum = 'a text'",
        "UPDATE parts SET name = CAST(x'ff' AS TEXT)",
        "DROP TABLE parts",
        "ALTER TABLE lessons RENAME COLUMN body TO other",
        "PRAGMA user_version = 99",
    ],
)
def test_a_file_that_was_changed_is_set_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "learned.sqlite", {"a": 1}, *lessons(0, 1))
    changed(path, damage)
    was = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        assert kept(path) == ({}, ())
    assert "set aside as learned.sqlite.unused" in caplog.text
    assert path.with_name("learned.sqlite.unused").read_bytes() == was
    assert kept(path) == ({}, ())  # and the new one is good


def test_any_bit_may_turn(tmp_path: Path) -> None:
    """Whatever is damaged, a daemon starts: with what is sound, or with nothing."""
    rng, path = Random(4), tmp_path / "learned.sqlite"
    for _ in range(2):
        filled(path, {"a": 1}, *lessons(0, 3))
    whole = path.read_bytes()
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        found = kept(path)
        assert found.parts in ({}, {"foresight": {"a": 1}})
        assert found.lessons == tuple(lessons(0, 3))[: len(found.lessons)]
        LearnedStore(path).close()


def test_a_lesson_that_was_changed_costs_those_after_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "learned.sqlite", {"a": 1}, *lessons(0, 1))
    changed(path, "UPDATE lessons SET body = x'00' WHERE number = 4")
    assert kept(path) == ({"foresight": {"a": 1}}, tuple(lessons(0, 1))[:3])
    assert "after the 3th are lost" in caplog.text
    store = LearnedStore(path)
    store.add(lessons(0, 1)[:1], {})
    store.close()
    assert len(kept(path).lessons) == 4


def test_lessons_that_cannot_be_taught_leave_the_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = filled(tmp_path / "learned.sqlite", {"of": "another shape"}, *lessons(0, 1))
    assert recalled(path) == {"foresight": {"of": "another shape"}}
    assert "cannot be taught again" in caplog.text


def test_what_the_scheduler_refused_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    keeper = Keeper(path)
    keeper.recall(None, QUALITY)
    keeper.refused()  # there is nothing of ours to keep
    assert not path.with_name("learned.sqlite.unused").exists()
    keeper.save(shell(snapshot={"foresight": {"of": "another shape"}}))
    keeper.refused()
    keeper.save(shell(snapshot={"foresight": {}}))
    assert kept(path).parts == {"foresight": {}}
    assert kept(path.with_name("learned.sqlite.unused")).parts["foresight"]["of"]


def test_a_disk_that_fails_is_said_once_and_tried_again_with_the_next_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "away" / "learned.sqlite"
    keeper = Keeper(path)
    assert keeper.recall(None, QUALITY) is None
    for _ in range(3):
        keeper.note(shell(*lessons(0, 1)))
        keeper.save(shell())
    assert caplog.text.count("cannot keep what was learned") == 1
    path.parent.mkdir()
    keeper.save(shell(snapshot={"foresight": {"a": 1}}))
    assert kept(path).parts == {"foresight": {"a": 1}}
    keeper.note(shell(*lessons(0, 1)))
    assert len(kept(path).lessons) == len(lessons(0, 1))


def test_a_file_that_could_not_be_read_at_the_start_is_not_overwritten_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "learned.sqlite"
    filled(path, {"precious": 1})
    later = Keeper(path)
    with monkeypatch.context() as away:
        away.setattr(LearnedStore, "read", lambda _: (_ for _ in ()).throw(OSError(5, "I/O error")))
        assert later.recall(None, QUALITY) is None
    later.save(shell(snapshot={"foresight": {"new": 1}}))
    assert kept(path).parts == {"foresight": {"new": 1}}
    assert kept(path.with_name("learned.sqlite.unused")).parts == {"foresight": {"precious": 1}}


def test_somebody_who_holds_the_file_holds_nobody_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "learned.sqlite"
    keeper = Keeper(path)
    keeper.recall(None, QUALITY)
    keeper.save(shell())
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        told = shell(*lessons(0, 1))
        for _ in range(5):
            keeper.note(told)
            told.new = lessons(0, 1)
        assert told.snapshots == 0  # it waits for the next snapshot that is due anyway
        other.execute("ROLLBACK")
    assert caplog.text.count("database is locked") == 1
    keeper.save(shell(snapshot={"foresight": {"late": 1}}))
    assert kept(path) == ({"foresight": {"late": 1}}, ())


def test_what_no_file_can_hold_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    absurd = Query(graph="g", node="n", past=Past(outputs=2**70))
    keeper = Keeper(tmp_path / "learned.sqlite")
    keeper.recall(None, QUALITY)
    for _ in range(3):
        keeper.note(shell(Lesson(about="rest_s", query=absurd, value=1.0)))
    assert caplog.text.count("a defect of Headway") == 1
    keeper.save(shell(snapshot={"foresight": {"a": 1}}))
    assert kept(tmp_path / "learned.sqlite").parts == {"foresight": {"a": 1}}


def test_many_lessons_become_a_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST_TO_TEACH", 400)
    path = tmp_path / "learned.sqlite"
    keeper = Keeper(path)
    keeper.recall(None, QUALITY)
    for number in range(30):
        one = shell(*lessons(number, 1), snapshot={"foresight": {"at": number}})
        keeper.note(one)
        if one.snapshots:
            break
    # of a run's 14 lessons three are about texts: 41
    assert number == 9 and kept(path) == ({"foresight": {"at": 9}}, ())

"""What is kept of what was learned: the file, lessons beyond its snapshot, and damage."""

import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest

from headway.core.lessons import Lesson, teach
from headway.core.past import Past
from headway.core.protocols import Query
from headway.daemon.keeping import Keeper
from headway.daemon.learned import LearnedStore
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


def test_lessons_beyond_a_snapshot_are_as_good_as_a_later_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    early, late = lessons(0, 30), lessons(30, 30)
    store = LearnedStore(path)
    store.keep({"foresight": taught(*early).snapshot(), "speeds": [["a", 1.0, 0]]})
    for start in range(0, len(late), 7):
        store.add(late[start : start + 7], {"speeds": [["a", 0.5, start]]})
    # nobody closes it: the daemon was killed
    keeper = Keeper(path, journal=None, quality=QUALITY)
    assert keeper.learned is not None
    assert plain(keeper.learned["foresight"]) == plain(taught(*early, *late).snapshot())
    assert keeper.learned["speeds"] == [["a", 0.5, 7 * ((len(late) - 1) // 7)]]
    keeper.close()


def test_a_snapshot_takes_the_place_of_lessons(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    store = LearnedStore(path)
    assert store.found == (None, ())
    store.add(lessons(0, 2), {})
    store.keep({"foresight": {"a": 1}})
    store.close()
    assert LearnedStore(path).found == ({"foresight": {"a": 1}}, ())
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("table", ["parts", "lessons"])
def test_a_row_that_was_changed_sets_the_file_aside(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "learned.sqlite"
    store = LearnedStore(path)
    store.keep({"foresight": {"a": 1}})
    store.add(lessons(0, 1), {})
    store.close()
    with sqlite3.connect(path) as file:
        file.execute(f"UPDATE {table} SET body = x'00'")  # a name of this test
    with caplog.at_level(logging.WARNING):
        assert LearnedStore(path).found == (None, ())
    assert "is damaged (the checksum of" in caplog.text
    assert path.with_name("learned.sqlite.damaged").exists()


def test_a_file_that_is_none_of_ours_is_set_aside_too(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    path.write_bytes(b"a text of some length that is no database at all" * 100)
    assert LearnedStore(path).found == (None, ())
    assert LearnedStore(path).found == (None, ())  # and the new one is good


def test_a_file_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "learned.sqlite"
    store = LearnedStore(path)
    store.keep({"foresight": {"a": 1}})
    store.close()
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version = 99")
    assert LearnedStore(path).found == (None, ())


def test_lessons_that_cannot_be_taught_leave_the_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "learned.sqlite"
    store = LearnedStore(path)
    store.keep({"foresight": {"of": "another shape"}})
    store.add(lessons(0, 1), {})
    store.close()
    keeper = Keeper(path, journal=None, quality=QUALITY)
    assert keeper.learned == {"foresight": {"of": "another shape"}}
    assert "cannot be taught again" in caplog.text


def test_a_place_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keeper = Keeper(tmp_path / "no such folder" / "learned", journal=None, quality=QUALITY)
    assert keeper.learned is None
    assert caplog.text.count("cannot keep what was learned") == 1

"""The journal: what is written is read; what is damaged is told."""

import stat
from pathlib import Path

import pytest

from headway.core.commands import AnyCommand, Grant, Score, SetTimer
from headway.core.errors import JournalError
from headway.core.facts import CallEnded, ClientLost, Event, PoolSet
from headway.core.pool import EndpointSpec, Pool, PoolName
from headway.core.types import CallId, ClientId, EndpointId, RunId
from headway.wire.journal import (
    JOURNAL_FORMAT,
    Header,
    JournalReader,
    JournalWriter,
    digest_of,
    encode_entry,
    encode_record,
    journals_in,
    read_journal,
)
from tests.support.daemons import call

POOL = Pool(
    endpoints=(EndpointSpec(id=EndpointId("a"), url="http://h/v1", model="m"),),
    names=(PoolName(name="agent", models=("m",)),),
    mode="shadow",
)
HEADER = Header(
    format=JOURNAL_FORMAT,
    headway="0.1.0",
    pool=POOL,
    policy="headway",
    params={"tau": 0.5},
    seed=3,
    learned={"nodes": {"write": [1.5, 2]}},
)


def grant(cost_s: float = 1.0) -> Grant:
    return Grant(
        client=ClientId("x#1"),
        call=CallId("c1"),
        attempt=1,
        run=RunId("r1"),
        endpoint=EndpointId("a"),
        model="m",
        urgency=0.25,
        held_s=0.5,
        why="alone",
        scores=(Score(endpoint=EndpointId("a"), cost_s=cost_s),),
    )


def events() -> list[tuple[Event, tuple[AnyCommand, ...]]]:
    client = ClientId("x#1")
    return [
        (Event(at=1.25, fact=call(), client=client), (grant(), SetTimer(timer="wake", at=9.0))),
        (Event(at=2.5, fact=CallEnded(call=CallId("c1"), attempt=1, run=RunId("r1"))), ()),
        (Event(at=3.0, fact=PoolSet(pool=POOL)), ()),
        (Event(at=4.0, fact=ClientLost(), client=client), ()),
    ]


def whole() -> bytes:
    return encode_record(HEADER) + b"".join(encode_entry(e, c) for e, c in events())


def test_what_was_written_is_read() -> None:
    reader = JournalReader(whole())
    assert reader.header == HEADER
    entries = list(reader.entries())
    assert [entry.event for entry in entries] == [event for event, _ in events()]
    assert [entry.digest for entry in entries] == [digest_of(c) for _, c in events()]
    assert reader.cut_at is None
    first = entries[0].commands[0]
    assert isinstance(first, Grant)
    assert (first.endpoint, first.scores) == ("a", ())


def test_the_digest_covers_scores() -> None:
    assert digest_of((grant(1.0),)) != digest_of((grant(1.0000001),))
    assert digest_of((grant(),)) == digest_of((grant(),))


def test_cut_anywhere_the_whole_records_are_read_and_the_place_is_told() -> None:
    data = whole()
    starts = [len(encode_record(HEADER))]
    for event, commands in events():
        starts.append(starts[-1] + len(encode_entry(event, commands)))
    for end in range(starts[0], len(data)):
        reader = JournalReader(data[:end])
        kept = len(list(reader.entries()))
        assert kept == max(n for n, start in enumerate(starts) if start <= end)
        assert reader.cut_at == (None if end in starts else starts[kept])
    for end in range(starts[0]):
        with pytest.raises(JournalError):
            JournalReader(data[:end])


def test_a_flipped_byte_ends_the_reading_there() -> None:
    data = bytearray(whole())
    start = len(encode_record(HEADER)) + len(encode_entry(*events()[0]))
    data[start + 12] ^= 1
    reader = JournalReader(bytes(data))
    assert len(list(reader.entries())) == 1
    assert reader.cut_at == start
    assert "checksum" in reader.cut_why


def test_another_format_names_the_version_to_use() -> None:
    old = Header(format=99, headway="9.9", pool=POOL, policy="headway")
    with pytest.raises(JournalError, match=r"format is 99.*headway 9\.9"):
        JournalReader(encode_record(old))


def test_no_journal_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    with pytest.raises(JournalError, match="cannot read"):
        read_journal(path)
    path.write_bytes(b"GET / HTTP/1.1\r\n\r\n" * 20)
    with pytest.raises(JournalError, match=r"x\.journal is not a journal"):
        read_journal(path)


def test_files_are_private_numbered_and_bounded(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    writer = JournalWriter(folder, max_bytes=1000, keep=2)
    writer.start(HEADER)
    for number in range(100):
        writer.append(Event(at=float(number), fact=ClientLost()), ())
        if writer.full:
            writer.start(HEADER)
    writer.close()
    kept = journals_in(folder)
    assert len(kept) == 2
    assert kept[0].name < kept[1].name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(kept[0].stat().st_mode) == 0o600
    for path in kept:
        reader = read_journal(path)
        assert list(reader.entries()) or path == kept[-1]
        assert reader.cut_at is None
        assert path.stat().st_size < 2000
    again = JournalWriter(folder, keep=2)
    assert again.start(HEADER) > kept[-1]
    again.close()


def test_nothing_is_on_disk_before_a_flush_and_all_of_it_after(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    path = writer.start(HEADER)
    writer.append(Event(at=1.0, fact=ClientLost()), ())
    assert list(read_journal(path).entries()) == []
    writer.flush()
    assert len(list(read_journal(path).entries())) == 1
    writer.close()


def test_a_header_larger_than_the_limit_does_not_rotate_for_ever(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, max_bytes=100)
    writer.start(HEADER)
    assert not writer.full
    writer.close()

"""What journals and labels teach a daemon that has not begun yet."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headway.core.errors import ConfigError, JournalError
from headway.core.prompts import features
from headway.core.protocols import Query
from headway.core.scheduler import Scheduler
from headway.daemon.modelfile import ModelFile, read_model, write_model
from headway.daemon.training import journal_files, learn_journal, learn_labels
from headway.policy import make_scheduler
from tests.support.journals import Recording
from tests.support.telling import endpoint, pool

POOL = pool(endpoint("a", seats=8), endpoint("b", "large", seats=8), quality={"small": 0.5})
PLACE = Query(graph="g", node="write", model="small")


def knows(learned: dict[str, Any]) -> Scheduler:
    return make_scheduler(POOL, policy="headway", learned=learned)


def recorded(folder: Path) -> list[Path]:
    """Twenty answers of 700 tokens, in two journals."""
    told = Recording(folder, POOL)
    for number in range(20):
        if number == 10:
            told.rotate(at=float(10 * number))
        call = f"c{number}"
        told.ready(call, run=call, at=float(10 * number), models=("small",))
        told.ended(call, output_tokens=700, at=10 * number + 5.0)
        told.run_ended(call)
    return told.paths


def test_journals_teach_what_was_recorded(tmp_path: Path) -> None:
    recorded(tmp_path)
    known = None
    for path in journal_files(tmp_path):
        known = learn_journal(path, known)
    assert known is not None
    found = knows(known).foresight.output_tokens.estimate(PLACE)
    assert found.samples == 20 and found.p50 == pytest.approx(700.0, rel=0.15)


def test_a_journal_alone_begins_with_what_it_began_with(tmp_path: Path) -> None:
    second = recorded(tmp_path)[1]
    found = knows(learn_journal(second, None)).foresight.output_tokens.estimate(PLACE)
    assert found.samples == 20


def test_where_there_is_no_journal_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no journal"):
        journal_files(tmp_path)
    nonsense = tmp_path / "x.journal"
    nonsense.write_bytes(b"nonsense")
    with pytest.raises(JournalError, match="not a journal"):
        learn_journal(nonsense, None)


def labels(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_labels_teach_confidence_by_model_and_by_text(tmp_path: Path) -> None:
    row = {"graph": "g", "node": "write", "model": "small"}
    easy, hard = "name a colour of the sky", "prove this deep theorem"
    rows = [
        {**row, "ok": number % 2 == 0, "text": easy if number % 2 == 0 else hard}
        for number in range(400)
    ]
    known, count = learn_labels(labels(tmp_path / "labels.jsonl", *rows), POOL, None)
    assert count == 400
    confidence = knows(known).foresight.confidence
    asked = [msgspec.structs.replace(PLACE, features=features(text)) for text in (easy, hard)]
    assert confidence.chance(asked[0]) > 0.8 > 0.2 > confidence.chance(asked[1])


def test_models_that_nobody_serves_are_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"graph": "g", "node": "write", "ok": True}
    rows = [{**row, "model": model} for model in ("small", "smal", "smal")]
    assert learn_labels(labels(tmp_path / "labels.jsonl", *rows), POOL, None)[1] == 3
    assert caplog.text.count("no endpoint serves 'smal'; did you mean `small`") == 1


def test_labels_that_contradict_each_other_are_a_rate(tmp_path: Path) -> None:
    row = {"graph": "g", "node": "write", "model": "small", "text": "the same"}
    rows = [{**row, "ok": ok} for ok in (True, False) * 100]
    known, _ = learn_labels(labels(tmp_path / "labels.jsonl", *rows), POOL, None)
    assert knows(known).foresight.confidence.chance(PLACE) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    "wrong", ['{"graph": "g"}', "nonsense", '{"graph": 1}', '{"grahp": "g"}', "\xff"]
)
def test_a_wrong_label_is_named_by_its_line(tmp_path: Path, wrong: str) -> None:
    path = labels(tmp_path / "labels.jsonl", {"graph": "g", "node": "n", "model": "m", "ok": True})
    with path.open("ab") as lines:
        lines.write(b"\n" + wrong.encode("latin-1") + b"\n")
    with pytest.raises(ConfigError, match=":3: no label"):
        learn_labels(path, POOL, None)


def test_a_file_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    path = tmp_path / "learned"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_model(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(ConfigError, match="not made by"):
        read_model(path)
    write_model(path, {"a": 1})
    assert read_model(path) == {"a": 1}
    stored = msgspec.msgpack.decode(path.read_bytes(), type=ModelFile)
    other = msgspec.structs.replace(stored, format=99)
    path.write_bytes(msgspec.msgpack.encode(other))
    with pytest.raises(ConfigError, match="of format 99"):
        read_model(path)
    path.write_bytes(msgspec.msgpack.encode(msgspec.structs.replace(stored, checksum=0)))
    with pytest.raises(ConfigError, match="damaged"):
        read_model(path)

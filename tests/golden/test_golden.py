"""The golden journals replay on each run: no decision changes without being meant."""

from pathlib import Path

import msgspec
import pytest

from headway.core.commands import Grant
from headway.policy import make_policy
from headway.wire.journal import Entry, JournalReader, encode_record
from tests.golden.record import RECORDED, golden
from tests.golden.replay import first_difference

POLICY = pytest.mark.parametrize("policy", RECORDED)


def grants_of(entry: Entry) -> list[Grant]:
    return [command for command in entry.commands if isinstance(command, Grant)]


@POLICY
def test_decides_as_recorded(policy: str) -> None:
    difference = first_difference(golden(policy))
    assert not difference, (
        f"{policy} decides otherwise than recorded. If that is meant: "
        f"python -m tests.golden.record {policy}\n{difference}"
    )


@POLICY
def test_a_changed_decision_is_found(policy: str, tmp_path: Path) -> None:
    reader = JournalReader(golden(policy).read_bytes())
    entries = list(reader.entries())
    granting = [n for n, one in enumerate(entries) if grants_of(one)]
    place = granting[len(granting) // 2]
    entries[place] = msgspec.structs.replace(entries[place], digest=b"another!", commands=())
    changed = tmp_path / "changed.golden"
    changed.write_bytes(b"".join(encode_record(one) for one in (reader.header, *entries)))
    difference = first_difference(changed)
    assert difference.startswith(f"event {place + 1}: ")
    assert "recorded nothing" in difference and '"command":"grant"' in difference


@POLICY
def test_a_golden_journal_holds_more_than_a_few_decisions(policy: str) -> None:
    entries = list(JournalReader(golden(policy).read_bytes()).entries())
    grants = [grant for entry in entries for grant in grants_of(entry)]
    assert len(entries) > 300 and len(grants) > 40
    # queues must have formed, or nothing was decided; early binders do not hold
    assert make_policy(policy).binds_early or any(grant.held_s > 1.0 for grant in grants)

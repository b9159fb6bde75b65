"""What a digest of the code covers."""

from pathlib import Path

import headway
from headway.sim.provenance import code_digest, played_files


def test_all_that_decides_a_cell_counts_and_the_report_does_not() -> None:
    names = [name for name, _ in played_files(Path(headway.__file__).parent)]
    expected = {
        "client/engines.py",  # ranks of urgency
        "core/scheduler.py",
        "policy/headway.py",
        "sim/playing.py",
        "wire/journal.py",  # what a recording is read with
    }
    assert expected <= set(names)
    assert not [name for name in names if name.startswith(("sim/report/", "daemon/"))]
    assert len(names) == len(set(names)) and len(code_digest()) == 16


def test_headway_may_be_installed_in_a_folder_called_report(tmp_path: Path) -> None:
    root = tmp_path / "report" / "headway"
    for name in ("core/calls.py", "sim/report/page.py"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("")
    assert [name for name, _ in played_files(root)] == ["core/calls.py"]

"""The how-to of a first program does what it says, with the emulator's file, as a user would."""

import os
import re
import subprocess
import sys
from pathlib import Path

from headway.cli.ask import Where, ask
from tests.integration.test_daemon_emulated import emulated, free_port
from tests.support.daemons import headway, process, write_config

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, language: str) -> str:
    found = re.search(
        rf"^```{language}\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE
    )
    assert found is not None
    return found[1]


def test_the_first_program_runs_and_is_scheduled(tmp_path: Path) -> None:
    config, program = (
        block("reference/emulator.md", "yaml"),
        block("how-to/first-program.md", "python"),
    )
    for port in ("8101", "8102", "8103"):
        free = str(free_port())
        config, program = config.replace(port, free), program.replace(port, free)
    (tmp_path / "first.py").write_text(program)
    where = Where(socket=tmp_path / "run" / "headway.sock")
    with emulated(write_config(tmp_path, config)), process(tmp_path, config=config):
        done = subprocess.run(
            [sys.executable, str(tmp_path / "first.py")],
            env={**os.environ, "HEADWAY_SOCKET": str(where.socket)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "20 runs are done\n"), done.stderr
        status = ask(where, "status")
        assert sum(one["served"] for one in status["endpoints"]) == 60
        assert sum(status["covered"].values()) == 60 and status["passed"] == []
        assert any(row["judged"] for row in status["forecasts"])
        told = headway("status", "--socket", where.socket).stdout
        assert "forecasts held against outcomes: output_tokens" in told
        story = headway("explain", "last", "--socket", where.socket).stdout
        assert "essay" in story and "review" in story

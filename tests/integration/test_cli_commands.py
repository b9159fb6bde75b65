"""The ``headway`` command against real daemons in processes of their own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.cli.ask import Connection, Where, ask
from headway.core.errors import DaemonUnreachable, HeadwayError
from headway.core.facts import CallEnded, NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.types import NodeId, RunId
from headway.wire.journal import journals_in, read_journal
from headway.wire.messages import Covered, Granted, Passed
from tests.support import bare
from tests.support.daemons import CONFIG, call, headway, process, until, write_config


def socket_in(folder: Path) -> Path:
    return folder / "run" / "headway.sock"


def one_run(folder: Path, number: int = 1) -> None:
    """A run of one node and one call, told by a client that then leaves."""
    ask_call = call(number)
    with Connection(Where(socket=socket_in(folder))) as client:
        client.send(RunStarted(run=ask_call.run, graph="g"))
        client.send(NodeStarted(run=ask_call.run, node=ask_call.node, name="write"))
        client.send(ask_call)
        while not isinstance(client.receive(), Granted):
            continue
        client.send(
            CallEnded(
                call=ask_call.call,
                attempt=1,
                run=ask_call.run,
                prompt_tokens=100,
                output_tokens=50,
                duration_s=0.4,
            )
        )
        client.send(NodeEnded(run=ask_call.run, node=NodeId(f"n{number}")))
        client.send(RunEnded(run=RunId(f"r{number}")))
        client.send(Covered(way="openai"))
        client.send(Passed(why="its base URL is not in the pool", target="http://other/v1"))


@pytest.fixture
def served() -> Iterator[str]:
    """`CONFIG` with endpoints that are up."""
    with bare.served() as config:
        yield config


def test_up_status_explain_mode_reload_and_replay(tmp_path: Path, served: str) -> None:
    here = ("--socket", socket_in(tmp_path))
    with process(tmp_path, config=served) as daemon:
        one_run(tmp_path)
        status = headway("status", *here)
        assert status.returncode == 0, status.stderr
        assert "on: decisions are applied" in status.stdout
        assert "policy least-busy" in status.stdout
        assert "covered calls: openai 1" in status.stdout
        assert "http://other/v1: its base URL is not in the pool" in status.stdout
        assert "pool name agent: small, large" in status.stdout

        explain = headway("explain", *here)
        assert explain.returncode == 0, explain.stderr
        assert "r1" in explain.stdout
        assert "call c1" in explain.stdout
        assert headway("explain", "no-such-run", *here).returncode == 1

        mode = headway("mode", "shadow", *here)
        assert (mode.returncode, mode.stdout) == (0, "headway: the mode is shadow\n")
        assert "shadow: decisions are made" in headway("status", *here).stdout
        assert headway("mode", "loud", *here).returncode == 2
        assert headway("mode", "on", *here).returncode == 0

        write_config(tmp_path, served.replace("least-busy", "fcfs"))
        reload = headway("reload", *here)
        assert reload.stdout == "headway: pool and policy changed, 2 endpoints\n"
        write_config(tmp_path, CONFIG + "modles: {}\n")
        broken = headway("reload", *here)
        assert broken.returncode == 1
        assert "did you mean `models`?" in broken.stderr
        one_run(tmp_path, 2)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
    assert not socket_in(tmp_path).exists()
    first, second = journals_in(tmp_path / "run" / "headway.sock.journal")
    for journal in (first, second):
        replayed = headway("replay", journal)
        assert replayed.returncode == 0, replayed.stdout
        assert "1 decisions: all the same" in replayed.stdout
    assert "1 decisions: all the same" in headway("replay", second.parent).stdout
    compared = headway("replay", first, "--policy", "fcfs")
    assert compared.returncode == 0
    assert re.search(r"\d of 1 decisions \(\d+%\) differ under fcfs", compared.stdout)
    wrong = headway("replay", first, "--policy", "fcsf")
    assert wrong.returncode == 2
    assert "fcfs" in wrong.stderr
    first.write_bytes(first.read_bytes()[:-2])
    assert "cut at byte" in headway("replay", first).stdout
    first.write_bytes(b"nonsense")
    damaged = headway("replay", first)
    assert damaged.returncode == 1
    assert "is not a journal" in damaged.stderr


def test_without_a_daemon_the_way_out_is_named(tmp_path: Path) -> None:
    result = headway("status", "--socket", tmp_path / "none.sock")
    assert result.returncode == 1
    assert "headway up" in result.stderr
    assert "Traceback" not in result.stderr


def test_mistakes_at_start_are_told_and_end_with_2(tmp_path: Path) -> None:
    config = write_config(tmp_path, CONFIG + "modles: {}\n")
    wrong = headway("up", "--config", config, "--socket", socket_in(tmp_path))
    assert wrong.returncode == 2
    assert f"{config}:7: modles: unknown key" in wrong.stderr
    config.write_text(CONFIG.replace("least-busy", "least-bussy"))
    wrong = headway("up", "--config", config, "--socket", socket_in(tmp_path))
    assert wrong.returncode == 2
    assert "least-busy" in wrong.stderr
    wrong = headway("up", "--config", tmp_path / "none.yaml", "--socket", socket_in(tmp_path))
    assert wrong.returncode == 2
    assert "--config" in wrong.stderr
    wrong = headway("up", "--config", config, "--tcp", "127.0.0.1:0")
    assert wrong.returncode == 2
    assert "--token-file" in wrong.stderr
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    wrong = headway(
        *("up", "--config", write_config(tmp_path), "--socket", socket_in(tmp_path)),
        *("--tcp", "127.0.0.1:0", "--token-file", empty),
    )
    assert wrong.returncode == 2
    assert "at least 16 characters" in wrong.stderr
    assert headway("no-such-command").returncode == 2
    assert "Traceback" not in wrong.stderr


def test_two_daemons_on_one_socket(tmp_path: Path) -> None:
    with process(tmp_path):
        config = tmp_path / "headway.yaml"
        second = headway("up", "--config", config, "--socket", socket_in(tmp_path))
        assert second.returncode == 1
        assert "another daemon (pid" in second.stderr
        assert headway("status", "--socket", socket_in(tmp_path)).returncode == 0


async def test_after_kill_9_the_socket_is_taken_over_and_the_journal_is_there(
    tmp_path: Path,
) -> None:
    with process(tmp_path) as daemon:
        one_run(tmp_path)
        (journal,) = journals_in(tmp_path / "run" / "headway.sock.journal")
        await until(lambda: b"run_ended" in journal.read_bytes())
        daemon.kill()
        daemon.wait(10)
    assert socket_in(tmp_path).exists()
    assert headway("status", "--socket", socket_in(tmp_path)).returncode == 1
    with process(tmp_path):
        assert headway("status", "--socket", socket_in(tmp_path)).returncode == 0
    assert headway("replay", journal).returncode == 0


def test_learning_survives_a_restart(tmp_path: Path) -> None:
    with process(tmp_path):
        one_run(tmp_path)
    with process(tmp_path):
        first, second = journals_in(tmp_path / "run" / "headway.sock.journal")
        assert read_journal(first).header.learned is None
        learned = read_journal(second).header.learned
        assert learned is not None
        assert "write" in str(learned)


def test_tcp_with_and_without_the_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-enough-characters\n")
    token.chmod(0o600)
    with process(tmp_path, "--tcp", "127.0.0.1:0", "--token-file", str(token)):
        port = ask(Where(socket=socket_in(tmp_path)), "status")["daemon"]["tcp"]
        right = headway("status", "--tcp", port, "--token-file", token)
        assert right.returncode == 0, right.stderr
        other = tmp_path / "other"
        other.write_text("another-secret-of-enough-characters\n")
        other.chmod(0o600)
        wrong = headway("mode", "off", "--tcp", port, "--token-file", other)
        assert wrong.returncode == 1
        assert "token" in wrong.stderr
        assert ask(Where(socket=socket_in(tmp_path)), "status")["mode"] == "on"
        token.chmod(0o644)
        assert "chmod 600" in headway("status", "--tcp", port, "--token-file", token).stderr


def test_no_journal(tmp_path: Path) -> None:
    with process(tmp_path, "--no-journal"):
        status = ask(Where(socket=socket_in(tmp_path)), "status")
        assert status["daemon"]["journal"] == ""
        with pytest.raises(HeadwayError, match="keeps no journal"):
            ask(Where(socket=socket_in(tmp_path)), "journal")
    assert not (tmp_path / "run" / "headway.sock.journal").exists()


def test_sighup_reloads_and_survives_a_wrong_file(tmp_path: Path) -> None:
    with process(tmp_path) as daemon:
        write_config(tmp_path, CONFIG + "modles: {}\n")
        daemon.send_signal(signal.SIGHUP)
        assert ask(Where(socket=socket_in(tmp_path)), "status")["mode"] == "on"


def test_shutdown_ends_the_process(tmp_path: Path) -> None:
    with process(tmp_path) as daemon:
        assert ask(Where(socket=socket_in(tmp_path)), "shutdown") == {"stopping": True}
        assert daemon.wait(10) == 0
    with pytest.raises(DaemonUnreachable, match="headway up"):
        ask(Where(socket=socket_in(tmp_path)), "status")


def test_a_missing_extra_is_named() -> None:
    code = (
        "import importlib.util as u, sys\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'aiohttp' else real(name, *rest)\n"
        "from headway.cli.main import main\n"
        "main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert result.returncode == 2
    assert "aiohttp not installed" in result.stderr
    assert "pip install 'headway[daemon]'" in result.stderr


def test_help_and_version() -> None:
    assert re.fullmatch(r"headway \d+\.\d+\.\d+\n", headway("--version").stdout)
    shown = headway("--help").stdout
    for command in ("up", "status", "top", "explain", "report", "mode", "reload", "replay"):
        assert command in shown
    assert "Agents reach the daemon by its socket only" in " ".join(
        headway("up", "--help").stdout.replace("│", " ").split()
    )

"""`headway top` against real daemons: a pipe, a terminal, a daemon that comes and goes."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headway.cli.ask import Connection, Where, ask
from headway.core.facts import CallEnded, NodeStarted, RunStarted
from headway.wire.messages import Granted
from tests.support import bare
from tests.support.daemons import CONFIG, DEADLINE_S, HEADWAY, call, headway, process

ONE_SEAT = CONFIG.replace("model: small}", "model: small, profile: {seats: 1}}").replace(
    "least-busy", "fcfs+release"
)


@pytest.fixture
def one_seat() -> Iterator[str]:
    """`ONE_SEAT` with endpoints that are up."""
    with bare.served(ONE_SEAT) as config:
        yield config


def socket_in(folder: Path) -> Path:
    return folder / "run" / "headway.sock"


@contextlib.contextmanager
def one_answered_one_running_one_waiting(folder: Path) -> Iterator[None]:
    """Three runs of a program that is still there."""
    asks = [call(number, models=("small",)) for number in (1, 2, 3)]
    with Connection(Where(socket=socket_in(folder))) as client:
        for one in asks:
            client.send(RunStarted(run=one.run, graph="g", deadline_s=60.0))
            client.send(NodeStarted(run=one.run, node=one.node, name="write"))
            client.send(one)
        while not isinstance(client.receive(), Granted):
            continue
        first = asks[0]
        client.send(CallEnded(call=first.call, attempt=1, run=first.run, output_tokens=50))
        while not isinstance(client.receive(), Granted):
            continue
        yield


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_one_frame_over_the_socket_and_over_tcp(tmp_path: Path, one_seat: str) -> None:
    token = tmp_path / "token"
    token.write_text("a-secret-of-enough-characters\n")
    token.chmod(0o600)
    tcp = ("--tcp", "127.0.0.1:0", "--token-file", str(token))
    with process(tmp_path, *tcp, config=one_seat), one_answered_one_running_one_waiting(tmp_path):
        port = ask(Where(socket=socket_in(tmp_path)), "status")["daemon"]["tcp"]
        for way in (("--socket", socket_in(tmp_path)), ("--tcp", port, "--token-file", token)):
            shown = headway("top", "--once", *way)
            assert shown.returncode == 0, shown.stderr
            assert "headway on  policy fcfs+release  up" in shown.stdout
            assert "1 calls running" in shown.stdout
            (waiting,) = [
                row for row in rows(shown.stdout) if row[-1:] == ["r3"] and "agent" in row
            ]
            assert waiting[2:5] == ["g", "write", "agent"]
            assert [row[-1] for row in rows(shown.stdout) if row[2:4] == ["g", "write"]] == [
                *("r3", "r1", "r2", "r3")
            ]
            assert ["g", "write", "small", "1"] in [row[:4] for row in rows(shown.stdout)]
            assert "\x1b" not in shown.stdout
        other = tmp_path / "other"
        other.write_text("another-secret-of-enough-characters\n")
        other.chmod(0o600)
        wrong = headway("top", "--tcp", port, "--token-file", other)
        assert wrong.returncode == 1  # not for ever: what a daemon refuses does not get better
        assert "token" in wrong.stderr


def test_once_without_a_daemon_and_nonsense(tmp_path: Path) -> None:
    missing = headway("top", "--once", "--socket", tmp_path / "none.sock")
    assert missing.returncode == 1
    assert "headway up" in missing.stderr
    assert headway("top", "--interval", "0").returncode == 2
    assert headway("top", "--interval", "often").returncode == 2


class Watching:
    """`headway top` as a process whose output is read as it comes."""

    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self.text = ""
        self._descriptor = descriptor

    def until(self, wanted: str) -> str:
        """Read on until `wanted` has come since the last call; all that came since."""
        ends = time.monotonic() + DEADLINE_S
        while wanted not in self.text:
            left = ends - time.monotonic()
            assert left > 0, f"no {wanted!r} in {self.text[-2000:]!r}"
            self._read(left)
        found, self.text = self.text, ""
        return found

    def end(self) -> str:
        """What comes until the process has closed its output."""
        ends = time.monotonic() + DEADLINE_S
        while self._read(max(ends - time.monotonic(), 0.0)):
            continue
        self.process.wait(DEADLINE_S)
        return self.text

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:  # a terminal whose program is gone
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


@contextlib.contextmanager
def watching(folder: Path, *, terminal: bool = False) -> Iterator[Watching]:
    """`headway top` in a pipe, or in a terminal of 24 lines and 60 columns."""
    command = [*HEADWAY, "top", "--interval", "0.1", "--socket", str(socket_in(folder))]
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    reading, writing = pty.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    top = subprocess.Popen(
        command,
        stdin=writing if terminal else subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
        env={**environment, "TERM": "xterm"},
    )
    os.close(writing)
    try:
        yield Watching(top, reading)
    finally:
        if top.poll() is None:
            top.kill()
            top.wait()
        os.close(reading)


def test_a_pipe_gets_frames_while_the_daemon_goes_and_comes_back(
    tmp_path: Path, one_seat: str
) -> None:
    with watching(tmp_path) as top:
        before = top.until("trying again")
        assert "headway: no daemon" in before and "headway up" in before
        with process(tmp_path, config=one_seat) as daemon:
            top.until("headway on")
            with one_answered_one_running_one_waiting(tmp_path):
                top.until("r3")
            daemon.kill()
            daemon.wait(DEADLINE_S)
            gone = top.until("no daemon, the last picture")
            assert "headway on" in gone
        with process(tmp_path, config=one_seat):
            top.until("no call waits")
            top.until("headway on")
            top.process.send_signal(signal.SIGINT)
            after = top.end()
    assert top.process.returncode == 0
    assert "Traceback" not in after and "Aborted" not in after
    assert "\x1b" not in before + gone + after


def test_a_terminal_gets_a_picture_that_fits_and_its_screen_back(
    tmp_path: Path, one_seat: str
) -> None:
    with (
        process(tmp_path, config=one_seat),
        one_answered_one_running_one_waiting(tmp_path),
        watching(tmp_path, terminal=True) as top,
    ):
        shown = top.until("prediction against outcome")
        assert "\x1b[?1049h" in shown  # the terminal's other screen
        assert "█" in shown and "1/1" in shown
        top.process.send_signal(signal.SIGINT)
        assert "\x1b[?1049l" in top.end()
        assert top.process.returncode == 0


def test_a_terminal_is_left_as_it_was_when_top_is_told_to_end(tmp_path: Path) -> None:
    with process(tmp_path), watching(tmp_path, terminal=True) as top:
        top.until("headway")
        top.process.terminate()
        assert "\x1b[?1049l" in top.end()
        assert top.process.returncode == 0


def test_a_stopped_daemon_does_not_stop_the_picture(tmp_path: Path) -> None:
    with process(tmp_path) as daemon, watching(tmp_path) as top:
        top.until("headway on")
        daemon.send_signal(signal.SIGSTOP)
        try:
            assert "does not answer" in top.until("no daemon, the last picture")
        finally:
            daemon.send_signal(signal.SIGCONT)
        top.text = ""
        top.until("headway on")

"""``headway emulate`` as a process: ready lines, clean exits, clear errors."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest

PROGRAM = """
import typer
from headway.emulate.command import register
app = typer.Typer()
app.callback()(lambda: None)
register(app)
app()
"""


@contextmanager
def emulate(*arguments: str):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "emulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def pool_file(tmp_path, port: int):
    path = tmp_path / "headway.yaml"
    path.write_text(
        f"""
endpoints:
  - {{id: small, url: "http://127.0.0.1:{port}/v1", model: qwen-7b, engine: emulated}}
emulate: {{endpoints: {{small: {{preset: qwen2.5-7b@a100, seats: 6}}}}}}
"""
    )
    return str(path)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_ready_line_and_clean_exit(tmp_path, stop):
    with emulate(pool_file(tmp_path, port=0), "--speedup", "5") as process:
        line = process.stdout.readline()
        assert line.startswith("small ready at http://127.0.0.1:")
        assert "(model qwen-7b, 6 seats, 5x)" in line
        url = line.split()[3]
        with urllib.request.urlopen(f"{url}/models", timeout=10) as reply:
            assert b"qwen-7b" in reply.read()
        process.send_signal(stop)
        _, errors = process.communicate(timeout=10)
        assert (process.returncode, errors) == (0, "")


def test_a_taken_port_exits_2(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with emulate(pool_file(tmp_path, port=port)) as process:
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"127.0.0.1:{port}" in errors and "Traceback" not in errors


def test_a_wrong_file_exits_2(tmp_path):
    with emulate(str(tmp_path / "absent.yaml")) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "cannot read" in errors

"""``headway profile`` against an emulated server whose truth is known."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from headway.daemon.config import load_config
from tests.integration.test_emulate_command import emulate

TRUTH = {"prefill_s": 0.0001, "step_s": 0.02, "seq_s": 0.002, "context_s": 0.0}


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def profile(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headway.cli.main", "profile", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    sizes = ", ".join(f"{key}: {value}" for key, value in TRUTH.items())
    path = tmp_path / "headway.yaml"
    path.write_text(
        f"""\
endpoints:
  - {{id: one, url: "http://127.0.0.1:{free_port()}/v1", model: m, engine: emulated}}
models: {{agent: [m]}}
emulate:
  speedup: 1
  endpoints: {{one: {{{sizes}, seats: 4, kv_tokens: 40000}}}}
"""
    )
    return path


def test_a_profile_is_measured_written_and_used(pool: Path, tmp_path: Path) -> None:
    url = load_config(pool).pool.endpoints[0].url
    with emulate(str(pool)) as server:
        assert server.stdout is not None
        server.stdout.readline()
        plot, told = tmp_path / "fit.png", tmp_path / "fit.json"
        done = profile(url, "--pool", str(pool), "--plot", str(plot), "--json", str(told))
    assert done.returncode == 0, done.stderr
    assert "serves its queue by priority (proved by order)" in done.stdout
    (endpoint,) = load_config(pool).pool.endpoints
    found = endpoint.profile
    assert found is not None and endpoint.heeds_urgency is True
    assert (found.seats, found.kv_tokens) == (4, 40000)
    # wide: other tests may run beside this one
    assert found.prefill_s == pytest.approx(TRUTH["prefill_s"], rel=0.25)
    assert found.step_s == pytest.approx(TRUTH["step_s"], rel=0.25)
    assert json.loads(told.read_text())["profile"]["seats"] == 4
    assert plot.stat().st_size > 1000


def test_what_cannot_be_measured_is_told() -> None:
    gone = profile(f"http://127.0.0.1:{free_port()}/v1")
    assert gone.returncode == 2 and "cannot be asked" in gone.stderr
    assert "Traceback" not in gone.stderr
    wrong = profile("127.0.0.1:8000")
    assert wrong.returncode == 2 and "is no base URL" in wrong.stderr
    for url in ("http://[::1/v1", "http://127.0.0.1:99999/v1"):
        assert "is no base URL" in profile(url).stderr
    secret = profile("http://127.0.0.1:1/v1", "--api-key", "sk-not-a-name")
    assert secret.returncode == 2 and "not the key itself" in secret.stderr
    assert "sk-not-a-name" not in secret.stderr
    keyless = profile("http://127.0.0.1:1/v1", "--api-key", "NOT_SET_ANYWHERE")
    assert keyless.returncode == 2 and "is not set" in keyless.stderr

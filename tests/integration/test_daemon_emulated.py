"""The daemon beside real emulated endpoints: it sees their gauges, their end and their return."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway.cli.ask import Where, ask
from tests.support.daemons import DEADLINE_S, HEADWAY, process, until

CONFIG = """\
endpoints:
  - {id: a, url: "http://127.0.0.1:PORT/v1", model: small, engine: emulated}
models: {agent: [small]}
emulate:
  endpoints: {a: {seats: 7}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def emulated(config: Path) -> Iterator[None]:
    emulator = subprocess.Popen(
        [*HEADWAY, "emulate", str(config)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert emulator.stdout is not None
        assert "ready" in emulator.stdout.readline()
        yield
    finally:
        emulator.terminate()
        emulator.wait(DEADLINE_S)
        emulator.stdout.close()


async def test_gauges_end_and_return_of_an_endpoint(tmp_path: Path) -> None:
    config = CONFIG.replace("PORT", str(free_port()))
    where = Where(socket=tmp_path / "run" / "headway.sock")

    def endpoint() -> dict[str, Any]:
        (only,) = ask(where, "status")["endpoints"]
        found: dict[str, Any] = only
        return found

    with process(tmp_path, config=config):
        with emulated(tmp_path / "headway.yaml"):
            await until(lambda: endpoint()["seats"] == 7)
            assert endpoint()["kv_tokens"] > 0
            assert endpoint()["up"]
        await until(lambda: not endpoint()["up"])
        assert "Connection refused" in endpoint()["trouble"]
        with emulated(tmp_path / "headway.yaml"):
            await until(lambda: endpoint()["up"])

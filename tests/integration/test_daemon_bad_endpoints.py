"""Real runs of LangGraph over real endpoints that fail in every way, and in shadow mode."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headway.cli.ask import Where, ask
from headway.core.commands import Grant
from headway.daemon.files import journal_folder
from headway.wire.journal import journals_in, read_journal
from tests.integration.test_daemon_emulated import emulated, free_port
from tests.support.daemons import headway, process, until, write_config

MODELS = {"a": "small", "b": "large"}
RUNS, WINDOW_S = 160, 16.0
FAULTS = (
    ("500", "500"),
    ("hang", "timeout"),
    ("lie_metrics",),
    ("garble_metrics", "cannot be true"),
    ("down", "connect", "disconnected"),
)
"""Each with words of which the status says one while it lasts."""


def pool(ports: dict[str, int], names: str) -> str:
    endpoints = "\n".join(
        f"  - {{id: {name}, url: 'http://127.0.0.1:{port}/v1', model: {MODELS[name]}, "
        "engine: emulated}"
        for name, port in ports.items()
    )
    seats = ", ".join(f"{name}: {{seats: 16, step_s: 0.1}}" for name in ports)
    return (
        f"endpoints:\n{endpoints}\nmodels: {names}\n"
        f"emulate: {{speedup: 20, endpoints: {{{seats}}}}}\n"
    )


class Control:
    """An emulated endpoint's ``/_emulate``."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/_emulate"

    def _asked(self, path: str, method: str = "GET", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/{path}", method=method, data=data)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def fail(self, kind: str, count: int | None) -> None:
        self._asked("faults", "POST", {"kind": kind, "count": count})

    def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._asked("faults")
        return found

    def mend(self) -> None:
        self._asked("faults", "DELETE")

    def log(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._asked("log")
        return found

    def answered(self) -> int:
        return sum(entry["outcome"] == "ok" for entry in self.log())


@contextlib.contextmanager
def load(where: Where, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """`tests.support.load` as a program of its own."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.support.load", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HEADWAY_SOCKET": str(where.socket)},
    )
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


async def failures(program: "subprocess.Popen[str]") -> list[str]:
    out, err = await asyncio.to_thread(program.communicate, timeout=40)
    assert out, err
    failed: list[str] = json.loads(out)["failed"]
    return failed


async def test_no_run_fails_whatever_one_of_two_endpoints_does(tmp_path: Path) -> None:
    ports = {name: free_port() for name in MODELS}
    # first come, first served fills both evenly: the bad one is always asked again
    text = pool(ports, "{agent: [small, large]}") + "policy: fcfs\n"
    where = Where(socket=tmp_path / "run" / "headway.sock")
    bad, good = Control(ports["a"]), Control(ports["b"])

    def bad_one() -> dict[str, Any]:
        found: dict[str, Any] = ask(where, "status")["endpoints"][0]
        return found

    def in_trouble(*words: str) -> bool:
        return any(word in bad_one()["trouble"] for word in words)

    async def answers(count: int, *of: Control) -> None:
        """So many further answers."""
        before = sum(one.answered() for one in of)
        await until(lambda: sum(one.answered() for one in of) >= before + count)

    with emulated(write_config(tmp_path, text)), process(tmp_path, config=text):
        base_url = f"http://127.0.0.1:{ports['a']}/v1"
        with load(where, base_url, RUNS, WINDOW_S, "agent", 1.0) as program:
            await answers(4, bad)
            for fault, *told in FAULTS:
                bad.fail(fault, None)
                if told:
                    await until(lambda words=told: in_trouble(*words))
                if fault == "down":
                    await until(lambda: not bad_one()["up"])
                    await answers(8, good)
                bad.mend()
                await answers(30, bad, good)  # nobody's retries reach into the next fault
            await until(lambda: bad_one()["up"] and not bad_one()["trouble"])
            assert program.poll() is None, "the load ended before the endpoint was back"
            assert await failures(program) == []
        assert {"500", "hang"} <= {entry["outcome"] for entry in bad.log()}
        assert ask(where, "status")["daemon"]["errors"] == 0


async def test_shadow_mode_changes_no_request_and_records_what_it_would_do(tmp_path: Path) -> None:
    ports = {name: free_port() for name in MODELS}
    text = pool(ports, "{small: [large]}")  # asked for by the name that its base URL serves
    where = Where(socket=tmp_path / "run" / "headway.sock")
    with emulated(write_config(tmp_path, text)):
        with process(tmp_path, config=text):
            assert headway("mode", "shadow", "--socket", where.socket).returncode == 0
            base_url = f"http://127.0.0.1:{ports['a']}/v1"
            with load(where, base_url, 3, 0.1, "small") as program:
                assert await failures(program) == []
            story = ask(where, "explain", run="last")
        seen = Control(ports["a"]).log()
        assert Control(ports["b"]).log() == []
    assert [(entry["model"], entry["priority"]) for entry in seen] == [("small", 0)] * 6
    assert all("priority" not in entry["keys"] and not entry["headers"] for entry in seen)
    (journal,) = journals_in(journal_folder(where.socket))
    grants = [
        command
        for entry in read_journal(journal).entries()
        for command in entry.commands
        if isinstance(command, Grant)
    ]
    assert [grant.endpoint for grant in grants] == ["b"] * 6
    assert [call["chosen"] for call in story["calls"]] == ["b"] * 2
    assert [call["endpoint"] for call in story["calls"]] == ["a"] * 2  # where they really went

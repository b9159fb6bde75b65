"""`PacedPool`: real vLLM servers that keep the step times of the profiles they are given.

    profile = EngineProfile(step_s=0.01, block_tokens=32)
    small = PacedServer(name="small", model="small", profile=profile)
    with PacedPool([small], folder) as pool:
        print(pool.url("small"))

The environment must be there (`python -m tests.paced.install`). Servers listen on
127.0.0.1; their logs and the reports of their lateness lie in the folder given.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headway.core.types import Seconds
from headway.engine import EngineProfile
from tests.paced import install
from tests.paced.model import DTYPE, KV_BYTES, LONGEST
from tests.paced.pace import REPORT, Lateness, Pace

BLOCK_MULTIPLE = 32
"""Sizes of KV blocks that vLLM's CPU attention is made for."""
SCHEDULER = "tests.paced.pacing.PacedScheduler"
STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
START_S: Seconds = 240.0
"""Enough for an import of vLLM whose files nobody has read yet, on a busy machine."""
END_S: Seconds = 20.0
TAIL_LINES = 20
ERROR = re.compile(r"\b\w+Error: ")
FIRST_ERRORS = 3
FOREIGN = ("VLLM_", "HEADWAY_", "PYTHON", "OMP_", "OTEL_", "HF_", "VIRTUAL_ENV")
"""What a developer's environment may hold that must not reach the servers."""


class PacedError(Exception):
    """A server did not come up, or its process is gone; the message ends with what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedServer:
    """One server. `profile` is the truth about it: it serves with these times and sizes.

    `model` is the name it serves under, `port` 0 any free one, `priority` vLLM's scheduling
    policy (else first come, first served). `args` go to ``vllm serve`` last, `env` into its
    process. The KV cache holds `profile.kv_blocks` whole blocks.
    """

    name: str
    model: str
    profile: EngineProfile
    port: int = 0
    priority: bool = True
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError for a profile that vLLM cannot be made to keep."""
        profile = self.profile
        if profile.block_tokens % BLOCK_MULTIPLE:
            raise ValueError(
                f"server {self.name!r}: block_tokens is {profile.block_tokens}; "
                f"vLLM on a CPU has blocks of a multiple of {BLOCK_MULTIPLE}"
            )
        if profile.batch_points or profile.sleep_after_s is not None:
            raise ValueError(
                f"server {self.name!r}: cannot be paced by batch_points, nor fall asleep"
            )
        if profile.step_tokens < profile.seats:
            raise ValueError(f"server {self.name!r}: step_tokens must be at least the seats")

    @property
    def pace(self) -> Pace:
        """Its step times."""
        profile = self.profile
        return Pace(
            step_s=profile.step_s,
            prefill_s=profile.prefill_s,
            seq_s=profile.seq_s,
            context_s=profile.context_s,
        )

    @property
    def longest_tokens(self) -> int:
        """Prompt and answer of the longest request it takes."""
        return min(LONGEST, self.profile.kv_blocks * self.profile.block_tokens)

    def serve_args(self, *, model_folder: Path, port: int) -> list[str]:
        """What comes behind ``vllm serve``."""
        profile = self.profile
        # vLLM keeps one block of the cache for itself.
        kv_bytes = (profile.kv_blocks + 1) * profile.block_tokens * KV_BYTES
        options = {
            "--served-model-name": self.model,
            "--host": "127.0.0.1",
            "--port": port,
            "--dtype": DTYPE,
            "--load-format": "dummy",
            "--scheduler-cls": SCHEDULER,
            "--scheduling-policy": "priority" if self.priority else "fcfs",
            "--max-model-len": self.longest_tokens,
            "--max-num-seqs": profile.seats,
            "--max-num-batched-tokens": profile.step_tokens,
            "--block-size": profile.block_tokens,
            "--kv-cache-memory-bytes": kv_bytes,
            "--structured-outputs-config": json.dumps(STRUCTURED),
        }
        if profile.queue_limit is not None:
            options["--max-num-queued-reqs"] = profile.queue_limit
        return [
            str(model_folder),
            *(part for name, value in options.items() for part in (name, str(value))),
            "--enforce-eager",
            "--enable-chunked-prefill",
            "--enable-prefix-caching" if profile.prefix_cache else "--no-enable-prefix-caching",
            "--enable-prompt-tokens-details",
            "--enable-request-id-headers",
            "--disable-uvicorn-access-log",
            *self.args,
        ]


class PacedPool:
    """Several servers, up while the context lasts. Methods may be called from one thread.

    `folder` gets logs and reports. Raises PacedError if the environment is not
    installed, or if a server is not up within `start_s`.
    """

    def __init__(
        self, servers: Sequence[PacedServer], folder: Path, *, start_s: Seconds = START_S
    ) -> None:
        self._servers = {server.name: server for server in servers}
        self._folder = folder
        self._start_s = start_s
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[str] | None = None
        self._events = _Events()

    def __enter__(self) -> "PacedPool":
        where = install.location()
        if why := install.why_not_ready(where):
            raise PacedError(f"{why}: run `make vllm`")
        self._folder.mkdir(parents=True, exist_ok=True)
        with free_ports(len(self._servers)) as found:
            ports = zip(self._servers.values(), found, strict=True)
            self._ports = {server.name: server.port or port for server, port in ports}
        spec = self._folder / "spec.json"
        spec.write_text(json.dumps([self._described(name, where) for name in self._servers]))
        with (self._folder / "serve.log").open("a") as log:
            self._process = subprocess.Popen(
                [str(install.python(where)), "-m", "tests.paced.serve", str(spec.absolute())],
                cwd=install.ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._events.follow(self._process)
        try:
            for name in self._servers:
                self._until(name, "up", self._start_s)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    @property
    def pid(self) -> int:
        """The process that all servers are forks of."""
        return self._running().pid

    def url(self, name: str) -> str:
        """The base URL of a server, with ``/v1``."""
        return f"http://127.0.0.1:{self._ports[name]}/v1"

    def kill(self, name: str) -> None:
        """End a server as a crash would, with all its processes; returns when it is down."""
        self._tell("kill", name)
        self._until(name, "down", END_S)

    def stop(self, name: str) -> None:
        """Ask a server to end; returns when it is down."""
        self._tell("stop", name)
        self._until(name, "down", END_S)

    def start(self, name: str) -> None:
        """Start a server that is down, at the port it had; returns when it is up."""
        self._events.forget(name)
        self._tell("start", name)
        self._until(name, "up", self._start_s)

    def late(self) -> dict[str, Lateness]:
        """How well each server has kept its pace since the pool was started.

        Exact while a server is idle, up to a second old while it is busy.
        """
        return {name: self._lateness(name) for name in self._servers}

    def log(self, name: str) -> str:
        """The end of what a server printed."""
        return _tail(self._log(name))

    def _log(self, name: str) -> Path:
        return self._folder.absolute() / f"{name}.log"

    def _lateness(self, name: str) -> Lateness:
        report = self._report(name)
        lines = report.read_text().splitlines() if report.exists() else []
        return Lateness.of_records(json.loads(line) for line in lines)

    def _report(self, name: str) -> Path:
        return self._folder.absolute() / f"{name}.pace.jsonl"

    def _described(self, name: str, where: Path) -> dict[str, Any]:
        """A server as `serve` wants it."""
        server, port = self._servers[name], self._ports[name]
        return {
            "name": name,
            "port": port,
            "args": server.serve_args(model_folder=install.model_folder(where), port=port),
            "env": {**server.pace.environment(), REPORT: str(self._report(name)), **server.env},
            "log": str(self._log(name)),
        }

    def _running(self) -> "subprocess.Popen[str]":
        if self._process is None:
            raise PacedError("the pool is not started")
        return self._process

    def _tell(self, what: str, name: str) -> None:
        stdin = self._running().stdin
        assert stdin is not None and name in self._servers
        with contextlib.suppress(BrokenPipeError):
            stdin.write(json.dumps({what: name}) + "\n")
            stdin.flush()

    def _until(self, name: str, wanted: str, seconds: Seconds) -> None:
        ends = ("up", "down") if wanted == "up" else ("down",)
        found = self._events.wait(name, ends, seconds)
        if found == wanted:
            return
        what = f"is {found}" if found else f"was not {wanted} within {seconds:.0f} s"
        causes = _causes(self._log(name))
        told = _tail(self._folder / "serve.log") + self.log(name)
        raise PacedError(f"server {name!r} {what}\n{causes}The end of what it printed:\n{told}")

    def _end(self) -> None:
        """End everything; nothing is left when this returns."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()  # Its forks go with it.
            process.wait()
        self._events.join()


class _Events:
    """What the process that all servers are forks of has told last of each."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._over = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def follow(self, process: "subprocess.Popen[str]") -> None:
        """Read what it tells until it ends."""
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Return when it has told all."""
        if self._thread is not None:
            self._thread.join()

    def forget(self, name: str) -> None:
        """What was told of a server counts no more."""
        with self._changed:
            self._last.pop(name, None)

    def wait(self, name: str, events: Sequence[str], seconds: Seconds) -> str:
        """The last event of a server, once it is one of `events`; "" if there is none in time."""

        def found() -> bool:
            return self._over or self._last.get(name) in events

        with self._changed:
            self._changed.wait_for(found, seconds)
            return "gone" if self._over else self._last.get(name, "")

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        try:
            with process.stdout:
                for line in process.stdout:
                    told = json.loads(line)
                    if "name" in told:
                        with self._changed:
                            self._last[told["name"]] = told["event"]
                            self._changed.notify_all()
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Ports on 127.0.0.1 that nobody listens at, distinct, held while the context lasts."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return "".join(f"  {line}\n" for line in lines[-TAIL_LINES:])


def _causes(path: Path) -> str:
    """The errors in a log, which vLLM prints far above its last lines."""
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    found = [line for line in lines if ERROR.search(line)]
    return "".join(f"  {line}\n" for line in found[:FIRST_ERRORS])

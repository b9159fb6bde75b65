"""Several vLLM servers from one import: ``python -m tests.paced.serve SPEC.json``.

Runs inside vLLM's environment. Importing vLLM takes longer than all else, so it happens
once, here; each server is a fork, and so is the engine process of each. SPEC is a list of
``{"name", "port", "args", "env", "log"}``: the arguments are those of ``vllm serve``.

On standard output, one JSON object a line: ``{"event": "imported"}``, then ``{"name",
"event", "pid", "after_s"}`` where the event is ``up`` (``/health`` answers) or ``down``
(its process has ended, with its ``status``). On standard input, one JSON object a line:
``{"kill": name}`` (SIGKILL to the server's process group), ``{"stop": name}``
(SIGTERM to the server) and ``{"start": name}``. SIGTERM, SIGINT and the end of standard
input end all servers and then this process; what lasts longer than `GRACE_S` is killed.

No process outlives its parent, however that ends: every fork asks the kernel for it.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import multiprocessing
import os
import select
import signal
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

GRACE_S = 10.0
TICK_S = 0.1
HEALTH_S = 1.0
"""Seconds after which a server that does not answer is asked again."""
PR_SET_PDEATHSIG = 1
ENVIRONMENT = {
    # Engine and worker in one process: one less to wait for in each step of a tiny model.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
LIBC = ctypes.CDLL(None)
PRELOADED = (
    "vllm.entrypoints.cli.main",
    "vllm.entrypoints.cli.serve",
    "vllm.entrypoints.openai.api_server",
    "vllm.v1.engine.async_llm",
    "vllm.v1.engine.core",
    "vllm.v1.engine.utils",
    "vllm.v1.executor.uniproc_executor",
    "vllm.v1.worker.cpu_model_runner",
    "vllm.v1.worker.cpu_worker",
    "vllm.model_executor.models",
    "vllm.model_executor.models.llama",
    "tests.paced.pacing",
)
"""All that a server and its engine need."""
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(slots=True, kw_only=True)
class Server:
    """One server. `pid` is its API process's, the leader of its group; 0 while it is down."""

    name: str
    port: int
    args: list[str]
    env: dict[str, str]
    log: str
    pid: int = 0
    up: bool = False
    started_at: float = 0.0


class Servers:
    """The forks and what they are told."""

    def __init__(self, servers: list[Server]) -> None:
        self._servers = {server.name: server for server in servers}
        self._ending = False

    def run(self) -> None:
        """Start all, and do as told until it is time to end; then nothing is left."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        try:
            for server in self._servers.values():
                self._start(server)
            lines = Lines()
            while not self._ending:
                self._reap()
                self._look()
                for line in lines.read(TICK_S):
                    self._obey(json.loads(line))
                self._ending |= lines.ended
        finally:
            self._stop_all()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _obey(self, command: dict[str, str]) -> None:
        ((what, name),) = command.items()
        server = self._servers[name]
        if what == "start" and not server.pid:
            self._start(server)
        elif what == "kill" and server.pid:
            _kill(server.pid)
        elif what == "stop" and server.pid:
            os.kill(server.pid, signal.SIGTERM)

    def _start(self, server: Server) -> None:
        server.started_at = time.monotonic()
        server.pid = os.fork()
        if not server.pid:
            _become(server)

    def _reap(self) -> None:
        """Notice who has ended, and end what is left of its group."""
        for server in self._servers.values():
            if not server.pid:
                continue
            pid, status = os.waitpid(server.pid, os.WNOHANG)
            if pid:
                _kill(pid)
                self._tell(server, "down", status=os.waitstatus_to_exitcode(status))
                server.pid, server.up = 0, False

    def _look(self) -> None:
        """Notice who has come up."""
        for server in self._servers.values():
            if server.pid and not server.up and _is_healthy(server.port):
                server.up = True
                self._tell(server, "up")

    def _tell(self, server: Server, event: str, **more: int) -> None:
        after_s = round(time.monotonic() - server.started_at, 2)
        tell(name=server.name, event=event, pid=server.pid, after_s=after_s, **more)

    def _stop_all(self) -> None:
        ends = time.monotonic() + GRACE_S
        for server in self._servers.values():
            if server.pid:
                os.kill(server.pid, signal.SIGTERM)
        while any(server.pid for server in self._servers.values()):
            if time.monotonic() >= ends:
                for server in self._servers.values():
                    if server.pid:
                        _kill(server.pid)
            time.sleep(TICK_S / 2)
            self._reap()


class Lines:
    """Standard input by lines, without waiting for long."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def read(self, wait_s: float) -> list[bytes]:
        """The lines that came within `wait_s`."""
        if not select.select([0], [], [], wait_s)[0]:
            return []
        data = os.read(0, 1 << 16)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines


def tell(**what: object) -> None:
    """One line to whoever started this process; nothing if nobody reads any more."""
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(what), flush=True)


def _kill(group: int) -> None:
    """End all processes of a server; nothing if there are none, or not yet."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _is_healthy(port: int) -> bool:
    try:
        with NO_PROXY.open(f"http://127.0.0.1:{port}/health", timeout=HEALTH_S):
            return True
    except OSError:
        return False


def _become(server: Server) -> NoReturn:
    """In the fork: be ``vllm serve`` until it ends."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler)
        log = os.open(server.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for here, there in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(here, there)
        os.environ.update(server.env)
        sys.argv = ["vllm", "serve", *server.args]
        sys.modules["vllm.entrypoints.cli.main"].main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def die_with_parent() -> None:
    """From now on every fork, and every fork of a fork, is killed when its parent ends."""
    parent = os.getpid()

    def before() -> None:
        nonlocal parent
        parent = os.getpid()

    def in_child() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It has ended before it could be asked for.
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)


def import_vllm() -> None:
    """Import what servers need, and let vLLM fork where it would start Python anew."""
    for name in PRELOADED:
        importlib.import_module(name)
    # On CPU vLLM insists on spawning its engine, for the sake of threads that are not there yet.
    utils: Any = sys.modules["vllm.v1.engine.utils"]
    utils.get_mp_context = lambda: multiprocessing.get_context("fork")
    # Known by class; known by name, vLLM would import all again in a process, to look at it.
    models: Any = sys.modules["vllm.model_executor.models"]
    llama: Any = sys.modules["vllm.model_executor.models.llama"]
    models.ModelRegistry.register_model("LlamaForCausalLM", llama.LlamaForCausalLM)


def main(spec: Path) -> None:
    """Serve what `spec` says."""
    described: list[dict[str, Any]] = json.loads(spec.read_text())
    with tempfile.TemporaryDirectory(prefix="paced-") as temporary:
        # vLLM leaves its sockets behind where it is killed.
        cache = str(Path(sys.prefix) / "cache")
        os.environ.update(ENVIRONMENT, VLLM_CACHE_ROOT=cache, TMPDIR=temporary)
        tempfile.tempdir = temporary
        serve([Server(**one) for one in described])


def serve(servers: list[Server]) -> None:
    """Import vLLM and run the servers until it is time to end."""
    began = time.monotonic()
    import_vllm()
    die_with_parent()
    gc.freeze()  # What was imported stays shared by the forks.
    tell(event="imported", after_s=round(time.monotonic() - began, 2))
    Servers(servers).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

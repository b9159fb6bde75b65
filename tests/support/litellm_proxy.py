"""One real LiteLLM proxy with two workers, its daemon and two backends, for a whole test session.

Starting a proxy takes ten seconds and more, so there is one; the `proxy` fixture
(tests/integration/conftest.py) leaves it as each test found it.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.support.daemons import HEADWAY, Peer
from tests.support.fake_openai import FakeOpenAI, Request

T = TypeVar("T")
WORKERS = 2
START_S = 120.0
DEADLINE_S = 15.0

MASTER_KEY = "sk-master-9f8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c"
TEAM_KEY = "sk-team-1a2b3c4d5e6f"
"""May use the group `agent` only, and belongs to the team `research`.

With ``-NAME`` behind it, it is a key of the team `research-NAME`.
"""

CONFIG = """\
model_list:
  - model_name: agent
    litellm_params: {{model: hosted_vllm/small, api_base: "{a}", api_key: os.environ/KEY_A}}
    model_info: {{id: dep-a}}
  - model_name: agent
    litellm_params: {{model: hosted_vllm/large, api_base: "{b}", api_key: os.environ/KEY_B}}
    model_info: {{id: dep-b}}
  - model_name: private
    litellm_params: {{model: hosted_vllm/large, api_base: "{b}", api_key: os.environ/KEY_B}}
    model_info: {{id: dep-p}}
  - model_name: narrow
    litellm_params: {{model: hosted_vllm/narrow, api_base: "{a}", api_key: os.environ/KEY_A}}
    model_info: {{id: dep-n, headway: {{server: narrow, profile: {{seats: 1}}}}}}
  - model_name: "wild/*"
    litellm_params: {{model: "hosted_vllm/*", api_base: "{a}", api_key: os.environ/KEY_A}}
litellm_settings:
  callbacks: ["callbacks.broken", "callbacks.helpful", "headway_litellm.callback"]
  request_timeout: 40
  enable_post_custom_auth_checks: true
router_settings:
  num_retries: 2
  retry_after: 0
  disable_cooldowns: true
general_settings:
  master_key: {key}
  forward_client_headers_to_llm_api: true
  custom_auth: callbacks.check
  custom_auth_run_common_checks: true
headway:
  gateways: {{"http://127.0.0.1:{port}": headway, "http://localhost:{port}": litellm}}
"""

CALLBACKS = f"""\
import os

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth


class Broken(CustomLogger):
    def log_pre_api_call(self, model, messages, kwargs):
        raise RuntimeError("somebody else's hook fails")

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        raise RuntimeError("somebody else's hook fails")

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        raise RuntimeError("somebody else's hook fails")


class Helpful(CustomLogger):
    '''Says which worker answered, and lets a test switch `cancel_on_disconnect` by a header.'''

    async def async_pre_call_hook(self, user_api_key_dict, cache, data, call_type):
        from litellm.proxy.proxy_server import general_settings

        headers = data["proxy_server_request"]["headers"]
        general_settings["cancel_on_disconnect"] = headers.get("x-test-cancel") == "1"

    async def async_post_call_response_headers_hook(
        self, data, user_api_key_dict, response, request_headers=None
    ):
        return {{"x-test-worker": str(os.getpid())}}


broken, helpful = Broken(), Helpful()


async def check(request, api_key):
    if api_key == {MASTER_KEY!r}:
        return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN)
    if api_key.startswith({TEAM_KEY!r}):
        team = "research" + api_key.removeprefix({TEAM_KEY!r})
        return UserAPIKeyAuth(
            api_key=api_key, models=["agent"], key_alias="notebook", team_alias=team
        )
    raise ProxyException(message="no such key", type="auth_error", param="key", code=401)
"""


class LiteLLMProxy:
    """The proxy at `url` (without ``/v1``), its backends `a` and `b`, and its daemon."""

    def __init__(self, folder: Path, a: FakeOpenAI, b: FakeOpenAI) -> None:
        self.folder = folder
        self.a = a
        self.b = b
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket = folder / "run" / "headway.sock"
        self.config = folder / "config.yaml"
        self.config.write_text(CONFIG.format(a=a.url, b=b.url, key=MASTER_KEY, port=self.port))
        (folder / "callbacks.py").write_text(CALLBACKS)
        self._log = (folder / "proxy.log").open("w")
        self._daemon: subprocess.Popen[str] | None = None
        self._proxy: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the proxy, and the daemon while it comes up."""
        command = [str(Path(sys.executable).with_name("litellm")), "--config", str(self.config)]
        options = ["--host", "127.0.0.1", "--port", str(self.port)]
        env = {**self.environment, "PYTHONPATH": str(self.folder)}
        self._proxy = subprocess.Popen(
            [*command, *options, "--num_workers", str(WORKERS), "--telemetry", "False"],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=self.folder,
            start_new_session=True,
        )
        self.start_daemon()
        ends = time.monotonic() + START_S
        while not self._is_up():
            assert self._proxy.poll() is None and time.monotonic() < ends, self.log()
            time.sleep(0.1)

    @property
    def environment(self) -> dict[str, str]:
        """What proxy and daemon run in: no key of the developer's own, no network."""
        foreign = ("OPENAI_", "LITELLM_", "HEADWAY_", "OTEL_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        ours = {"HEADWAY_SOCKET": str(self.socket), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return {**kept, **ours, "KEY_A": "key-of-a", "KEY_B": "key-of-b", "NO_COLOR": "1"}

    def start_daemon(self) -> None:
        """A daemon whose pool is the proxy's configuration."""
        with (self.folder / "daemon.log").open("a") as log:
            command = [*HEADWAY, "up", "--litellm", str(self.config), "--socket", str(self.socket)]
            self._daemon = subprocess.Popen(
                [*command, "--no-journal"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        assert self._daemon.stdout is not None
        line = self._daemon.stdout.readline()
        told = (self.folder / "daemon.log").read_text()
        assert line.startswith("headway: ready on "), (line, told)

    def kill_daemon(self) -> None:
        """As if it had crashed."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            if self._daemon.stdout is not None:
                self._daemon.stdout.close()
            self._daemon = None

    @contextlib.contextmanager
    def without_daemon(self) -> Iterator[None]:
        """For a while there is none."""
        self.kill_daemon()
        try:
            yield
        finally:
            self.start_daemon()

    def stop(self) -> None:
        """End everything."""
        self.kill_daemon()
        if self._proxy is not None:
            _signal(self._proxy, signal.SIGTERM)
            try:
                self._proxy.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                _signal(self._proxy, signal.SIGKILL)
                self._proxy.wait()
        self._log.close()

    def log(self) -> str:
        """The end of what the proxy printed."""
        return (self.folder / "proxy.log").read_text()[-4000:]

    def _is_up(self) -> bool:
        said = (self.folder / "proxy.log").read_text()
        if said.count("Application startup complete") < WORKERS:
            return False
        return httpx.get(f"{self.url}/health/liveliness", timeout=10).status_code == 200

    # What tests do with it

    def client(self, *, key: str = TEAM_KEY, timeout_s: float = 30.0) -> httpx.Client:
        """A plain HTTP client, as in any other language."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s, trust_env=False)

    def ask(
        self, text: str = "hi", *, key: str = TEAM_KEY, headers: Any = None, **body: Any
    ) -> httpx.Response:
        """One chat request over a connection of its own."""
        with self.client(key=key) as client:
            return client.post("/v1/chat/completions", json=chat(text, **body), headers=headers)

    def query(self, what: str, **args: Any) -> dict[str, Any]:
        """What the daemon answers to an operator."""

        async def ask() -> dict[str, Any]:
            peer = await Peer.hello(self.socket)
            try:
                reply = await peer.query(what, **args)
            finally:
                await peer.close()
            assert not reply.error, reply.error
            return reply.body

        return asyncio.run(ask())

    def story(self, run: str = "last", *, tenant: str = "", calls: int = 1) -> dict[str, Any]:
        """The story of a run once `calls` of its calls are closed.

        With a `tenant` it is the last run, once that is one of this tenant's and has ended.
        """

        def told() -> dict[str, Any] | None:
            try:
                story = self.query("explain", run=run)
            except AssertionError:
                return None
            closed = [call for call in story["calls"] if call.get("outcome")]
            over = not tenant or (story["state"] == "ended" and story["tenant"] == tenant)
            return story if over and len(closed) == len(story["calls"]) == calls else None

        return until(told)

    def sent(self) -> list[tuple[str, Request]]:
        """All that reached the backends: (deployment id, request)."""
        return [
            *(("dep-a", request) for request in self.a.requests),
            *(("dep-b", request) for request in self.b.requests),
        ]


def chat(text: str, **body: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "agent", "messages": [{"role": "user", "content": text}], **body}


def until(condition: Callable[[], T], *, seconds: float = DEADLINE_S) -> T:
    """Wait for something true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.02)
    return found


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

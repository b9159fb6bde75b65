"""What Headway's callback adds to a call through a LiteLLM proxy, and what the proxy costs itself.

Two proxies with the same deployments, one with ``callbacks: ["headway_litellm.callback"]``,
are asked in turns, by a client that only speaks HTTP: once as a program that knows nothing
of Headway, once with a run's identity in headers. They take ten seconds and more to start.
"""

import contextlib
import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.bench.children import SOCKET, daemon
from tests.bench.facts import MODELS, POOL_NAME, pool
from tests.bench.latency import GOAL_MS, MESSAGES, SETTLE_S, WARM_UP
from tests.bench.measure import Result, added_p50, in_turns
from tests.bench.servers import server

START_S = 120.0
NOT_PASSED_ON = ("DATABASE_", "HEADWAY_", "LITELLM_", "OTEL_", "REDIS_")
BODY = json.dumps({"model": POOL_NAME, "messages": MESSAGES}).encode()
STEPS = 10
PARTS = 3
"""The two ways, and the proxy itself beside no proxy."""


class Caller:
    """Asks one server, over one connection."""

    def __init__(self, port: int, *, key: str = "none") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}

    def ask(self, **identity: str) -> tuple[float, Any]:
        """Milliseconds of one chat request, and the headers of its answer."""
        began = time.perf_counter()
        headers = {**self._headers, **identity}
        self._connection.request("POST", "/v1/chat/completions", body=BODY, headers=headers)
        answer = self._connection.getresponse()
        said = answer.read()
        spent_ms = (time.perf_counter() - began) * 1e3
        if answer.status != 200:
            raise RuntimeError(f"a server answered {answer.status}: {said[:500]!r}")
        return spent_ms, answer.headers

    def is_up(self) -> bool:
        """Whether it answers at all."""
        try:
            self._connection.request("GET", "/health/liveliness")
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return False
        return answer.status == 200


def configuration(urls: tuple[str, ...], *, headway: bool) -> dict[str, Any]:
    """A proxy's ``config.yaml`` for the pool of the benchmarks."""
    content: dict[str, Any] = {
        "model_list": [
            {
                "model_name": POOL_NAME,
                "litellm_params": {
                    "model": f"hosted_vllm/{one.model}",
                    "api_base": one.url,
                    "api_key": "none",
                },
                "model_info": {"id": one.id},
            }
            for one in pool(seats=64, urls=urls).endpoints
        ],
        "general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"},
    }
    if headway:
        content["litellm_settings"] = {"callbacks": ["headway_litellm.callback"]}
    return content


@contextlib.contextmanager
def proxy(folder: Path, urls: tuple[str, ...], daemon_socket: Path | None) -> Iterator[Caller]:
    """A proxy that is being started, with the callback if it is told of a daemon."""
    name = "bare" if daemon_socket is None else "headway"
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(configuration(urls, headway=daemon_socket is not None)))
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
    key = f"sk-{secrets.token_hex(20)}"
    env = {one: said for one, said in os.environ.items() if not one.startswith(NOT_PASSED_ON)}
    env |= {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    if daemon_socket is not None:
        env[SOCKET] = str(daemon_socket)
    command = [sys.executable, "-m", "litellm.proxy.proxy_cli", "--config", str(config)]
    options = ["--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=env)
    try:
        yield Caller(port, key=key)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_up(caller: Caller, log: Path) -> None:
    """Wait for a proxy. Raises `RuntimeError`, with the end of its log, if it does not come up."""
    ends = time.monotonic() + START_S
    while not caller.is_up():
        if time.monotonic() > ends:
            raise RuntimeError(f"the proxy did not come up: {log.read_text()[-2000:]}")
        time.sleep(0.2)


def identity_of(number: int) -> dict[str, str]:
    """Headers of a run's only node, a run for each call."""
    run = f"bench-{number}"
    return {"x-headway-run": run, "x-headway-graph": "bench", "x-headway-node": f"{run}:n"}


def turns(
    bare: Callable[[int], float],
    with_it: Callable[[int], float],
    calls: int,
    step: Callable[[], None],
) -> tuple[list[float], list[float]]:
    """Milliseconds of either side, in turns."""
    found: tuple[list[float], list[float]] = ([], [])
    for number, turn in enumerate(in_turns(WARM_UP + calls)):
        for second in turn:
            spent_ms = (with_it if second else bare)(number)
            time.sleep(SETTLE_S)  # a proxy logs a call after it has answered
            if number >= WARM_UP:
                found[second].append(spent_ms)
        if number >= WARM_UP and (number - WARM_UP) % max(calls // STEPS, 1) == 0:
            step()
    return found


def measure(*, calls: int, step: Callable[[], None]) -> list[Result]:
    """`added_latency_proxy`, the same of a call with an identity, and `proxy_itself`, in ms."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = (stack.enter_context(server("model")), stack.enter_context(server("model")))
        watched = stack.enter_context(daemon(*urls))
        with_it = stack.enter_context(proxy(folder, urls, watched))
        bare = stack.enter_context(proxy(folder, urls, None))
        until_up(with_it, folder / "headway.log")
        until_up(bare, folder / "bare.log")
        model = Caller(int(urls[0].rpartition(":")[2].partition("/")[0]))

        def decided(**identity: str) -> float:
            spent_ms, headers = with_it.ask(**identity)
            if headers.get("x-headway-model") not in MODELS:
                raise RuntimeError("the callback did not decide this call")
            return spent_ms

        plain = turns(lambda _: bare.ask()[0], lambda _: decided(), calls, step)
        named = turns(
            lambda number: bare.ask(**identity_of(number))[0],
            lambda number: decided(**identity_of(number)),
            calls,
            step,
        )
        itself = turns(lambda _: model.ask()[0], lambda _: bare.ask()[0], calls, step)
    beside = "the_same_proxy_bare"
    return [
        added_p50("added_latency_proxy", *plain, ratio_to=beside, goal=GOAL_MS),
        added_p50("added_latency_proxy_of_a_run", *named, ratio_to=beside, goal=GOAL_MS),
        added_p50("proxy_itself", *itself, ratio_to="the_same_call_without_a_proxy"),
    ]

"""Asks paced servers as a client would, and waits for what takes a moment."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")
DEADLINE_S = 30.0


def client(url: str) -> httpx.Client:
    """To one server; paths are relative to its ``/v1``."""
    return httpx.Client(base_url=url, timeout=DEADLINE_S, trust_env=False)


def body(model: str, *, output: int, **more: Any) -> dict[str, Any]:
    """A request for exactly `output` tokens."""
    return {"model": model, "max_tokens": output, "min_tokens": output, "ignore_eos": True, **more}


def complete(url: str, model: str, *, prompt: list[int], output: int, **more: Any) -> Any:
    """The answer to a plain completion; `prompt` is token ids."""
    with client(url) as http:
        asked = body(model, output=output, prompt=prompt, **more)
        return http.post("completions", json=asked).raise_for_status().json()


def chat(url: str, model: str, text: str, **more: Any) -> Any:
    """The answer to a chat request."""
    with client(url) as http:
        asked = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return http.post("chat/completions", json=asked).raise_for_status().json()


def metrics(url: str) -> dict[str, float]:
    """A server's metrics by name with labels; what vLLM exports begins with ``vllm:``."""
    with client(url) as http:
        text = http.get(url.removesuffix("/v1") + "/metrics").raise_for_status().text
    samples = (line.rpartition(" ") for line in text.splitlines() if line[:1] not in ("", "#"))
    return {name: float(value) for name, _, value in samples}


def gauge(url: str, name: str) -> float:
    """One metric, summed over its labels."""
    found = [value for key, value in metrics(url).items() if key.partition("{")[0] == name]
    assert found, name
    return sum(found)


def until(condition: Callable[[], T], *, seconds: float = DEADLINE_S) -> T:
    """Wait for something true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it did not happen in time"
        time.sleep(0.05)
    return found


def forks(pid: int) -> list[psutil.Process]:
    """The processes below `pid`."""
    return psutil.Process(pid).children(recursive=True)


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether none runs any more (one that nobody has waited for yet does not run)."""
    return not any(
        process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes
    )

"""The arms through LiteLLM's own proxy, started as its users start it.

Both proxies have the configuration that `proxy_config` makes, with one model
group of all endpoints and the routing that LiteLLM comes with. ``proxy-headway``
adds the one line of Headway's callback; its daemon takes the pool from the same
file (``headway up --litellm``), which names the proxy's URL as a gateway, and
the graphs are decorated, so that the proxy learns which run a call belongs to.
"""

import contextlib
import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml
from langchain_openai import ChatOpenAI

from headway.core.errors import ConfigError
from headway_samples.demo.arms import (
    PROXY_HEADWAY,
    SOCKET_VARIABLE,
    Arm,
    decorated,
    undecorated,
)
from headway_samples.demo.routers import model_list
from headway_samples.pool import PRIORS, SamplePool
from headway_samples.processes import process
from headway_samples.sample import POOL_NAME

NEEDED = ("litellm", "fastapi", "uvicorn")
KEY_VARIABLE = "LITELLM_MASTER_KEY"
NOT_PASSED_ON = ("DATABASE_", "HEADWAY_", "LITELLM_", "OTEL_", "REDIS_")
"""Variables by which a proxy of the user's would find its database and the like: not this one."""

START_LIMIT_S = 90.0
"""LiteLLM's proxy takes ten seconds and more to start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Where a proxy will listen, its configuration, and the key that it wants of its clients."""

    port: int
    config: Path
    key: str

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"


def check_installed() -> None:
    """Raise `ConfigError` if LiteLLM's proxy is not there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--proxy: {', '.join(missing)} not installed: "
            "pip install 'headway[litellm]' 'litellm[proxy]'"
        )


def proxy_config(pool: SamplePool, *, url: str, headway: bool) -> dict[str, Any]:
    """The ``config.yaml`` of a proxy at `url`; with `headway` also what is Headway's in it."""
    deployments = model_list(pool)
    content: dict[str, Any] = {
        "model_list": deployments,
        "general_settings": {"master_key": f"os.environ/{KEY_VARIABLE}"},
    }
    if headway:
        for each, endpoint in zip(deployments, pool.endpoints, strict=True):
            each["model_info"]["headway"] = {
                "engine": "emulated",
                "profile": pool.profile(endpoint.model),
            }
        content["litellm_settings"] = {"callbacks": ["headway_litellm.callback"]}
        content["headway"] = {
            "models": {POOL_NAME: {"idle_grace_s": pool.idle_grace_s}},
            "quality": dict(PRIORS),
            "gateways": {url: "headway"},
        }
    return content


def planned(name: str, pool: SamplePool, *, folder: Path) -> Proxy:
    """The proxy of the arm `name`, on a free port, its configuration written into `folder`."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = int(held.getsockname()[1])
    made = Proxy(port=port, config=folder / f"{name}.yaml", key=f"sk-{secrets.token_hex(20)}")
    content = proxy_config(pool, url=made.url, headway=name == PROXY_HEADWAY)
    made.config.write_text(yaml.safe_dump(content, sort_keys=False))
    return made


@contextlib.asynccontextmanager
async def running(proxy: Proxy, *, daemon: Path | None, log: Path) -> AsyncIterator[psutil.Process]:
    """The proxy, ready to answer inside the block; `daemon` is the socket its callback looks at."""
    command = (
        *(sys.executable, "-m", "litellm.proxy.proxy_cli"),
        *("--config", str(proxy.config), "--host", "127.0.0.1", "--port", str(proxy.port)),
        *("--telemetry", "False"),
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
    env |= {
        KEY_VARIABLE: proxy.key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no look at the Internet
        "LITELLM_LOG": "ERROR",
    }
    if daemon is not None:
        env[SOCKET_VARIABLE] = str(daemon)

    async def answers() -> bool:
        address = f"http://127.0.0.1:{proxy.port}/health/readiness"
        try:
            async with aiohttp.ClientSession() as session, session.get(address) as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    async with process(command, log, answers, env=env, limit_s=START_LIMIT_S) as started:
        yield psutil.Process(started.pid)


def proxy_arm(name: str, proxy: Proxy) -> Arm:
    """The arm whose clients know nothing but the proxy."""
    client = ChatOpenAI(
        model=POOL_NAME,
        base_url=proxy.url,
        api_key=proxy.key,  # type: ignore[arg-type]
    )
    make = decorated if name == PROXY_HEADWAY else undecorated
    return make(name, lambda node: client)

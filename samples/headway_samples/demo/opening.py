"""Makes an arm ready, with all that must run for it, and takes it down again.

The daemons of a demo come one after the other at one socket path, as the
daemon of a user who restarts it does: the client library of this process looks
for it again by itself. Each begins with an empty folder, so with nothing learned.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from headway.client import Clocks
from headway_samples.demo import proxies
from headway_samples.demo.arms import (
    HEADWAY,
    OURS,
    PROXY_ARMS,
    STRATEGIES,
    Arm,
    baseline,
    headway_arm,
    use_daemon,
)
from headway_samples.demo.routers import router_arm
from headway_samples.demo.stage import as_they_are
from headway_samples.pool import SamplePool
from headway_samples.processes import daemon
from headway_samples.sample import ChatFactory

HOME = "daemon"
"""The folder of the daemon that runs; afterwards it is called after its arm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An arm ready to run; `socket` of its daemon and `proxy`, its process, where it has one."""

    arm: Arm
    socket: Path | None = None
    proxy: psutil.Process | None = None


@contextlib.asynccontextmanager
async def opened(
    name: str,
    pool: SamplePool,
    *,
    seed: int,
    folder: Path,
    chats: Callable[[ChatFactory], ChatFactory] = as_they_are,
) -> AsyncIterator[Opened]:
    """The arm by name, inside the block; for Headway's with a fresh, untrained daemon."""
    async with contextlib.AsyncExitStack() as stack:
        plan = proxies.planned(name, pool, folder=folder) if name in PROXY_ARMS else None
        socket = None
        if name in OURS:
            config = plan.config if plan is not None else None
            socket = await stack.enter_async_context(
                _fresh_daemon(name, pool, folder=folder, litellm=config)
            )
        if plan is not None:
            log = folder / f"{name}.log"
            running = await stack.enter_async_context(proxies.running(plan, daemon=socket, log=log))
            yield Opened(arm=proxies.proxy_arm(name, plan), socket=socket, proxy=running)
        elif name in STRATEGIES:
            arm = await stack.enter_async_context(router_arm(name, pool, chats=chats))
            yield Opened(arm=arm, socket=socket)
        elif name == HEADWAY:
            yield Opened(arm=headway_arm(pool, chats=chats), socket=socket)
        else:
            yield Opened(arm=baseline(name, pool, seed=seed, chats=chats))


@contextlib.asynccontextmanager
async def _fresh_daemon(
    name: str, pool: SamplePool, *, folder: Path, litellm: Path | None
) -> AsyncIterator[Path]:
    home = folder / HOME
    if home.exists():  # of a demo that was killed
        _put_aside(home, "before")
    home.mkdir(mode=0o700)
    try:
        async with daemon(pool, folder=folder, home=home, litellm=litellm) as socket:
            use_daemon(str(socket))
            # An earlier arm's client knocks again this often.
            await asyncio.sleep(1.5 * Clocks().retry_s)
            yield socket
    finally:
        _put_aside(home, name)


def _put_aside(home: Path, name: str) -> None:
    """Give the folder a name of its own; an empty folder, just made, makes way for it."""
    home.rename(tempfile.mkdtemp(prefix=f"{HOME}-{name}-", dir=home.parent))

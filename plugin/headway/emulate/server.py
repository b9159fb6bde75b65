"""A whole emulated pool in one process: start, stop, take a server down, bring it back."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from headway.core.errors import ConfigError
from headway.emulate.answers import Answers, load_answers
from headway.emulate.config import EmulateConfig, EmulatedSpec
from headway.emulate.service import EmulatedServer

_T = TypeVar("_T")

SHUTDOWN_S = 0.2
"""How long requests in flight may take when a server goes down."""
THREAD_START_S = 30.0


class EmulatedPool:
    """``async with EmulatedPool(config) as pool``: serves until the block ends.

    `answers` overrides the configuration's. Raises `ConfigError` when a port
    is taken.
    """

    def __init__(self, config: EmulateConfig, *, answers: Answers | None = None) -> None:
        self.config = config
        given = load_answers(config.answers) if answers is None else answers
        groups: dict[str, list[EmulatedSpec]] = {}
        for spec in config.endpoints:
            groups.setdefault(spec.server, []).append(spec)
        self._groups = groups
        self._servers = {
            name: EmulatedServer(specs=specs, speedup=config.speedup, answers=given)
            for name, specs in groups.items()
        }
        self._ports = {name: specs[0].port for name, specs in groups.items()}
        self._runners: dict[str, web.AppRunner] = {}

    async def __aenter__(self) -> "EmulatedPool":
        try:
            for name in self._groups:
                await self._start(name)
        except BaseException:
            await self._stop_all()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop_all()

    @property
    def urls(self) -> dict[str, str]:
        """Base URL (with its path, such as ``/v1``) of each endpoint, by its id."""
        return {
            spec.id: f"http://{_bracketed(spec.host)}:{self._ports[spec.server]}{spec.path}"
            for spec in self.config.endpoints
        }

    def server(self, endpoint_id: str) -> EmulatedServer:
        """The server behind an endpoint: its faults, log and engine."""
        return self._servers[self._server_of(endpoint_id)]

    async def take_down(self, endpoint_id: str) -> None:
        """Stop listening and cut what is in flight, as if the process had died."""
        runner = self._runners.pop(self._server_of(endpoint_id), None)
        if runner is not None:
            await runner.cleanup()

    async def bring_up(self, endpoint_id: str) -> None:
        """Listen again on the same port; the cache and the counters are as they were."""
        name = self._server_of(endpoint_id)
        if name not in self._runners:
            await self._start(name)

    def _server_of(self, endpoint_id: str) -> str:
        return next(spec.server for spec in self.config.endpoints if spec.id == endpoint_id)

    async def _start(self, name: str) -> None:
        spec = self._groups[name][0]
        runner = web.AppRunner(
            self._servers[name].build_app(),
            # A client that leaves must free its seat at once.
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_S,
            access_log=None,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, spec.host, self._ports[name], backlog=1024).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"cannot listen on {spec.host}:{self._ports[name]} for endpoint {spec.id!r} "
                f"({error.strerror or error}): stop what uses the port, or change the url"
            ) from error
        self._ports[name] = runner.addresses[0][1]
        self._runners[name] = runner

    async def _stop_all(self) -> None:
        await asyncio.gather(*(runner.cleanup() for runner in self._runners.values()))
        self._runners.clear()
        for server in self._servers.values():
            server.engine.close()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class RunningPool:
    """An `EmulatedPool` that runs in a thread of its own."""

    def __init__(self, pool: EmulatedPool, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.urls = pool.urls
        self._loop = loop

    def take_down(self, endpoint_id: str) -> None:
        """See `EmulatedPool.take_down`."""
        self._wait_for(self.pool.take_down(endpoint_id))

    def bring_up(self, endpoint_id: str) -> None:
        """See `EmulatedPool.bring_up`."""
        self._wait_for(self.pool.bring_up(endpoint_id))

    def add_fault(self, endpoint_id: str, kind: str, *, count: int | None = 1) -> None:
        """See `Faults.add`."""
        self.pool.server(endpoint_id).faults.add(kind, count=count)

    def log(self, endpoint_id: str) -> list[dict[str, Any]]:
        """The endpoint's last requests (see `requestlog.Entry`)."""
        return self.pool.server(endpoint_id).log.listing()

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(THREAD_START_S)


@contextmanager
def running(config: EmulateConfig, *, answers: Answers | None = None) -> Iterator[RunningPool]:
    """Serve from a background thread while the block runs, for programs that are not async."""
    pool = EmulatedPool(config, answers=answers)
    ready = threading.Event()
    failures: list[BaseException] = []
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        async with pool:
            started.append((asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    def body() -> None:
        try:
            asyncio.run(serve())
        # Whatever stops the server is raised again in the caller's thread.
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=body, name="headway-emulate", daemon=True)
    thread.start()
    ready.wait(THREAD_START_S)
    if not started:
        raise failures[0] if failures else ConfigError("the emulated pool did not start in time")
    loop, stop = started[0]
    try:
        yield RunningPool(pool, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(THREAD_START_S)

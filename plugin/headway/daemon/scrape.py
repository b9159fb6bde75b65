"""Looks at every endpoint about once a second: is it there, and how full is it.

What is looked at is the engine's adapter's to know (`headway.daemon.adapters`); here are the
rhythm, the connections and their limits. Nothing an endpoint does (being down, hanging, lying,
answering for ever) takes longer than the time-out for a page or reaches the scheduler as
anything but a fact.
"""

import asyncio
import logging
import os
from collections.abc import Callable

import aiohttp

from headway.core.errors import ConfigError
from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId, Seconds
from headway.daemon.adapters import Listed, Page, ServerError, Watcher, adapter_of, page_address

log = logging.getLogger("headway.daemon.scrape")

TIMEOUT_S = 2.0
LOOK_S = 3.0
"""A look of several pages may take this many time-outs."""
REPEAT_S = 5.0
MAX_PAGE_BYTES = 8 << 20


class Scraper:
    """Watches a pool's endpoints and tells `report` what it sees.

    A fact is told when it differs from the last one, and every `REPEAT_S`
    seconds all the same.
    """

    def __init__(
        self,
        report: Callable[[EndpointSeen], None],
        *,
        every_s: Seconds = 1.0,
        timeout_s: Seconds = TIMEOUT_S,
    ) -> None:
        self._report = report
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._specs: tuple[EndpointSpec, ...] = ()
        self._complaints: dict[EndpointId, str] = {}
        self._defects: set[str] = set()

    async def watch(self, pool: Pool) -> None:
        """Watch the endpoints of `pool`, and no others."""
        if pool.endpoints == self._specs and self._tasks:
            return
        await self._cancel()
        self._specs = pool.endpoints
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout_s)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        looked_at = [spec for spec in self._specs if spec.url]  # others only LiteLLM reaches
        stagger_s = self._every_s / max(1, len(looked_at))
        self._tasks = [
            asyncio.create_task(self._poll(spec, number * stagger_s))
            for number, spec in enumerate(looked_at)
        ]

    async def stop(self) -> None:
        """Stop watching."""
        await self._cancel()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _poll(self, spec: EndpointSpec, first_s: Seconds) -> None:
        loop = asyncio.get_running_loop()
        assert self._session is not None
        adapter = adapter_of(spec.engine)
        site = HttpSite(spec, self._session)
        try:
            watcher = adapter.watch(site)
        except Exception as error:  # noqa: BLE001  # adapters may come from others
            why = str(error) if isinstance(error, ConfigError) else repr(error)
            log.error("endpoint %s: %s; it is only asked whether it is there", spec.id, why)
            adapter = Listed()
            watcher = adapter.watch(site)
        every_s = self._every_s * adapter.interval_factor
        last: EndpointSeen | None = None
        told_at = loop.time()
        try:
            await asyncio.sleep(first_s)
            while True:
                began = loop.time()
                seen = await self._look(spec, watcher)
                self._log_change(spec, seen)
                if seen != last or loop.time() - told_at >= REPEAT_S:
                    last, told_at = seen, loop.time()
                    self._report(seen)
                await asyncio.sleep(max(0.05, began + every_s - loop.time()))
        finally:
            watcher.close()

    async def _look(self, spec: EndpointSpec, watcher: Watcher) -> EndpointSeen:
        try:
            async with asyncio.timeout(LOOK_S * self._timeout_s):
                return await watcher.look()
        except TimeoutError:
            return _gone(spec, f"no answer within {self._timeout_s:g} s")
        except (OSError, ValueError) as error:
            return _gone(spec, _reason(error))
        except Exception as error:  # adapters may come from others: one must not end the watch
            if spec.engine not in self._defects:
                self._defects.add(spec.engine)
                log.exception("a defect of the adapter for %s", spec.engine)
            return EndpointSeen(endpoint=spec.id, reachable=True, error=f"adapter: {error!r}"[:300])

    def _log_change(self, spec: EndpointSpec, seen: EndpointSeen) -> None:
        """One line when a complaint comes or goes. Ups and downs the core tells."""
        if not seen.reachable:
            return
        kind = seen.error.split(":")[0]
        if kind == self._complaints.get(spec.id, ""):
            return
        self._complaints[spec.id] = kind
        if kind:
            log.warning("endpoint %s: %s", spec.id, seen.error)
        else:
            log.warning("endpoint %s: its metrics can be used again", spec.id)


class HttpSite:
    """An endpoint's server over HTTP, with the endpoint's own key."""

    def __init__(self, spec: EndpointSpec, session: aiohttp.ClientSession) -> None:
        self._spec = spec
        self._session = session

    @property
    def spec(self) -> EndpointSpec:
        """The endpoint as declared."""
        return self._spec

    async def get(self, path: str, *, timeout_s: Seconds | None = None) -> Page:
        """One page, whole; see `headway.daemon.adapters.Site`."""
        try:
            return await self._page(path, timeout_s)
        except aiohttp.ClientError as error:
            if isinstance(error, OSError):
                raise
            raise OSError(f"{type(error).__name__}: {error}") from error

    async def _page(self, path: str, timeout_s: Seconds | None) -> Page:
        limit = self._session.timeout
        if timeout_s is not None:
            limit = aiohttp.ClientTimeout(total=timeout_s)
        address = page_address(self._spec.url, path)
        headers = _credential(self._spec)
        async with self._session.get(
            address, headers=headers, allow_redirects=False, timeout=limit
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise ValueError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
        if response.status >= 500:
            raise ServerError(f"{address} answers {response.status}")
        return Page(response.status, body.decode("utf-8", "replace"))


def _gone(spec: EndpointSpec, error: str) -> EndpointSeen:
    return EndpointSeen(endpoint=spec.id, reachable=False, error=error[:300])


def _reason(error: Exception) -> str:
    """Why a request failed, in few words."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"cannot connect: {os.strerror(number) if number else error.os_error}"
    if isinstance(error, ServerError):
        return str(error)
    return str(error) if type(error) is OSError else f"{type(error).__name__}: {error}"


def _credential(spec: EndpointSpec) -> dict[str, str]:
    """The endpoint's own key if this process has it; a client's is never used here."""
    key = os.environ.get(spec.api_key.removeprefix("os.environ/")) if spec.api_key else None
    return {"Authorization": f"Bearer {key}"} if key else {}

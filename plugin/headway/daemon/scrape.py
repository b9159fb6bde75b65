"""Looks at every endpoint about once a second: is it there, and how full is it.

Engines with vLLM's metrics (`vllm`, `emulated`) are asked for ``/metrics``;
others are asked for their models, more rarely, and any answer below 500 means
that they are there. An engine that keeps its metrics to itself is looked at
like the others, and has no gauges. Nothing an endpoint does (being down,
hanging, lying, answering for ever) takes longer than the time-out or reaches
the scheduler as anything but a fact.
"""

import asyncio
import logging
import os
from collections.abc import Callable

import aiohttp
import msgspec

from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId, Seconds
from headway.daemon.metrics import read_metrics

log = logging.getLogger("headway.daemon.scrape")

METRIC_ENGINES = ("vllm", "emulated")
TIMEOUT_S = 2.0
SLOW_FACTOR = 10
REPEAT_S = 5.0
MAX_PAGE_BYTES = 8 << 20


class _ServerError(ValueError):
    """An endpoint answers, but with an error of its own."""


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
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._specs: tuple[EndpointSpec, ...] = ()
        self._complaints: dict[EndpointId, str] = {}
        self._misplaced: dict[EndpointId, str] = {}

    async def watch(self, pool: Pool) -> None:
        """Watch the endpoints of `pool`, and no others."""
        if pool.endpoints == self._specs and self._tasks:
            return
        await self._cancel()
        self._specs = pool.endpoints
        self._misplaced.clear()
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, trust_env=False)
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
        with_metrics = spec.engine in METRIC_ENGINES
        every_s = self._every_s * (1 if with_metrics else SLOW_FACTOR)
        last: EndpointSeen | None = None
        told_at = loop.time()
        await asyncio.sleep(first_s)
        while True:
            began = loop.time()
            seen = await self._look(spec, with_metrics)
            if with_metrics and seen.reachable:
                seen = await self._at_its_url(spec, seen)
            self._log_change(spec, seen)
            if seen != last or loop.time() - told_at >= REPEAT_S:
                last, told_at = seen, loop.time()
                self._report(seen)
            await asyncio.sleep(max(0.05, began + every_s - loop.time()))

    async def _look(self, spec: EndpointSpec, with_metrics: bool) -> EndpointSeen:
        try:
            if not with_metrics:
                await self._there(f"{spec.url}/models", spec)
                return EndpointSeen(endpoint=spec.id, reachable=True)
            address = f"{spec.url.removesuffix('/v1')}/metrics"
            status, text = await self._there(address, spec)
            if status != 200:
                await self._there(f"{spec.url}/models", spec)
        except TimeoutError:
            return _gone(spec, f"no answer within {self._timeout.total:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _gone(spec, _reason(error))
        if status != 200:
            complaint = f"its metrics cannot be had: {address} answers {status}"
            return EndpointSeen(endpoint=spec.id, reachable=True, error=complaint)
        gauges = read_metrics(text, spec.model)
        return EndpointSeen(
            endpoint=spec.id,
            reachable=True,
            running=gauges.running,
            waiting=gauges.waiting,
            kv_used=gauges.kv_used,
            kv_tokens=gauges.kv_tokens,
            seats=gauges.seats,
            error=gauges.complaint,
        )

    async def _at_its_url(self, spec: EndpointSpec, seen: EndpointSeen) -> EndpointSeen:
        """`seen`, with the trouble if calls would find nothing at the URL (often /v1 is missing).

        An engine's metrics lie beside its API and cannot tell. It is asked until it was right
        once, and stays up: calls may work where no list of models is served.
        """
        if self._misplaced.get(spec.id) != "":
            self._misplaced[spec.id] = await self._misplaced_because(spec)
        trouble = self._misplaced[spec.id]
        return msgspec.structs.replace(seen, error=trouble) if trouble else seen

    async def _misplaced_because(self, spec: EndpointSpec) -> str:
        try:
            status, _ = await self._page(f"{spec.url}/models", spec)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
            return ""
        if status != 404:
            return ""
        return f"answers, but not at this URL: {spec.url}/models is 404; is /v1 missing?"

    async def _there(self, address: str, spec: EndpointSpec) -> tuple[int, str]:
        """Status and text of a page. Raises `_ServerError` for 500 and above."""
        status, text = await self._page(address, spec)
        if status >= 500:
            raise _ServerError(f"{address} answers {status}")
        return status, text

    async def _page(self, address: str, spec: EndpointSpec) -> tuple[int, str]:
        if self._session is None:
            raise OSError("the scraper is stopped")
        headers = _credential(spec)
        async with self._session.get(address, headers=headers, allow_redirects=False) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                body += chunk
                if len(body) > MAX_PAGE_BYTES:
                    raise ValueError(f"its page is larger than {MAX_PAGE_BYTES} bytes")
            return response.status, body.decode("utf-8", "replace")

    def _log_change(self, spec: EndpointSpec, seen: EndpointSeen) -> None:
        """One line when gauges stop or begin to be believable. Ups and downs the core tells."""
        if not seen.reachable:
            return
        kind = seen.error.split(":")[0]
        before = self._complaints.get(spec.id, "")
        if kind == before:
            return
        self._complaints[spec.id] = kind
        if kind and seen.error == self._misplaced.get(spec.id):
            log.warning("endpoint %s %s", spec.id, seen.error)
        elif kind:
            log.warning("endpoint %s: %s; they are not used", spec.id, seen.error)
        else:
            log.warning("endpoint %s: its metrics can be used again", spec.id)


def _gone(spec: EndpointSpec, error: str) -> EndpointSeen:
    return EndpointSeen(endpoint=spec.id, reachable=False, error=error[:300])


def _reason(error: Exception) -> str:
    """Why a request failed, in few words."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"cannot connect: {os.strerror(number) if number else error.os_error}"
    if isinstance(error, _ServerError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _credential(spec: EndpointSpec) -> dict[str, str]:
    """The endpoint's own key if this process has it; a client's is never used here."""
    key = os.environ.get(spec.api_key.removeprefix("os.environ/")) if spec.api_key else None
    return {"Authorization": f"Bearer {key}"} if key else {}

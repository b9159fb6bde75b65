"""Looks at a vLLM server: load, sizes, sleep, restarts, and whether it is what was configured.

Load is on ``/metrics`` at every look. What changes only when a server is started anew (its
models, version, flags) is asked for at first, and again when it was gone, or restarted.
"""

import asyncio
import ipaddress
import logging
from urllib.parse import urlsplit

from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec
from headway.core.types import Seconds
from headway.daemon.adapters import Page, Site
from headway_vllm.flags import (
    Flags,
    Served,
    local_command,
    read_command,
    read_models,
    read_server_info,
    read_version,
)
from headway_vllm.kvevents import Prefixes, Subscription
from headway_vllm.metrics import Gauges, Life, read_metrics

log = logging.getLogger("headway.vllm")

OK = 200
NOT_FOUND = 404
WHETHER_URGENCY = (
    "endpoint %s: whether it serves its queue by priority cannot be read (with fcfs, vLLM's "
    "default, urgency is ignored in silence); `headway profile %s --pool FILE` proves it, or say "
    "`heeds_urgency: true` in the pool file"
)
SERVER_INFO_S = 5.0
"""When first asked, vLLM looks at its whole machine for this page; seen to take 2.3 s."""
ASLEEP = "it sleeps: requests hang there until somebody asks for its /wake_up"


class VllmAdapter:
    """Watches vLLM, and what speaks its dialect (Headway's emulator). Found by entry point."""

    every: float = 1.0

    def watch(self, site: Site) -> "VllmWatcher":
        """A watcher of one endpoint."""
        return VllmWatcher(site)


class VllmWatcher:
    """One endpoint on a vLLM server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._spec: EndpointSpec = site.spec
        self._known = False
        self._warned = False
        self._life: Life | None = None
        self._trouble = ""
        self._served: Served | None = None
        self._version = ""
        self._flags = Flags()
        self._prefixes = Prefixes()
        self._events = Subscription(self._spec.kv_events) if self._spec.kv_events else None

    def close(self) -> None:
        """Stop listening to events."""
        if self._events is not None:
            self._events.close()

    async def look(self) -> EndpointSeen:
        """Ask for the metrics, and for the rest where that may be new."""
        try:
            page = await self._site.get("/metrics")
            if page.status != OK:
                return await self._without_metrics(page)
            return await self._with_metrics(read_metrics(page.text, self._spec.model))
        except BaseException:
            self._known = False  # what comes back may be another server
            raise

    async def _without_metrics(self, page: Page) -> EndpointSeen:
        """An engine that keeps its metrics to itself is there if it lists its models."""
        await self._site.get("models")
        address = f"{self._spec.url.rstrip('/').removesuffix('/v1')}/metrics"
        complaint = f"its metrics cannot be had: {address} answers {page.status}"
        return EndpointSeen(endpoint=self._spec.id, reachable=True, error=complaint)

    async def _with_metrics(self, gauges: Gauges) -> EndpointSeen:
        restarted = self._life is not None and gauges.life.after_restart(self._life)
        if self._life is None or (gauges.life.started or 0.0) >= (self._life.started or 0.0):
            self._life = gauges.life
        if self._events is not None:
            self._events.drain(self._prefixes)
        if restarted:
            self._prefixes.forget()
        if not self._known or restarted or self._trouble:
            await self._find_out()
        if wrong := self._wrong_model():
            return EndpointSeen(endpoint=self._spec.id, reachable=False, error=wrong)
        if gauges.asleep and self._spec.engine == "vllm":
            return EndpointSeen(endpoint=self._spec.id, reachable=False, error=ASLEEP, asleep=True)
        served = self._served
        return EndpointSeen(
            endpoint=self._spec.id,
            reachable=True,
            running=gauges.running,
            waiting=gauges.waiting,
            kv_used=gauges.kv_used,
            kv_tokens=gauges.kv_tokens,
            seats=gauges.seats if gauges.seats is not None else self._flags.seats,
            error=self._trouble or gauges.complaint,
            asleep=gauges.asleep,
            restarted=restarted,
            version=self._version,
            context_tokens=None if served is None else served.context_tokens,
            heeds_urgency=self._heeds_urgency(),
            preemptions=gauges.preemptions,
            lost_prefixes=self._prefixes.lost(),
        )

    def _heeds_urgency(self) -> bool | None:
        """As read, else as declared."""
        read = self._flags.heeds_urgency
        return self._spec.heeds_urgency if read is None else read

    async def _find_out(self) -> None:
        """Models, version, flags: of a server that is there and was not asked yet."""
        self._trouble = ""
        models = await self._optional("models")
        if models is not None and models.status == NOT_FOUND:
            # metrics lie beside the API and cannot tell; calls may work where no list is served
            url = f"{self._spec.url}/models"
            self._trouble = f"answers, but not at this URL: {url} is 404; is /v1 missing?"
        listed = models is not None and models.status == OK
        self._served = read_models(models.text, self._spec.model) if models and listed else None
        if self._spec.engine == "vllm":
            version = await self._optional("/version")
            self._version = read_version(version.text) if version else ""
            self._flags = await self._find_flags()
            if self._heeds_urgency() is None and not self._warned:
                self._warned = True
                log.warning(WHETHER_URGENCY, self._spec.id, self._spec.url)
        self._known = True

    async def _find_flags(self) -> Flags:
        info = await self._optional("/server_info?config_format=json", timeout_s=SERVER_INFO_S)
        if info is not None and info.status == OK:
            return read_server_info(info.text)
        port = _local_port(self._spec.url)
        if port is None:
            return Flags()
        command = await asyncio.to_thread(local_command, port)
        return read_command(command)

    async def _optional(self, path: str, *, timeout_s: Seconds | None = None) -> Page | None:
        """A page that a server need not have."""
        try:
            return await self._site.get(path, timeout_s=timeout_s)
        except (OSError, ValueError):
            return None

    def _wrong_model(self) -> str:
        """Why calls would find no such model; empty if they do, or nobody says."""
        if self._served is None or not self._served.names:
            return ""
        if self._spec.engine != "vllm" or self._spec.model in self._served.names:
            return ""
        names = ", ".join(self._served.names[:5])
        return f"serves {names}, not {self._spec.model}: mend `model` in the pool, or the server"


def _local_port(url: str) -> int | None:
    """The port of a server on this very machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == "localhost"
    return (parts.port or 80) if here else None

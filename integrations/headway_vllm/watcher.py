"""Looks at a vLLM server: load, sizes, sleep, restarts, and whether it is what was configured.

Load is on ``/metrics`` at every look. What changes only when a server is started anew is in
`nature`; an engine that keeps its metrics to itself is still looked at for that.
"""

import logging

from headway.core.facts import EndpointSeen
from headway.core.types import RunId
from headway.daemon.adapters import Site, page_address
from headway_vllm.kvevents import Prefixes, Subscription
from headway_vllm.metrics import Gauges, Life, read_metrics
from headway_vllm.nature import OK, Nature

log = logging.getLogger("headway.vllm")

ASLEEP = "it sleeps: requests hang there until somebody asks for its /wake_up"
MOST_RESTARTS = 3
WITHIN_LOOKS = 20
"""Counters that fall more often than an engine is started: several engines answer in turn."""


class VllmAdapter:
    """Watches vLLM, and what speaks its dialect (Headway's emulator). Found by entry point."""

    interval_factor: float = 1.0

    def watch(self, site: Site) -> "VllmWatcher":
        """A watcher of one endpoint. Raises `ConfigError` if its events cannot be listened to."""
        return VllmWatcher(site)


class VllmWatcher:
    """One endpoint on a vLLM server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._spec = site.spec
        self._nature = Nature(site)
        self._life: Life | None = None
        self._looks = 0
        self._restarts: list[int] = []
        self._in_turn = False
        self._events = Subscription(self._spec.kv_events) if self._spec.kv_events else None
        self._prefixes = Prefixes(f"endpoint {self._spec.id}")

    def close(self) -> None:
        """Stop listening and asking."""
        self._nature.close()
        if self._events is not None:
            self._events.close()

    async def look(self) -> EndpointSeen:
        """Ask for the metrics, and for the rest where that may be new."""
        self._looks += 1
        try:
            page = await self._site.get("/metrics")
            if page.status != OK:  # there all the same, if it lists its models
                await self._site.get("models")
        except BaseException:
            self._nature.forget()
            raise
        await self._nature.known()
        if page.status == OK:
            gauges = read_metrics(page.text, self._spec.model, self._nature.aliases)
        else:
            address = page_address(self._spec.url, "/metrics")
            why = f"its metrics cannot be had: {address} answers {page.status}"
            gauges = Gauges(complaint=why)
        restarted = self._restarted(gauges.life)
        if restarted:
            self._nature.forget()
            await self._nature.known()
        return self._seen(gauges, restarted, self._lost(restarted))

    def _seen(self, gauges: Gauges, restarted: bool, lost: tuple[RunId, ...]) -> EndpointSeen:
        nature, spec = self._nature, self._spec
        if wrong := nature.wrong_model:
            return self._out(wrong, restarted, lost)
        if gauges.asleep and spec.engine == "vllm":
            return self._out(ASLEEP, restarted, lost, asleep=True)
        return EndpointSeen(
            endpoint=spec.id,
            reachable=True,
            running=gauges.running,
            waiting=gauges.waiting,
            kv_used=gauges.kv_used,
            kv_tokens=gauges.kv_tokens,
            seats=gauges.seats if gauges.seats is not None else nature.seats,
            error=nature.misplaced or gauges.complaint,
            asleep=gauges.asleep,
            restarted=restarted,
            version=nature.version,
            context_tokens=nature.context_tokens,
            heeds_urgency=nature.heeds_urgency,
            lost_prefixes=lost,
        )

    def _out(
        self,
        why: str,
        restarted: bool,
        lost: tuple[RunId, ...],
        *,
        asleep: bool | None = None,
    ) -> EndpointSeen:
        """Not to be called for now; what its cache has lost is lost all the same."""
        return EndpointSeen(
            endpoint=self._spec.id,
            reachable=False,
            error=why,
            asleep=asleep,
            restarted=restarted,
            lost_prefixes=lost,
        )

    def _lost(self, restarted: bool) -> tuple[RunId, ...]:
        """Runs whose prefix has left the cache."""
        if restarted:
            self._prefixes.forget()
        if self._events is not None:
            self._events.drain(self._prefixes)
        return self._prefixes.lost()

    def _restarted(self, life: Life) -> bool:
        """Whether the engine was started anew since the last look, as far as that can be told."""
        before = self._life
        if before is None or (life.started or 0.0) >= (before.started or 0.0):
            self._life = life
        if before is None or not life.after_restart(before) or self._in_turn:
            return False
        self._restarts = [one for one in self._restarts if one > self._looks - WITHIN_LOOKS]
        self._restarts.append(self._looks)
        if len(self._restarts) <= MOST_RESTARTS:
            return True
        self._in_turn = True
        log.warning(
            "endpoint %s: its counters fall again and again: several engines seem to answer in "
            "turn; restarts cannot be told there",
            self._spec.id,
        )
        return False

"""The servers of a cell in virtual time: who serves what, and what happens next.

Owns the engines; a site that is a pair takes its prompts to another server first. Ties in
time go by the order of the pool's sites.
"""

from headway.core.types import Seconds
from headway.engine import Engine, Finished, Happening
from headway.engine.pairs import Pairs
from headway.sim.outcomes import EndpointOutcome
from headway.sim.pools import SimPool, Site

NEVER = float("inf")


class _Station:
    """One thing that serves: an engine, or all pairs together."""

    __slots__ = ("_dues", "_place", "_since", "busy_s", "engine")

    def __init__(self, engine: Engine | Pairs, dues: list[Seconds]) -> None:
        self.engine = engine
        self._dues = dues
        self._place = len(dues)
        dues.append(NEVER)
        self.busy_s: dict[str, Seconds] = {}
        self._since: dict[str, Seconds] = {}

    def look(self, at: Seconds) -> None:
        """Note when the engine is next due, and which of its servers are busy since when."""
        due = self.engine.next_at()
        self._dues[self._place] = NEVER if due is None else due
        if isinstance(self.engine, Pairs):
            for name in self.engine.decodes:
                self._note(name, at, self.engine.works(name))
        else:
            self._note("", at, due is not None)

    def _note(self, name: str, at: Seconds, busy: bool) -> None:
        since = self._since.get(name)
        if busy and since is None:
            self._since[name] = at
        elif not busy and since is not None:
            self.busy_s[name] = self.busy_s.get(name, 0.0) + at - self._since.pop(name)


class Fleet:
    """All servers of a pool. Calls must come with times that do not decrease."""

    def __init__(self, pool: SimPool) -> None:
        self.sites: dict[str, Site] = {site.id: site for site in pool.sites}
        self._station_of: dict[str, _Station] = {}
        self.stations: list[_Station] = []
        self._dues: list[Seconds] = []  # of each station, kept up by itself
        engines: dict[str, _Station] = {}
        pairs = [site for site in pool.sites if site.prefill_server]
        paired = self._paired(pairs) if pairs else None
        for site in pool.sites:
            if site.prefill_server and paired is not None:
                self._station_of[site.id] = paired
                continue
            name = site.server or site.id
            station = engines.get(name)
            if station is None:
                engine = Engine(site.profile, asleep=site.asleep)
                station = engines[name] = _Station(engine, self._dues)
                self.stations.append(station)
            self._station_of[site.id] = station
        self._served: dict[str, list[int]] = {site.id: [0, 0, 0, 0] for site in pool.sites}

    def _paired(self, pairs: list[Site]) -> _Station:
        prefills = {site.prefill_server: site.prefill or site.profile for site in pairs}
        decodes = {site.server or site.id: site.profile for site in pairs}
        station = _Station(Pairs(prefills=prefills, decodes=decodes), self._dues)
        self.stations.append(station)
        return station

    def submit(
        self,
        request: str,
        site_id: str,
        *,
        prompt_tokens: int,
        output_tokens: int,
        priority: int,
        prefix: tuple[int, ...],
        at: Seconds,
    ) -> None:
        """A request reaches its endpoint. LOWER `priority` is served first."""
        site = self.sites[site_id]
        station = self._station_of[site_id]
        engine = station.engine
        if isinstance(engine, Pairs):
            engine.submit(
                request,
                prefill=site.prefill_server,
                decode=site.server or site.id,
                transfer_s=site.transfer_s,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                priority=priority,
                prefix=prefix,
                at=at,
            )
        else:
            engine.submit(
                request,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                at=at,
                priority=priority,
                prefix=prefix,
            )
        station.look(at)

    def next_at(self) -> Seconds:
        """When something may happen on any server; infinite if nothing is there."""
        return min(self._dues)

    def advance(self, to: Seconds) -> tuple[Happening, ...]:
        """What happened until `to`, which is `next_at()`, on the first server that is due."""
        station = self.stations[self._dues.index(to)]
        happened = station.engine.advance(to)
        station.look(to)
        return happened

    def count(self, site_id: str, prompt_tokens: int, done: Finished) -> None:
        """Book what an endpoint has served."""
        served = self._served[site_id]
        served[0] += 1
        served[1] += prompt_tokens
        served[2] += done.cached_tokens
        served[3] += done.output_tokens

    def load(self, site_id: str) -> tuple[int, int, float, bool]:
        """Running, waiting, share of KV in use, and whether it sleeps, by the last time told."""
        engine = self._station_of[site_id].engine
        if isinstance(engine, Pairs):
            gauges = engine.gauges(self.sites[site_id].server or site_id)
        else:
            gauges = engine.gauges()
        return gauges.running, gauges.waiting, gauges.kv_used, gauges.asleep

    def outcomes(self) -> tuple[EndpointOutcome, ...]:
        """What each endpoint did; endpoints of one server share its busy time."""
        return tuple(
            EndpointOutcome(
                id=site.id,
                model=site.model,
                busy_s=self._busy_s(site),
                calls=served[0],
                prompt_tokens=served[1],
                hit_tokens=served[2],
                output_tokens=served[3],
            )
            for site, served in zip(self.sites.values(), self._served.values(), strict=True)
        )

    def _busy_s(self, site: Site) -> Seconds:
        """Seconds in which the site's server had work; of a pair, its decode server."""
        name = (site.server or site.id) if site.prefill_server else ""
        return self._station_of[site.id].busy_s.get(name, 0.0)

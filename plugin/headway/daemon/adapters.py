"""Engine adapters: what looks at endpoints of one kind of engine, found by entry point.

An adapter knows an engine's pages; the time-out, the size limit, the credential and the
connection are the scraper's (`Site`). An engine without an adapter is asked for its models.
"""

import logging
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple, Protocol

from headway.core.facts import EndpointSeen
from headway.core.pool import EndpointSpec
from headway.core.types import Seconds

log = logging.getLogger("headway.daemon.adapters")

GROUP = "headway.engines"
SLOW_FACTOR = 10
"""An engine that only shows that it is there is asked this many times less often."""


class ServerError(ValueError):
    """An endpoint answers, but with an error of its own."""


class Page(NamedTuple):
    """What a server answered."""

    status: int
    text: str


def page_address(url: str, path: str) -> str:
    """Where the page `path` of a server with the base URL `url` is: below it, or with a leading
    ``/`` below the server's root.
    """
    base = url.rstrip("/")
    return f"{base.removesuffix('/v1')}{path}" if path.startswith("/") else f"{base}/{path}"


class Site(Protocol):
    """One endpoint's server, to be asked."""

    @property
    def spec(self) -> EndpointSpec:
        """The endpoint as declared."""
        ...

    async def get(self, path: str, *, timeout_s: Seconds | None = None) -> Page:
        """The page at `path`: below the base URL, or with a leading ``/`` below the server's root.

        `timeout_s` for a page that takes longer than others; a whole look has its limit too.

        Raises `ServerError` for 500 and above, `OSError` (time-outs among them) or `ValueError` if
        there is no answer, or none that can be taken.
        """
        ...


class Watcher(Protocol):
    """Looks at one endpoint again and again, and remembers what it saw."""

    async def look(self) -> EndpointSeen:
        """What there is to see now. Raises what `Site.get` raises: then the endpoint is gone."""
        ...

    def close(self) -> None:
        """It is looked at no more."""
        ...


class Adapter(Protocol):
    """Makes watchers for one kind of engine."""

    @property
    def interval_factor(self) -> float:
        """Looks are this many of the scraper's intervals apart."""
        ...

    def watch(self, site: Site) -> Watcher:
        """A watcher of the endpoint behind `site`. Raises `ConfigError` if it cannot be watched."""
        ...


class Listed:
    """For engines of which nothing is known: there if they answer when asked for their models."""

    interval_factor: float = SLOW_FACTOR

    def watch(self, site: Site) -> Watcher:
        """A watcher without memory."""
        return _Listing(site)


class _Listing:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def look(self) -> EndpointSeen:
        """Any answer below 500 will do."""
        await self._site.get("models")
        return EndpointSeen(endpoint=self._site.spec.id, reachable=True)

    def close(self) -> None:
        """There is nothing to close."""


@cache
def _points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def adapter_of(engine: str) -> Adapter:
    """The adapter for an engine; one that cannot be loaded is told once, and does without."""
    point = _points().get(engine)
    if point is None:
        return Listed()
    try:
        adapter: Adapter = point.load()
    except Exception:  # adapters may come from others: one must not blind the daemon
        log.exception("the adapter for %s cannot be loaded (%s)", engine, point.value)
        return Listed()
    return adapter


def shows_load(engine: str) -> bool:
    """Whether an engine tells how busy it is."""
    return engine in _points()

"""The last pool view: from the connection, else from the file beside the socket."""

from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from headway.client.once import Once
from headway.client.paths import pool_view_path, read_pool_view
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import Seconds

_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=256)
def normal_url(url: str) -> str:
    """`url` with scheme and host in lower case, no default port and no trailing slash.

    What is no URL stays as it is.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url.strip()
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        host = f"{host}:{port}"
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}"


def gateway_url(url: str) -> str:
    """The normal form of a gateway's URL: a proxy serves the same with and without ``/v1``."""
    return normal_url(url).removesuffix("/v1")


class PoolView:
    """Holds the pool. The file is looked at only until a daemon has told its view."""

    def __init__(self, socket_path: Path, *, retry_s: Seconds, once: Once) -> None:
        self._path = pool_view_path(socket_path)
        self._retry_s = retry_s
        self._once = once
        self._told = False
        self._looked_at = float("-inf")
        self._pool: Pool | None = None
        self._by_url: dict[str, EndpointSpec] = {}
        self._gateways: dict[str, str] = {}

    def told(self, pool: Pool) -> None:
        """The daemon told its pool."""
        self._told = True
        self._set(pool)

    def latest(self, now: Seconds) -> Pool | None:
        """The pool as far as we know it; reads the file at most once in `retry_s`."""
        if not self._told and now - self._looked_at >= self._retry_s:
            self._looked_at = now
            self._look()
        return self._pool

    def at_url(self, base_url: str, now: Seconds) -> EndpointSpec | None:
        """The (first) endpoint with this base URL."""
        if self.latest(now) is None:
            return None
        return self._by_url.get(normal_url(base_url))

    def gateway_at(self, base_url: str, now: Seconds) -> str:
        """What kind of gateway this base URL is (``litellm``, ``headway``); empty if it is none."""
        if self.latest(now) is None:
            return ""
        return self._gateways.get(gateway_url(base_url), "")

    def _look(self) -> None:
        try:
            pool = read_pool_view(self._path)
        except FileNotFoundError:
            self._set(None)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._once.warn("pool view", f"the pool view {self._path} is not used: {error}")
            self._set(None)
        else:
            self._set(pool)

    def _set(self, pool: Pool | None) -> None:
        if pool == self._pool:
            return
        by_url: dict[str, EndpointSpec] = {}
        for spec in pool.endpoints if pool else ():
            if spec.url:
                by_url.setdefault(normal_url(spec.url), spec)
        gateways = pool.gateways if pool else {}
        self._gateways = {gateway_url(url): kind for url, kind in gateways.items()}
        self._pool, self._by_url = pool, by_url

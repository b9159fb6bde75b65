"""What a server is: its models, version and flags; asked once in each of its lives.

Asked beside the looks, which must not wait for pages that a proxy lets hang.
"""

import asyncio
import logging

from headway.core.types import Seconds
from headway.daemon.adapters import Page, Site
from headway_vllm.flags import (
    Flags,
    Served,
    find_flags,
    read_models,
    read_version,
)

log = logging.getLogger("headway.vllm")

OK = 200
NOT_FOUND = 404
PATIENCE_S: Seconds = 1.0
"""How long a look waits for the answers; after that it goes on with what is known."""
SERVER_INFO_S: Seconds = 5.0
"""When first asked, vLLM looks at its whole machine for this page; seen to take 2.3 s."""
WHETHER_URGENCY = (
    "endpoint %s: whether it serves its queue by priority cannot be read (with fcfs, vLLM's "
    "default, urgency is ignored in silence); `headway profile %s --pool FILE` tries to prove it, "
    "or say `heeds_urgency: true` in the pool file"
)


class Nature:
    """What one endpoint's server has said of itself in its present life."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._spec = site.spec
        self._asking: asyncio.Task[None] | None = None
        self._warned = False
        self._served: Served | None = None
        self._flags = Flags()
        self.version = ""
        self.misplaced = ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """All names of the model: its metrics have the first of them."""
        return () if self._served is None else self._served.aliases

    @property
    def context_tokens(self) -> int | None:
        """The longest context that it takes."""
        return None if self._served is None else self._served.context_tokens

    @property
    def seats(self) -> int | None:
        """Sequences that it runs at once."""
        return self._flags.seats

    @property
    def heeds_urgency(self) -> bool | None:
        """Whether it serves its queue by priority."""
        return self._flags.heeds_urgency(self._spec.heeds_urgency)

    @property
    def wrong_model(self) -> str:
        """Why calls would find no such model; empty if they do, or nobody says."""
        if self._served is None or not self._served.names:
            return ""
        if self._spec.engine != "vllm" or self._spec.model in self._served.names:
            return ""
        names = ", ".join(self._served.names[:5])
        return f"serves {names}, not {self._spec.model}: mend `model` in the pool, or the server"

    def forget(self) -> None:
        """What comes next may be another server: ask again."""
        self.close()
        self._asking = None

    async def known(self) -> None:
        """Ask if that was not done yet, and wait a moment for the answers."""
        if self._asking is None or (self._asking.done() and (self.misplaced or self.wrong_model)):
            self._asking = asyncio.create_task(self._ask())
        if not self._asking.done():
            await asyncio.wait({self._asking}, timeout=PATIENCE_S)

    def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self) -> None:
        models = await self._optional("models")
        status = None if models is None else models.status
        # metrics lie beside the API and cannot tell; calls may work where no list is served
        url = f"{self._spec.url}/models"
        misplaced = f"answers, but not at this URL: {url} is 404; is /v1 missing?"
        self.misplaced = misplaced if status == NOT_FOUND else ""
        listed = models is not None and status == OK
        self._served = read_models(models.text, self._spec.model) if models and listed else None
        if self._spec.engine != "vllm":
            return
        version = await self._optional("/version")
        self.version = read_version(version.text) if version else ""
        self._flags = await self._find_flags()
        if self.heeds_urgency is None and not self._warned:
            self._warned = True
            log.warning(WHETHER_URGENCY, self._spec.id, self._spec.url)

    async def _find_flags(self) -> Flags:
        info = await self._optional("/server_info?config_format=json", timeout_s=SERVER_INFO_S)
        told = info.text if info is not None and info.status == OK else None
        return await asyncio.to_thread(find_flags, told, self._spec.url)

    async def _optional(self, path: str, *, timeout_s: Seconds | None = None) -> Page | None:
        """A page that a server need not have."""
        try:
            return await self._site.get(path, timeout_s=timeout_s)
        except (OSError, ValueError):
            return None

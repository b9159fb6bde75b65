"""What integrations need of a client, so that fakes can stand in for it; and the master switch."""

import os
from typing import Protocol

import msgspec

from headway.client.route import Route
from headway.client.watching import Watchers
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Feedback,
    FirstToken,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec, Pool
from headway.core.types import EndpointId
from headway.wire.messages import Covered, Passed, Prompt

TELLABLE = frozenset(
    {
        *(GraphSeen, RunStarted, RunEnded, NodeStarted, NodeEnded),
        *(CallSent, FirstToken, CallEnded, Feedback, Passed, Covered, Prompt),
    }
)
"""What `observe` takes; a `CallReady` is asked, not told."""


class Scheduling(Protocol):
    """What integrations need of a client; fakes for users' tests implement it too."""

    @property
    def pool(self) -> Pool | None:
        """The last pool view, if there is one."""

    @property
    def watchers(self) -> Watchers:
        """Who in this process sees what happens; for what the daemon need not know too (tools)."""

    def is_off(self) -> bool:
        """Whether calls pass untouched."""

    def observe(self, fact: msgspec.Struct) -> None:
        """Tell a fact, or a `Passed`, `Covered` or `Prompt`."""

    def decide(self, ask: CallReady) -> Route:
        """What to do with one attempt of a call; may wait for its turn."""

    async def adecide(self, ask: CallReady) -> Route:
        """The same on an event loop."""

    def endpoint_for(self, base_url: str) -> EndpointSpec | None:
        """The pool's endpoint with this base URL."""

    def gateway_for(self, base_url: str) -> str:
        """The kind of gateway that the pool says this base URL is; empty if it is none."""

    def sent(self, ask: CallReady, endpoint: EndpointId) -> None:
        """The host sends an attempt to an endpoint that it chose by itself."""

    def close(self) -> None:
        """End the connection."""


def off_by_environment() -> bool:
    """Whether ``HEADWAY_OFF`` is set (to anything but nothing or ``0``)."""
    return os.environ.get("HEADWAY_OFF", "") not in ("", "0")

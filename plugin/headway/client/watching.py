"""Watchers: what in the user's own process sees runs, nodes, calls and decisions as they happen.

Tracing is the reason for it: a span needs the context of the thread that does the work,
which the daemon does not have. Nothing here travels on the socket.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from headway.client.once import Once
from headway.client.route import Route
from headway.core.facts import CallReady
from headway.core.types import NodeId, Outcome, RunId


class ToolStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A node's tool begins; `tool` is the id of this use of it, `call_id` the model's for it."""

    run: RunId
    node: NodeId
    tool: str
    name: str
    call_id: str = ""


class ToolEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A tool is done; `error` is the kind of its exception."""

    tool: str
    outcome: Outcome = "ok"
    error: str = ""


class Raised(msgspec.Struct, frozen=True, kw_only=True):
    """A node (None: the run itself) raised an exception of this kind; a node may be tried again."""

    run: RunId
    node: NodeId | None
    error: str


class Watcher(Protocol):
    """Called in the thread and context in which things happen, so it must be quick.

    Facts may come twice; what a watcher raises is logged once and goes no further.
    """

    def told(self, fact: msgspec.Struct) -> None:
        """A fact was told to the daemon, or a `ToolStarted`, `ToolEnded` or `Raised` happened."""
        ...

    def asked(self, ask: CallReady) -> None:
        """An attempt of a call begins to wait for its decision."""
        ...

    def routed(self, ask: CallReady, route: Route) -> None:
        """The attempt's decision is here."""
        ...

    def headers(self, ask: CallReady) -> Mapping[str, str]:
        """Headers that the attempt's request should carry (``traceparent``)."""
        ...


class Watchers:
    """The watchers of one client. Never raises."""

    def __init__(self, once: Once) -> None:
        self._once = once
        self._all: tuple[Watcher, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, watcher: Watcher) -> None:
        """Let `watcher` see all that happens from now on. Twice is the same as once."""
        if watcher not in self._all:
            self._all = (*self._all, watcher)

    def remove(self, watcher: Watcher) -> None:
        """Let it see no more."""
        self._all = tuple(one for one in self._all if one is not watcher)

    def told(self, fact: msgspec.Struct) -> None:
        """Show a fact."""
        for one in self._all:
            try:
                one.told(fact)
            except Exception:  # noqa: BLE001 -- the host's boundary
                self._once.failure("a watcher")

    def asked(self, ask: CallReady) -> None:
        """Show a question."""
        for one in self._all:
            try:
                one.asked(ask)
            except Exception:  # noqa: BLE001 -- the host's boundary
                self._once.failure("a watcher")

    def routed(self, ask: CallReady, route: Route) -> None:
        """Show a decision."""
        for one in self._all:
            try:
                one.routed(ask, route)
            except Exception:  # noqa: BLE001 -- the host's boundary
                self._once.failure("a watcher")

    def headers(self, ask: CallReady) -> dict[str, str]:
        """All headers that the watchers want on the attempt's request."""
        found: dict[str, str] = {}
        for one in self._all:
            try:
                found.update(one.headers(ask))
            except Exception:  # noqa: BLE001 -- the host's boundary
                self._once.failure("a watcher")
        return found

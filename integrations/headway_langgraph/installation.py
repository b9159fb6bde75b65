"""Switching Headway on for a graph, and off again."""

import asyncio
import inspect
import os
import weakref
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

from langchain_core.callbacks import BaseCallbackManager
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from headway.calling.calls import get_calls
from headway.calling.guard import complaints
from headway.calling.post_import import PostImport
from headway.client import get_client
from headway.wire.messages import Passed
from headway_langgraph.builder_patch import BuilderPatch
from headway_langgraph.handler import HeadwayHandler
from headway_langgraph.openai_patch import MODULE, OpenAIPatch
from headway_langgraph.settings import warn_of_node
from headway_langgraph.topology import read_topology
from headway_langgraph.tracker import Tracker

G = TypeVar("G")
F = TypeVar("F", bound=Callable[..., Any])


class Installation:
    """All that Headway has put into this process, and how to take it out again."""

    def __init__(self) -> None:
        self.calls = get_calls()
        self.tracker = Tracker(self.calls)
        self.patch = OpenAIPatch(self.calls)
        self._waiting = PostImport(MODULE, self._patch)
        self._graphs: weakref.WeakSet[Any] = weakref.WeakSet()
        self._builders = BuilderPatch(lambda graph: schedule(graph))

    def install(self) -> None:
        """Patch the openai SDK, now or when it is imported. Idempotent."""
        if not self.patch.installed:
            self._waiting.arm()

    def uninstall(self) -> None:
        """Take out the patches, and the handler out of every graph that is still alive."""
        self._waiting.disarm()
        self.patch.uninstall()
        self.tracker.enabled = False  # copies of a graph keep its handler
        for graph in list(self._graphs):
            _remove_handler(graph)
        self._graphs.clear()
        self._builders.uninstall()

    def schedule(self, graph: Any) -> None:
        """Configure one graph or builder in place."""
        self.tracker.enabled = True
        self.install()
        if isinstance(graph, Pregel):
            self._schedule_graph(graph)
        else:
            self._builders.mark(graph)

    def _patch(self, module: ModuleType) -> None:
        if not self.patch.install(module):
            get_client().observe(Passed(why=f"openai SDK not known: {self.patch.problem}"))

    def _schedule_graph(self, graph: Any) -> None:
        name = graph.get_name()
        _add_handler(graph, HeadwayHandler(self.tracker, name))
        self._graphs.add(graph)
        self.tracker.remember(read_topology(graph))
        for node, spec in graph.nodes.items():
            warn_of_node(node, spec.metadata)

    def forked(self) -> None:
        """In a forked child: begin anew, still installed."""
        self.calls.forked()
        self.tracker.forked()


_installation = Installation()


def _forked() -> None:
    try:
        _installation.forked()
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("fork", error)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def revive(graph: str) -> HeadwayHandler:
    """The handler of a graph that was copied deeply, or pickled into another process."""
    _installation.install()
    return HeadwayHandler(_installation.tracker, graph)


def schedule(graph: G) -> G:
    """Have the runs of `graph` scheduled; returns the same object, configured in place.

    `graph` is a compiled graph (also of `create_agent`, or a functional
    entrypoint), or a `StateGraph` builder, whose later `compile()` results are
    scheduled. Twice is the same as once. Raises `TypeError` for anything else.
    """
    if not isinstance(graph, (Pregel, StateGraph)):
        raise TypeError(
            f"schedule() takes a compiled LangGraph graph or a StateGraph, not "
            f"{type(graph).__name__}; schedule the graph before wrapping it"
        )
    try:
        _installation.schedule(graph)
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("schedule", error)
    return graph


def scheduled(build: F) -> F:
    """Decorate a (coroutine) function that builds a graph: what it returns is scheduled."""
    if inspect.iscoroutinefunction(build):

        @wraps(build)
        async def abuilt(*args: Any, **kwargs: Any) -> Any:
            return schedule(await build(*args, **kwargs))

        return abuilt  # type: ignore[return-value]

    @wraps(build)
    def built(*args: Any, **kwargs: Any) -> Any:
        graph = build(*args, **kwargs)
        if asyncio.iscoroutine(graph):
            return _schedule_later(graph)
        return schedule(graph)

    return built  # type: ignore[return-value]


def install() -> None:
    """Patch the openai SDK (when it is imported); `schedule` does this by itself. Idempotent."""
    try:
        _installation.install()
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("install", error)


def uninstall() -> None:
    """Undo everything: the patches, and the handlers of graphs and builders. Idempotent."""
    try:
        _installation.uninstall()
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add("uninstall", error)


async def _schedule_later(building: Any) -> Any:
    return schedule(await building)


def _add_handler(graph: Any, handler: HeadwayHandler) -> None:
    """Put `handler` into the graph's configuration beside what is there, which stays as it is."""
    config = dict(graph.config or {})
    callbacks = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        if handler in callbacks.handlers:
            return
        callbacks = callbacks.copy()
        callbacks.add_handler(handler, True)
        config["callbacks"] = callbacks
    else:
        present = list(callbacks or ())
        if handler in present:
            return
        config["callbacks"] = [*present, handler]
    graph.config = config


def _remove_handler(graph: Any) -> None:
    config = dict(graph.config or {})
    callbacks = config.get("callbacks")
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        for handler in [h for h in callbacks.handlers if isinstance(h, HeadwayHandler)]:
            callbacks.remove_handler(handler)
        config["callbacks"] = callbacks
    elif callbacks:
        config["callbacks"] = [h for h in callbacks if not isinstance(h, HeadwayHandler)]
        if not config["callbacks"]:
            del config["callbacks"]
    graph.config = config or None

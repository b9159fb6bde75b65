"""What a sample is: a graph builder, its service class, its tasks, and how one run is driven.

The three samples and the demo share these few types. A graph is built from a
chat factory, so the same graph code runs on any client: a plain `ChatOpenAI`,
one under Headway, or a baseline's balancer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph

POOL_NAME = "agent"
"""The one model name that every node of every sample asks for."""

ServiceClass = Literal["interactive", "batch"]
ChatFactory: TypeAlias = Callable[[str], BaseChatModel]
"""Gives the chat model for the node of that name."""
Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]
Pause: TypeAlias = Callable[[float], Awaitable[None]]
"""Waits as long as a person would; the argument is in seconds of that person's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to be: which task, which variant of it, under which id and metadata."""

    task: int
    variant: int
    thread: str
    metadata: dict[str, Any] = field(default_factory=dict)
    run: UUID | None = None
    """The run's id, for samples of one invocation; None: LangGraph makes one."""

    def config(self) -> RunnableConfig:
        """The LangGraph config of this run."""
        return {"configurable": {"thread_id": self.thread}, "metadata": dict(self.metadata)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Driven:
    """How a run went: was its task solved, and wall seconds in which it was not paused."""

    solved: bool
    busy_s: float
    state: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A complete program: how to build its graph (with and without Headway) and to run it."""

    name: str
    service_class: ServiceClass
    tasks: int
    build: Callable[[ChatFactory], Graph]
    build_scheduled: Callable[[ChatFactory], Graph]
    drive: Callable[[Graph, Job, Pause], Awaitable[Driven]]


class Stopwatch:
    """Adds up the wall seconds spent inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self._since = 0.0

    def __enter__(self) -> "Stopwatch":
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.elapsed_s += time.perf_counter() - self._since


async def drive_once(graph: Graph, job: Job, pause: Pause) -> Driven:
    """Drive a graph that never pauses: one invocation; its state tells ``solved``."""
    del pause
    config = job.config()
    if job.run is not None:
        config["run_id"] = job.run
    watch = Stopwatch()
    with watch:
        state = await graph.ainvoke({"task": job.task, "variant": job.variant}, config)
    return Driven(solved=bool(state.get("solved")), busy_s=watch.elapsed_s, state=state)


async def sleep_pause(seconds: float) -> None:
    """A pause in real time."""
    await asyncio.sleep(seconds)

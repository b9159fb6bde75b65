"""What the tracker keeps of a run while it is going on, and how it numbers steps and visits."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from headway.client import Scheduling
from headway.context import Scope
from headway.core.facts import RunStarted
from headway.core.types import NodeId, RunId
from headway_langgraph.settings import Settings

Mark = int | tuple[int, int]
"""When a name ran: a step of a graph, or a step and a batch of tasks."""


class Node(msgspec.Struct, eq=False):
    """One attempt of a LangGraph task. A retry is a new attempt of the same `id`.

    A struct, because one is made for every node and this makes it in C.
    """

    run: "Run"
    id: NodeId
    scope: Scope
    is_task: bool
    outer: Scope | None


@dataclass(slots=True, eq=False)
class Chain:
    """A chain run that is no node: a function, a tool, or a graph that has not started a node yet.

    `metadata` and `resumed` are kept because only its first node shows that it is a graph.
    """

    parent: int
    name: str
    run: "Run | None"
    metadata: Mapping[str, Any] | None
    resumed: bool


@dataclass(slots=True, eq=False)
class Run:
    """One run of one graph.

    LangGraph is bulk-synchronous: a step starts when all of the step before has
    ended, so the nodes of the step before are exactly what a node waited for.
    `@task` functions know no steps: one waits for those that had ended when it
    was called, which makes batches of them. `prefix` begins the ids of all its nodes,
    and `scope` is what their scopes have in common: `base` as this run changes it. `timeouts`
    holds the seconds that nodes may take, by name.
    """

    key: int
    id: RunId
    graph: str
    client: Scheduling
    settings: Settings
    started: float
    thread: str
    off: bool
    parent: "Run | None" = None
    base: Scope | None = None
    timeouts: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    step: int | None = None
    current: list[NodeId] = field(default_factory=list)
    previous: tuple[NodeId, ...] = ()
    batch: int = 0
    batch_ended: list[NodeId] = field(default_factory=list)
    batch_previous: tuple[NodeId, ...] = ()
    visits: dict[str, tuple[int, Mark]] = field(default_factory=dict)
    failed: dict[NodeId, Node] = field(default_factory=dict)
    chains: set[int] = field(default_factory=set)
    children: dict[int, "Run"] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    prefix: str = field(init=False)
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self.prefix = f"{self.id}:"
        self.scope = msgspec.structs.replace(
            self.base or Scope(run=self.id),
            run=self.id,
            graph=self.graph,
            run_started=self.started,
            deadline_s=settings.deadline_s,
            service_class=settings.service_class,
            tenant=settings.tenant,
            models=settings.models,
            off=self.off or settings.off,
            thread=self.thread,
        )

    def told(self, *, resumed: bool, within: Node | None = None) -> RunStarted:
        """The run's start as a fact; `within` is the node that it is inside of."""
        settings = self.settings
        return RunStarted(
            run=self.id,
            graph=self.graph,
            parent_run=None if within is None else within.run.id,
            parent_node=None if within is None else within.id,
            thread=self.thread,
            resumed=resumed and bool(self.thread),
            deadline_s=settings.deadline_s,
            service_class=settings.service_class,
            tenant=settings.tenant,
            tags=settings.tags,
            models=settings.models,
            budget=settings.budget,
        )

    def enter(
        self, node_id: NodeId, name: str, step: int, is_task: bool
    ) -> tuple[tuple[NodeId, ...], int]:
        """Parents and visit of a node that starts; thread-safe.

        The nodes of a step start in several threads at once: what all of them write
        is the same, and only a step's first node, and tasks, need the lock.
        """
        if step != self.step:
            with self.lock:
                if step != self.step:
                    self.previous = tuple(self.current)
                    self.current = []
                    if self.batch_ended or self.batch:
                        self.batch_ended.clear()
                        self.batch_previous = ()
                        self.batch = 0
                    self.step = step  # last: whoever reads it goes on with the rest
        mark: Mark = step
        if is_task:
            parents, mark = self._join_batch(step)
        else:
            self.current.append(node_id)
            parents = self.previous
        seen = self.visits.get(name)
        if seen is None:
            self.visits[name] = (1, mark)
            return parents, 1
        count, last = seen
        if mark != last:
            count += 1
            self.visits[name] = (count, mark)
        return parents, count

    def _join_batch(self, step: int) -> tuple[tuple[NodeId, ...], Mark]:
        with self.lock:
            if self.batch_ended:
                self.batch += 1
                self.batch_previous = tuple(self.batch_ended)
                self.batch_ended.clear()
            return self.batch_previous or self.previous, (step, self.batch)

    def give_up(self) -> list[Node]:
        """The nodes that failed and that nobody will try again."""
        with self.lock:
            failed = list(self.failed.values())
            self.failed.clear()
        return failed

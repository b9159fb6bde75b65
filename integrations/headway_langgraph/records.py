"""What the tracker keeps of a run while it is going on, and how it numbers steps and visits."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headway.client import Scheduling
from headway.context import Scope
from headway.core.types import NodeId, RunId
from headway_langgraph.settings import Settings


@dataclass(slots=True, eq=False)
class Node:
    """One attempt of a LangGraph task. A retry is a new attempt of the same `id`."""

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
    was called, which makes batches of them.
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
    interrupted: bool = False
    step: int | None = None
    current: list[NodeId] = field(default_factory=list)
    previous: tuple[NodeId, ...] = ()
    batch: int = 0
    batch_ended: list[NodeId] = field(default_factory=list)
    batch_previous: tuple[NodeId, ...] = ()
    visits: dict[str, tuple[int, tuple[int, int]]] = field(default_factory=dict)
    failed: dict[NodeId, Node] = field(default_factory=dict)
    chains: set[int] = field(default_factory=set)
    children: dict[int, "Run"] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(
        self, node_id: NodeId, name: str, step: int, *, is_task: bool
    ) -> tuple[tuple[NodeId, ...], int]:
        """Parents and visit of a node that starts. The caller holds `lock`."""
        if step != self.step:
            self.step = step
            self.previous = tuple(self.current)
            self.current.clear()
            if self.batch_ended or self.batch:
                self.batch_ended.clear()
                self.batch_previous = ()
                self.batch = 0
        if is_task:
            if self.batch_ended:
                self.batch += 1
                self.batch_previous = tuple(self.batch_ended)
                self.batch_ended.clear()
            parents = self.batch_previous or self.previous
            mark = (step, self.batch)
        else:
            self.current.append(node_id)
            parents = self.previous
            mark = (step, 0)
        seen = self.visits.get(name)
        if seen is None:
            self.visits[name] = (1, mark)
            return parents, 1
        count, last = seen
        if mark != last:
            count += 1
            self.visits[name] = (count, mark)
        return parents, count

    def give_up(self) -> list[Node]:
        """The nodes that failed and that nobody will try again."""
        with self.lock:
            failed = list(self.failed.values())
            self.failed.clear()
        return failed

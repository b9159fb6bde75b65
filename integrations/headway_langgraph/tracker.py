"""From LangGraph's callbacks to facts: which chain runs are runs, nodes, children, or nothing.

A chain run tagged ``graph:step:N`` is a node and its parent run is a graph. A
graph inside a node looks like any other chain (a function, a tool, an LCEL
pipe) until its first node starts: then it becomes a child run. So sub-graphs
are found wherever they hide, and nothing else ever counts as one.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from headway.client import Scheduling, get_client
from headway.context import Scope
from headway.context import scope as current_scope
from headway.core.facts import GraphSeen, NodeEnded, NodeStarted, RunEnded, RunStarted
from headway.core.types import NodeId, Outcome, RunId
from headway_langgraph.calls import Calls
from headway_langgraph.events import STEP_TAG, is_task, outcome_of, resumes, task_id
from headway_langgraph.records import Chain, Node, Run
from headway_langgraph.settings import Settings, names, narrow, read, truth
from headway_langgraph.topology import Topology

llm_run: ContextVar[UUID | None] = ContextVar("headway_llm_run", default=None)
"""The LangChain model run that a request belongs to; it reaches the HTTP layer."""


class Tracker:
    """Keeps the open runs of this process and tells the client's daemon about them.

    Thread-safe: LangGraph calls from its worker threads. Every event may come
    twice (a handler that is configured in two places); only the first counts.
    """

    def __init__(self, calls: Calls) -> None:
        self.enabled = True
        self._calls = calls
        # By the integer of LangChain's run id: a UUID hashes in Python, and slowly.
        self._runs: dict[int, Run] = {}
        self._nodes: dict[int, Node] = {}
        self._chains: dict[int, Chain] = {}
        self._topologies: dict[str, tuple[GraphSeen, ...]] = {}
        self._announced: set[GraphSeen] = set()
        self._lock = threading.Lock()

    def remember(self, topology: Topology) -> None:
        """Keep a graph's topology; it is told with its first run (the client retells it)."""
        self._topologies[topology.seen.graph] = topology.all_seen()

    # Chains

    def chain_started(
        self,
        inputs: Any,
        name: str,
        graph: str,
        run_id: UUID,
        parent: UUID | None,
        tags: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        """A root, a node, or another chain run begins; `graph` is the name of the root graph."""
        key = run_id.int
        if key in self._nodes:
            return
        if parent is None:
            if key not in self._runs:
                self._start_root(run_id, graph, metadata, resumed=resumes(inputs))
            return
        if metadata is not None and tags:
            for tag in tags:
                if tag.startswith(STEP_TAG):
                    self._start_node(key, parent, metadata)
                    return
        if key in self._chains or key in self._runs:
            return
        if metadata is None or not self._start_task(key, parent.int, metadata):
            self._start_chain(run_id, parent.int, name, metadata, resumed=resumes(inputs))

    def chain_ended(self, run_id: UUID, error: BaseException | None = None) -> None:
        """A chain run is over."""
        key = run_id.int
        outcome: Outcome = "ok" if error is None else outcome_of(error)
        node = self._nodes.pop(key, None)
        if node is not None:
            self._end_node(node, outcome)
            return
        chain = self._chains.pop(key, None)
        if chain is not None:
            if chain.run is not None:
                chain.run.chains.discard(key)
            return
        run = self._runs.get(key)
        if run is not None:
            self._end_run(run, "interrupted" if outcome == "ok" and run.interrupted else outcome)

    def interrupted(self, run_id: UUID | None) -> None:
        """A graph paused: its run will end like any other, so this is remembered."""
        run = self._runs.get(run_id.int) if run_id is not None else None
        if run is not None:
            run.interrupted = True

    def resumed(self, run_id: UUID | None) -> None:
        """A graph goes on from a checkpoint; of children that is known only from here."""
        chain = self._chains.get(run_id.int) if run_id is not None else None
        if chain is not None:
            chain.resumed = True

    def is_live(self, scope: Scope) -> bool:
        """Whether the node of `scope` is still open.

        An asynchronous graph of one task a step runs it in its caller's own context, and
        reports its end from another: there a scope may outlive its node.
        """
        return any(node.scope is scope for node in list(self._nodes.values()))

    # Model runs

    def llm_started(self, run_id: UUID) -> None:
        """A LangChain model run begins: requests made in this context are its own."""
        scope = current_scope.get()
        if scope is not None:
            self._calls.llms[run_id] = scope.node
            llm_run.set(run_id)

    def llm_ended(self, run_id: UUID) -> None:
        """A LangChain model run is over."""
        self._calls.llms.pop(run_id, None)
        if llm_run.get() == run_id:
            llm_run.set(None)

    # Runs

    def _start_root(
        self,
        run_id: UUID,
        graph: str,
        metadata: Mapping[str, Any] | None,
        *,
        resumed: bool,
    ) -> Run:
        client = get_client()
        settings = read(metadata)
        off = settings.off or not self.enabled or client.is_off()
        thread = metadata.get("thread_id") if metadata else None
        run = Run(
            key=run_id.int,
            id=RunId(str(run_id)),
            graph=graph,
            client=client,
            settings=settings,
            started=time.monotonic(),
            thread="" if thread is None else str(thread),
            off=off,
        )
        self._runs[run.key] = run
        if not off:
            self._announce(client, graph)
            client.observe(
                RunStarted(
                    run=run.id,
                    graph=graph,
                    thread=run.thread,
                    resumed=resumed and bool(run.thread),
                    deadline_s=settings.deadline_s,
                    service_class=settings.service_class,
                    tenant=settings.tenant,
                    tags=settings.tags,
                    models=settings.models,
                    budget=settings.budget,
                )
            )
        return run

    def _start_child(self, run_id: UUID, graph: str, owner: Node, *, resumed: bool) -> Run:
        outer = owner.run
        now = time.monotonic()
        scope = owner.scope
        # A child's clock starts now, so what is left of its parent's deadline is its own.
        deadline_s = (
            None
            if scope.deadline_s is None
            else max(0.0, scope.deadline_s - (now - scope.run_started))
        )
        run = Run(
            key=run_id.int,
            id=RunId(str(run_id)),
            graph=graph,
            client=outer.client,
            settings=Settings(
                deadline_s=deadline_s,
                service_class=scope.service_class,
                tenant=scope.tenant,
                tags=outer.settings.tags,
                models=scope.models,
                off=scope.off,
            ),
            started=now,
            thread=outer.thread,
            off=outer.off,
            parent=outer,
        )
        self._runs[run.key] = run
        outer.children[run.key] = run
        if not run.off:
            run.client.observe(
                RunStarted(
                    run=run.id,
                    graph=graph,
                    parent_run=outer.id,
                    parent_node=owner.id,
                    thread=run.thread,
                    resumed=resumed and bool(run.thread),
                    deadline_s=deadline_s,
                    service_class=run.settings.service_class,
                    tenant=run.settings.tenant,
                    tags=run.settings.tags,
                    models=run.settings.models,
                )
            )
        return run

    def _end_run(self, run: Run, outcome: Outcome) -> None:
        self._runs.pop(run.key, None)
        if run.parent is not None:
            run.parent.children.pop(run.key, None)
        for child in list(run.children.values()):
            self._end_run(child, "cancelled")
        for node in run.give_up():
            self._tell_ended(node, "error")
        for key, node in list(self._nodes.items()):
            if node.run is run:
                self._nodes.pop(key, None)
                self._tell_ended(node, "cancelled")
        for key in list(run.chains):
            self._chains.pop(key, None)
        if not run.off:
            run.client.observe(RunEnded(run=run.id, outcome=outcome))
            if run.parent is None:
                self._calls.coverage.flush(run.client)

    def _announce(self, client: Scheduling, graph: str) -> None:
        for seen in self._topologies.get(graph, ()):
            if seen not in self._announced:
                self._announced.add(seen)
                client.observe(seen)

    # Chains that may turn out to be graphs

    def _start_chain(
        self,
        run_id: UUID,
        parent: int,
        name: str,
        metadata: Mapping[str, Any] | None,
        *,
        resumed: bool,
    ) -> None:
        node = self._nodes.get(parent)
        if node is not None:
            run: Run | None = node.run
        else:
            outer = self._chains.get(parent)
            run = outer.run if outer is not None else None
        self._chains[run_id.int] = Chain(parent, name, run, metadata, resumed)
        if run is not None:
            run.chains.add(run_id.int)

    def _graph_of(self, run_id: UUID, metadata: Mapping[str, Any]) -> Run | None:
        """The run that a node with this parent belongs to, if need be found out only now."""
        key = run_id.int
        with self._lock:
            run = self._runs.get(key)
            if run is not None:
                return run
            chain = self._chains.pop(key, None)
            if chain is None:
                # A graph that is a node without anything around it.
                owner = self._nodes.get(key)
                if owner is None:
                    return None
                return self._start_child(run_id, owner.scope.node_name, owner, resumed=False)
            if chain.run is not None:
                chain.run.chains.discard(key)
            owner = self._owner_of(chain)
            if owner is not None:
                return self._start_child(run_id, chain.name, owner, resumed=chain.resumed)
            return self._start_root(
                run_id, chain.name, chain.metadata or metadata, resumed=chain.resumed
            )

    def _owner_of(self, chain: Chain) -> Node | None:
        outer: Chain | None = chain
        while outer is not None:
            node = self._nodes.get(outer.parent)
            if node is not None:
                return node
            outer = self._chains.get(outer.parent)
        return None

    # Nodes

    def _start_node(self, key: int, parent: UUID, metadata: Mapping[str, Any]) -> None:
        run = self._runs.get(parent.int) or self._graph_of(parent, metadata)
        if run is None:
            return
        self._enter(key, run, metadata, is_task=is_task(metadata))

    def _start_task(self, key: int, parent: int, metadata: Mapping[str, Any]) -> bool:
        """Whether this chain run is a `@task`: a child of the node that called it, untagged."""
        if not is_task(metadata):
            return False
        caller = self._nodes.get(parent)
        if caller is None and parent in self._chains:
            caller = self._owner_of(self._chains[parent])
        # What runs inside a task carries the same metadata as the task.
        if caller is None or caller.id.endswith(task_id(metadata)):
            return False
        self._enter(key, caller.run, metadata, is_task=True)
        return True

    def _enter(self, key: int, run: Run, metadata: Mapping[str, Any], *, is_task: bool) -> None:
        name = metadata["langgraph_node"]
        step = metadata["langgraph_step"]
        # Task ids repeat when a checkpoint is run again, and live through attempts and resumes.
        node_id = NodeId(f"{run.id}:{task_id(metadata)}")
        if run.failed:
            if self._start_again(key, run, node_id):
                return
            if step != run.step:
                for failed in run.give_up():
                    self._tell_ended(failed, "error")
        with run.lock:
            parents, visit = run.enter(node_id, name, step, is_task=is_task)
        settings = run.settings
        pinned = metadata.get("headway_models")
        scope = Scope(
            run=run.id,
            graph=run.graph,
            node=node_id,
            node_name=name,
            parents=parents,
            visit=visit,
            step=step,
            run_started=run.started,
            deadline_s=settings.deadline_s,
            service_class=settings.service_class,
            tenant=settings.tenant,
            models=narrow(settings.models, names(pinned)) if pinned else settings.models,
            off=run.off or settings.off or truth(metadata.get("headway_off")),
            thread=run.thread,
        )
        self._nodes[key] = Node(run, node_id, scope, is_task, current_scope.get())
        current_scope.set(scope)
        if not run.off:
            run.client.observe(
                NodeStarted(
                    run=run.id, node=node_id, name=name, parents=parents, visit=visit, step=step
                )
            )

    def _start_again(self, key: int, run: Run, node_id: NodeId) -> bool:
        """Whether this is another attempt of a node that failed: then it simply goes on."""
        failed = run.failed.pop(node_id, None)
        if failed is None:
            return False
        self._nodes[key] = Node(run, node_id, failed.scope, failed.is_task, current_scope.get())
        current_scope.set(failed.scope)
        return True

    def _end_node(self, node: Node, outcome: Outcome) -> None:
        run = node.run
        if current_scope.get() is node.scope:
            current_scope.set(node.outer)
        if outcome == "error":
            # LangGraph may try it again under the same id; if not, the run ends or a
            # handler's step follows, and then it is told.
            run.failed[node.id] = node
            self._calls.close_node(node.id)
            return
        if outcome == "interrupted":
            run.interrupted = True
        if node.is_task:
            run.batch_ended.append(node.id)
        self._tell_ended(node, outcome)

    def _tell_ended(self, node: Node, outcome: Outcome) -> None:
        self._calls.close_node(node.id)
        if not node.run.off:
            node.run.client.observe(NodeEnded(run=node.run.id, node=node.id, outcome=outcome))

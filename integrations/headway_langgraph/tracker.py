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

from msgspec.structs import replace

from headway.calling.calls import Calls, ModelRun
from headway.client import get_client
from headway.client.watching import Watchers
from headway.context import Scope, live_scope
from headway.context import scope as current_scope
from headway.core.facts import NodeEnded, NodeStarted, RunEnded
from headway.core.types import NodeId, Outcome, RunId
from headway_langgraph.events import STEP_TAG, is_task, outcome_of, resumes, task_id
from headway_langgraph.known import KnownGraphs
from headway_langgraph.records import Chain, Node, Run
from headway_langgraph.settings import inherit, read, said_of_node
from headway_langgraph.tools import raised
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
        self._known = KnownGraphs()
        self._lock = threading.Lock()

    @property
    def watchers(self) -> Watchers:
        """Who in this process sees what happens."""
        return get_client().watchers

    def forked(self) -> None:
        """In a forked child: forget the parent's runs, and its lock, which may be held.

        What the child's contexts still hold of them is not live, so calls there pass untouched.
        """
        self._lock = threading.Lock()
        self._runs.clear()
        self._nodes.clear()
        self._chains.clear()
        self._known.forked()

    def remember(self, topology: Topology) -> None:
        """Keep a graph's topology; it is told with its first run."""
        self._known.remember(topology)

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
                    run = self._runs.get(parent.int) or self._graph_of(parent, metadata, graph)
                    if run is not None:
                        self._enter(key, run, metadata, is_task(metadata))
                    return
        if key in self._chains or key in self._runs:
            return
        if metadata is None or not self._start_task(key, parent.int, metadata):
            self._start_chain(run_id, parent.int, name, metadata, resumed=resumes(inputs))

    def chain_ended(self, run_id: UUID, error: BaseException | None = None) -> None:
        """A chain run is over."""
        key = run_id.int
        node = self._nodes.pop(key, None)
        outcome: Outcome = "ok" if error is None else outcome_of(error)
        if node is not None:
            if current_scope.get() is node.scope:
                current_scope.set(node.outer)
            if error is None and not node.is_task:
                self._tell_ended(node, "ok")
            else:
                raised(node.run, node.id, error)
                self._end_node(node, outcome)
            return
        chain = self._chains.pop(key, None)
        if chain is not None:
            if chain.run is not None:
                chain.run.chains.discard(key)
            return
        run = self._runs.get(key)
        if run is not None:
            raised(run, None, error)
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
        """Whether the node of `scope` is still open (see `headway.context.live_scope`)."""
        return any(node.scope is scope for node in list(self._nodes.values()))

    # Model runs

    def llm_started(self, run_id: UUID, *, own: bool) -> None:
        """A LangChain model run begins: requests made in this context are its own.

        `own`: of a model of `langchain_openai`, which copes with a stream's extra chunk.
        """
        scope = live_scope()
        if scope is not None:
            self._calls.llms[run_id] = ModelRun(scope.node, own)
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
            base=Scope(run=RunId(""), is_live=self.is_live),
            timeouts=self._known.timeouts(graph),
        )
        self._runs[run.key] = run
        if not off:
            self._known.announce(client, graph)
            client.observe(run.told(resumed=resumed))
        return run

    def _start_child(
        self,
        run_id: UUID,
        graph: str,
        owner: Node,
        metadata: Mapping[str, Any] | None,
        *,
        resumed: bool,
    ) -> Run:
        outer = owner.run
        now = time.monotonic()
        scope = owner.scope
        settings = inherit(scope, outer.settings.tags, read(metadata), now)
        run = Run(
            key=run_id.int,
            id=RunId(str(run_id)),
            graph=graph,
            client=outer.client,
            settings=settings,
            started=now,
            thread=outer.thread,
            off=outer.off,
            parent=outer,
            base=Scope(run=RunId(""), outer=scope, is_live=self.is_live, timeout_s=scope.timeout_s),
            timeouts=self._known.timeouts(graph),
        )
        self._runs[run.key] = run
        outer.children[run.key] = run
        if not run.off:
            self._known.announce(run.client, graph)
            run.client.observe(run.told(resumed=resumed, within=owner))
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

    def _graph_of(self, run_id: UUID, metadata: Mapping[str, Any], graph: str) -> Run | None:
        """The run that a node with this parent belongs to, if need be found out only now.

        `graph` is the name of the scheduled graph whose handler reports this.
        """
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
                name = self._name_of(owner.scope.node_name, owner, metadata)
                return self._start_child(run_id, name, owner, metadata, resumed=False)
            if chain.run is not None:
                chain.run.chains.discard(key)
            owner = self._owner_of(chain)
            if owner is not None:
                name = self._name_of(chain.name, owner, metadata)
                said = chain.metadata or metadata
                return self._start_child(run_id, name, owner, said, resumed=chain.resumed)
            # The outermost of all that is reported is the scheduled graph itself.
            name = chain.name if chain.parent in self._chains else graph
            return self._start_root(run_id, name, chain.metadata or metadata, resumed=chain.resumed)

    def _name_of(self, name: str, owner: Node, metadata: Mapping[str, Any]) -> str:
        """The own name of a graph inside `owner` that runs as `name`."""
        scope, first = owner.scope, metadata["langgraph_node"]
        return self._known.own_name(name, outer=scope.graph, node=scope.node_name, first=first)

    def _owner_of(self, chain: Chain) -> Node | None:
        outer: Chain | None = chain
        while outer is not None:
            node = self._nodes.get(outer.parent)
            if node is not None:
                return node
            outer = self._chains.get(outer.parent)
        return None

    # Nodes

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
        self._enter(key, caller.run, metadata, True, caller.scope)
        return True

    def _enter(
        self,
        key: int,
        run: Run,
        metadata: Mapping[str, Any],
        is_task: bool,
        caller: Scope | None = None,
    ) -> None:
        name = metadata["langgraph_node"]
        step = metadata["langgraph_step"]
        # Task ids repeat when a checkpoint is run again, and live through attempts and resumes.
        # `task_id`, written out, and without the call that `NodeId` is: every node comes by here.
        node_id: NodeId = run.prefix + metadata["langgraph_checkpoint_ns"].rpartition(":")[2]
        if run.failed:
            if self._start_again(key, run, node_id):
                return
            if step != run.step:
                for failed in run.give_up():
                    self._tell_ended(failed, "error")
        parents, visit = run.enter(node_id, name, step, is_task)
        scope = replace(
            run.scope, node=node_id, node_name=name, parents=parents, visit=visit, step=step
        )
        if "headway_models" in metadata or "headway_off" in metadata:
            scope = said_of_node(scope, metadata)
        if caller is not None:
            scope = replace(scope, outer=caller)
        if run.timeouts and name in run.timeouts:
            limit = run.timeouts[name]
            scope = replace(scope, timeout_s=min(limit, scope.timeout_s or limit))
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
        run, node_id = node.run, node.id
        self._calls.close_node(node_id)
        if not run.off:
            run.client.observe(NodeEnded(run=run.id, node=node_id, outcome=outcome))

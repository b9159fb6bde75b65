"""Keeping runs and nodes: what facts about them change, however they arrive."""

import heapq
import random

from headway.core.books import Books
from headway.core.calls import Call, CallState
from headway.core.facts import CallReady, Feedback, GraphSeen, NodeEnded, NodeStarted, RunStarted
from headway.core.graph import Node, Run
from headway.core.learning import Teacher
from headway.core.returning import PERSON
from headway.core.types import ClientId, NodeId, Outcome, RunId, Seconds

EXPLORING_SHARE = 0.05
"""Runs that ignore what was learned about repeats, so that it can be unlearned."""
EARLY_CHILDREN_KEPT = 1000
IMPLIED_RUN_TTL_S = 300.0
"""An implied run is over when it has made no call for so long: tools of agents take minutes."""
IDLE_LOOKS_S = 10.0
"""Runs that end by themselves end together: looking for them takes events and time."""
IMPLIED_CALLS_KEPT = 1_000
"""A session may never end: when it has made twice as many calls, the older half is forgotten."""


class RunKeeper:
    """Applies facts about graphs, runs and nodes to the books."""

    def __init__(self, *, books: Books, teacher: Teacher, rng: random.Random) -> None:
        self._books = books
        self._teacher = teacher
        self._rng = rng
        self._early_children: dict[RunId, list[RunStarted]] = {}
        self._idle: list[tuple[Seconds, RunId]] = []

    def graph_seen(self, fact: GraphSeen) -> None:
        """Take over a declared topology."""
        topology = self._books.topology(fact.graph)
        topology.nodes.update(fact.nodes)
        for source, target, _kind in fact.edges:
            if target != "*":
                topology.add_edge(source, target)

    def run_started(self, fact: RunStarted, client: ClientId, at: Seconds) -> None:
        """A run begins, goes on, or is told anew."""
        if fact.resumed and self._resume(fact, client, at):
            return
        run = self._known(fact.run)
        if run is None:
            run = Run(
                id=fact.run,
                graph=fact.graph,
                client=client,
                started_at=at - fact.age_s,
                explores=self._rng.random() < EXPLORING_SHARE,
            )
            self._books.runs[run.id] = run
        elif run.state == "ended":
            return
        run.client = client
        run.implied = False
        self._describe(run, fact)
        for early in self._early_children.pop(run.id, ()):
            child = self._books.runs.get(early.run)
            if child is not None:
                self._describe(child, early)

    def _resume(self, fact: RunStarted, client: ClientId, at: Seconds) -> bool:
        """Continue the interrupted run of this (graph, thread) under its new id too."""
        run_id = self._books.interrupted.pop((fact.graph, fact.thread), None)
        run = self._books.runs.get(run_id) if run_id is not None else None
        if run is None:
            return False
        if fact.run != run.id and fact.run in self._books.runs:
            # a question overtook this start and made the run: it goes on by itself
            run.state, run.outcome, run.ended_at = "ended", "interrupted", run.paused_at
            self._books.end(run)
            return False
        if run.paused_at is not None:
            self._teacher.returned(run, PERSON, at - run.paused_at)
        run.resume(at, client)
        if fact.run != run.id:
            self._books.known_as(run, fact.run)
        return True

    def _describe(self, run: Run, fact: RunStarted) -> None:
        """Take over what a run says of itself, whether it comes first or late."""
        run.thread = fact.thread or run.thread
        run.deadline_s = fact.deadline_s if fact.deadline_s is not None else run.deadline_s
        run.service_class = fact.service_class or run.service_class
        run.tenant = fact.tenant or run.tenant
        run.models = fact.models or run.models
        run.tags = fact.tags or run.tags
        if fact.parent_run is None or run.parent is not None:
            return
        parent = self._books.run(fact.parent_run)
        if parent is None:
            early = self._early_children.setdefault(fact.parent_run, [])
            if len(early) < EARLY_CHILDREN_KEPT:
                early.append(fact)
            if len(self._early_children) > EARLY_CHILDREN_KEPT:
                del self._early_children[next(iter(self._early_children))]
        elif parent.root is not run:
            run.parent, run.parent_node = parent, fact.parent_node
            parent.children.append(run)

    def _known(self, run_id: RunId) -> Run | None:
        """The run, unless it only seemed over to us: then the next one of that name begins."""
        run = self._books.run(run_id)
        if run is None or not run.implied or run.state != "ended":
            return run
        self._books.forget(run)
        return None

    def run_of(self, ask: CallReady, client: ClientId, at: Seconds) -> Run:
        """The run and node of a question, made from the question if nothing told of them."""
        run = self._known(ask.run)
        if run is None:
            fact = RunStarted(
                run=ask.run,
                graph=ask.graph,
                deadline_s=ask.deadline_s,
                service_class=ask.service_class,
                tenant=ask.tenant,
                age_s=ask.run_age_s,
            )
            self.run_started(fact, client, at)
            run = self._books.runs[ask.run]
            run.implied = True
            if not self._idle:
                self._books.wake(at + IMPLIED_RUN_TTL_S, "idle")
            heapq.heappush(self._idle, (at + IMPLIED_RUN_TTL_S, run.id))
        elif run.state == "ended":
            # its end overtook this call on another connection: the run is open after all
            self._books.reopen(run)
        elif run.implied:
            run.client = client
            self._forget_older_half(run)
        self._node(run, ask.node, ask, at).has_calls = True
        return run

    def end(self, run: Run, outcome: Outcome, at: Seconds) -> None:
        """A run is over, with every graph inside it."""
        if outcome == "interrupted" and run.thread:
            run.pause(at)
            self._books.interrupt(run)
            return
        for child in run.children:
            if child.state != "ended":
                self.end(child, outcome, at)
        for node in run.nodes.values():
            if node.ended_at is None:
                node.ended_at, node.outcome = at, outcome
        run.state, run.outcome, run.ended_at = "ended", outcome, at
        self._teacher.run_ended(run, self._books.topology(run.graph))
        self._books.end(run)

    def node_started(self, fact: NodeStarted, at: Seconds) -> None:
        """A node begins; unknown runs are told of by their own facts."""
        run = self._books.run(fact.run)
        if run is not None and run.state != "ended":
            self._node(run, fact.node, fact, at)

    def _node(self, run: Run, node_id: NodeId, fact: NodeStarted | CallReady, at: Seconds) -> Node:
        """The node, made from whatever names it first; one that is restarted starts anew."""
        node = run.nodes.get(node_id)
        if node is not None:
            if run.resumes:
                run.visit_told.setdefault((node.name, run.resumes, fact.visit), node.visit)
            if node.ended_at is not None:
                node.started_at, node.ended_at, node.outcome = at, None, None
                node.calls_s = node.alone_s = 0.0
            return node
        told = isinstance(fact, NodeStarted)
        name = fact.name if isinstance(fact, NodeStarted) else fact.node_name
        node = Node(
            id=node_id,
            name=name,
            visit=run.visit_of(name, fact.visit),
            step=fact.step,
            parents=fact.parents,
            started_at=at - (fact.age_s if told else 0.0),
            past=run.history.node_started(name, fact.step),
        )
        run.nodes[node_id] = node
        topology = self._books.topology(run.graph)
        topology.nodes.add(name)
        for parent in fact.parents:
            if (before := run.nodes.get(parent)) is not None:
                topology.add_edge(before.name, name)
                node.path_s = max(node.path_s, before.path_s + before.alone_s)
        node.ahead = topology.ahead(name)
        if node.visit > run.visits.get(name, 0):
            self._teacher.node_started(run, topology, node)
            run.visits[name] = node.visit
        return node

    def node_ended(self, fact: NodeEnded, at: Seconds) -> None:
        """A node is over; its calls have been closed before."""
        run = self._books.run(fact.run)
        node = run.nodes.get(fact.node) if run is not None else None
        if run is None or node is None or node.ended_at is not None:
            return
        node.ended_at, node.outcome = at, fact.outcome
        run.attain(node)
        self._teacher.node_ended(run, node)

    def feedback(self, fact: Feedback) -> None:
        """Somebody said how good a run, or one node of it, was."""
        run = self._books.run(fact.run)
        if run is None:
            return
        node = run.nodes.get(fact.node) if fact.node is not None else None
        name = node.name if node is not None else str(fact.node or "")
        for one in (run, *run.children):
            self._teacher.feedback(one, fact.ok, name)

    def forget_lost(self, at: Seconds, grace_s: Seconds) -> None:
        """End the runs whose client went away and did not tell of them again.

        One with calls still open (its own, or over another client's connection) is looked at later.
        """
        for client, lost_at in list(self._books.lost_clients.items()):
            if at < lost_at + grace_s:
                continue
            busy = False
            for run in [r for r in self._books.runs.values() if r.client == client]:
                within = run.parent is not None and run.parent.state != "ended"
                if run.state != "open" or within:
                    continue
                if any(self.is_within(call.run, run) for call in self._books.calls.values()):
                    busy = True
                else:
                    self.end(run, "cancelled", at)
            if busy:
                self._books.wake(at + grace_s, "forget")
            else:
                del self._books.lost_clients[client]

    def _forget_older_half(self, run: Run) -> None:
        """Keep an implied run from growing with every call of a session that never ends."""
        if len(run.calls) < 2 * IMPLIED_CALLS_KEPT:
            return
        older, newer = run.calls[:-IMPLIED_CALLS_KEPT], run.calls[-IMPLIED_CALLS_KEPT:]
        run.calls = [call for call in older if call.state is not CallState.CLOSED] + newer
        kept = {call.ask.node for call in run.calls}
        run.nodes = {node_id: node for node_id, node in run.nodes.items() if node_id in kept}
        run.pending = run.pending[-IMPLIED_CALLS_KEPT:]
        run.unsaid = run.unsaid[-IMPLIED_CALLS_KEPT:]

    def end_idle(self, at: Seconds) -> None:
        """End the implied runs that have made no call for their time to live."""
        while self._idle and self._idle[0][0] <= at:
            _, run_id = heapq.heappop(self._idle)
            run = self._books.runs.get(run_id)
            if run is None or not run.implied:
                continue
            closed = [call.closed_at for call in run.calls]
            last_at = max((end for end in closed if end is not None), default=run.started_at)
            over_at = (at if None in closed else last_at) + IMPLIED_RUN_TTL_S
            if at < over_at:
                heapq.heappush(self._idle, (over_at, run_id))
                continue
            for call in run.calls:
                if call.closed_at is not None and (node := run.nodes.get(call.ask.node)):
                    node.ended_at = max(node.ended_at or 0.0, call.closed_at)
                    node.outcome = "ok"
            self.end(run, "ok", last_at)
        if self._idle:
            self._books.wake(max(self._idle[0][0], at + IDLE_LOOKS_S), "idle")

    def account(self, run: Run, call: Call, alone_s: Seconds, at: Seconds) -> None:
        """Add an answered call's time and tokens to its node, and to the nodes around its graph."""
        wall_s = at - call.ready_at
        ended = call.ended
        tokens = (ended.output_tokens if ended is not None else None) or 0
        tools = ended.tool_calls if ended is not None else 0
        node_id: NodeId | None = call.ask.node
        of: Run | None = run
        run.root.served_s += min(alone_s, wall_s)
        while of is not None and node_id is not None:
            if (node := of.nodes.get(node_id)) is not None:
                node.calls_s += wall_s
                node.alone_s += min(alone_s, wall_s)
                node.output_tokens += tokens
                node.calls += 1
                of.history.answered(node.name, call.prompt_tokens, tokens, tools)
            node_id, of = of.parent_node, of.parent

    def open_calls(self, run: Run) -> list[Call]:
        """The calls of the run, and of the graphs inside it, that are not closed."""
        found = [call for call in run.calls if call.state is not CallState.CLOSED]
        for child in run.children:
            found += self.open_calls(child)
        return found

    def is_within(self, run_id: RunId, run: Run) -> bool:
        """Whether `run_id` is the run or a graph inside it."""
        of = self._books.run(run_id)
        while of is not None:
            if of is run:
                return True
            of = of.parent
        return False

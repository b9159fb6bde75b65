"""Runs as DAGs revealed online: topologies, runs, nodes, and what is measured on them.

The static topology is a prior: edges that runs show are added to it, since a
branch without a path map does not say where it leads. What may not live here:
predictions and decisions.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from headway.core.calls import Call
from headway.core.past import NO_PAST, History, Past
from headway.core.protocols import Query
from headway.core.types import ClientId, NodeId, Outcome, RunId, Seconds

RunState = Literal["open", "interrupted", "ended"]
END = "__end__"
"""LangGraph's name for what follows a run's last node."""
MOST_SETTLED = 64
"""Nodes of a graph whose `ahead` is worked out, which takes their number times their edges."""


@dataclass(slots=True)
class Topology:
    """Names of nodes and which may follow which, declared and seen."""

    nodes: set[str] = field(default_factory=set)
    followers: dict[str, set[str]] = field(default_factory=dict)
    most_visits: dict[str, int] = field(default_factory=dict)
    _loops: dict[str, frozenset[str]] | None = None
    _ahead: dict[str, int] | None = None

    def add_edge(self, source: str, target: str) -> None:
        """`target` may follow `source`."""
        after = self.followers.setdefault(source, set())
        if target not in after:
            after.add(target)
            self.nodes.update((source, target))
            self._loops = self._ahead = None

    def snapshot(self) -> tuple[list[list[str]], list[list[str | int]]]:
        """Edges and most visits, in plain msgpack types."""
        edges = sorted([s, t] for s, after in self.followers.items() for t in after)
        return edges, [[name, visits] for name, visits in sorted(self.most_visits.items())]

    def restore(self, edges: list[list[str]], visits: list[list[str | int]]) -> None:
        """Take a snapshot back."""
        for source, target in edges:
            self.add_edge(source, target)
        self.most_visits = {str(name): int(count) for name, count in visits}

    def leads_to(self, source: str, target: str) -> bool:
        """Whether an edge leads straight from `source` to `target`."""
        return target in self.followers.get(source, ())

    def _reached_from(self, start: str) -> set[str]:
        reached: set[str] = set()
        frontier = [start]
        while frontier:
            for follower in self.followers.get(frontier.pop(), ()):
                if follower not in reached:
                    reached.add(follower)
                    frontier.append(follower)
        return reached

    def loop_of(self, name: str) -> frozenset[str]:
        """The nodes that can be visited again together with `name`; empty if it is on no cycle."""
        if self._loops is None:
            reached = {node: self._reached_from(node) for node in sorted(self.nodes)}
            self._loops = {
                node: frozenset(other for other in reached[node] if node in reached[other])
                for node in reached
                if node in reached[node]
            }
        return self._loops.get(name, frozenset())

    def ahead(self, name: str) -> int:
        """Nodes on the longest way from `name` (counted) to an end; 0 if that is not known.

        Nodes that can be visited again together count once each: how often is for history to say.
        """
        if not self.followers.get(name) or len(self.followers) > MOST_SETTLED:
            return 0
        if self._ahead is None:
            found = self._ahead = {END: 0}
            reaches = {node: len(self._reached_from(node) | {node}) for node in self.followers}
            # who is reached from a node, and not the other way round, reaches less than it does
            for node in sorted(reaches, key=lambda one: (reaches[one], one)):
                loop = self.loop_of(node) or frozenset((node,))
                beyond = {after for one in loop for after in self.followers.get(one, ())} - loop
                found[node] = len(loop) + max((found.get(after, 1) for after in beyond), default=0)
        return self._ahead[name]


@dataclass(slots=True, kw_only=True)
class Node:
    """One step of a run, with times on the daemon's clock.

    `calls_s` is wall time spent inside calls, `alone_s` what they would have
    taken on idle endpoints; `path_s` is the latter along the longest path before the node
    (ATLAS' attained service, arXiv 2502.13965). `calls` were answered. `past` is what the run had
    shown when it started, `prompt_tokens` its first call's prompt as it was estimated, `ahead` the
    nodes that its graph has ahead of it (`Topology.ahead`).
    """

    id: NodeId
    name: str
    visit: int
    step: int
    parents: tuple[NodeId, ...]
    started_at: Seconds
    ended_at: Seconds | None = None
    outcome: Outcome | None = None
    calls_s: Seconds = 0.0
    alone_s: Seconds = 0.0
    path_s: Seconds = 0.0
    output_tokens: int = 0
    calls: int = 0
    has_calls: bool = False
    past: Past = NO_PAST
    prompt_tokens: int = 0
    ahead: int = 0
    answer: "Judgeable | None" = None

    @property
    def length_s(self) -> Seconds:
        """Seconds of the node itself if its calls had idle endpoints; 0 while it runs."""
        if self.ended_at is None:
            return 0.0
        return max(self.ended_at - self.started_at - self.calls_s, 0.0) + self.alone_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What was left of a run from the start of a node: alone-seconds, output tokens, answers."""

    node: Node
    seconds: Seconds
    tokens: int
    calls: int


@dataclass(slots=True, kw_only=True)
class Judgeable:
    """An answer whose worth is not known yet."""

    node_name: str
    visit: int
    model: str
    closed_at: Seconds
    failed_before: tuple[str, ...]
    output_tokens: int | None = None
    features: tuple[int, ...] = ()


@dataclass(slots=True, kw_only=True)
class Run:
    """One invocation of a graph. Age stops while it waits for a person.

    Programs count visits from 1 again after each of the run's `resumes`; `visit_told` maps what
    they told, (name, resumes, visit), to the visit counted over the whole run. A run that only
    its calls tell of is `implied`: nobody will say that it ended. `attained_s` is the stand-alone
    time of what is done, siblings by their maximum; `served_s` that of all its calls together.
    """

    id: RunId
    graph: str
    client: ClientId
    started_at: Seconds
    parent_node: NodeId | None = None
    thread: str = ""
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    tags: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    state: RunState = "open"
    outcome: Outcome | None = None
    ended_at: Seconds | None = None
    paused_s: Seconds = 0.0
    paused_at: Seconds | None = None
    explores: bool = False
    reopened: bool = False
    aliases: list[RunId] = field(default_factory=list)
    nodes: dict[NodeId, Node] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    resumes: int = 0
    visit_told: dict[tuple[str, int, int], int] = field(default_factory=dict)
    pending: list[Judgeable] = field(default_factory=list)
    unsaid: list[Judgeable] = field(default_factory=list)
    failed_models: tuple[str, ...] = ()
    calls: list[Call] = field(default_factory=list)
    children: list["Run"] = field(default_factory=list)
    parent: "Run | None" = None
    last_endpoint: str = ""
    implied: bool = False
    attained_s: Seconds = 0.0
    served_s: Seconds = 0.0
    step_s: dict[int, Seconds] = field(default_factory=dict)
    history: History = field(default_factory=History)

    @property
    def root(self) -> "Run":
        """The run that a person or program started, above all graphs inside graphs."""
        run = self
        while run.parent is not None:
            run = run.parent
        return run

    @property
    def running(self) -> bool:
        """Whether its age grows: it is open, and nobody is waited for."""
        return self.ended_at is None and self.paused_at is None

    def query_of(self, node: Node) -> Query:
        """What a predictor of what follows is asked, and later taught, of a node."""
        return Query(
            graph=self.graph,
            node=node.name,
            visit=node.visit,
            run=self.id,
            step=node.step,
            prompt_tokens=node.prompt_tokens,
            past=node.past,
            ahead=node.ahead,
        )

    def attain(self, node: Node) -> None:
        """A node ended: siblings of a step count by their maximum."""
        longest = self.step_s.get(node.step, 0.0)
        if node.length_s > longest:
            self.step_s[node.step] = node.length_s
            self.attained_s += node.length_s - longest

    def age_s(self, at: Seconds) -> Seconds:
        """Seconds since the start, less those spent waiting for a person."""
        paused = self.paused_s + ((at - self.paused_at) if self.paused_at is not None else 0.0)
        until = self.ended_at if self.ended_at is not None else at
        return max(until - self.started_at - paused, 0.0)

    def visit_of(self, name: str, told: int) -> int:
        """The visit of a new node over the whole run; siblings of one step share it."""
        if not self.resumes:
            return told
        place = (name, self.resumes, told)
        if place not in self.visit_told:
            self.visit_told[place] = self.visits.get(name, 0) + 1
        return self.visit_told[place]

    def pause(self, at: Seconds) -> None:
        """The run waits for a person."""
        self.state = "interrupted"
        self.paused_at = at

    def resume(self, at: Seconds, client: ClientId) -> None:
        """The person answered."""
        if self.paused_at is not None:
            self.paused_s += at - self.paused_at
            self.paused_at = None
        self.state = "open"
        self.client = client
        self.resumes += 1
        self.pending.clear()

    def rest_of_path(self) -> Iterable["Rest"]:
        """For each ended node, what there was from its start to the run's end.

        Seconds follow the longest path over the DAG of parents; tokens and calls count all
        branches that started with the node (in its step) or after it. A call's wall time is
        replaced by what it would have taken alone: load at the time does not look like work.
        """
        ordered = sorted(
            (node for node in self.nodes.values() if node.ended_at is not None),
            key=lambda node: (node.started_at, node.id),
        )
        together: dict[float, list[Node]] = {}
        for node in ordered:
            together.setdefault(node.step or node.started_at, []).append(node)
        after: dict[NodeId, Seconds] = {}
        tokens = calls = 0
        for node in reversed(ordered):
            rest = node.length_s + after.get(node.id, 0.0)
            for beside in together.pop(node.step or node.started_at, ()):
                tokens += beside.output_tokens
                calls += beside.calls
            for parent in node.parents:
                after[parent] = max(after.get(parent, 0.0), rest)
            yield Rest(node=node, seconds=rest, tokens=tokens, calls=calls)

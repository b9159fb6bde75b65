"""The books: every open run and call, the closed ones of late, and the wake-up times.

State and small bookkeeping only; what facts mean is said in scheduler.py.
"""

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from headway.core.calls import Call, CallKey, CallState
from headway.core.graph import Run, Topology
from headway.core.types import ClientId, RunId, Seconds

ENDED_RUNS_KEPT = 512
INTERRUPTED_RUNS_KEPT = 10_000
CLOSED_CALLS_KEPT = 20_000
RECENT_CALLS_KEPT = 256
ALIASES_KEPT = 16
TOPOLOGIES_KEPT = 2_000


@dataclass(slots=True)
class Books:
    """What is going on. Dictionaries keep the order of arrival; `recent` are closed calls."""

    runs: dict[RunId, Run] = field(default_factory=dict)
    ended: OrderedDict[RunId, Run] = field(default_factory=OrderedDict)
    interrupted: OrderedDict[tuple[str, str], RunId] = field(default_factory=OrderedDict)
    aliases: dict[RunId, RunId] = field(default_factory=dict)
    calls: dict[CallKey, Call] = field(default_factory=dict)
    waiting: dict[CallKey, Call] = field(default_factory=dict)
    recent: deque[Call] = field(default_factory=lambda: deque(maxlen=RECENT_CALLS_KEPT))
    topologies: dict[str, Topology] = field(default_factory=dict)
    lost_clients: dict[ClientId, Seconds] = field(default_factory=dict)
    _closed: OrderedDict[CallKey, None] = field(default_factory=OrderedDict)
    _wakes: list[tuple[Seconds, int, str, CallKey | None]] = field(default_factory=list)
    _wake_count: int = 0
    look_at: Seconds | None = None
    releases: int = 0
    closed_count: int = 0

    def run(self, run_id: RunId) -> Run | None:
        """The run, open or ended of late; a resumed run answers to its later ids too."""
        found = self.runs.get(run_id)
        if found is None:
            real = self.aliases.get(run_id, run_id)
            found = self.runs.get(real) or self.ended.get(real)
        return found

    def topology(self, graph: str) -> Topology:
        """The graph's topology, empty if nobody told it yet."""
        topology = self.topologies.get(graph)
        if topology is None:
            if len(self.topologies) >= TOPOLOGIES_KEPT:
                del self.topologies[next(iter(self.topologies))]
            topology = self.topologies[graph] = Topology()
        return topology

    def end(self, run: Run) -> None:
        """Move a run to those that are over, and forget the oldest of them."""
        self.runs.pop(run.id, None)
        self.ended[run.id] = run
        while len(self.ended) > ENDED_RUNS_KEPT:
            _, forgotten = self.ended.popitem(last=False)
            for alias in forgotten.aliases:
                self.aliases.pop(alias, None)

    def reopen(self, run: Run) -> None:
        """A run that seemed over goes on."""
        self.ended.pop(run.id, None)
        self.runs[run.id] = run
        run.state, run.outcome, run.ended_at = "open", None, None
        run.reopened = True

    def forget(self, run: Run) -> None:
        """Another run begins under the name of one that is over."""
        self.ended.pop(run.id, None)

    def known_as(self, run: Run, alias: RunId) -> None:
        """A resumed run answers to its new id too, and to the latest of its earlier ones."""
        self.aliases[alias] = run.id
        run.aliases.append(alias)
        if len(run.aliases) > ALIASES_KEPT:
            self.aliases.pop(run.aliases.pop(0), None)

    def interrupt(self, run: Run) -> None:
        """A run waits for a person; it is found again by (graph, thread), the latest of them."""
        place = (run.graph, run.thread)
        self._give_up(self.interrupted.pop(place, run.id), run)
        self.interrupted[place] = run.id
        while len(self.interrupted) > INTERRUPTED_RUNS_KEPT:
            _, oldest = self.interrupted.popitem(last=False)
            self._give_up(oldest, run)

    def _give_up(self, run_id: RunId, instead_of: Run) -> None:
        """Nobody can resume that interrupted run any more."""
        forgotten = self.runs.get(run_id)
        if forgotten is not None and forgotten is not instead_of:
            for run in (forgotten, *forgotten.children):
                if run.state != "ended":
                    run.state, run.ended_at = "ended", forgotten.paused_at
                    self.end(run)

    def close(self, call: Call) -> None:
        """A call is over: take it off the open books, remember that it was there."""
        self.closed_count += 1
        self.calls.pop(call.key, None)
        self.waiting.pop(call.key, None)
        self.recent.append(call)
        self.remember_closed(call.key)

    def remember_closed(self, key: CallKey) -> None:
        """Note that an attempt is over: what still comes about it is late."""
        self._closed[key] = None
        while len(self._closed) > CLOSED_CALLS_KEPT:
            self._closed.popitem(last=False)

    def forget_closed(self, key: CallKey) -> None:
        """An attempt that was given up may still come again."""
        self._closed.pop(key, None)

    def was_closed(self, key: CallKey) -> bool:
        """Whether this attempt is known to be over."""
        return key in self._closed

    def calls_of_client(self, client: ClientId) -> list[Call]:
        """The open calls of a connection, oldest first."""
        return [call for call in self.calls.values() if call.client == client]

    # -- wake-up times ---------------------------------------------------------------------

    def wake(self, at: Seconds, why: str, key: CallKey | None = None) -> None:
        """Have `due` return (why, key) once it is `at`."""
        self._wake_count += 1
        heapq.heappush(self._wakes, (at, self._wake_count, why, key))

    def due(self, at: Seconds) -> tuple[str, CallKey | None] | None:
        """The next wake-up whose time has come, taken off; None if there is none."""
        if self.look_at is not None and self.look_at <= at:
            self.look_at = None
        while self._wakes and self._wakes[0][0] <= at:
            _, _, why, key = heapq.heappop(self._wakes)
            if key is None or key in self.calls:
                return why, key
        return None

    def next_wake(self) -> Seconds | None:
        """When the next wake-up that still matters is due, or the policy wants to look again."""
        while self._wakes:
            at, _, why, key = self._wakes[0]
            call = self.calls.get(key) if key is not None else None
            waits = call is not None and (why == "expire" or call.state is CallState.WAITING)
            if key is None or waits:
                return at if self.look_at is None else min(at, self.look_at)
            heapq.heappop(self._wakes)
        return self.look_at

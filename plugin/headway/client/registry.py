"""What this process has open: told again on every new connection, so that books come right.

Learnt from the facts that pass by and from the routes that calls took. Also counts
the open calls per server, by which calls are spread when there is no daemon.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from headway.client.route import server_of
from headway.core.facts import (
    CallEnded,
    CallReady,
    CallSent,
    Fact,
    GraphSeen,
    NodeEnded,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.pool import EndpointSpec
from headway.core.types import Seconds

MAX_OPEN = 10_000
MAX_GRAPHS = 1_000


@dataclass(slots=True)
class _Call:
    ask: CallReady
    endpoint: EndpointSpec
    sent_at: Seconds


@dataclass(slots=True)
class _Run:
    started: RunStarted | None = None
    at: Seconds = 0.0
    nodes: dict[str, tuple[NodeStarted, Seconds]] = field(default_factory=dict)
    calls: dict[str, _Call] = field(default_factory=dict)


class Registry:
    """Open runs, nodes and calls. Not thread-safe: the caller holds the client's lock.

    Bounded: beyond `max_open` entries the oldest run is forgotten with all it has.
    """

    def __init__(self, *, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._graphs: dict[str, GraphSeen] = {}
        self._runs: dict[str, _Run] = {}
        self._open = 0
        self.open_calls: dict[str, int] = {}

    def learn(self, fact: msgspec.Struct, now: Seconds) -> None:
        """Take note of what `fact` opens or closes; other facts leave no trace."""
        if isinstance(fact, NodeStarted):
            run = self._runs.get(fact.run) or self._run(fact.run)
            if fact.node not in run.nodes:
                self._open += 1
            run.nodes[fact.node] = (fact, now)
            if self._open > self._max_open:
                self._bound()
        elif isinstance(fact, NodeEnded):
            self._node_ended(fact)
        elif isinstance(fact, CallEnded):
            self._call_ended(fact)
        elif isinstance(fact, RunStarted):
            run = self._run(fact.run)
            run.started, run.at = fact, now
            self._bound()
        elif isinstance(fact, RunEnded):
            self._forget(fact.run)
        elif isinstance(fact, GraphSeen):
            self._graphs[fact.graph] = fact
            if len(self._graphs) > MAX_GRAPHS:
                del self._graphs[next(iter(self._graphs))]

    def sent(self, ask: CallReady, endpoint: EndpointSpec, now: Seconds) -> None:
        """An attempt of a call is on its way to `endpoint`."""
        run = self._run(ask.run)
        self._close(run, ask.call)
        run.calls[ask.call] = _Call(ask, endpoint, now)
        self._open += 1
        server = server_of(endpoint)
        self.open_calls[server] = self.open_calls.get(server, 0) + 1
        self._bound()

    def retell(self, now: Seconds) -> Iterator[Fact]:
        """All that is open, with fresh ages: graphs, then runs, nodes and calls in order."""
        yield from self._graphs.values()
        for run in self._runs.values():
            if run.started is not None:
                age_s = run.started.age_s + now - run.at
                yield msgspec.structs.replace(run.started, age_s=age_s)
            for node, at in run.nodes.values():
                yield msgspec.structs.replace(node, age_s=node.age_s + now - at)
            for call in run.calls.values():
                sent_s = now - call.sent_at
                ask = msgspec.structs.replace(
                    call.ask,
                    age_s=call.ask.age_s + sent_s,
                    run_age_s=call.ask.run_age_s + sent_s,
                )
                yield CallSent(ask=ask, endpoint=call.endpoint.id, sent_s=sent_s)

    def _run(self, run_id: str) -> _Run:
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = _Run()
            self._open += 1
        return run

    def _node_ended(self, fact: NodeEnded) -> None:
        run = self._runs.get(fact.run)
        if run is None:
            return
        if run.nodes.pop(fact.node, None) is not None:
            self._open -= 1
        if run.calls:
            for call_id in [c for c, call in run.calls.items() if call.ask.node == fact.node]:
                self._close(run, call_id)
        self._drop_if_bare(fact.run, run)

    def _call_ended(self, fact: CallEnded) -> None:
        run = self._runs.get(fact.run)
        if run is None:
            return
        call = run.calls.get(fact.call)
        if call is not None and fact.attempt >= call.ask.attempt:
            self._close(run, fact.call)
            self._drop_if_bare(fact.run, run)

    def _drop_if_bare(self, run_id: str, run: _Run) -> None:
        # A run whose start was never told lives only as long as what hangs on it.
        if run.started is None and not run.nodes and not run.calls:
            self._forget(run_id)

    def _close(self, run: _Run, call_id: str) -> None:
        call = run.calls.pop(call_id, None)
        if call is None:
            return
        self._open -= 1
        server = server_of(call.endpoint)
        left = self.open_calls.get(server, 0) - 1
        if left > 0:
            self.open_calls[server] = left
        else:
            self.open_calls.pop(server, None)

    def _forget(self, run_id: str) -> None:
        run = self._runs.pop(run_id, None)
        if run is None:
            return
        for call_id in list(run.calls):
            self._close(run, call_id)
        self._open -= 1 + len(run.nodes)

    def _bound(self) -> None:
        while self._open > self._max_open and len(self._runs) > 1:
            self._forget(next(iter(self._runs)))
        if self._open > self._max_open:
            self._halve(next(iter(self._runs.values())))

    def _halve(self, run: _Run) -> None:
        for node in list(run.nodes)[: len(run.nodes) // 2]:
            del run.nodes[node]
            self._open -= 1
        for call in list(run.calls)[: len(run.calls) // 2]:
            self._close(run, call)

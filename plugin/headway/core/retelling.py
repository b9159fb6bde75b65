"""The open books as events: they put a new scheduler where this one is.

Used when a journal is rotated, so that each file replays alone. What is
learned travels in the snapshot; what has ended is not told again.
"""

from collections.abc import Iterator, Mapping

import msgspec

from headway.core.books import Books
from headway.core.calls import Call, CallState
from headway.core.endpoints import Endpoint
from headway.core.facts import (
    AnyFact,
    CallSent,
    ClientLost,
    Event,
    GraphSeen,
    NodeStarted,
    RunEnded,
    RunStarted,
)
from headway.core.graph import Run
from headway.core.types import ClientId, EndpointId, Seconds


def told_anew(
    books: Books, endpoints: Mapping[EndpointId, Endpoint], at: Seconds
) -> tuple[Event, ...]:
    """Events that put a new scheduler's books where these are: runs, nodes, calls."""
    events = []
    for one in endpoints.values():
        if one.last_seen is not None:
            # not how much runs there: most of it is ours, and told below
            seen = msgspec.structs.replace(one.last_seen, running=None, waiting=None)
            events.append(Event(at=at, fact=seen))
    for graph, topology in sorted(books.topologies.items()):
        edges = tuple((source, target, "edge") for source, target in topology.snapshot()[0])
        nodes = tuple(sorted(topology.nodes))
        events.append(Event(at=at, fact=GraphSeen(graph=graph, nodes=nodes, edges=edges)))
    for run in books.runs.values():
        if run.implied:  # its calls tell of it
            continue
        events += [Event(at=at, fact=fact, client=run.client) for fact in _run_anew(run, at)]
    events += [Event(at=at, fact=ClientLost(), client=client) for client in books.lost_clients]
    for call in books.calls.values():
        events += _call_anew(call, at)
    return tuple(events)


def _run_anew(run: Run, at: Seconds) -> Iterator[AnyFact]:
    yield RunStarted(
        run=run.id,
        graph=run.graph,
        parent_run=run.parent.id if run.parent is not None else None,
        parent_node=run.parent_node,
        thread=run.thread,
        deadline_s=run.deadline_s,
        service_class=run.service_class,
        tenant=run.tenant,
        tags=run.tags,
        models=run.models,
        age_s=run.age_s(at),
    )
    for alias in run.aliases:
        yield RunEnded(run=run.id, outcome="interrupted")
        yield RunStarted(run=alias, graph=run.graph, thread=run.thread, resumed=True)
    for node in run.nodes.values():
        if node.ended_at is None:
            yield NodeStarted(
                run=run.id,
                node=node.id,
                name=node.name,
                visit=node.visit,
                step=node.step,
                age_s=at - node.started_at,
            )
    if run.state == "interrupted":
        yield RunEnded(run=run.id, outcome="interrupted")


def _call_anew(call: Call, at: Seconds) -> list[Event]:
    open_s = at - call.ready_at
    ask = msgspec.structs.replace(
        call.ask, age_s=call.ask.age_s + open_s, run_age_s=call.ask.run_age_s + open_s
    )
    if call.state is CallState.WAITING:
        ask = msgspec.structs.replace(ask, hold_limit_s=ask.hold_limit_s - open_s)
        facts: list[AnyFact] = [ask]
        if call.went is not None:  # in shadow mode it runs while it waits
            facts.append(CallSent(ask=ask, endpoint=call.went, sent_s=open_s))
        return [Event(at=at, fact=each, client=call.client) for each in facts]
    sent_s = at - (call.released_at if call.released_at is not None else at)
    # where a decision was not applied, nobody knows where the call runs
    endpoint = call.endpoint if call.applied and call.endpoint else EndpointId("")
    fact = CallSent(ask=ask, endpoint=endpoint, sent_s=sent_s)
    if call.state is not CallState.ORPHANED:
        return [Event(at=at, fact=fact, client=call.client)]
    nobody = ClientId(f"{call.client} (lost)")
    return [Event(at=at, fact=each, client=nobody) for each in (fact, ClientLost())]

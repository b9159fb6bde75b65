"""What the scheduler tells: a run's story, its own status, and the open books anew."""

from copy import copy
from typing import Any

from headway.core.books import Books
from headway.core.calls import Call, CallState
from headway.core.commands import Score
from headway.core.errors import HeadwayError
from headway.core.graph import Node, Run
from headway.core.types import RunId, Seconds
from headway.core.view import View


def _latest_run(books: Books) -> Run:
    """The run that ended last and made calls; else the newest open one."""
    for run in reversed(books.ended.values()):
        if run.parent is None and _calls_within(run):
            return run
    for run in reversed(books.runs.values()):
        if run.parent is None:
            return run
    raise HeadwayError(
        "no run has been seen yet: run a scheduled graph first, or make a call with "
        "headway_litellm.install() or through a LiteLLM proxy with headway_litellm.callback"
    )


def could_mean(name: str, run: str) -> bool:
    """Whether `name` is the beginning of a run's id, or its end, as ``..end`` too."""
    end = name.removeprefix("..")
    return run.startswith(name) or (bool(end) and run.endswith(end))


def _find_run(books: Books, name: str) -> Run:
    """The run of that id or of a unique beginning or end of it."""
    if name == "last":
        return _latest_run(books)
    exact = books.run(RunId(name))
    if exact is not None:
        return exact
    known = [*books.ended.values(), *books.runs.values()]
    alike = [run for run in known if could_mean(name, run.id)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        raise HeadwayError(
            f"{name!r} could be {', '.join(run.id for run in alike[:5])}: say more of it"
        )
    raise HeadwayError(f"no run {name!r}: it never came here, or ended too long ago (try 'last')")


def _calls_within(run: Run) -> list[Call]:
    """The run's calls and those of graphs inside it, in the order in which they were ready."""
    found = list(run.calls)
    for child in run.children:
        found += _calls_within(child)
    return sorted(found, key=lambda call: (call.ready_at, call.key))


def _nodes_within(run: Run) -> list[tuple[Run, Node]]:
    found = [(run, node) for node in run.nodes.values()]
    for child in run.children:
        found += _nodes_within(child)
    return sorted(found, key=lambda pair: (pair[1].started_at, pair[1].id))


def _score_told(score: Score) -> dict[str, Any]:
    return {"endpoint": score.endpoint, "cost_s": score.cost_s, "parts": dict(score.parts)}


def _call_told(call: Call, start: Seconds) -> dict[str, Any]:
    ended = call.ended
    shadow = call.went is not None or not call.applied
    told: dict[str, Any] = {
        "call": call.ask.call,
        "attempt": call.ask.attempt,
        "graph": call.ask.graph,
        "node": call.ask.node_name,
        "visit": call.ask.visit,
        "pool_name": call.ask.pool_name,
        "state": call.state.value,
        "ready_s": call.ready_at - start,
        "held_s": None if call.released_at is None else max(call.released_at - call.ready_at, 0.0),
        "endpoint": call.went if shadow else call.endpoint,
        "model": call.model if call.went is not None or not shadow else "",
        "shadow": shadow,
        "chosen": call.grant.endpoint if call.grant is not None else None,
        "predicted_output_tokens": call.output.p50 if call.output is not None else None,
        "predicted_s": call.service_s,
        "urgency": call.grant.urgency if call.grant is not None else None,
        "why": call.grant.why if call.grant is not None else _why_ungranted(call),
        "scores": [_score_told(score) for score in call.grant.scores] if call.grant else [],
        "excluded": call.excluded,
    }
    if ended is not None:
        told |= {
            "outcome": ended.outcome,
            "error": ended.error,
            "prompt_tokens": ended.prompt_tokens,
            "cached_tokens": ended.cached_tokens,
            "output_tokens": ended.output_tokens,
            "duration_s": ended.duration_s,
        }
    return told


def _why_ungranted(call: Call) -> str:
    if call.state is CallState.WAITING:
        return "waits for a release"
    if call.released_at is None:
        return "closed before it was released"
    return "sent by its client without a decision of this daemon"


def run_story(books: Books, name: str) -> dict[str, Any]:
    """A run call by call, as plain data. Raises `HeadwayError` if there is none of that name."""
    run = _find_run(books, name)
    nodes = [
        {
            "graph": of.graph,
            "node": node.name,
            "visit": node.visit,
            "started_s": node.started_at - run.started_at,
            "ended_s": None if node.ended_at is None else node.ended_at - run.started_at,
            "outcome": node.outcome,
        }
        for of, node in _nodes_within(run)
    ]
    return {
        "run": run.id,
        "graph": run.graph,
        "state": run.state,
        "outcome": run.outcome,
        "age_s": None if run.ended_at is None else run.age_s(run.ended_at),
        "paused_s": run.paused_s,
        "deadline_s": run.deadline_s,
        "service_class": run.service_class,
        "tenant": run.tenant,
        "tags": list(run.tags),
        "models": list(run.models),
        "nodes": nodes,
        "calls": [_call_told(call, run.started_at) for call in _calls_within(run)],
    }


def scheduler_status(view: View, policy: str, books: Books) -> dict[str, Any]:
    """How things stand, as plain data."""
    pool, at = view.pool, view.at
    waiting_for: dict[str, int] = {}
    for call in books.waiting.values():
        waiting_for[call.ask.pool_name] = waiting_for.get(call.ask.pool_name, 0) + 1
    return {
        "mode": pool.mode,
        "policy": policy,
        "forecasts": view.foresight.records(),
        "pool_names": {name.name: list(name.models) for name in pool.names},
        "endpoints": [
            {
                "id": one.id,
                "model": one.spec.model,
                "url": one.spec.url,
                "engine": one.spec.engine,
                "up": one.up(at),
                "trouble": "no longer in the pool" if one.leaving else one.trouble,
                "drain": one.spec.drain,
                "running": len(one.loads),
                "foreign": one.foreign,
                "seats": one.room,
                "predicted_tokens": one.tokens_left(at),
                "congestion_s": one.congestion_s(at, 0.0),
                "kv_tokens": one.kv_tokens,
                "kv_reserved": one.kv_reserved(),
                "speed": one.speed,
                "version": one.version,
                "heeds_urgency": one.heeds_urgency,
                "served": one.served,
            }
            # of copies: endpoints remember what they work out, and no question may move a decision
            for one in map(copy, view.endpoints.values())
        ],
        "waiting": waiting_for,
        "running": sum(len(one.loads) for one in view.endpoints.values()),
        "runs_open": sum(run.state == "open" for run in books.runs.values()),
        "runs_interrupted": sum(run.state == "interrupted" for run in books.runs.values()),
        "graphs": sorted(books.topologies),
    }

"""Tools and exceptions as watchers are told of them; the daemon has no use for either."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from headway.client.watching import Raised, ToolEnded, ToolStarted, Watchers
from headway.context import live_scope
from headway.core.types import NodeId
from headway_langgraph.events import outcome_of
from headway_langgraph.records import Run


def tool_started(
    watchers: Watchers, run_id: UUID, serialized: Mapping[str, Any] | None, said: Mapping[str, Any]
) -> None:
    """A tool begins in the current node; `said` is what LangChain tells besides."""
    scope = live_scope()
    if scope is None:
        return
    # `name` is the run's name, which may be anything.
    name = (serialized or {}).get("name") or said.get("name") or "tool"
    watchers.told(
        ToolStarted(
            run=scope.run,
            node=scope.node,
            tool=str(run_id),
            name=str(name),
            call_id=str(said.get("tool_call_id") or ""),
        )
    )


def tool_ended(watchers: Watchers, run_id: UUID, error: BaseException | None = None) -> None:
    """A tool is over."""
    outcome = "ok" if error is None else outcome_of(error)
    kind = type(error).__name__ if outcome == "error" else ""
    watchers.told(ToolEnded(tool=str(run_id), outcome=outcome, error=kind))


def raised(run: Run, node: NodeId | None, error: BaseException | None) -> None:
    """A node of `run`, or (None) the run itself, raised `error`, if it did."""
    if error is None or run.off or not run.client.watchers:
        return
    if outcome_of(error) == "error":
        run.client.watchers.told(Raised(run=run.id, node=node, error=type(error).__name__))

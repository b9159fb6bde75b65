"""What LangGraph's callback arguments mean: tags, metadata, inputs and exceptions. Pure."""

import asyncio
from collections.abc import Mapping
from typing import Any

from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.types import Command

from headway.core.types import Outcome

STEP_TAG = "graph:step:"
"""How the tag of a node's own chain run begins; what runs inside it does not have it."""
PUSH = "__pregel_push"


def outcome_of(error: BaseException) -> Outcome:
    """How a run or node ended that raised `error`. Leaving for the parent graph is no error."""
    if isinstance(error, GraphInterrupt):
        return "interrupted"
    if isinstance(error, GraphBubbleUp):
        return "ok"
    if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
        return "cancelled"
    return "error"


def resumes(inputs: Any) -> bool:
    """Whether a graph with this input goes on from a checkpoint instead of starting anew."""
    return inputs is None or (isinstance(inputs, Command) and inputs.resume is not None)


def is_task(metadata: Mapping[str, Any]) -> bool:
    """Whether these are the metadata of a `@task` of the functional API (or of what it calls)."""
    path: tuple[Any, ...] | None = metadata.get("langgraph_path")
    return bool(path and path[-1] is True and path[0] == PUSH)


def task_id(metadata: Mapping[str, Any]) -> str:
    """The id of a node's task: the same for all its attempts, and when a checkpoint is resumed."""
    namespace: str = metadata["langgraph_checkpoint_ns"]
    return namespace.rpartition(":")[2]

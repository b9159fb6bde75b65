"""The one patch of LangGraph: `StateGraph.compile` schedules what marked builders compile.

On the class and not on a builder, because a copy of a builder must compile itself;
the mark is an attribute, which copies of a builder carry with them. Idempotent,
reversible, and inert for builders without the mark.
"""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Any

from langgraph.graph import StateGraph

ATTRIBUTE = "_headway_mark"


class BuilderPatch:
    """Wraps `compile` when the first builder is marked. `schedule` gets each compiled graph."""

    def __init__(self, schedule: Callable[[Any], Any]) -> None:
        self._schedule = schedule
        self._original: Any = None
        self._mark = ""

    def mark(self, builder: Any) -> None:
        """Have what `builder`, and its copies, compile scheduled from now on."""
        if self._original is None:
            self._install()
        setattr(builder, ATTRIBUTE, self._mark)

    def uninstall(self) -> None:
        """Put the class's own method back; marks that are left mean nothing any more."""
        if self._original is not None:
            StateGraph.compile = self._original  # type: ignore[method-assign]
            self._original = None

    def _install(self) -> None:
        compile_graph: Any = StateGraph.compile
        mark = self._mark = uuid.uuid4().hex
        schedule = self._schedule

        @wraps(compile_graph)
        def compile_scheduled(builder: Any, *args: Any, **kwargs: Any) -> Any:
            graph = compile_graph(builder, *args, **kwargs)
            if getattr(builder, ATTRIBUTE, None) != mark:
                return graph
            return schedule(graph)

        StateGraph.compile = compile_scheduled  # type: ignore[method-assign, assignment]
        self._original = compile_graph

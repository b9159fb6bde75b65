"""The callback handler that a scheduled graph carries in its configuration.

Synchronous and inline: LangChain then runs it in the caller's own context, so
the scope that it sets reaches the node's code and the HTTP layer below, in
synchronous and asynchronous graphs alike, without a detour through a thread
pool. No exception leaves it.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from langgraph.callbacks import GraphCallbackHandler

from headway.calling.guard import complaints
from headway_langgraph.tools import tool_ended, tool_started
from headway_langgraph.tracker import Tracker

OWN_TYPES = ("openai-chat", "openai")
"""What `ChatOpenAI` and `OpenAI`, and what is derived from them, call themselves."""


def _safe(method: Callable[..., None]) -> Callable[..., None]:
    name = method.__name__

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add(name, error)

    return call


def _is_own(started: dict[str, Any]) -> bool:
    """Whether a model of `langchain_openai` started with these arguments."""
    return (started.get("invocation_params") or {}).get("_type") in OWN_TYPES


class HeadwayHandler(GraphCallbackHandler):
    """Reports the runs of one graph, and of all graphs inside it.

    All handlers are equal, so LangChain keeps one of them when graphs are
    nested or a handler is given twice; the tracker ignores the rest.
    """

    run_inline = True
    raise_error = False
    ignore_chain = False  # read at every event; as a property of the base it costs more
    ignore_retriever = True
    ignore_retry = True
    ignore_custom_event = True

    def __init__(self, tracker: Tracker, graph: str) -> None:
        self._tracker = tracker
        self.graph = graph

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeadwayHandler)

    def __hash__(self) -> int:
        return hash(HeadwayHandler)

    @property
    def ignore_agent(self) -> bool:
        """Whether tools are of no interest, as to everybody but a watcher; read for tools only."""
        try:
            return not self._tracker.watchers
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("ignore_agent", error)
            return True

    def __reduce__(self) -> tuple[Any, ...]:
        # A graph may be copied deeply or pickled: the copy reports to where it then is.
        from headway_langgraph.installation import revive

        return revive, (self.graph,)

    # The three hooks of every node are written out: a wrapper would double their cost.

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        name: str = "",
        **kwargs: Any,
    ) -> None:
        """A graph, a node or any other runnable begins."""
        try:
            self._tracker.chain_started(
                inputs, name or self.graph, self.graph, run_id, parent_run_id, tags, metadata
            )
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("on_chain_start", error)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph, a node or any other runnable is done."""
        try:
            self._tracker.chain_ended(run_id)
        except Exception as error:  # noqa: BLE001 - the host's boundary
            complaints.add("on_chain_end", error)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A graph, a node or any other runnable raised, was cancelled or paused."""
        try:
            self._tracker.chain_ended(run_id, error)
        except Exception as problem:  # noqa: BLE001 - the host's boundary
            complaints.add("on_chain_error", problem)

    @_safe
    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """A chat model is about to send a request."""
        self._tracker.llm_started(run_id, own=_is_own(kwargs))

    @_safe
    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A completion model is about to send a request."""
        self._tracker.llm_started(run_id, own=_is_own(kwargs))

    @_safe
    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A model has answered."""
        self._tracker.llm_ended(run_id)

    @_safe
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A model failed, or its stream was abandoned."""
        self._tracker.llm_ended(run_id)

    @_safe
    def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, **kwargs: Any
    ) -> None:
        """A tool is about to run."""
        tool_started(self._tracker.watchers, run_id, serialized, kwargs)

    @_safe
    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool has answered."""
        tool_ended(self._tracker.watchers, run_id)

    @_safe
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """A tool raised, was cancelled or paused."""
        tool_ended(self._tracker.watchers, run_id, error)

    @_safe
    def on_interrupt(self, event: Any) -> None:
        """A graph paused for a person."""
        self._tracker.interrupted(event.run_id)

    @_safe
    def on_resume(self, event: Any) -> None:
        """A graph goes on after a pause."""
        self._tracker.resumed(event.run_id)

"""Which run and node the current code belongs to, and what a program may say about them.

Integrations set `scope` around a node; everything here works, as a no-op,
without a daemon and outside a run.
"""

import logging
from collections.abc import Callable
from contextvars import ContextVar

import msgspec

from headway.core.types import NodeId, RunId, Seconds


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Where in which run the current code is.

    `run_started` is on this process's monotonic clock; `visit` counts from 1; `models` is
    the narrowing by run and node (empty: none); `off` lets this node's calls pass untouched;
    `timeout_s` is what a node (with those around it) may take, None: no limit.

    A scope may stay in a context after its node has ended: `is_live` tells (None: always
    live), and `outer` is the scope of the node around the run, if there is one.
    """

    run: RunId
    graph: str = ""
    node: NodeId = NodeId("")
    node_name: str = ""
    parents: tuple[NodeId, ...] = ()
    visit: int = 1
    step: int = 0
    run_started: Seconds = 0.0
    deadline_s: Seconds | None = None
    service_class: str = ""
    tenant: str = ""
    models: tuple[str, ...] = ()
    off: bool = False
    thread: str = ""
    timeout_s: Seconds | None = None
    outer: "Scope | None" = None
    is_live: "Callable[[Scope], bool] | None" = None


scope: ContextVar[Scope | None] = ContextVar("headway_scope", default=None)

log = logging.getLogger("headway")
_said: set[str] = set()


def live_scope() -> Scope | None:
    """The innermost scope around the current code whose node is still open.

    An asynchronous graph may run a lone node in its caller's own context and report its
    end from another one: there the caller still finds the scope of the node that has ended.
    """
    here = scope.get()
    while here is not None and here.is_live is not None and not here.is_live(here):
        here = here.outer
    return here


def current_run() -> str | None:
    """The id of the run that the current code belongs to; None outside a run. Never raises."""
    try:
        here = live_scope()
    except Exception:
        log.debug("headway failed in current_run", exc_info=True)
        return None
    return None if here is None else here.run


def feedback(ok: bool, run: str | None = None, node: str | None = None) -> None:
    """Say whether a run, or what one node of it answered, was good.

    `run` defaults to the current one; `node` is a node's id. Outside a run, and
    without a daemon, nothing happens. Never raises.
    """
    about = run if run is not None else current_run()
    if about is None:
        if "feedback" not in _said:
            _said.add("feedback")
            log.debug("feedback() outside a run and without run=: ignored")
        return
    try:
        # Here, so that `import headway` costs a user's program nothing but these names.
        from headway.client import get_client
        from headway.core.facts import Feedback

        told = Feedback(run=RunId(about), ok=bool(ok), node=None if node is None else NodeId(node))
        get_client().observe(told)
    except Exception:
        if "feedback failed" not in _said:
            _said.add("feedback failed")
            log.warning("headway failed in feedback", exc_info=True)

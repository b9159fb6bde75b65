"""The life of an LLM call as this process sees it: attempts, first token, end."""

import asyncio
import threading
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from headway.calling.body import (
    Answer,
    Body,
    answered_tool_calls,
    max_tokens,
    needs,
    prompt_chars,
    prompt_told,
)
from headway.calling.coverage import Coverage
from headway.calling.kinds import error_kind
from headway.calling.responses import is_preamble
from headway.client import Route, Scheduling
from headway.context import Scope
from headway.core.facts import CallEnded, CallReady, FirstToken
from headway.core.pool import EndpointSpec
from headway.core.types import CallId, EndpointId, NodeId, Outcome
from headway.wire.messages import Prompt

TOOL_CALLS_KEPT = 4096
ANSWERS_KEPT = 16_384
HOLD_LIMIT_S = 300.0
ON_LOOP_HOLD_LIMIT_S = 0.05
"""The same for a synchronous call on an event loop: nothing else on the loop goes on meanwhile,
not even the call whose end this one may be waiting for."""


def _hold_limit(*timeouts_s: float | None) -> float:
    """How long a call may be held that must be over within each of these."""
    halves = [limit / 2 for limit in timeouts_s if limit is not None]
    return min([HOLD_LIMIT_S, *halves])


class Call:
    """One logical request; retries are its attempts, and `asked` is the latest one's question.

    The hooks of one call run one after the other; only `close` may be called
    from elsewhere (its node's end), so it is what guards against doing it twice.
    """

    __slots__ = (
        "_ask",
        "_calls",
        "_open",
        "_text",
        "answer",
        "asked",
        "attempt",
        "client",
        "endpoint",
        "first_token_s",
        "model",
        "ready_at",
        "scope",
        "sdk",
        "sent_at",
        "way",
    )

    def __init__(
        self,
        calls: "Calls",
        client: Scheduling,
        sdk: Any,
        scope: Scope,
        ask: CallReady,
        way: str,
        text: str,
    ) -> None:
        self._calls = calls
        self._ask = ask
        self.asked = ask
        self._open = False
        self._text = text
        self.client = client
        self.sdk = sdk
        self.scope = scope
        self.way = way
        self.attempt = 0
        self.ready_at = time.monotonic()
        self.model = ask.pool_name
        self._start_attempt(self.ready_at)

    def _start_attempt(self, now: float) -> None:
        self.answer = Answer()
        self.first_token_s: float | None = None
        self.endpoint = EndpointId("")
        self.sent_at = now

    def next_attempt(
        self,
        *,
        hold_limit_s: float = HOLD_LIMIT_S,
        pool_name: str = "",
        endpoints: tuple[EndpointId, ...] = (),
    ) -> CallReady:
        """The question to ask before (each) sending; closes an attempt that is still open.

        `hold_limit_s` bounds how long it may be held, beside what the call's own limits say.
        A fallback may ask for another `pool_name`; `endpoints` are all that this attempt can
        reach, where the host offers some only.
        """
        if self._open:
            self.close("error", error="retry")
        now = time.monotonic()
        self.attempt += 1
        self.model = pool_name or self._ask.pool_name
        self._start_attempt(now)
        self._open = True
        self._calls.opened(self)
        self.asked = msgspec.structs.replace(
            self._ask,
            pool_name=self.model,
            endpoints=endpoints,
            attempt=self.attempt,
            age_s=now - self.ready_at,
            run_age_s=now - self.scope.run_started,
            hold_limit_s=min(self._ask.hold_limit_s, hold_limit_s),
        )
        if self._text:
            prompt = Prompt(call=self.asked.call, attempt=self.attempt, text=self._text)
            self.client.observe(prompt)
        return self.asked

    def sent(self, route: Route, *, unchanged: EndpointSpec | None = None) -> None:
        """The decision is here and the request goes out.

        `unchanged` is the endpoint that the request goes to as the caller made it, if it is one
        of the pool's: in shadow mode it goes there.
        """
        self.sent_at = time.monotonic()
        if route.source == "shadow" and unchanged is not None:
            self.client.sent(self.asked, unchanged.id)
        if route.endpoint is not None and route.applies:
            self.model, self.endpoint = route.endpoint.model, route.endpoint.id

    def sent_by_host(self, endpoint: EndpointSpec) -> None:
        """The request goes out to an endpoint that the host chose by itself."""
        self.sent_at = time.monotonic()
        self.model, self.endpoint = endpoint.model, endpoint.id
        self.client.sent(self.asked, endpoint.id)

    @property
    def is_open(self) -> bool:
        """Whether an attempt is under way."""
        return self._open

    def chunk(self, part: Any) -> None:
        """A piece of a streamed answer arrived."""
        if self.first_token_s is None and not is_preamble(part):
            self.first_token_s = time.monotonic() - self.sent_at
            if self._open:
                self.client.observe(FirstToken(call=self._ask.call, attempt=self.attempt))
        self.answer.absorb(part)

    def failed(self, error: BaseException) -> None:
        """The request (or its stream) ended with an exception."""
        if isinstance(error, (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)):
            # Somebody who stops reading after the last word has the whole answer.
            self.close("ok" if self.answer.finish_reason else "cancelled")
        else:
            self.close("error", error=error_kind(error))

    def close(self, outcome: Outcome = "ok", *, error: str = "") -> None:
        """The attempt is over. Only the first word counts."""
        if not self._calls.closed(self) or not self._open:
            return
        self._open = False
        self._calls.ended(self, outcome)
        answer = self.answer
        if self._calls.is_idle():
            self._calls.coverage.flush(self.client)
        if answer.tool_ids:
            self._calls.remember_tools(self.scope, answer.tool_ids, self.model)
        if answer.id and self.endpoint:
            self._calls.remember_answer(answer.id, self.endpoint)
        self.client.observe(
            CallEnded(
                call=self._ask.call,
                attempt=self.attempt,
                run=self._ask.run,
                outcome=outcome,
                error=error,
                prompt_tokens=answer.prompt_tokens,
                cached_tokens=answer.cached_tokens,
                output_tokens=answer.output_tokens,
                first_token_s=self.first_token_s,
                duration_s=time.monotonic() - self.sent_at,
                tool_calls=len(answer.tools),
                finish_reason=answer.finish_reason,
                queue_s=answer.queue_s,
                engine_waiting=answer.waiting,
            )
        )

    @property
    def key(self) -> tuple[NodeId, CallId]:
        """Where the call hangs."""
        return self._ask.node, self._ask.call


@dataclass(frozen=True, slots=True)
class ModelRun:
    """A LangChain model run that is going on; `own` says that the model is `langchain_openai`'s."""

    node: NodeId
    own: bool


class Calls:
    """All calls that are open, by node; and which model asked for which tool. Thread-safe."""

    def __init__(self) -> None:
        self.coverage = Coverage()
        self.llms: dict[UUID, ModelRun] = {}
        self._open: dict[NodeId, dict[CallId, Call]] = {}
        self._endings: dict[NodeId, Outcome | None] = {}
        self._tools: dict[tuple[str, str], str] = {}
        self._homes: dict[str, EndpointId] = {}
        # A dropped stream may be collected, and its call closed, while this very thread holds it.
        self._lock = threading.RLock()

    def forked(self) -> None:
        """In a forked child: forget the parent's calls, and its locks, which may be held."""
        self._lock = threading.RLock()
        self.coverage = Coverage()
        self.llms.clear()
        self._open.clear()
        self._endings.clear()

    def begin(
        self,
        *,
        client: Scheduling,
        scope: Scope,
        body: Body,
        way: str,
        timeout_s: float | None,
        sdk: Any = None,
    ) -> Call:
        """A request of a node is about to be made. Nothing is told before its first attempt.

        `body` is what the request says in OpenAI's form; `sdk` is the client object that will
        send it, where several may be nested.
        """
        told, text = prompt_told(body, client.pool)
        ask = CallReady(
            call=CallId(uuid.uuid4().hex),
            attempt=0,
            run=scope.run,
            graph=scope.graph,
            node=scope.node,
            node_name=scope.node_name,
            pool_name=str(body.get("model") or ""),
            parents=scope.parents,
            visit=scope.visit,
            step=scope.step,
            deadline_s=scope.deadline_s,
            service_class=scope.service_class,
            tenant=scope.tenant,
            prompt_chars=prompt_chars(body),
            max_tokens=max_tokens(body),
            needs=needs(body),
            models=scope.models,
            loop_model=self._loop_model(scope, answered_tool_calls(body)),
            hold_limit_s=_hold_limit(timeout_s, scope.timeout_s),
            features=told,
        )
        return Call(self, client, sdk, scope, ask, way, text)

    def opened(self, call: Call) -> None:
        """An attempt begins: its node's end will close it."""
        node, call_id = call.key
        with self._lock:
            self._open.setdefault(node, {})[call_id] = call

    def is_idle(self) -> bool:
        """Whether no call is open."""
        return not self._open

    def closed(self, call: Call) -> bool:
        """Take the call off the books; False if it was not on them."""
        node, call_id = call.key
        with self._lock:
            of_node = self._open.get(node)
            if of_node is None or of_node.pop(call_id, None) is None:
                return False
            if not of_node:
                self._open.pop(node, None)
        return True

    def close_node(self, node: NodeId) -> None:
        """A node is over: what it still has open was given up by the program."""
        if node in self._open:
            with self._lock:
                left = list(self._open.get(node, {}).values())
            for call in left:
                call.close("ok" if call.answer.finish_reason else "cancelled")
        if self.llms:
            # A cancelled model run says nothing of its end.
            left_over = [id_ for id_, one in list(self.llms.items()) if one.node == node]
            for run_id in left_over:
                self.llms.pop(run_id, None)

    def expect(self, node: NodeId) -> None:
        """Remember how the node's latest attempt ends, until somebody asks for its `ending`."""
        self._endings[node] = None

    def ending(self, node: NodeId) -> Outcome | None:
        """How the latest attempt of an expected node ended; None if none has. Forgets it."""
        return self._endings.pop(node, None)

    def ended(self, call: Call, outcome: Outcome) -> None:
        """An attempt is over."""
        node, _ = call.key
        if node in self._endings:
            self._endings[node] = outcome

    def remember_tools(self, scope: Scope, tool_ids: list[str], model: str) -> None:
        """`model` asked for these tools: what answers to them should be read by it too.

        Kept by run and by thread, as engines do not promise ids that are unique.
        """
        with self._lock:
            for tool_id in tool_ids:
                self._tools[(scope.run, tool_id)] = model
                if scope.thread:
                    self._tools[(scope.thread, tool_id)] = model
            while len(self._tools) > TOOL_CALLS_KEPT:
                del self._tools[next(iter(self._tools))]

    def remember_answer(self, answer_id: str, endpoint: EndpointId) -> None:
        """`endpoint` gave this answer, and may have stored it: what continues it must go there."""
        with self._lock:
            self._homes[answer_id] = endpoint
            while len(self._homes) > ANSWERS_KEPT:
                del self._homes[next(iter(self._homes))]

    def home_of(self, answer_id: str) -> EndpointId:
        """The endpoint that gave this answer, as far as this process has seen; else empty."""
        return self._homes.get(answer_id, EndpointId(""))

    def _loop_model(self, scope: Scope, tool_ids: tuple[str, ...]) -> str:
        for tool_id in tool_ids:
            model = self._tools.get((scope.run, tool_id))
            if model is None and scope.thread:
                model = self._tools.get((scope.thread, tool_id))
            if model is not None:
                return model
        return ""


decided: ContextVar[Call | None] = ContextVar("headway_decided", default=None)
"""The call around the current code whose attempts an outer hook decides: inner ones let it be."""


class _Process:
    """The calls of this process: all integrations share them, so that a node's end closes all."""

    def __init__(self) -> None:
        self.calls = Calls()


_process = _Process()


def get_calls() -> Calls:
    """The open calls of this process."""
    return _process.calls

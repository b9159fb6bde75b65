"""The call desk: takes questions in, binds calls to endpoints, closes them.

Where a call goes is decided by the policy, elsewhere; here is what has to be
done to the books when it has been decided, or when the client went ahead.
"""

from collections.abc import Callable

import msgspec

from headway.core.books import Books
from headway.core.calls import Call, CallKey, CallState, CallStep
from headway.core.candidates import candidates
from headway.core.commands import Grant
from headway.core.endpoints import Endpoint
from headway.core.facts import CallEnded, CallReady, CallSent, FirstToken, PromptEncoded
from headway.core.graph import Run
from headway.core.inflight import Load
from headway.core.learning import Teacher
from headway.core.pool import Pool
from headway.core.protocols import Release
from headway.core.runs import RunKeeper
from headway.core.types import ClientId, EndpointId, Outcome, Seconds
from headway.core.view import View

CHARS_PER_TOKEN = 4.0
ORPHAN_GRACE_S = 30.0
MAX_FILTERED = 1_000
ENDPOINT_ERRORS = ("connect", "timeout", "5", "429", "drop")
"""Beginnings of the kinds of error that lie with the endpoint, not with the request."""
ABORTED = "abort"
"""Why an answer ended that the engine broke off (vLLM, put to sleep): it teaches nothing."""
REFUSALS = ("429", "503")
"""Errors of an endpoint that has no room left, if it serves others meanwhile."""


class CallDesk:
    """Applies facts about calls to the books and to the endpoints' loads."""

    def __init__(
        self,
        *,
        books: Books,
        endpoints: dict[EndpointId, Endpoint],
        runs: RunKeeper,
        teacher: Teacher,
        view: Callable[[Seconds], View],
    ) -> None:
        self._books = books
        self._endpoints = endpoints
        self._runs = runs
        self._teacher = teacher
        self._view = view
        self._filtered_pool: Pool | None = None
        self._filtered: dict[tuple[object, ...], tuple[tuple[EndpointId, ...], dict[str, str]]] = {}
        self._limits: dict[EndpointId, int | None] = {}
        self._least_context: int | None = None

    def open(self, ask: CallReady, client: ClientId, pool: Pool, at: Seconds) -> Call:
        """Put an attempt on the books, with the endpoints that may serve it."""
        run = self._runs.run_of(ask, client, at)
        node = run.nodes[ask.node]
        visit = node.visit
        if ask.run != run.id or ask.visit != visit:
            ask = msgspec.structs.replace(ask, run=run.id, visit=visit)
        call = Call(
            ask=ask,
            client=client,
            ready_at=at,
            prompt_tokens=max(int(ask.prompt_chars / CHARS_PER_TOKEN), 1),
            releases_before=self._books.releases,
        )
        node.prompt_tokens = node.prompt_tokens or call.prompt_tokens
        self.find_candidates(call, pool)
        call.rest_s, call.rest_tokens = self._view(at).horizon(call)
        if ask.attempt <= 1:
            self._teacher.call_opened(run, at)
        run.calls.append(call)
        self._books.calls[call.key] = call
        if ask.attempt > 1:
            self._follow(call, [one for one in run.calls if one.ask.call == ask.call], at)
        return call

    def _follow(self, call: Call, attempts: list[Call], at: Seconds) -> None:
        """A retry closes the attempts before it, and keeps away from where they failed."""
        for earlier in attempts:
            if earlier.ask.attempt >= call.ask.attempt:
                continue
            if earlier.state is not CallState.CLOSED:
                self.close(earlier, at, outcome="error")
            failed = earlier.ended is not None and earlier.ended.outcome == "error"
            if failed and earlier.endpoint is not None:
                call.avoid += (earlier.endpoint,)

    def forget_filtered(self) -> None:
        """What is known of endpoints has changed: look at candidates anew."""
        self._filtered_pool = None

    def find_candidates(self, call: Call, pool: Pool) -> None:
        """Fill in who may serve the call in `pool`, and why others may not."""
        ask = call.ask
        if pool is not self._filtered_pool:
            self._filtered_pool, self._filtered = pool, {}
            self._limits = {one.id: one.context_tokens_limit for one in self._endpoints.values()}
            sizes = [size for size in self._limits.values() if size is not None]
            self._least_context = min(sizes, default=None)
        need_tokens = call.prompt_tokens + (ask.max_tokens or 0)
        fits = self._least_context is None or need_tokens <= self._least_context
        # where every endpoint is large enough, like questions have like candidates
        alike = (ask.pool_name, ask.needs, ask.models, ask.loop_model, ask.endpoints)
        found = self._filtered.get(alike) if fits else None
        if found is None:
            chosen, excluded = candidates(pool, ask, call.prompt_tokens, self._limits)
            found = (tuple(spec.id for spec in chosen), excluded)
            if fits and len(self._filtered) < MAX_FILTERED:
                self._filtered[alike] = found
        call.candidates, call.excluded = found

    def grant(self, call: Call, release: Release, at: Seconds, *, applied: bool = True) -> Grant:
        """Bind a waiting call to the endpoint of `release` (none: the client's fallback)."""
        held_s = call.held_s(at)
        call.step(CallStep.GRANT, at)
        self._books.releases += 1
        self._books.waiting.pop(call.key, None)
        self._bind(call, release.endpoint if call.went is None else call.went, at)
        call.applied = applied or call.went is not None
        call.grant = Grant(
            client=call.client,
            call=call.ask.call,
            attempt=call.ask.attempt,
            run=call.run,
            endpoint=release.endpoint,
            model=self._model_at(release.endpoint),
            urgency=release.urgency,
            held_s=held_s,
            why=release.why,
            scores=release.scores,
            output_tokens=call.output.p50 if call.output is not None else 0.0,
            output_limit=release.output_limit,
        )
        return call.grant

    def sent(self, fact: CallSent, client: ClientId, pool: Pool, at: Seconds) -> None:
        """The client sent a call without our grant, or tells of one on a new connection."""
        key: CallKey = (fact.ask.call, fact.ask.attempt)
        if self._books.was_closed(key):
            return
        call = self._books.calls.get(key)
        if call is None:
            call = self.open(fact.ask, client, pool, at)
        else:
            # its run may have been given up while the client was away
            self._runs.run_of(call.ask, client, at)
        call.client = client
        if pool.mode == "shadow":
            call.went, call.applied = fact.endpoint, True
            if key in self._books.waiting:
                return  # it runs, and waits here for what would have been decided
        self._books.waiting.pop(key, None)
        before = self._endpoints.get(call.endpoint) if call.endpoint is not None else None
        if before is not None:
            before.remove(key, at)
        call.step(CallStep.SEND, at)
        self._bind(call, fact.endpoint, at - fact.sent_s)
        self._let_go(before)

    def _model_at(self, endpoint_id: EndpointId) -> str:
        endpoint = self._endpoints.get(endpoint_id)
        return "" if endpoint is None else endpoint.spec.model

    def _bind(self, call: Call, endpoint_id: EndpointId, since: Seconds) -> None:
        call.released_at = since
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            call.endpoint, call.model = None, ""
            return
        view = self._view(since)
        call.endpoint, call.model = endpoint_id, endpoint.spec.model
        call.output = view.output(call, call.model)
        uncached = view.uncached_tokens(call, endpoint)
        call.service_s = endpoint.service_s(since, uncached, call.output.p50)
        load = Load(
            prompt_tokens=call.prompt_tokens,
            output_tokens=call.output.p50,
            kv_tokens=call.prompt_tokens + call.output.p90,
            released_at=since,
            speed=endpoint.speed,
            uncached_tokens=uncached,
            had_room=endpoint.has_room(call.prompt_tokens + call.output.p90),
            rest_tokens=call.rest_tokens,
            run=call.run,
        )
        endpoint.add(call.key, load)

    def encoded(self, fact: PromptEncoded) -> None:
        """What an open call asks is known better."""
        call = self._books.calls.get((fact.call, fact.attempt))
        if call is not None:
            features = call.ask.features + fact.features
            call.ask = msgspec.structs.replace(call.ask, features=features)

    def first_token(self, fact: FirstToken, at: Seconds) -> None:
        """An answer begins to arrive."""
        call = self._books.calls.get((fact.call, fact.attempt))
        if call is not None and call.state is not CallState.WAITING:
            call.step(CallStep.FIRST_TOKEN, at)

    def ended(self, fact: CallEnded, at: Seconds) -> None:
        """A client says that an attempt is over."""
        key: CallKey = (fact.call, fact.attempt)
        call = self._books.calls.get(key)
        if call is None:
            self._books.remember_closed(key)
        else:
            self.close(call, at, outcome=fact.outcome, ended=fact)

    def close(
        self, call: Call, at: Seconds, *, outcome: Outcome, ended: CallEnded | None = None
    ) -> None:
        """An attempt is over: free its seat at once, learn from it, take it off the books."""
        call.ended = ended or CallEnded(
            call=call.ask.call, attempt=call.ask.attempt, run=call.run, outcome=outcome
        )
        call.step(CallStep.END, at)
        self._books.close(call)
        endpoint = self._endpoints.get(call.endpoint) if call.endpoint is not None else None
        run = self._books.run(call.run)
        load = endpoint.remove(call.key, at) if endpoint is not None else None
        self._let_go(endpoint)
        if run is None:
            return
        if run.reopened and all(one.state is CallState.CLOSED for one in run.calls):
            self._runs.end(run, "cancelled", at)
        if endpoint is None or load is None or not call.applied:
            return
        if call.ended.engine_waiting is not None and call.ended.engine_waiting >= 0:
            endpoint.heard(call.ended.engine_waiting, at)
        if outcome == "ok" and call.ended.finish_reason != ABORTED:
            self._learn(run, call, endpoint, load, at)
        elif outcome == "error" and call.ended.error in REFUSALS and endpoint.sequences:
            endpoint.refused()
        elif outcome == "error" and call.ended.error.startswith(ENDPOINT_ERRORS):
            endpoint.fault(at, call.ended.error)
            if not endpoint.up(at):
                self._books.wake(endpoint.down_until, "look")

    def _let_go(self, endpoint: Endpoint | None) -> None:
        """Forget an endpoint that is no longer in the pool once nothing runs there."""
        if endpoint is not None and endpoint.leaving and not endpoint.loads:
            del self._endpoints[endpoint.id]

    def _learn(self, run: Run, call: Call, endpoint: Endpoint, load: Load, at: Seconds) -> None:
        endpoint.served_one(load.released_at)
        tokens = (call.ended.output_tokens if call.ended is not None else None) or 0
        endpoint.latencies.append((at - load.released_at) / max(tokens, 1))
        self._runs.account(run, call, endpoint.alone_s(call.prompt_tokens, tokens), at)
        node = run.nodes.get(call.ask.node)
        self._teacher.call_answered(node, call, endpoint, load, at)
        self._teacher.call_followed(call, run.last_endpoint == endpoint.id)
        topology = self._books.topology(run.graph)
        self._teacher.answer(run, topology, node, call)
        run.last_endpoint = endpoint.id

    def client_lost(self, client: ClientId, at: Seconds) -> None:
        """Drop what the client waited for; keep what runs on the books until it must be over."""
        for call in self._books.calls_of_client(client):
            if call.state is CallState.WAITING:
                # not over for good: its client sends it by itself, or asks again when it is back
                self.close(call, at, outcome="cancelled")
                self._books.forget_closed(call.key)
                continue
            call.step(CallStep.LOSE_CLIENT, at)
            worst_s = call.service_s
            if call.output is not None:
                worst_s *= call.output.p90 / max(call.output.p50, 1.0)
            self._books.wake(at + worst_s + ORPHAN_GRACE_S, "expire", call.key)

    def expire(self, call: Call, at: Seconds) -> None:
        """A call whose client went away must be over by now."""
        if call.state is CallState.ORPHANED:
            self.close(call, at, outcome="cancelled")

"""One emulated server: its engine, its models, its faults, and the HTTP requests it answers."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from headway.emulate.answers import Answer, Answers, ChatRequest
from headway.emulate.config import EmulatedSpec
from headway.emulate.control import add_control_routes
from headway.emulate.faults import FAULT_HEADER, METRIC_FAULTS, Faults, UnknownFault
from headway.emulate.metrics import CONTENT_TYPE, render_metrics
from headway.emulate.protocol import (
    BadRequest,
    ChunkMaker,
    Kind,
    Reply,
    Wanted,
    block_hashes,
    cut,
    error_body,
    lengthened,
    read_limit,
    read_request,
    rendered,
    token_count,
    usage,
    whole_body,
)
from headway.emulate.requestlog import Entry, RequestLog
from headway.emulate.responses import (
    EventMaker,
    read_responses,
    response_body,
    responses_usage,
)
from headway.emulate.wallclock import Ticket, WallClockEngine
from headway.engine import Finished, FirstToken, Rejected

MAX_BODY_BYTES = 64 << 20
STREAM_TICK_S = 0.02
"""Between two writes of a stream at real time: as smooth as a real server's."""
FAST_STREAM_TICK_S = 0.1
"""The same when sped up: nobody watches, and sixty streams must fit on part of a core."""

_ID_BEGINS: dict[Kind, str] = {"chat": "chatcmpl-", "text": "cmpl-", "responses": "resp_"}


class EmulatedServer:
    """One address: an engine and the models that it serves."""

    def __init__(self, *, specs: Sequence[EmulatedSpec], speedup: float, answers: Answers) -> None:
        self.specs = {spec.model: spec for spec in specs}
        self._by_name = dict(self.specs)
        for spec in specs:
            for alias in spec.aliases:
                self._by_name.setdefault(alias, spec)
        self.name = specs[0].server
        self.path = specs[0].path
        self.engine = WallClockEngine(profile=specs[0].profile, speedup=speedup)
        self.faults = Faults()
        self.log = RequestLog()
        self._answers = answers
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._tick_s = STREAM_TICK_S if speedup <= 1 else FAST_STREAM_TICK_S

    def build_app(self) -> web.Application:
        """An aiohttp application; a new one for each time that the server is started."""
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._down])
        app.router.add_post(f"{self.path}/chat/completions", self._chat)
        app.router.add_post(f"{self.path}/completions", self._text)
        app.router.add_post(f"{self.path}/responses", self._responses)
        app.router.add_get(f"{self.path}/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        add_control_routes(app, engine=self.engine, faults=self.faults, log=self.log)
        return app

    @web.middleware
    async def _down(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/_emulate") and self.faults.take("down"):
            return _break_off(request)
        response: web.StreamResponse = await handler(request)
        return response

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, request: web.Request) -> web.Response:
        data = [
            {
                "id": name,
                "object": "model",
                "root": spec.model,
                "created": 0,
                "owned_by": "headway-emulate",
                "max_model_len": spec.context_tokens or spec.profile.kv_tokens,
            }
            for name, spec in self._by_name.items()
        ]
        return web.json_response({"object": "list", "data": data})

    async def _metrics(self, request: web.Request) -> web.Response:
        page = render_metrics(
            self.engine, tuple(self.specs), fault=self.faults.take(*METRIC_FAULTS)
        )
        return web.Response(body=page.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._completion(request, "chat")

    async def _text(self, request: web.Request) -> web.StreamResponse:
        return await self._completion(request, "text")

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._completion(request, "responses")

    async def _completion(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        entry = self.log.open(
            endpoint=self.name, path=request.path, headers=request.headers, at=self.engine.now()
        )
        try:
            return await self._served(request, kind, entry)
        except BadRequest as error:
            return self._refusal(entry, error.status, error.body(), "error")
        except UnknownFault as error:
            return self._refusal(entry, 400, error_body(str(error), status=400), "error")
        except (asyncio.CancelledError, ConnectionError):
            if entry.outcome == "open":
                entry.outcome = "cancelled"
            raise
        finally:
            entry.ended_s = self.engine.now()

    async def _served(self, request: web.Request, kind: Kind, entry: Entry) -> web.StreamResponse:
        wanted = _read(await request.read(), kind=kind, headers=request.headers)
        entry.model, entry.priority, entry.stream = wanted.model, wanted.priority, wanted.stream
        entry.keys = tuple(sorted(wanted.body))
        fault = self.faults.for_request(request.headers.get(FAULT_HEADER))
        if fault.isdecimal():
            status = int(fault)
            return self._refusal(entry, status, error_body("on demand", status=status), fault)
        if fault == "hang":
            entry.outcome = "hang"
            await asyncio.Event().wait()
        prompt, reply = self._reply(wanted, request.headers.get("X-Request-Id"))
        entry.prompt_tokens, entry.output_tokens = token_count(prompt), reply.output_tokens
        ticket = self.engine.submit(
            f"{next(self._numbers)}",
            prompt_tokens=entry.prompt_tokens,
            output_tokens=reply.output_tokens,
            priority=wanted.priority,
            prefix=block_hashes(
                prompt, reply.answer, block_tokens=self.engine.profile.block_tokens
            ),
        )
        try:
            _check_taken(ticket)
            if wanted.stream:
                return await self._streamed(request, wanted, reply, ticket, entry, fault)
            return await self._whole(request, wanted, reply, ticket, entry, fault)
        finally:
            self.engine.cancel(ticket)

    def _reply(self, wanted: Wanted, request_id: str | None) -> tuple[str, Reply]:
        """The prompt as text, and what the model will say to it. Raises `BadRequest`.

        As with vLLM, the answer's id holds the client's ``X-Request-Id``, and its model is
        the served one's first name, whichever name was asked for.
        """
        spec = self._by_name.get(wanted.model)
        if spec is None:
            raise BadRequest(
                f"The model `{wanted.model}` does not exist; this endpoint serves "
                f"{', '.join(self._by_name)}.",
                status=404,
                param="model",
            )
        wanted = msgspec.structs.replace(wanted, model=spec.model)
        prompt = rendered(wanted)
        room = (spec.context_tokens or self.engine.profile.kv_tokens) - token_count(prompt)
        limit = "max_output_tokens" if wanted.kind == "responses" else "max_tokens"
        if room < 1 or (wanted.max_tokens or 1) > room:
            raise BadRequest(
                f"This model's maximum context length is {room + token_count(prompt)} tokens; "
                f"the prompt has {token_count(prompt)} and {limit} is {wanted.max_tokens}.",
                param=limit,
            )
        body = wanted.body
        answer = self._answer(
            ChatRequest(
                model=wanted.model,
                skill=spec.skill,
                messages=wanted.messages,
                tools=wanted.tools,
                tool_choice=wanted.tool_choice,
                max_tokens=wanted.max_tokens,
                response_format=wanted.response_format,
                seed=body.get("seed"),
                temperature=body.get("temperature"),
                user=str(body.get("user") or ""),
            )
        )
        least = read_limit(body, "min_tokens")
        if least is not None and least > min(room, wanted.max_tokens or room):
            told = "min_tokens must not be above max_tokens, nor what the context leaves"
            raise BadRequest(told, param="min_tokens")
        answer = lengthened(answer, least)
        answer, finish_reason = cut(answer, min(room, wanted.max_tokens or room))
        return prompt, Reply(
            id=f"{_ID_BEGINS[wanted.kind]}{request_id or next(self._ids)}",
            kind=wanted.kind,
            model=wanted.model,
            created=int(datetime.now(UTC).timestamp()),
            answer=answer,
            output_tokens=max(1, answer.output_tokens),
            finish_reason=finish_reason,
        )

    def _answer(self, request: ChatRequest) -> Answer:
        try:
            return self._answers.answer(request)
        # The answers are the user's code: whatever they raise is one request's error.
        except Exception as error:
            message = f"the answers raised {type(error).__name__}: {error}"
            raise BadRequest(message, status=500) from error

    async def _whole(
        self,
        request: web.Request,
        wanted: Wanted,
        reply: Reply,
        ticket: Ticket,
        entry: Entry,
        fault: str,
    ) -> web.StreamResponse:
        if fault == "drop":
            await ticket.first
            entry.outcome = "drop"
            return _break_off(request)
        end = _finished(await ticket.end)
        self._book(entry, end)
        if wanted.kind == "responses":
            content = response_body(reply, wanted, _used(entry, wanted))
        else:
            content = whole_body(reply, _used(entry, wanted))
        response = web.Response(body=msgspec.json.encode(content), content_type="application/json")
        await response.prepare(request)
        await response.write_eof()
        self.engine.note_delivery(ticket, end)
        entry.outcome = "ok"
        return response

    async def _streamed(
        self,
        request: web.Request,
        wanted: Wanted,
        reply: Reply,
        ticket: Ticket,
        entry: Entry,
        fault: str,
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        await response.prepare(request)
        chunks = EventMaker(reply, wanted) if wanted.kind == "responses" else ChunkMaker(reply)
        opening = chunks.opening()
        if opening:
            await response.write(opening)
        first = await ticket.first
        if isinstance(first, FirstToken):
            entry.first_token_s = first.at
            await response.write(chunks.upto(1))
            self.engine.note_delivery(ticket, first)
        if fault == "drop":
            entry.outcome = "drop"
            return _break_off(request, response)
        while not ticket.end.done():
            await asyncio.wait((ticket.end,), timeout=self._tick_s)
            if not ticket.end.done():
                news = chunks.upto(self.engine.produced(ticket))
                if news:
                    await response.write(news)
        end = _finished(ticket.end.result())
        self._book(entry, end)
        await response.write(chunks.finish(_used(entry, wanted) if wanted.include_usage else None))
        await response.write_eof()
        self.engine.note_delivery(ticket, end)
        entry.outcome = "ok"
        return response

    def _book(self, entry: Entry, end: Finished) -> None:
        entry.status = 200
        entry.first_token_s = end.first_token_at
        entry.cached_tokens = end.cached_tokens

    def _refusal(
        self, entry: Entry, status: int, body: dict[str, Any], outcome: str
    ) -> web.Response:
        entry.status, entry.outcome = status, outcome
        return web.json_response(body, status=status)


def _read(raw: bytes, *, kind: Kind, headers: Mapping[str, str]) -> Wanted:
    if kind == "responses":
        return read_responses(raw, headers=headers)
    return read_request(raw, kind=kind, headers=headers)


def _used(entry: Entry, wanted: Wanted) -> dict[str, Any]:
    told = responses_usage if wanted.kind == "responses" else usage
    return told(
        prompt_tokens=entry.prompt_tokens,
        output_tokens=entry.output_tokens,
        cached_tokens=entry.cached_tokens,
    )


def _check_taken(ticket: Ticket) -> None:
    if ticket.end.done():
        _finished(ticket.end.result())


def _finished(end: Finished | Rejected) -> Finished:
    """The end of a request that was served. Raises `BadRequest` for one that was not."""
    if isinstance(end, Rejected):
        raise BadRequest(end.why, status=503 if end.kind == "busy" else 400)
    return end


def _break_off(
    request: web.Request, response: web.StreamResponse | None = None
) -> web.StreamResponse:
    """Cut the connection without a proper end, as a crash does."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()

"""`Pairs`: prompts computed on one engine, answers decoded on another, the KV moved in between.

Disaggregated serving as in DistServe (Zhong et al., OSDI 2024, arXiv
2401.09670) and HexAGenT (arXiv 2605.16637): a request is bound to a prefill and
a decode engine together. The prefill engine produces the first token; the
KV of the prompt then travels to the decode engine, which produces the rest.

Simplified: transfers do not slow each other down, and the prefill engine's
blocks are free as soon as the prompt is computed.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field

from headway.core.types import Seconds
from headway.engine.gauges import Gauges
from headway.engine.happenings import Finished, FirstToken, Happening, Rejected
from headway.engine.profile import EngineProfile
from headway.engine.server import Engine


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How long KV travels from a prefill to a decode engine: a start, then seconds a token."""

    latency_s: Seconds = 0.0
    token_s: Seconds = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a transfer that ends before it begins."""
        if min(self.latency_s, self.token_s) < 0:
            raise ValueError("the times of a transfer must not be negative")

    @classmethod
    def over(cls, *, bandwidth: float, kv_bytes: float, latency_s: Seconds = 0.0) -> "Transfer":
        """Over a link of `bandwidth` bytes/s, for a model of `kv_bytes` a token."""
        if bandwidth <= 0:
            raise ValueError("a link needs a bandwidth above zero")
        return cls(latency_s=latency_s, token_s=kv_bytes / bandwidth)

    def seconds(self, tokens: int) -> Seconds:
        """Seconds that the KV of `tokens` takes."""
        return self.latency_s + tokens * self.token_s


@dataclass(slots=True, kw_only=True, eq=False)
class _Request:
    """A request on its way. `first` is how its prefill ended; `at_decode`: it is beyond it."""

    id: str
    number: int
    prefill: str
    decode: str
    prompt_tokens: int
    output_tokens: int
    priority: int
    prefix: tuple[int, ...]
    transfer_s: Seconds | None
    first: Finished | None = None
    at_decode: bool = False


@dataclass(slots=True)
class _Side:
    """The engines of one kind. `place` orders what happens at the same instant."""

    kind: str
    place: int
    engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, name: str) -> Engine:
        if name not in self.engines:
            raise ValueError(f"no {self.kind} engine {name!r}; there are {', '.join(self.engines)}")
        return self.engines[name]


class Pairs:
    """Prefill engines, decode engines and the links between them, by name, as one server.

    `transfer` is the link of every pair that `links` has no own one for, by
    (prefill, decode) name. The rules of `Engine` about times hold here too.
    """

    def __init__(
        self,
        *,
        prefills: Mapping[str, EngineProfile],
        decodes: Mapping[str, EngineProfile],
        transfer: Transfer = Transfer(),
        links: Mapping[tuple[str, str], Transfer] | None = None,
    ) -> None:
        self._sides = (_Side("prefill", 0), _Side("decode", 1))
        for side, profiles in zip(self._sides, (prefills, decodes), strict=True):
            side.engines = {name: Engine(profiles[name]) for name in sorted(profiles)}
        self._transfer = transfer
        self._links = dict(links or {})
        self._now: Seconds = 0.0
        self._numbers = 0
        self._requests: dict[str, _Request] = {}
        self._moving: list[tuple[Seconds, int, _Request]] = []
        # When each engine is due, as it was when it was last touched; older entries are stale.
        self._due: list[tuple[Seconds, int, str]] = []
        self._out: list[Happening] = []

    def submit(  # noqa: PLR0913 (Engine.submit and where)
        self,
        request_id: str,
        *,
        prefill: str,
        decode: str,
        prompt_tokens: int,
        output_tokens: int,
        at: Seconds,
        priority: int = 0,
        prefix: tuple[int, ...] = (),
        transfer_s: Seconds | None = None,
    ) -> None:
        """A request arrives for a pair of engines; the rest is as for `Engine.submit`.

        `transfer_s`: seconds that each token of its prompt travels (None: what the link says).
        What the decode engine can never hold is rejected at once, what its
        queue has no room for when its KV arrives there. Raises ValueError for
        an engine that is not there.
        """
        if request_id in self._requests:
            raise ValueError(f"request {request_id!r} is already in the engines")
        first, second = self._sides[0].engine(prefill), self._sides[1].engine(decode)
        self._run_until(at)
        room = second.profile.kv_blocks * second.profile.block_tokens
        if prompt_tokens + output_tokens - 1 > room:
            why = (
                f"the request needs {prompt_tokens + output_tokens - 1} tokens of KV cache, "
                f"the decode engine {decode!r} has {room}"
            )
            self._out.append(Rejected(id=request_id, at=at, kind="too_long", why=why))
            return
        first.submit(
            request_id,
            prompt_tokens=prompt_tokens,
            output_tokens=1,
            at=at,
            priority=priority,
            prefix=prefix,
        )
        self._numbers += 1
        self._requests[request_id] = _Request(
            id=request_id,
            number=self._numbers,
            prefill=prefill,
            decode=decode,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            priority=priority,
            prefix=prefix,
            transfer_s=transfer_s,
        )
        self._touched(self._sides[0], prefill, at)

    def cancel(self, request_id: str, *, at: Seconds) -> bool:
        """Drop a request wherever it is; False if it is not there."""
        self._run_until(at)
        request = self._requests.pop(request_id, None)
        if request is None:
            return False
        if request.first is None:
            self._sides[0].engines[request.prefill].cancel(request_id, at=at)
            self._touched(self._sides[0], request.prefill, at)
        elif request.at_decode:
            self._sides[1].engines[request.decode].cancel(request_id, at=at)
            self._touched(self._sides[1], request.decode, at)
        else:
            self._moving = [entry for entry in self._moving if entry[2] is not request]
            heapq.heapify(self._moving)
        return True

    def advance(self, to: Seconds) -> tuple[Happening, ...]:
        """Let time pass until `to`: what happened since the last call, in order of time."""
        self._run_until(to)
        happened = tuple(self._out)
        self._out.clear()
        return happened

    def next_at(self) -> Seconds | None:
        """The earliest instant at which something may happen; None while nothing is in work."""
        if self._out:
            return self._out[0].at
        due = self._next_due()
        if self._moving and (due is None or self._moving[0][0] < due):
            return self._moving[0][0]
        return due

    def produced(self, request_id: str) -> int:
        """Output tokens of a request by the time of the last call; 0 if it is not there."""
        request = self._requests.get(request_id)
        if request is None or request.first is None:
            return 0
        if not request.at_decode:
            return 1
        engine = self._sides[1].engines[request.decode]
        self._collect(self._sides[1], request.decode, self._now)
        return 1 + engine.produced(request_id)

    @property
    def decodes(self) -> tuple[str, ...]:
        """Names of the decode engines."""
        return tuple(self._sides[1].engines)

    def works(self, decode: str) -> bool:
        """Whether a decode engine has anything to do."""
        return self._sides[1].engine(decode).next_at() is not None

    def gauges(self, decode: str) -> Gauges:
        """The load and counters of a decode engine. What is on its way is not in them."""
        return self._gauges(self._sides[1], decode)

    def prefill_gauges(self, prefill: str) -> Gauges:
        """The load and counters of a prefill engine."""
        return self._gauges(self._sides[0], prefill)

    def _gauges(self, side: _Side, name: str) -> Gauges:
        engine = side.engine(name)
        self._collect(side, name, self._now)
        return engine.gauges()

    def _run_until(self, at: Seconds) -> None:
        if at < self._now:
            raise ValueError(f"time runs backwards: {at} after {self._now}")
        while True:
            due = self._next_due()
            moved = self._moving[0][0] if self._moving else None
            if due is not None and due <= at and (moved is None or due <= moved):
                _, place, name = heapq.heappop(self._due)
                self._touched(self._sides[place], name, due)
            elif moved is not None and moved <= at:
                self._arrive(heapq.heappop(self._moving)[2], moved)
            else:
                break
        self._now = at

    def _next_due(self) -> Seconds | None:
        while self._due:
            due, place, name = self._due[0]
            if self._sides[place].engines[name].next_at() == due:
                return due
            heapq.heappop(self._due)
        return None

    def _touched(self, side: _Side, name: str, at: Seconds) -> None:
        """Take in what has happened on an engine by `at`, and note when it is due again."""
        self._collect(side, name, at)
        due = side.engines[name].next_at()
        if due is not None:
            heapq.heappush(self._due, (due, side.place, name))

    def _collect(self, side: _Side, name: str, at: Seconds) -> None:
        for happened in side.engines[name].advance(at):
            request = self._requests[happened.id]
            if isinstance(happened, Rejected):
                del self._requests[request.id]
                self._out.append(happened)
            elif side.place == 0:
                self._prefilled(request, happened)
            elif isinstance(happened, Finished):
                self._finished(request, happened)

    def _prefilled(self, request: _Request, happened: FirstToken | Finished) -> None:
        if isinstance(happened, FirstToken) or request.output_tokens == 1:
            self._out.append(happened)
        if not isinstance(happened, Finished):
            return
        if request.output_tokens == 1:
            del self._requests[request.id]
            return
        request.first = happened
        arrives = happened.at + self._link(request).seconds(request.prompt_tokens)
        heapq.heappush(self._moving, (arrives, request.number, request))

    def _link(self, request: _Request) -> Transfer:
        if request.transfer_s is not None:
            return Transfer(token_s=request.transfer_s)
        return self._links.get((request.prefill, request.decode), self._transfer)

    def _arrive(self, request: _Request, at: Seconds) -> None:
        """The KV is there. The first token is part of the decode engine's prompt."""
        request.at_decode = True
        self._sides[1].engines[request.decode].submit(
            request.id,
            prompt_tokens=request.prompt_tokens + 1,
            output_tokens=request.output_tokens - 1,
            at=at,
            priority=request.priority,
            prefix=request.prefix,
            prefilled=True,
        )
        self._touched(self._sides[1], request.decode, at)

    def _finished(self, request: _Request, end: Finished) -> None:
        first = request.first
        assert first is not None
        del self._requests[request.id]
        self._out.append(
            Finished(
                id=request.id,
                at=end.at,
                submitted_at=first.submitted_at,
                first_token_at=first.first_token_at,
                output_tokens=request.output_tokens,
                cached_tokens=first.cached_tokens,
                waited_s=first.waited_s,
                preemptions=first.preemptions + end.preemptions,
            )
        )

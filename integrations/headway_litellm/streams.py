"""Following LiteLLM's answers to their end: whole ones, and streams without changing their type.

`__anext__` and `__next__` are looked up on the type, so a stream's class becomes a subclass
of what it was: every ``isinstance`` check and attribute of LiteLLM's own goes on as before.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from headway.calling.calls import Call, decided
from headway.calling.guard import complaints
from headway.calling.orca import waiting_told


def note(what: str, step: Callable[..., None], *args: Any) -> None:
    """Do one bit of bookkeeping in the middle of the host's work. Never raises."""
    try:
        step(*args)
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add(what, error)


def failed(call: Call, error: BaseException) -> None:
    """The attempt ended with an exception, which LiteLLM may have wrapped in one of its own."""
    inner = getattr(error, "original_exception", None)
    call.failed(inner if isinstance(inner, BaseException) else error)


def follow(call: Call, response: Any) -> None:
    """See to it that `call` is closed when `response`, an attempt's answer, is over."""
    if not _is_stream(response):
        call.answer.absorb(response)
        hidden = getattr(response, "_hidden_params", None)
        told = hidden.get("additional_headers") if isinstance(hidden, dict) else None
        if isinstance(told, dict):
            call.answer.waiting = waiting_told(told)
        call.close("cancelled" if _is_cached(response) else "ok")
        return
    if not isinstance(response, _Followed):
        _turn(response, _Followed)
        response._headway_call = call


def carry(var: ContextVar[Any], value: Any, response: Any) -> None:
    """While somebody reads the stream `response`, let `var` be `value`.

    The Router opens its fallbacks while its stream is read, long after its own call is over.
    """
    if _is_stream(response) and not isinstance(response, _Carried):
        _turn(response, _Carried)
        response._headway_carried = (var, value)


def _is_stream(response: Any) -> bool:
    return hasattr(response, "completion_stream") or hasattr(response, "__anext__")


def _is_cached(response: Any) -> bool:
    """Whether LiteLLM answered by itself, from its cache: nobody learns from that."""
    if getattr(response, "custom_llm_provider", None) == "cached_response":
        return True
    hidden = getattr(response, "_hidden_params", None)
    return isinstance(hidden, dict) and hidden.get("cache_hit") is True


def _turn(response: Any, part: type) -> None:
    kind = type(response)
    response.__class__ = type(kind.__name__, (part, kind), {"__module__": kind.__module__})


class _Followed:
    """A stream that tells its call of chunks, end, errors and of being given up."""

    _headway_call: Call

    async def __anext__(self) -> Any:
        call, outer = self._headway_call, decided.get()
        # A stream may open its connection only when it is first read.
        decided.set(call)
        try:
            chunk = await super().__anext__()  # type: ignore[misc]
        except StopAsyncIteration:
            note("stream end", _over, call, self)
            raise
        except BaseException as error:
            note("stream end", failed, call, error)
            raise
        finally:
            decided.set(outer)
        note("stream chunk", call.chunk, chunk)
        return chunk

    def __next__(self) -> Any:
        call, outer = self._headway_call, decided.get()
        decided.set(call)
        try:
            chunk = super().__next__()  # type: ignore[misc]
        except StopIteration:
            note("stream end", _over, call, self)
            raise
        except BaseException as error:
            note("stream end", failed, call, error)
            raise
        finally:
            decided.set(outer)
        note("stream chunk", call.chunk, chunk)
        return chunk

    async def aclose(self) -> Any:
        note("stream close", failed, self._headway_call, GeneratorExit())
        return await super().aclose()  # type: ignore[misc]

    def __del__(self) -> None:
        call = getattr(self, "_headway_call", None)
        if call is not None:
            note("stream dropped", failed, call, GeneratorExit())
        inherited = getattr(super(), "__del__", None)
        if inherited is not None:
            inherited()


class _Carried:
    """A stream in whose reading a context variable has its value of the call."""

    _headway_carried: tuple[ContextVar[Any], Any]

    async def __anext__(self) -> Any:
        var, value = self._headway_carried
        outer = var.get()
        var.set(value)
        try:
            return await super().__anext__()  # type: ignore[misc]
        finally:
            var.set(outer)

    def __next__(self) -> Any:
        var, value = self._headway_carried
        outer = var.get()
        var.set(value)
        try:
            return super().__next__()  # type: ignore[misc]
        finally:
            var.set(outer)


def _over(call: Call, stream: Any) -> None:
    call.close("cancelled" if _is_cached(stream) else "ok")

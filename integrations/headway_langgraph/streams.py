"""Following an answer to its end without changing it: whole objects, raw responses, streams.

The functions here wrap what the SDK returns; what the caller iterates, closes
or parses is the SDK's own object.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec

from headway.calling.calls import Call
from headway.calling.guard import complaints


def note(what: str, step: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    """Do one bit of bookkeeping in the middle of the caller's work. Never raises."""
    try:
        step(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - the host's boundary
        complaints.add(what, error)


def follow(call: Call, response: Any) -> None:
    """See to it that `call` is closed when `response` is over.

    `response` is what the SDK's `request` returned: a parsed answer, a stream,
    or (``with_raw_response``) a response that may be parsed later.
    """
    if hasattr(response, "_iterator") and hasattr(response, "response"):
        _follow_stream(call, response)
    elif hasattr(response, "http_response") and hasattr(response, "parse"):
        _follow_raw(call, response)
    else:
        call.answer.absorb(response)
        _over(call)


def _over(call: Call) -> None:
    """The answer is whole. A failure that came as an answer is one all the same."""
    error = call.answer.error
    call.close("error" if error else "ok", error=error)


def _follow_stream(call: Call, stream: Any) -> None:
    inner = stream._iterator
    if hasattr(inner, "__anext__"):
        stream._iterator = _achunks(call, inner)
    else:
        stream._iterator = _chunks(call, inner)
    _close_with(call, stream)


def _chunks(call: Call, inner: Iterator[Any]) -> Iterator[Any]:
    try:
        for chunk in inner:
            note("stream chunk", call.chunk, chunk)
            yield chunk
    except BaseException as error:
        note("stream end", call.failed, error)
        raise
    note("stream end", _over, call)


async def _achunks(call: Call, inner: AsyncIterator[Any]) -> AsyncIterator[Any]:
    try:
        async for chunk in inner:
            note("stream chunk", call.chunk, chunk)
            yield chunk
    except BaseException as error:
        note("stream end", call.failed, error)
        raise
    note("stream end", _over, call)


def _close_with(call: Call, closable: Any) -> None:
    """Let the caller's `close()` end the call too; a stream read to its end is closed already."""
    host_close = closable.close

    def close() -> Any:
        note("stream close", call.failed, GeneratorExit())
        return host_close()

    # The asynchronous `close` returns an awaitable, which passes through here untouched.
    closable.close = close


def _follow_raw(call: Call, raw: Any) -> None:
    http_response = raw.http_response
    if http_response.is_stream_consumed or http_response.is_closed:
        call.answer.absorb(msgspec.json.decode(http_response.content))
        _over(call)
        return
    host_parse = raw.parse

    def parse(*args: Any, **kwargs: Any) -> Any:
        parsed = host_parse(*args, **kwargs)
        if hasattr(parsed, "__await__"):
            return _aparsed(call, parsed)
        note("raw response", follow, call, parsed)
        return parsed

    raw.parse = parse
    if hasattr(raw, "close"):
        _close_raw_with(call, raw)


def _close_raw_with(call: Call, raw: Any) -> None:
    """Like `_close_with`, for a response that may be read by other ways than `parse`."""
    host_close = raw.close

    def close() -> Any:
        note("raw response close", _raw_over, call, raw.http_response)
        return host_close()

    raw.close = close


def _raw_over(call: Call, http_response: Any) -> None:
    if not http_response.is_closed:
        call.failed(GeneratorExit())
        return
    # Whoever reads to the end closes the connection by that.
    if "json" in http_response.headers.get("content-type", "") and hasattr(
        http_response, "_content"
    ):
        call.answer.absorb(msgspec.json.decode(http_response.content))
    _over(call)


async def _aparsed(call: Call, parsing: Any) -> Any:
    parsed = await parsing
    note("raw response", follow, call, parsed)
    return parsed

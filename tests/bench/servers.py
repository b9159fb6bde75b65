"""The other ends, each a process of its own: a bare echo, and a model that answers at once.

``python -m tests.bench.servers echo PATH`` sends back whatever comes over a Unix
socket. ``python -m tests.bench.servers model`` speaks as much of the OpenAI API as
a chat client needs, on a free port that it prints; it takes microseconds, so
what a call takes is the client's own time.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

READY = "ready "
_USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


def _answer(kind: str, choices: list[object], usage: object) -> bytes:
    return json.dumps(
        {
            "id": "x",
            "object": kind,
            "created": 1,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }
    ).encode()


def _whole() -> bytes:
    message = {"role": "assistant", "content": "yes"}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = _answer("chat.completion", [choice], _USAGE)
    return _response(b"application/json", body)


def _responded() -> bytes:
    text = {"type": "output_text", "text": "yes", "annotations": []}
    body = {
        "id": "resp_x",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": "completed",
        "output": [
            {
                "id": "msg_x",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 12,
        },
    }
    return _response(b"application/json", json.dumps(body).encode())


def _stream() -> bytes:
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": "yes"}, None),
        ({}, "stop"),
    ]
    chunks = [
        _answer(
            "chat.completion.chunk",
            [{"index": 0, "delta": delta, "finish_reason": reason}],
            None,
        )
        for delta, reason in deltas
    ]
    chunks.append(_answer("chat.completion.chunk", [], _USAGE))
    lines = [b"data: " + chunk + b"\n\n" for chunk in [*chunks, b"[DONE]"]]
    return _response(b"text/event-stream", b"".join(lines))


def _response(kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n" % (kind, len(body))
    return head + body


class Model(asyncio.Protocol):
    """Answers every POST with the same few words, and every GET with a list of models."""

    whole = _whole()
    responded = _responded()
    stream = _stream()
    models = _response(b"application/json", b'{"object": "list", "data": []}')

    def __init__(self) -> None:
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            size = _content_length(head)
            if len(rest) < size:
                return
            body, self._buffer = rest[:size], rest[size:]
            if head.startswith(b"GET"):
                self._transport.write(self.models)
            elif head.startswith(b"POST /v1/responses"):
                self._transport.write(self.responded)
            else:
                streamed = json.loads(body).get("stream")
                self._transport.write(self.stream if streamed else self.whole)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    """Run one of these servers; what it is ready on."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.servers", *arguments], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            raise RuntimeError(f"the server {arguments} did not come up")
        yield line.removeprefix(READY).strip()
    finally:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


async def _serve(kind: str, path: Path | None) -> None:
    loop = asyncio.get_running_loop()
    if kind == "echo":
        assert path is not None
        listening: asyncio.AbstractServer = await loop.create_unix_server(Echo, path)
        where = str(path)
    else:
        on_port = await loop.create_server(Model, "127.0.0.1", 0)
        listening, where = on_port, f"http://127.0.0.1:{on_port.sockets[0].getsockname()[1]}/v1"
    print(READY + where, flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None))

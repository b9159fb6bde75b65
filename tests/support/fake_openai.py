"""A tiny OpenAI-compatible server in a thread. It records requests and does as the prompt says.

Words in the last user message: ``tool`` (asks for a tool once, answers after its
result), ``slow`` (answers only when `release` is set), ``stall`` (streams one
chunk, then waits for `release`), ``json`` (answers ``{"a": 1}``). `fail(n, status)`
lets the next n requests fail.
"""

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WAIT_S = 20.0


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeOpenAI:
    """Use as a context manager; `url` is the base URL with ``/v1``."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.release = threading.Event()
        self.tool_ids = 0
        self._failures: list[int] = []
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            fake = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> "FakeOpenAI":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [request.body for request in self.requests]

    def fail(self, times: int = 1, status: int = 500) -> None:
        self._failures += [status] * times

    def clear(self) -> None:
        self.requests.clear()
        self.release.clear()

    def wait_for(self, count: int = 1) -> None:
        """Poll until `count` requests have arrived."""
        deadline = time.monotonic() + WAIT_S
        while len(self.requests) < count:
            assert time.monotonic() < deadline, f"only {len(self.requests)} of {count} requests"
            time.sleep(0.005)

    def record(self, request: Request) -> int:
        with self._lock:
            self.requests.append(request)
            return self._failures.pop(0) if self._failures else 200

    def next_tool_id(self) -> str:
        with self._lock:
            self.tool_ids += 1
            return f"call-{self.tool_ids}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeOpenAI

    def log_message(self, *args: Any) -> None:
        """Nothing on the console."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.fake.record(Request(self.path, headers, body))
        try:
            if status != 200:
                self._json({"error": {"message": "told to fail"}}, status)
            elif self.path.endswith("/chat/completions"):
                self._chat(body)
            else:
                self._complete(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _json(self, body: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status != 200:
            self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(data)

    def _complete(self, body: dict[str, Any]) -> None:
        choice = {"index": 0, "text": "four", "finish_reason": "length", "logprobs": None}
        self._json(
            {
                "id": "c",
                "object": "text_completion",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
                "usage": _USAGE,
            }
        )

    def _chat(self, body: dict[str, Any]) -> None:
        words = _last_user(body)
        tools = body.get("tools") and "tool" in words and body["messages"][-1].get("role") != "tool"
        if "slow" in words:
            self.fake.release.wait(WAIT_S)
        message: dict[str, Any] = {"role": "assistant", "content": None if tools else "hello there"}
        if "json" in words:
            message["content"] = '{"a": 1}'
        if tools:
            function = {"name": body["tools"][0]["function"]["name"], "arguments": "{}"}
            message["tool_calls"] = [
                {"id": self.fake.next_tool_id(), "type": "function", "function": function}
            ]
        reason = "tool_calls" if tools else "stop"
        if body.get("stream"):
            self._stream(body, message, reason, stall="stall" in words)
            return
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        self._json({**_head(body, "chat.completion"), "choices": [choice], "usage": _USAGE})

    def _stream(
        self, body: dict[str, Any], message: dict[str, Any], reason: str, *, stall: bool
    ) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        head = _head(body, "chat.completion.chunk")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if message.get("tool_calls"):
            deltas += [
                {"tool_calls": [{**call, "index": i}]}
                for i, call in enumerate(message["tool_calls"])
            ]
        else:
            deltas += [{"content": text} for text in message["content"].partition(" ") if text]
        for delta in deltas:
            self._chunk({**head, "choices": [_choice(delta, None)]})
            if stall:
                self.fake.release.wait(WAIT_S)
        self._chunk({**head, "choices": [_choice({}, reason)]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self._chunk({**head, "choices": [], "usage": _USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def _chunk(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()


_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 5},
}


def _head(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": "x", "object": kind, "created": 1, "model": body["model"]}


def _choice(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


def _last_user(body: dict[str, Any]) -> str:
    for message in reversed(body["messages"]):
        if message.get("role") == "user":
            content = message["content"]
            return content if isinstance(content, str) else json.dumps(content)
    return ""

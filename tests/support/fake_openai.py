"""A tiny OpenAI-compatible server in a thread. It records requests and does as the prompt says.

Words in the last user message: ``tool`` (asks for a tool once, answers after its
result), ``slow`` (answers only when `release` is set), ``stall`` (streams one
chunk, then waits for `release`), ``json`` (answers ``{"a": 1}``). `fail(n, status)`
lets the next n requests fail. Chat, plain completions and the Responses API.
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

    def drop_failures(self) -> None:
        """Of the failures that `fail` ordered, forget those still to come."""
        self._failures.clear()

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

    def do_GET(self) -> None:
        """Alive, but without metrics."""
        self._json({"object": "list", "data": []}, 200 if self.path.endswith("/models") else 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.fake.record(Request(self.path, headers, body))
        try:
            if status != 200:
                self._json({"error": {"message": "told to fail"}}, status)
            elif self.path.endswith("/chat/completions"):
                self._chat(body)
            elif self.path.endswith("/responses"):
                self._respond(body)
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
        if self.headers.get("endpoint-load-metrics-format") == "JSON":
            told = {"named_metrics": {"num_requests_waiting": 3.0, "kv_cache_usage_perc": 0.5}}
            self.send_header("endpoint-load-metrics", f"JSON {json.dumps(told)}")
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

    def _respond(self, body: dict[str, Any]) -> None:
        words = _last_input(body)
        if "slow" in words:
            self.fake.release.wait(WAIT_S)
        items = body["input"] if isinstance(body["input"], list) else [{}]
        if (
            body.get("tools")
            and "tool" in words
            and items[-1].get("type") != "function_call_output"
        ):
            call = {"call_id": self.fake.next_tool_id(), "name": body["tools"][0]["name"]}
            item = {"id": "fc_x", "type": "function_call", "status": "completed", **call}
            done = {**item, "arguments": "{}"}
        else:
            text = '{"a": 1}' if "json" in words else "hello there"
            message = {"id": "msg_x", "type": "message", "role": "assistant"}
            done = {**message, "status": "completed", "content": [_text_part(text)]}
        if body.get("stream"):
            self._stream_response(body, done, stall="stall" in words)
        else:
            self._json(_response(body, "completed", [done], _RESPONSE_USAGE))

    def _stream_response(self, body: dict[str, Any], item: dict[str, Any], *, stall: bool) -> None:
        self._begin_stream()
        begun = {"response": _response(body, "in_progress", [], None)}
        events: list[tuple[str, dict[str, Any]]] = [("created", begun), ("in_progress", begun)]
        place: dict[str, Any] = {"item_id": item["id"], "output_index": 0}
        if item["type"] == "function_call":
            empty = {**item, "arguments": "", "status": "in_progress"}
            said = {**place, "name": item["name"], "arguments": item["arguments"]}
            events += [
                ("output_item.added", {"output_index": 0, "item": empty}),
                ("function_call_arguments.delta", {**place, "delta": item["arguments"]}),
                ("function_call_arguments.done", said),
            ]
        else:
            empty = {**item, "content": [], "status": "in_progress"}
            text, place = item["content"][0]["text"], {**place, "content_index": 0}
            events += [
                ("output_item.added", {"output_index": 0, "item": empty}),
                ("content_part.added", {**place, "part": _text_part("")}),
            ]
            events += [
                ("output_text.delta", {**place, "delta": piece, "logprobs": []})
                for piece in text.partition(" ")
                if piece
            ]
            events += [
                ("output_text.done", {**place, "text": text, "logprobs": []}),
                ("content_part.done", {**place, "part": _text_part(text)}),
            ]
        events += [
            ("output_item.done", {"output_index": 0, "item": item}),
            ("completed", {"response": _response(body, "completed", [item], _RESPONSE_USAGE)}),
        ]
        for number, (kind, content) in enumerate(events):
            self._event(f"response.{kind}", {"sequence_number": number, **content})
            if stall and kind.endswith(".delta"):
                self.fake.release.wait(WAIT_S)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True

    def _stream(
        self, body: dict[str, Any], message: dict[str, Any], reason: str, *, stall: bool
    ) -> None:
        self._begin_stream()
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

    def _event(self, kind: str, content: dict[str, Any]) -> None:
        self.wfile.write(f"event: {kind}\n".encode())
        self._chunk({"type": kind, **content})


_USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 5},
}

_RESPONSE_USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 18,
}


def _response(
    body: dict[str, Any],
    status: str,
    output: list[dict[str, Any]],
    usage: dict[str, Any] | None,
) -> dict[str, Any]:
    return {
        "id": "resp_x",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "model": body["model"],
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": 1.0,
        "usage": usage,
    }


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


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


def _last_input(body: dict[str, Any]) -> str:
    if isinstance(body["input"], str):
        return body["input"]
    return _last_user({"messages": body["input"]})

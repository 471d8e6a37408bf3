"""A small server that speaks the OpenAI chat protocol on loopback, and can misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """What the server does with its n-th request, and what it has seen."""

    behave: Callable[[int, dict[str, Any]], str]
    """From a request's number and body to ``ok``, ``slow``, ``drop``, ``nonsense`` or a status like ``429``."""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    num_paid: int = 0
    most_at_once: int = 0
    url: str = ""


@contextmanager
def serving(
    behave: Callable[[int, dict[str, Any]], str] | None = None, answer: Callable[[dict[str, Any]], str] | None = None
) -> Iterator[ChatServer]:
    """A running server; unless ``answer`` says otherwise, the answer to a message is ``echo: `` and its text."""
    state = ChatServer(behave or (lambda number, body: "ok"))
    lock = threading.Lock()
    now = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                number = len(state.seen)
                state.seen.append(body)
                state.keys.append(self.headers.get("authorization", ""))
                now[0] += 1
                state.most_at_once = max(state.most_at_once, now[0])
            try:
                self.reply(state.behave(number, body), body)
            finally:
                with lock:
                    now[0] -= 1

        def reply(self, what: str, body: dict[str, Any]) -> None:
            if what == "drop":
                self.close_connection = True
                self.connection.close()
                return
            if what == "nonsense":
                self.send(200, b"<html>not a completion")
                return
            if what.isdigit():
                self.send(int(what), json.dumps({"error": {"message": what}}).encode())
                return
            if what == "slow":
                time.sleep(1.0)
            text = "echo: " + body["messages"][-1]["content"] if answer is None else answer(body)
            content = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
            }
            with lock:
                state.num_paid += 1
            self.send(200, json.dumps(content).encode())

        def send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

        def handle(self) -> None:
            # A client that has stopped waiting is no error of the server.
            try:
                super().handle()
            except OSError:
                return

        def finish(self) -> None:
            try:
                super().finish()
            except (OSError, ValueError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

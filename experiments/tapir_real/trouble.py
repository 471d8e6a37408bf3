"""A failing server: the proxy between it and the client fails now and then, or it dies in the middle."""

from __future__ import annotations

import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from typing_extensions import override

from lit_curriculum.chat.client import ChatClient, ChatReply, ChatRequest

PATIENCE = 60.0
"""Seconds that the client waits for an answer; a slow one comes later."""
TROUBLES = {1: "429", 3: "500", 5: "drop", 8: "nonsense", 11: "slow", 14: "503", 17: "drop"}
"""What happens to requests by their number, each of which is then made again."""


@contextmanager
def failing_now_and_then(upstream: str, troubles: Mapping[int, str] = TROUBLES) -> Iterator[str]:
    """The address of a server that hands requests on to ``upstream``, except those in trouble.

    Args:
        upstream: Address up to and with ``/v1``.
        troubles: From a request's number to a status, or to ``drop``, ``nonsense`` or ``slow``.
    """
    lock = threading.Lock()
    seen = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal seen
            body = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                trouble = troubles.get(seen, "")
                seen += 1
            if trouble == "drop":
                self.close_connection = True
                self.connection.close()
            elif trouble == "slow":
                time.sleep(PATIENCE + 1.0)
            elif trouble:
                self.send(int(trouble) if trouble.isdigit() else 200, b"<html>no completion</html>")
            else:
                url = upstream.removesuffix("/v1") + self.path
                asked = urllib.request.Request(url, body, {"content-type": "application/json"})
                with urllib.request.urlopen(asked) as answer:
                    self.send(answer.status, answer.read())

        def send(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

        def finish(self) -> None:
            if not self.close_connection or not self.wfile.closed:
                try:
                    super().finish()
                except (OSError, ValueError):  # the client has gone, or the connection was dropped
                    return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


class EndsItsServer(ChatClient):
    """Asks by another client, and ends the server's process after some answers.

    Args:
        client: Who asks.
        process: The server.
        after: Answers before the end.
    """

    def __init__(self, client: ChatClient, process: subprocess.Popen[bytes], after: int) -> None:
        self.client, self.process, self.left = client, process, after

    @property
    @override
    def model(self) -> str:
        return self.client.model

    @override
    def stream(self, requests: Iterable[ChatRequest], role: str) -> Iterator[tuple[int, ChatReply]]:
        for answer in self.client.stream(requests, role):
            self.left -= 1
            if self.left == 0:
                self.process.kill()
                self.process.wait()
            yield answer

"""A stranger's model: an HTTP server in a thread that answers as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from align.openai_client import Endpoint


class Call(BaseHTTPRequestHandler):
    """One request; `body` is what was asked, the methods are what a test answers with."""

    body: dict[str, Any]

    def do_GET(self) -> None:
        self.body = {}
        self._answer()

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer()

    def _answer(self) -> None:
        stranger = self.server.stranger
        stranger.calls.append(self)
        try:
            stranger.answer(self)
        except (BrokenPipeError, ConnectionResetError):
            stranger.left.set()
        self.close_connection = True

    def send(self, status: int = 200, raw: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)

    def say(self, content: object, reason: str = "stop") -> None:
        """Answer as a whole."""
        choice = {"message": {"role": "assistant", "content": content}, "finish_reason": reason}
        found = {"choices": [choice], "usage": {"completion_tokens": 7}}
        self.send(raw=json.dumps(found).encode())

    def event(self, piece: str | None, reason: str | None = None) -> None:
        """Send one piece of a stream."""
        choice = {"delta": {"content": piece}, "finish_reason": reason}
        self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\r\n\r\n".encode())

    def log_message(self, *args: object) -> None:
        """Stay quiet."""


@dataclass
class Stranger:
    """What was asked of the server, and how to reach it."""

    answer: Callable[[Call], None]
    endpoint: Endpoint = Endpoint("", "")
    calls: list[Call] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)  # somebody hung up


@contextmanager
def stranger(answer: Callable[[Call], None], key: str = "") -> Iterator[Stranger]:
    """Serve a model at an address of its own as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Call)
    server.daemon_threads = True
    address = f"http://127.0.0.1:{server.server_port}/v1"
    server.stranger = Stranger(answer, Endpoint(address, "tiny", key))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.stranger
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

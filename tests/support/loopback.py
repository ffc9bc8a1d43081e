"""HTTP servers on this machine: a free port, held open by a `with` block, and errors with OpenAI's body.

In: a subclass of `Handler` that answers for its `owner`. Out: the server's address.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Loopback:
    """Use in a `with` block. `refused` holds the reasons for the requests that were not accepted."""

    def __init__(self, handler: type[Handler]) -> None:
        self.refused: list[str] = []
        self._http = _Server(("127.0.0.1", 0), type("Owned", (handler,), {"owner": self}))
        self.address = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()


class Handler(BaseHTTPRequestHandler):
    owner: Any
    protocol_version = "HTTP/1.1"

    def answer(self, method: str) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:  # the base class calls it by this name
        self.answer("GET")

    def do_POST(self) -> None:
        self.answer("POST")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None, half: bool = False) -> None:
        """JSON, or half of it and then nothing more."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self.close_connection = True

    def refuse(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.owner.refused.append(message)
        self.fail(status, message, code, headers)

    def fail(
        self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """An error that is no reproach: the script wants it."""
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        self.send(status, json.dumps({"error": error}).encode(), headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about; anything else is a defect of the script."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

"""
A TLS server on a free port of loopback, which counts what really arrives.

The other end of every promise: a request that is not here has not left the gate.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from ssl import SSLContext, SSLError, SSLSocket
from typing import Final, Self
from urllib.parse import urlsplit

from proxy.demo.authority import Authority

_BODY_LIMIT: Final = 1024 * 1024
_PATIENCE: Final = 30.0  # seconds for a client to say what it wants


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that really came: its host, method, path without query, and body."""

    host: str
    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API says to it."""

    status: int
    body: bytes = b""
    type: str = "application/json"


class Upstream:
    """All of `hosts`, bound to a free port at once, answering from `serve` on."""

    def __init__(
        self, authority: Authority, hosts: Sequence[str], answer: Callable[[Arrival], Answer]
    ) -> None:
        self._hosts = hosts
        self._arrivals: list[Arrival] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Exchange)
        self._server.came = self._came
        self._server.answer = answer
        self._server.context = authority.server_context(hosts)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        """Where they listen on 127.0.0.1."""
        return int(self._server.server_address[1])

    def resolve_flags(self) -> list[str]:
        """The flags by which a gate sends these hosts here."""
        return [f"--resolve={host}:443:127.0.0.1:{self.port}" for host in self._hosts]

    def serve(self) -> Self:
        """Start to answer; a context manager that ends it."""
        self._thread.start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    @property
    def arrivals(self) -> tuple[Arrival, ...]:
        """Everything that came, in order."""
        with self._lock:
            return tuple(self._arrivals)

    def count(self, host: str, method: str) -> int:
        """How many requests of a method came for a host."""
        return sum(arrival.host == host and arrival.method == method for arrival in self.arrivals)

    def _came(self, arrival: Arrival) -> None:
        with self._lock:
            self._arrivals.append(arrival)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    came: Callable[[Arrival], None]
    answer: Callable[[Arrival], Answer]
    context: SSLContext

    def finish_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        # The handshake belongs into the connection's own thread: here it would stop all others.
        assert isinstance(request, socket)
        request.settimeout(_PATIENCE)
        try:
            wrapped: SSLSocket = self.context.wrap_socket(request, server_side=True)
        except (SSLError, OSError):
            return
        with wrapped:
            _Exchange(wrapped, client_address, self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes in the middle is no news."""


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _exchange(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if not 0 <= length <= _BODY_LIMIT:
            self.close_connection = True
            self.send_error(413)
            return
        host = (self.headers.get("host") or "").partition(":")[0]
        path = urlsplit(self.path).path
        arrival = Arrival(host, self.command, path, self.rfile.read(length))
        self.server.came(arrival)
        said = self.server.answer(arrival)
        self.send_response(said.status)
        if said.status != 204:
            self.send_header("content-type", said.type)
            self.send_header("content-length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _exchange

    def log_message(self, format: str, *args: object) -> None:
        """What came is counted, not printed."""

"""One agent's connection as the bench opens it: straight or through a proxy, with or without TLS."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Final, NamedTuple

_PATIENCE: Final = 60.0
HOST: Final = "localhost"


class BrokenError(Exception):
    """Something answered otherwise than the bench needs; its numbers would mean nothing."""


@dataclass(frozen=True, slots=True)
class Way:
    """
    How upstream is reached: `port` of upstream, `proxy` port or None, `ca` (PEM) for TLS or None.
    """

    port: int
    proxy: int | None
    ca: str | None

    def context(self) -> ssl.SSLContext | None:
        """A client's TLS context for this way, to be made once."""
        if self.ca is None:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def target(self, path: str) -> str:
        """What stands in the request line: a plain proxy wants the whole URL."""
        plain_proxy = self.proxy is not None and self.ca is None
        return f"http://{HOST}:{self.port}{path}" if plain_proxy else path

    def get(self, path: str) -> bytes:
        """A GET as an agent's HTTP library sends it."""
        return f"GET {self.target(path)} HTTP/1.1\r\n{self._headers()}\r\n".encode()

    def post(self, path: str, body: bytes) -> bytes:
        """A POST of a form."""
        head = (
            f"POST {self.target(path)} HTTP/1.1\r\n{self._headers()}"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _headers(self) -> str:
        return (
            f"Host: {HOST}:{self.port}\r\nUser-Agent: bench/1\r\nAccept-Encoding: gzip, deflate\r\n"
            "Accept: application/json\r\nConnection: keep-alive\r\n"
            "Authorization: Bearer bench-0123456789abcdef\r\n"
        )

    def connect(self, context: ssl.SSLContext | None) -> socket.socket:
        """A connection on which the next bytes are a request's; blocking."""
        sock = socket.create_connection(("127.0.0.1", self.proxy or self.port), _PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return sock
        if self.proxy is not None:
            name = f"{HOST}:{self.port}"
            sock.sendall(f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
            _expect_200(sock)
        return context.wrap_socket(sock, server_hostname=HOST)


def _expect_200(sock: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)  # not one byte of what follows: that is TLS
        if not byte or len(head) > 4096:
            raise BrokenError(f"CONNECT was answered with {head!r}")
        head += byte
    if b" 200 " not in head[:13]:
        raise BrokenError(f"CONNECT was answered with {head!r}")


_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


class Answer(NamedTuple):
    """Where an answer ends in what was received, and its status."""

    end: int
    status: int


def answer(data: bytes) -> Answer | None:
    """The answer at the beginning of `data`, None while it is not whole."""
    head = data.find(b"\r\n\r\n") + 4
    if head < 4:
        return None
    length = _LENGTH.search(data, 0, head)
    if length is None:
        raise BrokenError(f"an answer without a length: {data[:500]!r}")
    end = head + int(length[1])
    return Answer(end, int(data[9:12])) if len(data) >= end else None

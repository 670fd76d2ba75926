"""
The upstream of the bench, in a process of its own: answers at once, and says when it was asked.

    python -m bench.upstream CERTIFICATE-AND-KEY.pem

One JSON line on stdout: ``{"plain": PORT, "tls": PORT}``. It ends with its standard input. The
body of each answer is `BODY` bytes of JSON: the moment at which the first byte of that request
was here, in nanoseconds of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Final, cast

_SPACE: Final = b" " * 66
BODY: Final = len(b'{"first_byte": "%020d"}' % 0) + len(_SPACE)
_HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % BODY
_END: Final = b"\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection; reads no more of a request than it takes to find its end."""

    def __init__(self) -> None:
        self._buffer = b""
        self._asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._buffer:
            self._asked = time.monotonic_ns()
        self._buffer += data
        while (end := _request_end(self._buffer)) is not None:
            self._buffer = self._buffer[end:]
            self._transport.write(_HEAD + b'{"first_byte": "%020d"}' % self._asked + _SPACE)


def _request_end(data: bytes) -> int | None:
    """Where the first request ends, None while it has not."""
    end = data.find(_END)
    if end < 0:
        return None
    end += len(_END)
    if data.startswith(b"GET "):
        return end
    head = data[:end].lower()
    at = head.index(b"content-length:") + len(b"content-length:")
    whole = end + int(head[at : head.index(b"\r\n", at)])
    return whole if len(data) >= whole else None


async def _serve(chain: str) -> None:
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    context.set_alpn_protocols(["http/1.1"])
    ports = {}
    for name, tls in (("plain", None), ("tls", context)):
        server = await loop.create_server(Answering, "127.0.0.1", 0, ssl=tls, backlog=4096)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))

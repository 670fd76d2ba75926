"""What the gate asks of the kernel about one TCP connection."""

from __future__ import annotations

import select
import socket
import struct
from asyncio import StreamWriter
from typing import cast


def tune(writer: StreamWriter, high: int) -> None:
    """Send at once, make a writer wait from `high` bytes on, and notice a peer that has vanished."""
    writer.transport.set_write_buffer_limits(high=high, low=high // 4)
    sock = _socket(writer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that has vanished without a word is noticed after 25 s. (TCP_USER_TIMEOUT would
    # also cut off an agent that reads slowly.)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def abort(writer: StreamWriter) -> None:
    """End it so that its peer sees an end that is none (RST)."""
    _socket(writer).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def readable(writer: StreamWriter) -> bool:
    """Whether something can be read from it now: bytes, or its end."""
    poll = select.poll()
    poll.register(_socket(writer).fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _socket(writer: StreamWriter) -> socket.socket:
    return cast(socket.socket, writer.get_extra_info("socket"))

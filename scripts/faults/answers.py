"""What upstream answers over every protocol, and how a connection ends that does not end well."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

ANSWER: Final = b'{"ok":  true}'
SLOW: Final = 0.3
"""Seconds that a slow answer takes."""


def slam(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()

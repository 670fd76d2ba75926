"""A signal when something happens on a socket, for a program that waits for signals alone."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
from typing import Final

_F_SETSIG: Final = 10


def signal_on_news(connection: socket.socket, signum: signal.Signals) -> bool:
    """
    Have the kernel send us this signal when the connection has something to read, or has ended.

    (fcntl(2), F_SETSIG; a real-time signal has no other sender.) True where that is so already
    and no signal may come.
    """
    descriptor = connection.fileno()
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(descriptor, _F_SETSIG, int(signum))
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | fcntl.FASYNC)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))

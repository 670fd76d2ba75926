"""What both sides of HTTP/1 share: where a connection stands, and how a head is written."""

from __future__ import annotations

import http
import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import Final

from proxy.action import Header

END_OF_HEAD: Final = re.compile(rb"\n\r?\n")


class Reading(Enum):
    """Where one side of a connection stands."""

    HEAD = auto()
    BODY = auto()
    WAIT = auto()
    PIPE = auto()
    LINGER = auto()
    CLOSED = auto()


def status_line(status: int, reason: bytes) -> bytes:
    """The first line of an answer; a `reason` that is missing is the usual one."""
    if not reason:
        try:
            reason = http.HTTPStatus(status).phrase.encode()
        except ValueError:
            reason = b""
    return b"HTTP/1.1 %d %s\r\n" % (status, reason)


def lines(headers: Iterable[Header]) -> bytes:
    """Headers as HTTP/1 writes them, with the empty line that ends the head."""
    return b"".join([b"%s: %s\r\n" % header for header in headers]) + b"\r\n"

"""
Syslog: each note as one line, in base64, to a local socket or a collector (RFC 3164 over a datagram).

Datagrams are not acknowledged. That a line arrived is known when a log is compared
(``ledger verify --against LOG``), not before.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from proxy.ledger.anchors import Place
from proxy.ledger.seal import Seal
from proxy.note import encode64
from proxy.witness.files import MARK

LOCAL: Final = "/dev/log"
# Facility authpriv (10), severity notice (5).
_PRIORITY: Final = 10 * 8 + 5
_TIMEOUT: Final = 5.0

type Address = str | tuple[str, int]
"""A socket's path, or a host and a UDP port."""


class SyslogWitness:
    """Sends each head as a line of a log."""

    every: float = 10.0
    renew: float = 0.0
    place: Place | None = None

    def __init__(self, address: Address = LOCAL) -> None:
        self._address = address
        self.name = f"syslog:{address}" if isinstance(address, str) else f"syslog:{address[0]}:{address[1]}"

    def send(self, seals: Sequence[Seal]) -> None:
        """See `Witness.send`."""
        family, address = self._where()
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_TIMEOUT)
            sender.connect(address)
            for seal in seals:
                sender.send(f"<{_PRIORITY}>sluice: {MARK} {encode64(seal.note)}\n".encode())

    def _where(self) -> tuple[int, Address]:
        if isinstance(self._address, str):
            return socket.AF_UNIX, self._address
        found = socket.getaddrinfo(*self._address, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        return family, (str(address[0]), int(address[1]))

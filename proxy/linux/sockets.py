"""Who is at the other end of a TCP connection on this machine (sock_diag(7), proc(5))."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

type Endpoint = tuple[str, int]

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ESTABLISHED: Final = 1
_NO_COOKIE: Final = b"\xff" * 8
_HEADER: Final = struct.Struct("=IHHII")
_UID_AT: Final = _HEADER.size + 4 + 48 + 4 + 4 + 4
"""Behind family, state, timer and retransmissions; the socket's id; expires, rqueue, wqueue."""


def peer_uid(peer: Endpoint, ours: Endpoint) -> int | None:
    """
    The user that opened a TCP connection to us: `peer` is its end, `ours` the accepted one.

    None where the peer is not on this machine, has gone already, or cannot be told.
    """
    try:
        return _by_netlink(peer, ours)
    except OSError:
        return _by_proc(peer, ours)


def _by_netlink(peer: Endpoint, ours: Endpoint) -> int | None:
    family, source = _packed(peer[0])
    _, target = _packed(ours[0])
    identity = struct.pack(">HH", peer[1], ours[1]) + source + target + struct.pack("=I", 0) + _NO_COOKIE
    request = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, 1 << _ESTABLISHED) + identity
    head = _HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as asked:
        asked.settimeout(1)
        asked.sendto(head + request, (0, 0))
        reply = asked.recv(4096)
    if len(reply) < _UID_AT + 8 or _HEADER.unpack_from(reply)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    if reply[_HEADER.size + 4 : _HEADER.size + 8] != identity[:4]:
        return None  # the kernel found the listening socket instead
    uid, inode = struct.unpack_from("=II", reply, _UID_AT)
    # A socket that nobody holds any more (inode 0) has no owner, though it says 0.
    return uid if inode else None


def _packed(host: str) -> tuple[int, bytes]:
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return socket.AF_INET6, address.packed
    return socket.AF_INET, address.packed + bytes(12)


def _by_proc(peer: Endpoint, ours: Endpoint) -> int | None:
    wanted = (_hex(peer), _hex(ours))
    table = Path("/proc/net/tcp6" if ":" in peer[0] else "/proc/net/tcp")
    try:
        for local, remote, uid, inode in _rows(table):
            if (local, remote) == wanted:
                return uid if inode else None
    except (OSError, ValueError):
        return None
    return None


def _rows(table: Path) -> Iterator[tuple[str, str, int, int]]:
    with table.open() as lines:
        next(lines, None)
        for line in lines:
            fields = line.split()
            yield fields[1], fields[2], int(fields[7]), int(fields[9])


def _hex(endpoint: Endpoint) -> str:
    """As /proc/net/tcp writes it: each 32-bit word of the address in the machine's byte order."""
    packed = ipaddress.ip_address(endpoint[0].partition("%")[0]).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{endpoint[1]:04X}"


def is_local(host: str) -> bool:
    """Whether an address is one of this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def raise_file_limit() -> int:
    """Let this process open as many files as it may; returns how many that are."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def own_uid() -> int:
    """The user that this process acts for."""
    return os.geteuid()

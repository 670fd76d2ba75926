"""
From a head to a `Request`: which address it names, and that it names only one.

What is judged is what will be dialled. The name comes from CONNECT or from an absolute target;
Host, `:authority` and TLS's SNI have to say the same. Names are compared in lower case, and
addresses are taken only in their canonical spelling, so that no rule on a host can be passed by
writing the host differently. Pure functions.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from proxy.action import Request
from proxy.gate.framing import Head, UnreadableError

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_AUTHORITY: Final = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([1-9][0-9]{0,4}))?")
_PORTS: Final = {"http": 80, "https": 443}


class MisdirectedError(UnreadableError):
    """
    The request names another address than the one that would be dialled (421).

    `request` is what would have been judged, where it got that far.
    """

    request: Request | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """A host (lower case; an IPv6 address without brackets) and a port."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Tunnel:
    """What a CONNECT named, and whether the agent speaks TLS in it."""

    address: Address
    tls: bool


def read_authority(raw: bytes, default: int | None) -> Address:
    """``host[:port]``; without a `default` the port has to be there."""
    match = _AUTHORITY.fullmatch(raw)
    if match is None:
        raise UnreadableError("malformed host")
    port = int(match[2]) if match[2] else default
    if port is None or port > 65535:
        raise UnreadableError("malformed port")
    return Address(read_host(match[1].decode("ascii").lower()), port)


def read_host(host: str) -> str:
    """A name of letters, digits, - and _, or an address in its canonical spelling."""
    if host.startswith("["):
        return _canonical_v6(host[1:-1])
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise UnreadableError("malformed host")
    # What ends in a number is an IPv4 address to some resolver: 127.1, 0x7f.1, 2130706433.
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise UnreadableError("an IPv4 address that is not in canonical spelling") from None
    return host


def _canonical_v6(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        raise UnreadableError("malformed IPv6 address") from None
    if address.ipv4_mapped is not None or str(address) != host:
        raise UnreadableError("an IPv6 address that is not in canonical spelling")
    return host


def read_connect(head: Head) -> Address:
    """The address that a CONNECT names."""
    if head.length != 0:
        raise UnreadableError("a CONNECT with a body")
    address = read_authority(head.target, None)
    if any(name.lower() == b"host" for name, _ in head.headers):
        _agree(head, address, address.port)
    return address


def read_request(head: Head, tunnel: Tunnel | None, agent: str | None, sni: str | None) -> Request:
    """The request, its body not read (or none); raises where its address is missing or not the only one."""
    if tunnel is None:
        if head.scheme is None or head.authority is None:
            raise UnreadableError("a request that does not say where it goes")
        scheme = head.scheme
        address = read_authority(head.authority, _PORTS[scheme])
    else:
        scheme = "https" if tunnel.tls else "http"
        address = tunnel.address
    request = _request(head, scheme, address, agent)
    try:
        if tunnel is not None:
            _agree_in_tunnel(head, scheme, address, sni)
        _agree(head, address, _PORTS[scheme])
    except MisdirectedError as error:
        error.request = request
        raise
    return request


def _request(head: Head, scheme: str, address: Address, agent: str | None) -> Request:
    headers = head.headers
    if head.version == "HTTP/1.0" and not any(name.lower() == b"host" for name, _ in headers):
        headers = ((b"Host", authority(scheme, address)), *headers)
    body = b"" if head.length == 0 else None
    return Request(
        agent, head.method, scheme, address.host, address.port, head.target, headers, body, head.version
    )


def _agree_in_tunnel(head: Head, scheme: str, address: Address, sni: str | None) -> None:
    if head.scheme is not None and head.scheme != scheme:
        raise UnreadableError("a scheme other than the connection's")
    if sni is not None and sni.lower() != address.host:
        raise MisdirectedError("the TLS server name differs from the CONNECT name")
    if head.authority is not None and read_authority(head.authority, _PORTS[scheme]) != address:
        raise MisdirectedError("the request names another address than the CONNECT")


def _agree(head: Head, address: Address, default: int) -> None:
    hosts = [value for name, value in head.headers if name.lower() == b"host"]
    if not hosts:
        if head.version == "HTTP/1.1" or (head.version == "HTTP/2" and head.authority is None):
            raise UnreadableError("no host header")
        return
    if hosts[0] == head.authority:
        return  # where both are there, `address` is what the second one says
    if read_authority(hosts[0], default) != address:
        raise MisdirectedError("the host header names another address than the one to be dialled")


def authority(scheme: str, address: Address) -> bytes:
    """How an address is written in Host and `:authority`."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    suffix = "" if address.port == _PORTS.get(scheme) else f":{address.port}"
    return f"{host}{suffix}".encode("ascii")

"""
From a head to a `Request`: which address it names, and that it names only one.

What is judged is what will be dialled. The name comes from CONNECT or from an absolute target;
Host, `:authority` and TLS's SNI have to say the same. Names are compared in lower case, and
addresses are taken only in their canonical spelling, so that no rule on a host can be passed by
writing the host differently. Pure functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from proxy.action import Request
from proxy.decode.http import Unreadable
from proxy.decode.http import read_host as decoded_host
from proxy.gate.framing import Head, UnreadableError

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
    """
    A name of letters, digits, - and _, or an address in its canonical spelling.

    As the decoder reads it, but for a trailing dot: what is dialled, named in SNI and in Host
    would differ by it.
    """
    if host.endswith("."):
        raise UnreadableError("a host with a trailing dot")
    try:
        return decoded_host(host)
    except Unreadable as why:
        raise UnreadableError(str(why)) from None


def read_connect(head: Head) -> Address:
    """
    The address that a CONNECT names.

    Its Host is not read: nobody but this gate sees a CONNECT, some clients put the proxy's own
    name there, and a refusal here is one that no client shows. What is asked inside the tunnel
    has to name this address.
    """
    if head.length != 0:
        raise UnreadableError("a CONNECT with a body")
    return read_authority(head.target, None)


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

"""A request as it leaves: the one that was judged, framed by its real length. Pure functions."""

from __future__ import annotations

from proxy.action import Header, Request
from proxy.gate.events import Released
from proxy.gate.framing import Head, outgoing
from proxy.gate.reading import Address, authority


def release(stream_id: int, permit: Request, head: Head, body: bytes | None, *, http2: bool) -> Released:
    """The head to send for `permit`; `body` is None where it streams, `http2` says what upstream speaks."""
    length = head.length if body is None else len(body)
    end = length == 0
    said = any(name.lower() == b"content-length" for name, _ in permit.headers)
    framed = said or not end or permit.method in (b"POST", b"PUT", b"PATCH")
    headers, chunked = outgoing(permit.headers, length=length, body=framed, http2=http2, upgrade=head.upgrade)
    host = authority(permit.scheme, Address(permit.host, permit.port))
    if http2:
        headers = [field for field in headers if field[0].lower() != b"host"]
    elif permit.version == "HTTP/2":
        headers = _as_http1(headers, host)
    return Released(stream_id, permit.method, permit.target, host, permit.scheme, headers, end, chunked)


def _as_http1(headers: list[Header], host: bytes) -> list[Header]:
    """A Host, and one Cookie of HTTP/2's crumbs (RFC 9113, 8.2.3)."""
    cookies = [value for name, value in headers if name == b"cookie"]
    kept = [field for field in headers if field[0] not in (b"cookie", b"host")]
    if cookies:
        kept.append((b"cookie", b"; ".join(cookies)))
    return [(b"Host", host), *kept]

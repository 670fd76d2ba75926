"""
The head of a message, and where its body ends, read in one way or not at all.

RFC 9112 for HTTP/1, RFC 9113 for HTTP/2, and stricter than both: wherever two servers are known
to read the same bytes differently (smuggling), the request is unreadable. Pure functions.

Answers are read with the leniency that keeps real servers usable, but never ambiguously.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proxy.action import Header

HEAD_LIMIT: Final = 64 * 1024
"""Bytes of a head: request line or pseudo-headers, and headers."""


class UnreadableError(Exception):
    """Two servers could read these bytes differently; the message says why, for agent and ledger."""


@dataclass(frozen=True, slots=True)
class Head:
    """
    A request's head as sent.

    `length` is the body's in bytes, None where only its end will tell (chunked, HTTP/2).
    `scheme` and `authority` are those of an absolute target or of HTTP/2's pseudo-headers.
    `upgrade` says that it asks for a WebSocket, `expects` that the agent waits for a 100.
    """

    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    version: str
    length: int | None
    keep_alive: bool = True
    expects: bool = False
    upgrade: bool = False
    scheme: str | None = None
    authority: bytes | None = None


_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE: Final = re.compile(rb"([A-Z][A-Z0-9_-]{0,31}) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: (.*))?")
_NAME: Final = re.compile(_TOKEN)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,17}")
_ABSOLUTE: Final = re.compile(rb"([A-Za-z]+)://([^/?]*)(.*)", re.DOTALL)
_METHOD: Final = re.compile(rb"[A-Z][A-Z0-9_-]{0,31}")
_PATH: Final = re.compile(rb"[\x21\x22\x24-\x7e]+")
_H2_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")

_CONNECTION: Final = frozenset({b"close", b"keep-alive", b"upgrade", b"te", b"proxy-connection"})
"""What Connection may name: naming any other header would take it off what was judged."""


def read_head(raw: bytes) -> Head:
    """The head of an HTTP/1 request; `raw` ends after the last header's CRLF."""
    lines = _lines(raw)
    method, target, version = read_request_line(lines[0])
    headers = tuple(_field(line) for line in lines[1:])
    named = _named(headers)
    length = _request_length(named, version)
    keep_alive, upgrade = _connection(named, version, method, length)
    scheme, authority, origin = _target(method, target)
    return Head(
        method,
        origin,
        headers,
        version,
        length,
        keep_alive=keep_alive,
        expects=_expects(named) and version == "HTTP/1.1" and length != 0,
        upgrade=upgrade,
        scheme=scheme,
        authority=authority,
    )


def read_request_line(line: bytes) -> tuple[bytes, bytes, str]:
    """(method, target, version) of a request line, without its CRLF."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise UnreadableError("malformed request line")
    return match[1], match[2], "HTTP/1.1" if match[3] == b"1" else "HTTP/1.0"


def _lines(raw: bytes) -> list[bytes]:
    breaks = raw.count(b"\r\n")
    if raw.count(b"\r") != breaks or raw.count(b"\n") != breaks:
        raise UnreadableError("a line of the head ends in a bare CR or LF")
    return raw[:-2].split(b"\r\n") if raw.endswith(b"\r\n") else raw.split(b"\r\n")


def _field(line: bytes) -> Header:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name):
        if line[:1] in (b" ", b"\t"):
            raise UnreadableError("a header is folded over two lines")
        raise UnreadableError("malformed header name")
    value = value.strip(b" \t")
    if _CONTROL.search(value):
        raise UnreadableError(f"control characters in header {name.decode('ascii')}")
    return name, value


# Headers that decide about framing and routing; the rest is none of the gate's business.
_MATTERS: Final = frozenset(
    b"content-length transfer-encoding connection upgrade expect trailer host "
    b"sec-websocket-key sec-websocket-version".split()
)
_ONCE: Final = _MATTERS - {b"connection"}


def _named(headers: Sequence[Header]) -> dict[bytes, bytes]:
    """The headers that matter, by lower-case name; a second one of a kind is unreadable."""
    named: dict[bytes, bytes] = {}
    for key, value in headers:
        name = key.lower()
        if name not in _MATTERS:
            continue
        if name in named:
            if name in _ONCE:
                raise UnreadableError(f"more than one {name.decode()} header")
            value = named[name] + b"," + value
        named[name] = value
    if b"trailer" in named:
        raise UnreadableError("request trailers")
    return named


def _request_length(named: dict[bytes, bytes], version: str) -> int | None:
    coding, length = named.get(b"transfer-encoding"), named.get(b"content-length")
    if coding is None:
        return 0 if length is None else _content_length(length)
    if length is not None:
        raise UnreadableError("both content-length and transfer-encoding")
    if version == "HTTP/1.0" or coding.lower() != b"chunked":
        raise UnreadableError("a transfer-encoding other than chunked")
    return None


def _content_length(value: bytes) -> int:
    if not _LENGTH.fullmatch(value):
        raise UnreadableError("malformed content-length")
    return int(value)


def _connection(
    named: dict[bytes, bytes], version: str, method: bytes, length: int | None
) -> tuple[bool, bool]:
    """(the connection stays, a WebSocket is asked for)."""
    tokens = {token.strip().lower() for token in named.get(b"connection", b"").split(b",")} - {b""}
    if not tokens <= _CONNECTION:
        raise UnreadableError("the connection header names an end-to-end header")
    upgrade = named.get(b"upgrade")
    if upgrade is None:
        if b"upgrade" in tokens:
            raise UnreadableError("an upgrade to nothing")
    elif upgrade.lower() != b"websocket":
        raise UnreadableError("an upgrade to something other than websocket")
    elif (
        b"upgrade" not in tokens
        or (method, version, length) != (b"GET", "HTTP/1.1", 0)
        or named.get(b"sec-websocket-version") != b"13"
        or b"sec-websocket-key" not in named
    ):
        raise UnreadableError("malformed websocket upgrade")
    return version == "HTTP/1.1" and b"close" not in tokens, upgrade is not None


def _expects(named: dict[bytes, bytes]) -> bool:
    expect = named.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise UnreadableError("an expectation other than 100-continue")
    return expect is not None


def _target(method: bytes, target: bytes) -> tuple[str | None, bytes | None, bytes]:
    """(scheme, authority, target in origin form); scheme and authority of an absolute target."""
    if method == b"CONNECT":
        return None, target, target
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return None, None, target
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise UnreadableError("malformed request target")
    scheme, authority, path = match.groups()
    if scheme.lower() not in (b"http", b"https"):
        raise UnreadableError("a scheme other than http and https")
    if not path.startswith(b"/"):
        path = b"/" + path
    return scheme.lower().decode(), authority, path


_H2_FORBIDDEN: Final = frozenset(
    b"connection keep-alive proxy-connection transfer-encoding upgrade http2-settings".split()
)
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})


def read_h2_head(fields: Sequence[Header], *, end: bool) -> Head:
    """The head of an HTTP/2 request (RFC 9113, 8.2 and 8.3); `end` where no body follows."""
    if sum(len(name) + len(value) + 32 for name, value in fields) > HEAD_LIMIT:
        raise UnreadableError("the head is over 64 KiB")
    pseudo, headers = _h2_fields(fields)
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not _METHOD.fullmatch(method) or method == b"CONNECT":
        raise UnreadableError("malformed method")
    if not _PATH.fullmatch(path) or not (path.startswith(b"/") or (path, method) == (b"*", b"OPTIONS")):
        raise UnreadableError("malformed path")
    named = _named(headers)
    length = _content_length(named[b"content-length"]) if b"content-length" in named else None
    if end and length:
        raise UnreadableError("the body is shorter than its content-length")
    return Head(
        method,
        path,
        headers,
        "HTTP/2",
        0 if end else length,
        expects=_expects(named) and not end,
        scheme=pseudo.get(b":scheme", b"").decode("ascii", "replace"),
        authority=pseudo.get(b":authority"),
    )


def _h2_fields(fields: Sequence[Header]) -> tuple[dict[bytes, bytes], tuple[Header, ...]]:
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    for key, value in fields:
        name, value = bytes(key), bytes(value)
        if _CONTROL.search(value) or value != value.strip(b" \t"):
            raise UnreadableError("control characters or outer spaces in a header")
        if name.startswith(b":"):
            if headers or name in pseudo or name not in _PSEUDO:
                raise UnreadableError("misplaced, repeated or unknown pseudo-header")
            pseudo[name] = value
            continue
        if not _H2_NAME.fullmatch(name):
            raise UnreadableError("malformed header name")
        if name in _H2_FORBIDDEN or (name == b"te" and value != b"trailers"):
            raise UnreadableError("a header that belongs to HTTP/1 connections")
        headers.append((name, value))
    return pseudo, tuple(headers)


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """
    The head of an HTTP/1 answer.

    `length` is None for chunked, -1 where the body ends with the connection.
    """

    status: int
    reason: bytes
    headers: list[Header]
    length: int | None
    keep_alive: bool


def read_answer(raw: bytes, method: bytes) -> AnswerHead:
    """The head of an answer to `method`; `raw` ends after the last header's CRLF."""
    lines = [line.rstrip(b"\r") for line in raw.rstrip(b"\r\n").split(b"\n")]
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise UnreadableError("malformed status line")
    headers = [_field(line) for line in lines[1:]]
    status = int(match[2])
    tokens = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    }
    keep_alive = b"close" not in tokens and (match[1] == b"1" or b"keep-alive" in tokens)
    length = _answer_length(headers, status, method)
    reason = match[3] or b""
    if _CONTROL.search(reason):
        reason = b""
    return AnswerHead(status, reason, headers, length, keep_alive and length != -1)


def _answer_length(headers: Sequence[Header], status: int, method: bytes) -> int | None:
    if bodiless(status, method):
        return 0
    codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    lengths = {value for name, value in headers if name.lower() == b"content-length"}
    if codings:
        if lengths or codings != [b"chunked"]:
            raise UnreadableError("ambiguous framing of the answer")
        return None
    if not lengths:
        return -1
    if len(lengths) > 1:
        raise UnreadableError("the answer has two content-lengths")
    return _content_length(lengths.pop())


def sound(headers: Sequence[Header]) -> bool:
    """Whether the headers of an HTTP/2 answer say the same to an HTTP/1 agent."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if len(lengths) > 1 or not all(_LENGTH.fullmatch(value) for value in lengths):
        return False
    return all(_NAME.fullmatch(name) and not _CONTROL.search(value) for name, value in headers)


def bodiless(status: int, method: bytes) -> bool:
    """Whether an answer never has a body, whatever its headers say (RFC 9112, 6.3)."""
    return method == b"HEAD" or status < 200 or status in (204, 304)


# Of one connection, not of the message: each side of the gate has its own.
_HOP: Final = frozenset(
    b"connection keep-alive te trailer transfer-encoding upgrade expect http2-settings".split()
)

# What an agent says to the gate alone.
_OURS: Final = frozenset({b"x-sluice-confidence"})


def outgoing(
    headers: Sequence[Header], *, length: int | None, body: bool, http2: bool, upgrade: bool
) -> tuple[list[Header], bool]:
    """
    The headers of a request as they leave, and whether its body goes in chunks.

    All that were judged, in their order and spelling, but those of the agent's own connection and
    those for the gate alone;
    framed by `length`, the body's real one (None while it streams). `body` says whether the
    method or the agent gave it one, so that ``content-length: 0`` is said where it matters.
    """
    kept: list[Header] = []
    for name, value in headers:
        low = name.lower()
        hop = low in _HOP or low in _OURS or low == b"content-length" or low.startswith(b"proxy-")
        if not hop or (low == b"te" and http2 and value == b"trailers"):
            kept.append((name, value))
    if upgrade:
        kept += ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))
    if length is not None:
        if body or length:
            kept.append((b"content-length" if http2 else b"Content-Length", b"%d" % length))
        return kept, False
    if not http2:
        kept.append((b"Transfer-Encoding", b"chunked"))
    return kept, not http2


_ANSWER_HOP: Final = frozenset(b"connection keep-alive proxy-connection transfer-encoding upgrade te".split())


def answered(headers: Sequence[Header]) -> list[Header]:
    """
    The headers of upstream's answer as the agent gets them.

    Without those of upstream's own connection, and without any that only the gate may say.
    """
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.split(b",")
    } - {b"close", b"content-length"}
    kept = []
    for name, value in headers:
        low = name.lower()
        if low not in _ANSWER_HOP and low not in named and not low.startswith(b"sluice-"):
            kept.append((name, value))
    return kept

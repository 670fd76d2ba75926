"""
A body's media type and content codings, undone within limits (RFC 9110 section 8.4), and applied.

A coding that is unknown, broken, or grows past the limit makes the body unreadable: what
the rules would see is not what a server would.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

import brotli
import zstandard

from proxy.decode.http import Unreadable

MAX_CODINGS: Final = 3
MAX_DECODED: Final = 10 * 1024 * 1024
_CHUNK: Final = 64 * 1024
_QUALITY: Final = 5  # of 11: the best takes a hundred times as long for a tenth of the bytes
_NAME: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER: Final = re.compile(rf'[ \t]*;[ \t]*({_NAME})=(?:"((?:[^"\\]|\\.)*)"|({_NAME}))')
_PIECE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;chunk-signature=[0-9a-f]{64})?\r\n")
_PIECES: Final = 20_000
_TRAILERS: Final = re.compile(rb"(?:[0-9A-Za-z-]{1,100}:[ \t]*[\x21-\x7e]{1,1000}\r\n){0,4}(?:\r\n)?")


def media_type(value: str | None) -> tuple[str, dict[str, str]]:
    """
    A Content-Type's media type in lower case, and its parameters (RFC 9110 section 8.3.1).

    ``("", {})`` for none. Unreadable where a parameter is malformed or stands twice.
    """
    if not value:
        return "", {}
    kind, semicolon, rest = value.partition(";")
    parameters: dict[str, str] = {}
    rest, at = semicolon + rest.rstrip(" \t;"), 0
    while at < len(rest):
        found = _PARAMETER.match(rest, at)
        if found is None or found[1].lower() in parameters:
            raise Unreadable("the Content-Type has a malformed parameter, or one twice")
        quoted = found[2]
        parameters[found[1].lower()] = found[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = found.end()
    return kind.strip().lower(), parameters


def undo(body: bytes, codings: str, limit: int = MAX_DECODED) -> bytes:
    """The body without its content codings, which were applied from left to right."""
    names = [name for part in codings.split(",") if (name := part.strip().lower())]
    names = [name for name in names if name != "identity"]
    if names.count("aws-chunked") == 1:
        # Always the outermost, wherever it is named: it frames what is sent, not what is stored.
        names.remove("aws-chunked")
        body = _unchunk(body, limit)
    if len(names) > MAX_CODINGS:
        raise Unreadable(f"more than {MAX_CODINGS} content codings")
    for name in reversed(names):
        match name:
            case "gzip" | "x-gzip":
                body = _inflate(body, 16 + zlib.MAX_WBITS, limit)
            case "deflate":
                body = _inflate(body, zlib.MAX_WBITS, limit)
            case "br":
                body = _brotli(body, limit)
            case "zstd":
                body = _zstd(body, limit)
            case _:
                raise Unreadable(f"the content coding '{name[:40]}' is unknown")
    return body


CODED: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
"""The content codings that `code` applies."""


def code(plain: bytes, coding: str) -> bytes:
    """A body in one of the codings of `CODED`: the same body gives the same bytes. Reverse of `undo`."""
    match coding:
        case "br":
            return bytes(brotli.compress(plain, quality=_QUALITY))
        case "zstd":
            return zstandard.ZstdCompressor().compress(plain)
        case _:
            engine = zlib.compressobj(wbits=zlib.MAX_WBITS + (0 if coding == "deflate" else 16))
            return engine.compress(plain) + engine.flush()


def _unchunk(body: bytes, limit: int) -> bytes:
    """A payload in signed chunks (AWS Signature Version 4, "aws-chunked"), put together."""
    plain, at = bytearray(), 0
    for _ in range(_PIECES):
        found = _PIECE.match(body, at)
        if found is None:
            break
        size, at = int(found[1], 16), found.end()
        if not size:
            if _TRAILERS.fullmatch(body, at):
                return bytes(plain)
            break
        if len(plain) + size > limit:
            raise _too_long(limit)
        plain += body[at : at + size]
        at += size + 2
        if body[at - 2 : at] != b"\r\n":
            break
    raise Unreadable("the body breaks its aws-chunked coding")


def _too_long(limit: int) -> Unreadable:
    return Unreadable(f"the body is over {limit} bytes once its content coding is undone")


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    engine = zlib.decompressobj(window)
    try:
        plain = engine.decompress(body, limit + 1)
    except zlib.error:
        raise Unreadable("the body breaks its content coding") from None
    if len(plain) > limit:
        raise _too_long(limit)
    if not engine.eof or engine.unused_data:
        raise Unreadable("the body breaks its content coding: it ends early or goes on after its end")
    return plain


def _brotli(body: bytes, limit: int) -> bytes:
    engine = brotli.Decompressor()
    plain = bytearray()
    try:
        plain += engine.process(body, output_buffer_limit=_CHUNK)
        while not engine.is_finished():
            if len(plain) > limit:
                raise _too_long(limit)
            more = engine.process(b"", output_buffer_limit=_CHUNK)
            if not more and not engine.is_finished():
                raise Unreadable("the body breaks its content coding: it ends early")
            plain += more
    except brotli.error:
        raise Unreadable("the body breaks its content coding") from None
    if len(plain) > limit:
        raise _too_long(limit)
    return bytes(plain)


def _zstd(body: bytes, limit: int) -> bytes:
    engine = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
    plain = bytearray()
    try:
        with engine.stream_reader(body, read_across_frames=False) as reader:
            while chunk := reader.read(_CHUNK):
                plain += chunk
                if len(plain) > limit:
                    raise _too_long(limit)
    except zstandard.ZstdError:
        raise Unreadable("the body breaks its content coding") from None
    _check_one_frame(body, len(plain))
    return bytes(plain)


def _check_one_frame(body: bytes, length: int) -> None:
    """A frame that ends early reads as shorter, one that goes on as two: neither is one reading."""
    engine = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).decompressobj()
    try:
        plain = engine.decompress(body)
    except zstandard.ZstdError:
        raise Unreadable("the body breaks its content coding") from None
    if not engine.eof or engine.unused_data or len(plain) != length:
        raise Unreadable("the body breaks its content coding: it ends early or goes on after its end")

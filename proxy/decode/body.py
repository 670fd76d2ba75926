"""
A body's media type and content codings, undone within limits (RFC 9110 section 8.4).

A coding that is unknown, broken, or grows past the limit makes the body unreadable: what
the rules would see is not what a server would.
"""

from __future__ import annotations

import zlib
from typing import Final

import brotli
import zstandard

from proxy.decode.http import Unreadable

MAX_CODINGS: Final = 3
MAX_DECODED: Final = 10 * 1024 * 1024
_CHUNK: Final = 64 * 1024


def media_type(value: str | None) -> tuple[str, str | None]:
    """A Content-Type's media type in lower case, and its charset; ``("", None)`` for none."""
    if not value:
        return "", None
    kind, *parameters = value.split(";")
    charset = None
    for parameter in parameters:
        name, _, given = parameter.strip().partition("=")
        if name.strip().lower() == "charset":
            charset = given.strip().strip('"').lower()
    return kind.strip().lower(), charset


def undo(body: bytes, codings: str, limit: int = MAX_DECODED) -> bytes:
    """The body without its content codings, which were applied from left to right."""
    names = [name for part in codings.split(",") if (name := part.strip().lower())]
    names = [name for name in names if name != "identity"]
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

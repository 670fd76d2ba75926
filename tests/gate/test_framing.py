"""Heads and bodies: read in one way, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.gate.bodies import Chunked, Counted, Memory, UntilClose, body_of
from proxy.gate.framing import (
    HEAD_LIMIT,
    UnreadableError,
    answered,
    bodiless,
    outgoing,
    read_answer,
    read_h2_head,
    read_head,
)

from .malformed import HEADS


def head(*lines: str) -> bytes:
    return "".join(line + "\r\n" for line in lines).encode("latin-1")


@pytest.mark.parametrize("name", HEADS)
def test_a_head_that_two_servers_could_read_differently_is_unreadable(name: str) -> None:
    raw = HEADS[name]
    with pytest.raises(UnreadableError):
        if not raw.endswith(b"\r\n\r\n"):
            raise UnreadableError("the reader of the connection refuses this one")
        read_head(raw[:-2])


READABLE = {
    "origin form": (("GET /a?b=c HTTP/1.1", "Host: x"), 0),
    "absolute form": (("GET http://x/a HTTP/1.1", "Host: x"), 0),
    "empty path": (("GET http://x HTTP/1.1", "Host: x"), 0),
    "length": (("POST / HTTP/1.1", "Host: x", "Content-Length: 12"), 12),
    "chunked": (("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: Chunked"), None),
    "no value": (("GET / HTTP/1.1", "Host: x", "X-Empty:"), 0),
    "tab around": (("GET / HTTP/1.1", "Host:\tx\t"), 0),
    "obs-text": (("GET / HTTP/1.1", "Host: x", "X: caf\xe9"), 0),
    "options star": (("OPTIONS * HTTP/1.1", "Host: x"), 0),
    "te": (("GET / HTTP/1.1", "Host: x", "TE: trailers", "Connection: TE, keep-alive"), 0),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_clients_send_is_readable(name: str) -> None:
    lines, length = READABLE[name]
    assert read_head(head(*lines)).length == length


def test_a_head_keeps_its_headers_as_they_were_sent() -> None:
    read = read_head(head("GET / HTTP/1.1", "HoSt: x", "X-A:  1 ", "x-a: 2"))
    assert read.headers == ((b"HoSt", b"x"), (b"X-A", b"1"), (b"x-a", b"2"))


def test_an_absolute_target_is_taken_apart() -> None:
    read = read_head(head("GET HTTP://X:80?q HTTP/1.1", "Host: X"))
    assert (read.scheme, read.authority, read.target) == ("http", b"X:80", b"/?q")


def test_only_a_websocket_may_be_asked_for() -> None:
    upgrade = head(
        "GET / HTTP/1.1",
        "Host: x",
        "Connection: keep-alive, Upgrade",
        "Upgrade: WebSocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: a",
    )
    assert read_head(upgrade).upgrade
    with pytest.raises(UnreadableError):
        read_head(upgrade.replace(b"WebSocket\r\n", b"h2c\r\n", 1))


@pytest.mark.parametrize(
    ("version", "connection", "stays"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", False)],
)
def test_a_connection_stays_only_where_both_know_it_does(version: str, connection: str, stays: bool) -> None:
    assert (
        read_head(head(f"GET / HTTP/{version}", "Host: x", f"Connection: {connection}")).keep_alive is stays
    )


def test_headers_of_the_connection_do_not_leave() -> None:
    sent = [
        (b"Host", b"x"),
        (b"Connection", b"TE"),
        (b"TE", b"trailers"),
        (b"Proxy-Authorization", b"Basic c2VjcmV0"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Keep-Alive", b"5"),
        (b"Expect", b"100-continue"),
        (b"Content-Length", b"99"),
        (b"X", b"1"),
    ]
    kept, chunked = outgoing(sent, length=3, body=True, http2=False, upgrade=False)
    assert kept == [(b"Host", b"x"), (b"X", b"1"), (b"Content-Length", b"3")]
    assert not chunked
    kept, chunked = outgoing(sent, length=None, body=True, http2=False, upgrade=False)
    assert kept[-1] == (b"Transfer-Encoding", b"chunked")
    assert chunked


def test_an_answer_never_speaks_for_the_gate() -> None:
    sent = [
        (b"Sluice-Decision", b"allowed"),
        (b"Connection", b"X-Hop"),
        (b"X-Hop", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Set-Cookie", b"a"),
        (b"set-cookie", b"b"),
    ]
    assert answered(sent) == [(b"Set-Cookie", b"a"), (b"set-cookie", b"b")]


@pytest.mark.parametrize(
    ("lines", "method", "length"),
    [
        (("HTTP/1.1 200 OK", "Content-Length: 5"), b"GET", 5),
        (("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"), b"GET", 5),
        (("HTTP/1.1 200 OK", "Content-Length: 5"), b"HEAD", 0),
        (("HTTP/1.1 304 Not Modified", "Content-Length: 5"), b"GET", 0),
        (("HTTP/1.1 200", "Transfer-Encoding: chunked"), b"GET", None),
        (("HTTP/1.0 200 OK",), b"GET", -1),
    ],
)
def test_where_an_answer_ends(lines: tuple[str, ...], method: bytes, length: int | None) -> None:
    assert read_answer(head(*lines), method).length == length


@pytest.mark.parametrize(
    "lines",
    [
        ("HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"),
        ("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 6"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"),
        ("HTTP/1.1 200 OK", "Content-Length: +5"),
        ("HTTP/2 200 OK",),
        ("HTTP/1.1 2000 OK",),
        ("ICY 200 OK",),
        ("HTTP/1.1 200 OK", "bad name: x"),
    ],
)
def test_an_ambiguous_answer_is_unreadable(lines: tuple[str, ...]) -> None:
    with pytest.raises(UnreadableError):
        read_answer(head(*lines), b"GET")


def test_a_long_run_of_spaces_is_read_in_linear_time() -> None:
    value = " " * (HEAD_LIMIT - 200) + "x"
    assert read_head(head("GET / HTTP/1.1", "Host: x", f"X: {value}")).headers[1] == (b"X", b"x")


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    st.lists(st.integers(1, 40), min_size=1, max_size=60),
)
def test_chunks_are_read_alike_however_they_arrive(chunks: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader, buffer, read, position = Chunked(strict=True), bytearray(), b"", 0
    cut = iter(cuts * (len(raw) // sum(cuts) + 1))
    while position < len(raw):
        step = next(cut)
        buffer += raw[position : position + step]
        position += step
        read += reader.read(buffer)
    assert reader.done
    assert read == b"".join(chunks)
    assert buffer == b""


@given(st.lists(st.binary(max_size=50), max_size=4), st.binary(max_size=20))
def test_what_follows_the_last_chunk_is_left_alone(chunks: list[bytes], rest: bytes) -> None:
    raw = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\n\r\n"
    reader, buffer = Chunked(strict=True), bytearray(raw + rest)
    assert reader.read(buffer) == b"".join(chunks)
    assert buffer == rest


@pytest.mark.parametrize(
    "raw",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5;ext=1\r\nhello\r\n0\r\n\r\n",
        b"5;\nGET\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\n",
        b"\r\n",
        b"0\r\nX-Trailer: 1\r\n\r\n",
        b"1" * 5000,
    ],
)
def test_chunks_that_can_be_read_in_two_ways_are_unreadable(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        Chunked(strict=True).read(bytearray(raw))


def test_an_answers_extensions_and_trailers_are_dropped() -> None:
    reader = Chunked(strict=False)
    assert reader.read(bytearray(b"2;a=b\r\nok\r\n0\r\nX: 1\r\n\r\n")) == b"ok"
    assert reader.done


def test_counted_and_endless_bodies() -> None:
    buffer = bytearray(b"helloGET")
    counted = Counted(5)
    assert counted.read(buffer) == b"hello"
    assert counted.done
    assert buffer == b"GET"
    assert isinstance(body_of(-1, strict=False), UntilClose)
    assert body_of(0, strict=True).done


def test_memory_is_never_taken_beyond_its_limit() -> None:
    memory = Memory(10)
    assert memory.take(6)
    assert not memory.take(5)
    assert memory.taken == 6
    memory.give(6)
    assert memory.take(10)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_unreadable(raw: bytes) -> None:
    for read in (lambda: read_head(raw), lambda: read_answer(raw, b"GET")):
        try:
            read()
        except UnreadableError:
            continue


@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20)), max_size=6))
def test_any_http2_fields_are_a_head_or_unreadable(fields: list[tuple[bytes, bytes]]) -> None:
    try:
        read_h2_head(fields, end=True)
    except UnreadableError:
        return


def test_no_body_where_there_can_be_none() -> None:
    assert bodiless(204, b"GET")
    assert bodiless(200, b"HEAD")
    assert not bodiless(200, b"GET")

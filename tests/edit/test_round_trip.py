"""What is not touched comes back byte for byte; what is touched changes, and nothing else does."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from proxy.action import Header, Request
from proxy.edit import difference, edited, form
from proxy.errors import SluiceError

KEY = "sk_live_AbCdEf0123456789"


def request(
    body: bytes = b"",
    *headers: Header,
    target: bytes = b"/v1/refunds",
    method: bytes = b"POST",
    version: str = "HTTP/1.1",
) -> Request:
    """A request as an HTTP/1 agent sends it: Host first, length last."""
    own = () if version == "HTTP/2" else ((b"Host", b"api.example.com"),)
    length = ((b"content-length", b"%d" % len(body)),) if body else ()
    return Request(
        "uid:a", method, "https", "api.example.com", 443, target, (*own, *headers, *length), body, version
    )


def as_json(value: object, *headers: Header, **how: object) -> Request:
    body = json.dumps(value, **how).encode()  # type: ignore[arg-type]
    return request(body, (b"content-type", b"application/json"), *headers)


def change(asked: Request, *swaps: tuple[str, str]) -> Request:
    """The request after an editor has put one text in the place of another, everywhere."""
    text = form(asked).text
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    return edited(asked, text)


type Coder = Callable[[bytes], bytes]
CODINGS: list[tuple[str, Coder, Coder]] = [
    ("gzip", gzip.compress, gzip.decompress),
    ("x-gzip", gzip.compress, gzip.decompress),
    ("deflate", zlib.compress, zlib.decompress),
    ("br", brotli.compress, brotli.decompress),
    ("zstd", zstandard.compress, zstandard.decompress),
    ("identity", bytes, bytes),
]

NAMES = st.sampled_from([b"X-A", b"x-a", b"Accept", b"authorization", b"cookie", b"x-api-key", b"te", b"Via"])
VALUES = st.one_of(
    st.binary(max_size=30).filter(lambda value: not set(value) & {0, 10, 13}),
    st.text(max_size=30).map(lambda text: text.strip().encode("utf-8", "replace")),
    st.just(f"Bearer {KEY}".encode()),
)
JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just(KEY), st.just("‹secret 1›")
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["a", "token", "pin", "é", "card", "number"]), inner, max_size=4),
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    st.builds(
        lambda value, indent, ascii, separators: json.dumps(
            value, indent=indent, ensure_ascii=ascii, separators=separators
        ).encode("utf-8", "replace"),
        JSON,
        st.sampled_from([None, 2]),
        st.booleans(),
        st.sampled_from([(",", ":"), (", ", ": "), (" ,", ":")]),
    ),
    st.lists(
        st.sampled_from([b"a=1", b"token=" + KEY.encode(), b"a=%41+b", b"pin=12;x", b"%74oken=q%20q"])
    ).map(b"&".join),
    st.just(f"password: {KEY}\r\nline\r\n".encode()),
)
TYPES = st.sampled_from(
    [
        b"application/json",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"",
    ]
)
TARGETS = st.sampled_from(
    [
        b"/",
        b"/v1/a?x=1",
        b"/?api_key=abc&x=%20",
        b"/?to=https%3A%2F%2Fu%3Apw%40h",
        b"/hooks/catch/aaaa1bbbb2cccc3dddd4e",
    ]
)


@given(
    BODIES,
    TYPES,
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    TARGETS,
    st.sampled_from(["", "gzip", "deflate"]),
)
@settings(deadline=None, max_examples=300)
def test_an_untouched_text_gives_the_same_request(
    body: bytes, kind: bytes, headers: list[Header], target: bytes, coding: str
) -> None:
    packed = {"": body, "gzip": gzip.compress(body), "deflate": zlib.compress(body)}[coding]
    coded = ((b"content-encoding", coding.encode()),) if coding else ()
    asked = request(packed, (b"content-type", kind), *headers, *coded, target=target)
    try:
        text = form(asked).text
    except SluiceError:
        assume(False)
    assert edited(asked, text) == asked
    assert difference(text, text) == ()


@given(JSON, st.sampled_from([(",", ":"), (", ", ": ")]), st.integers(0, 10**18))
@settings(deadline=None)
def test_one_edited_value_leaves_every_other_byte(
    value: object, separators: tuple[str, str], amount: int
) -> None:
    asked = request(
        json.dumps({"amount": 77777777, "rest": value}, separators=separators).encode(),
        (b"content-type", b"application/json"),
    )
    assume(isinstance(form(asked).body, object) and "77777777" in form(asked).text)
    assert asked.body is not None
    after = change(asked, ("77777777", str(amount)))
    assert after.body == asked.body.replace(b"77777777", str(amount).encode())
    assert after.header(b"content-length") == [b"%d" % len(after.body or b"")]


def test_json_that_stands_on_one_line_is_spread_over_many_for_the_editor() -> None:
    shown = form(as_json({"amount": 5000, "items": [1.50, []], "e": {}})).text
    assert '\n{\n  "amount": 5000,\n  "items": [\n    1.5,\n    []\n  ],\n  "e": {}\n}\n' in shown


def test_numbers_escapes_and_names_that_stand_twice_stay_as_they_are_written() -> None:
    body = b'{"a":1.50,"a":1E+2,"b":"\\u00e9\\/","n":5}'
    after = change(request(body, (b"content-type", b"application/json")), ('"n": 5', '"n": 6'))
    assert after.body == body.replace(b'"n":5', b'"n":6')


def test_json_that_is_laid_out_already_is_left_alone() -> None:
    body = b'{ "a" :1,\n"b":  2 }\n'
    asked = request(body, (b"content-type", b"application/json"))
    assert change(asked, ("2 }", "3 }")).body == body.replace(b"2 }", b"3 }")


@pytest.mark.parametrize(("coding", "pack", "unpack"), CODINGS)
def test_a_coded_body_is_shown_plain_and_coded_again(coding: str, pack: Coder, unpack: Coder) -> None:
    body = pack(b'{"amount":5000}')
    asked = request(body, (b"content-type", b"application/json"), (b"content-encoding", coding.encode()))
    after = change(asked, ("5000", "40"))
    assert unpack(after.body or b"") == b'{"amount":40}'
    assert after.header(b"content-encoding") == [coding.encode()]
    assert after.header(b"content-length") == [b"%d" % len(after.body or b"")]
    assert change(asked, ("5000", "40")) == after, "what was confirmed and what is sent are the same bytes"


@pytest.mark.parametrize("coding", [b"compress", b"gzip, br", b"aws-chunked"])
def test_a_body_in_a_coding_that_cannot_be_put_back_stays_as_it_is(coding: bytes) -> None:
    asked = request(b"abc", (b"content-encoding", coding), (b"x-a", b"1"))
    assert "cannot be put back" in form(asked).text
    assert change(asked, ("x-a: 1", "x-a: 2")).body == b"abc"


def test_a_coded_body_that_nobody_touched_keeps_its_very_bytes() -> None:
    body = gzip.compress(b'{"amount":5000}', compresslevel=1, mtime=1234)
    asked = request(body, (b"x-a", b"1"), (b"content-encoding", b"gzip"))
    after = change(asked, ("x-a: 1", "x-a: 2"))
    assert after.body == body
    assert (b"x-a", b"2") in after.headers


def test_the_character_set_is_kept() -> None:
    asked = request("Müller 50".encode("latin-1"), (b"content-type", b"text/plain; charset=ISO-8859-1"))
    assert change(asked, ("Müller 50", "Möller 60")).body == "Möller 60".encode("latin-1")
    with pytest.raises(SluiceError, match="lacks a character"):
        change(asked, ("Müller", "Łukasz"))


def test_lines_that_end_in_cr_lf_end_so_again() -> None:
    asked = request(b"one\r\ntwo\r\n", (b"content-type", b"text/plain"))
    assert change(asked, ("two", "2")).body == b"one\r\n2\r\n"


@pytest.mark.parametrize(
    "body", [b"no end", b"an end\n", b"two ends\n\n", b"\n", b"\n\n# ---- the request ends"]
)
def test_the_end_of_a_body_is_exact(body: bytes) -> None:
    asked = request(body, (b"content-type", b"text/plain"), (b"x-a", b"1"))
    assert change(asked, ("x-a: 1", "x-a: 2")).body == body


def test_a_body_may_be_emptied_and_one_may_be_added() -> None:
    asked = request(b"hello", (b"content-type", b"text/plain"))
    emptied = change(asked, ("\nhello\n", "\n"))
    assert (emptied.body, emptied.header(b"content-length")) == (b"", [b"0"])
    none = request(b"", (b"x-a", b"1"), method=b"GET")
    assert change(none, ("x-a: 1\n\n", "x-a: 1\n\nhello")).body == b"hello"


def test_method_path_and_headers_change() -> None:
    asked = request(b"", (b"X-A", b"1"), (b"X-B", b"2"), target=b"/a?x=1")
    after = change(
        asked,
        ("POST https://api.example.com/a?x=1", "PATCH https://api.example.com/b?y=2"),
        ("X-A: 1\n", ""),
        ("X-B: 2", "X-B: 3\nX-C: 4"),
    )
    assert (after.method, after.target) == (b"PATCH", b"/b?y=2")
    assert after.headers == ((b"Host", b"api.example.com"), (b"X-B", b"3"), (b"X-C", b"4"))


def test_headers_that_are_fixed_stay_where_they_were_between_the_others() -> None:
    fixed = ((b"te", b"trailers"), (b"Idempotency-Key", b"k-1"))
    asked = request(b"hi", (b"a", b"1"), fixed[0], (b"b", b"2"), fixed[1], (b"c", b"3"))
    after = change(asked, ("b: 2", "b: 2\nb: 2b"))
    names = [name for name, _ in after.headers]
    assert names == [b"Host", b"a", b"te", b"b", b"Idempotency-Key", b"b", b"content-length", b"c"]
    assert "k-1" not in form(asked).text


def test_headers_that_a_policy_names_are_fixed_too() -> None:
    asked = request(b"", (b"PayPal-Request-Id", b"k-1"), (b"a", b"1"))
    kept = frozenset({b"paypal-request-id"})
    text = form(asked, kept).text
    assert "k-1" not in text
    assert edited(asked, text.replace("a: 1", "a: 2"), kept).header(b"paypal-request-id") == [b"k-1"]
    with pytest.raises(SluiceError, match="cannot be edited"):
        edited(asked, text.replace("a: 1", "paypal-request-id: k-2"), kept)


def test_names_of_http2_headers_are_lower_case_whatever_was_typed() -> None:
    asked = request(b"", (b"a", b"1"), version="HTTP/2")
    assert (b"x-new", b"2") in change(asked, ("a: 1", "a: 1\nX-New: 2")).headers


@pytest.mark.parametrize(
    ("body", "kind", "why"),
    [
        (b"\x00\x01", b"application/octet-stream", "holds U"),
        (b"\xff\xfe", b"image/png", "no text"),
        (b"\x00\x00\x00\x00\x00", b"application/grpc+proto", "no text"),
        (b"a\x1b[2J", b"text/plain", "U+001B"),
        ("a\u202eb".encode(), b"text/plain", "U+202E"),
        (b"a\rb\n", b"text/plain", "end in different ways"),
        (b"a" * 70_000, b"text/plain", "over 65536 bytes"),
        ("‹secret 1›".encode(), b"text/plain", "looks like a mark"),
        (b"abc", b"text/plain; charset=utf-16", "character set"),
        (b"abc", b"text/plain; charset=a; charset=b", "malformed parameter"),
    ],
)
def test_a_body_that_is_no_plain_text_stays_as_it_is_and_that_is_said(
    body: bytes, kind: bytes, why: str
) -> None:
    asked = request(body, (b"content-type", kind), (b"x-a", b"1"))
    text = form(asked).text
    assert "stays as it is: " in text
    assert why in text
    after = change(asked, ("x-a: 1", "x-a: 2"))
    assert (after.body, after.header(b"x-a")) == (body, [b"2"])
    with pytest.raises(SluiceError, match="the body cannot be edited"):
        edited(asked, text.replace("x-a: 1\n\n", "x-a: 1\n\nnew"))


@pytest.mark.parametrize("header", [b"content-md5", b"Digest", b"content-digest", b"x-amz-checksum-crc32"])
def test_a_body_whose_digest_is_in_a_header_stays_as_it_is(header: bytes) -> None:
    assert "holds its digest" in form(request(b"abc", (header, b"x"))).text


def test_settings_for_an_editor_in_a_body_are_not_in_the_first_or_last_lines() -> None:
    line = "# vim: set modeline exrc :"
    text = form(request(line.encode(), (b"content-type", b"text/plain"))).text
    at = text.rstrip("\n").split("\n").index(line)
    assert 5 <= at < len(text.rstrip("\n").split("\n")) - 5

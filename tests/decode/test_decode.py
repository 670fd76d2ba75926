"""What the decoders read, and what they refuse to read."""

import gzip
import json
import zlib
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import ABSENT, UNKNOWN, Action, Request, Values
from proxy.decode import Unreadable, decode
from proxy.decode.body import undo


def action(
    method: str = "POST",
    target: str = "/v1/refunds",
    body: bytes | None = b"",
    host: str = "api.example.com",
    **headers: str,
) -> Action:
    pairs = tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items())
    return decode(
        Request("uid:me", method.encode(), "https", host, 443, target.encode("latin-1"), pairs, body)
    )


def read(action: Action, name: str) -> Any:
    found = action.read(tuple(name.split(".")))
    return found.items if isinstance(found, Values) else found


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("/v1/refunds", "/v1/refunds"),
        ("/", "/"),
        ("/a/", "/a/"),
        ("/%76%31/refunds", "/v1/refunds"),
        ("/a%2fb", "/a%2Fb"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%3Ab", "/a%3Ab"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/%7Euser", "/~user"),
        ("/users/jane%40example.com", "/users/jane%40example.com"),
        ("/...", "/..."),
    ],
)
def test_a_path_has_one_spelling(raw: str, normal: str) -> None:
    assert action(target=raw).path == normal


@pytest.mark.parametrize(
    "raw",
    [
        "//v1/refunds",
        "/v1//refunds",
        "/v1/./refunds",
        "/v1/../refunds",
        "/v1/..",
        "/v1/%2e%2E/refunds",
        "/v1/..;/refunds",
        "/v1\\refunds",
        "/v1/%5crefunds",
        "/a%00b",
        "/a%0d%0ab",
        "/a%09",
        "/a%zz",
        "/a%",
        "/a%2",
        "/caf\xe9",
        "/%c0%af",
        "/a#b",
        "/a b",
        "*",
        "",
        "http://x/",
    ],
)
def test_a_path_that_two_servers_could_read_differently_is_unreadable(raw: str) -> None:
    assert action(target=raw).unreadable


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("my_bucket.s3.amazonaws.com", "my_bucket.s3.amazonaws.com"),
    ],
)
def test_a_host_has_one_spelling(host: str, normal: str) -> None:
    assert action(host=host).host == normal


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a..b",
        "api.example.com..",
        "2852039166",
        "0177.0.0.01",
        "0x7f.1",
        "127.1",
        "127.0.0.01",
        "0:0:0:0:0:0:0:1",
        "::FFFF:127.0.0.1",
        "fe80::1%eth0",
        "bücher.example",
        "a b",
        "user@host",
        "-a.example",
        "a.example:80",
        "a" * 64 + ".example",
    ],
)
def test_a_host_that_could_be_another_is_unreadable(host: str) -> None:
    assert action(host=host).unreadable


@pytest.mark.parametrize("method", ["post", "Post", "", "P OST", "PÖST", "A" * 40, "1GET"])
def test_a_method_that_is_no_upper_case_token_is_unreadable(method: str) -> None:
    assert action(method).unreadable


def test_reads_are_exactly_those_that_can_do_no_more() -> None:
    assert action("GET").consequence == "read"
    assert action("HEAD").consequence == "read"
    assert action("GET", body=b"x").consequence != "read"
    assert action("GET", body=None).consequence != "read"
    assert action("GET", x_http_method_override="GET").consequence != "read"
    assert action("GET", "/x?_method=delete").consequence != "read"
    assert action("GET", "/x?%5fmethod=delete").consequence != "read"
    assert action("GET", "/x?a;_method=delete").consequence != "read"
    assert action("GET", upgrade="websocket").consequence != "read"
    assert action("POST").consequence != "read"


def test_a_method_that_is_overridden_is_both_methods() -> None:
    assert read(action("POST", x_http_method_override="delete"), "method") == ("POST", "DELETE")
    assert read(action("POST", "/x?_method=PUT"), "method") == ("POST", "PUT")
    form = action("POST", body=b"_method=DELETE&a=1", content_type=FORM)
    assert read(form, "method") == ("POST", "DELETE")
    assert read(action("POST", body=None, content_type=FORM), "method") == ("POST", None)
    assert read(action("POST", body=None, content_type="application/json"), "method") == ("POST",)


def test_json_fields_are_texts_and_arrays_are_walked() -> None:
    body = json.dumps({"a": {"b": 5000}, "l": [{"x": 1.50}, {"x": "two"}, {"y": None}], "t": True, "n": None})
    got = action(body=body.encode(), content_type="application/json; charset=utf-8")
    assert read(got, "json.a.b") == ("5000",)
    assert read(got, "json.l.x") == ("1.5", "two")
    assert read(got, "json.l.y") == ("null",)
    assert read(got, "json.t") == ("true",)
    assert read(got, "json.a") == (None,)
    assert read(got, "json.absent") == ()
    assert read(got, "form.a") is UNKNOWN


def test_a_json_key_in_another_case_is_a_value_that_cannot_be_read() -> None:
    got = action(body=b'{"Amount": 9}', content_type="application/json")
    assert read(got, "json.amount") == (None,)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":2}',
        b'{"a":{"b":1,"b":1}}',
        b"\xef\xbb\xbf{}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":"\\ud800"}',
        b'{"\\udc00":1}',
        b'{"a":1} x',
        b'{"a":1,}',
        b"{'a':1}",
        b'{"a":1} // no',
        b'"\x01"',
        b"\xff",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b"a=1",
        b"[" * 10_000 + b"]" * 10_000,
        b"[" * 101 + b"]" * 101,
        b"[" + b"[]," * 100_001 + b"[]]",
        b"01",
    ],
)
def test_json_that_parsers_disagree_about_is_unreadable(body: bytes) -> None:
    assert action(body=body, content_type="application/json").unreadable


def test_brackets_in_json_strings_are_no_depth() -> None:
    body = json.dumps({"code": "[" * 200_000 + ","}).encode()
    assert action(body=body, content_type="application/json").unreadable is None


def test_an_empty_body_has_no_fields_and_an_unread_one_is_unknown() -> None:
    assert read(action(body=b"", content_type="application/json"), "json.a") == ()
    assert read(action(body=None, content_type="application/json"), "json.a") is UNKNOWN
    assert read(action(body=b"{}", content_type="text/plain"), "json.a") is UNKNOWN
    assert read(action(body=None, content_length="12"), "body.size") == ("12",)
    assert read(action(body=None), "body.size") is UNKNOWN
    assert read(action(body=b"abc"), "body.size") == ("3",)
    assert read(action(content_type="Text/PLAIN; x=y"), "body.type") == ("text/plain",)
    assert read(action(), "body.type") == ()


def test_form_fields_step_through_brackets() -> None:
    body = b"amount=5000&card[number]=42&items[0][price]=a&items[1][price]=b&expand[]=x&expand[]=y+z%21"
    got = action(body=body, content_type=FORM)
    assert read(got, "form.amount") == ("5000",)
    assert read(got, "form.card.number") == ("42",)
    assert read(got, "form.items.price") == ("a", "b")
    assert read(got, "form.items.0.price") == ("a",)
    assert read(got, "form.expand") == ("x", "y z!")
    assert read(got, "form.card") == (None,)
    assert read(got, "form.nothing") == ()
    assert read(got, "json.amount") is UNKNOWN


@pytest.mark.parametrize("body", [b"a=%zz", b"a=%ff", b"a[=1", b"a]b[=1", b"\xe9=1", b"%=1", b"[a]=1"])
def test_a_form_that_breaks_its_format_is_unreadable(body: bytes) -> None:
    assert action(body=body, content_type=FORM).unreadable


def test_a_raw_semicolon_makes_a_form_unknown() -> None:
    assert read(action(body=b"a=1;amount=2", content_type=FORM), "form.amount") is UNKNOWN
    assert read(action(body=b"a=1;amount=2", content_type=FORM), "form.b") is UNKNOWN


def test_query_values_are_read_and_broken_ones_are_values_of_none() -> None:
    got = action(target="/x?a=1&a=2&b=%zz&c")
    assert read(got, "query.a") == ("1", "2")
    assert read(got, "query.b") == (None,)
    assert read(got, "query.c") == ("",)
    assert read(got, "query.d") == ()
    assert read(action(target="/x?a[=1"), "query.a") is UNKNOWN
    assert read(action(target="/x?a=1;b=2"), "query.b") is UNKNOWN
    assert action(target="/x?a=\xe9").unreadable
    assert action(target="/x?a#b").unreadable


@pytest.mark.parametrize(
    "encode",
    [
        (lambda b: gzip.compress(b), "gzip"),
        (lambda b: zlib.compress(b), "deflate"),
        (lambda b: brotli.compress(b), "br"),
        (lambda b: zstandard.compress(b), "zstd"),
        (lambda b: gzip.compress(brotli.compress(b)), "br, gzip"),
        (lambda b: b, "identity"),
    ],
    ids=lambda pair: pair[1],
)
def test_content_codings_are_undone(encode: Any) -> None:
    compress, name = encode
    body = compress(b'{"a":"' + b"x" * 100_000 + b'"}')
    got = action(body=body, content_type="application/json", content_encoding=name)
    assert got.unreadable is None
    assert read(got, "json.a") == ("x" * 100_000,)


def zipped(body: bytes) -> bytes:
    """With gzip, and the same at any time: the tests are named by it."""
    return gzip.compress(body, mtime=0)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (zipped(b"{}") + b"x", "gzip"),
        (zipped(b"{}") + zipped(b"[]"), "gzip"),
        (zipped(b"{}")[:-4], "gzip"),
        (zlib.compress(b"{}")[2:-4], "deflate"),
        (brotli.compress(b"{}") + b"x", "br"),
        (brotli.compress(b"{}" * 2000)[:-2], "br"),
        (zstandard.compress(b"{}") + b"x", "zstd"),
        (zstandard.compress(b"{}") * 2, "zstd"),
        (zstandard.compress(b"{}" * 900)[:-2], "zstd"),
        (b"{}", "exotic"),
        (b"{}", "gzip"),
        (zipped(b"0" * 20_000_000), "gzip"),
        (brotli.compress(b"0" * 20_000_000), "br"),
        (zstandard.compress(b"0" * 20_000_000), "zstd"),
        (zipped(zipped(zipped(zipped(b"{}")))), "gzip,gzip,gzip,gzip"),
    ],
)
def test_a_broken_or_bomb_like_coding_is_unreadable(body: bytes, name: str) -> None:
    assert action(body=body, content_type="application/json", content_encoding=name).unreadable


def test_a_payload_in_signed_chunks_is_put_together() -> None:
    signature = b";chunk-signature=" + b"0" * 64
    body = b"5" + signature + b'\r\n{"a":\r\n2\r\n1}\r\n0' + signature + b"\r\n"
    for trailer in (b"\r\n", b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"):
        got = action(body=body + trailer, content_type="application/json", content_encoding="aws-chunked")
        assert read(got, "json.a") == ("1",)
    zipped = gzip.compress(b'{"a":1}')
    body = b"%x\r\n" % len(zipped) + zipped + b"\r\n0\r\n\r\n"
    for name in ("aws-chunked,gzip", "gzip, aws-chunked"):
        got = action(body=body, content_type="application/json", content_encoding=name)
        assert read(got, "json.a") == ("1",)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"2\r\n{}",
        b"2\r\n{}\r\n",
        b"3\r\n{}\r\n0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\n\r\nx",
    ],
)
def test_broken_chunks_are_unreadable(body: bytes) -> None:
    got = action(body=body or b"\r\n", content_type="application/json", content_encoding="aws-chunked")
    assert got.unreadable


def test_chunks_are_put_together_up_to_the_limit() -> None:
    body = b"5\r\nabcde\r\n5\r\nabcde\r\n0\r\n\r\n"
    assert undo(body, "aws-chunked", limit=10) == b"abcdeabcde"
    with pytest.raises(Unreadable):
        undo(body, "aws-chunked", limit=9)


@pytest.mark.parametrize("kind", ["; charset=utf-8; charset=utf-16", "; charset", '; a="b', ";=1"])
def test_a_media_type_that_two_readers_could_tell_apart_is_unreadable(kind: str) -> None:
    assert action(body=b"{}", content_type=f"application/json{kind}").unreadable


@pytest.mark.parametrize("charset", ["utf-16", "utf-32", "latin-1", "x"])
def test_another_charset_is_opaque(charset: str) -> None:
    got = action(body=b"{}", content_type=f"application/json; charset={charset}")
    assert got.unreadable is None and read(got, "json.a") is UNKNOWN


def test_a_method_in_the_address_is_another_method() -> None:
    assert read(action("GET", "/x?method=delete"), "method") == ("GET", "DELETE")
    assert read(action("GET", "/x?method=card"), "method") == ("GET",)


@pytest.mark.parametrize("name", ["Content-Type", "host", "Authorization", "X-HTTP-Method-Override"])
def test_a_header_that_must_be_one_and_is_two_is_unreadable(name: str) -> None:
    headers = ((name.encode(), b"a"), (name.lower().encode(), b"a"))
    got = decode(Request(None, b"GET", "https", "a.example", 443, b"/", headers, b""))
    assert got.unreadable


def test_headers_are_read_by_any_case_and_credentials_only_as_hashes() -> None:
    got = action(Authorization="Bearer s3cret", X_Thing="One")
    assert read(got, "header.x-thing") == ("One",)
    (one,) = read(got, "credential")
    assert "s3cret" not in one and len(one) == 16
    assert read(action(Authorization="Bearer s3cret"), "credential") == (one,)
    assert read(action(Authorization="Bearer other"), "credential") != (one,)
    assert read(action(), "credential") == ()
    assert len(read(action(target="/x?api_key=k"), "credential")) == 1


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/v1/charges/ch_3NxYz/refund", "/v1/charges/*/refund"),
        ("/users/42", "/users/*"),
        ("/2024-10/orders", "/2024-10/orders"),
        ("/v1beta1/models", "/v1beta1/models"),
    ],
)
def test_an_operation_has_no_ids(path: str, named: str) -> None:
    assert action(target=path).operation == f"POST {named}"


def test_an_agent_that_nobody_knows_is_unknown() -> None:
    got = decode(Request(None, b"GET", "https", "a.example", 443, b"/", (), b""))
    assert got.read(("agent",)) is UNKNOWN
    assert got.read(("first_seen", "host")) == Values(("false",))
    assert got.read(("graphql", "operation")) is ABSENT
    assert got.read(("email", "to")) is ABSENT
    assert got.read(("header", "x")) is ABSENT


KINDS = st.sampled_from(["application/json", FORM, "text/plain", "multipart/form-data", ""])
CODINGS = st.sampled_from(["", "gzip", "deflate", "br", "zstd", "x"])


@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.text(max_size=20),
    KINDS,
    CODINGS,
    st.binary(max_size=200),
)
def test_decoding_never_raises_and_always_answers_the_same(
    method: bytes, target: bytes, host: str, kind: str, coding: str, body: bytes
) -> None:
    headers = ((b"content-type", kind.encode()), (b"content-encoding", coding.encode()))
    request = Request("uid:me", method, "https", host, 443, target, headers, body)
    first, second = decode(request), decode(request)
    assert first.unreadable == second.unreadable
    for name in ("json.a", "form.a", "query.a", "method", "path", "header.content-type"):
        assert read(first, name) == read(second, name)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)
def test_whatever_a_json_encoder_writes_is_readable(value: object) -> None:
    body = json.dumps(value).encode()
    got = action(body=body, content_type="application/json")
    lone = any(0xD800 <= ord(char) <= 0xDFFF for char in json.dumps(value, ensure_ascii=False))
    assert bool(got.unreadable) == (lone and body != b"")

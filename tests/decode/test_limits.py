"""Hostile input ends soon, in little memory, and always with the same answer."""

import gzip
import json
import time
import tracemalloc
import zlib
from dataclasses import fields
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from proxy.action import Action, Request, Values
from proxy.decode import decode
from proxy.decode.http import unescape
from proxy.policy.fields import FIXED

from .asking import FORM, asked, read

# What each takes on an idle machine is a twentieth; a busy one must not fail the tests.
SECONDS = 1.0
MEMORY = 64 * 1024 * 1024

NAMES = (
    *FIXED,
    "json.a",
    "form.a",
    "multipart.a",
    "query.a",
    "graphql.variable.a",
    "mcp.argument.a",
    "operation",
)


def fragments(count: int) -> str:
    made = "".join(f"fragment F{n} on Q {{ ...F{n + 1} ...F{n + 1} }} " for n in range(count))
    return f"{{ ...F0 }} {made} fragment F{count} on Q {{ id }}"


ZIPPED = gzip.compress(b"0" * 50_000_000)
PART = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n'
FORM_DATA = "multipart/form-data; boundary=b"
BOMBS: dict[str, tuple[Any, ...]] = {
    "a deep array": (b"[" * 10_000 + b"]" * 10_000, "application/json"),
    "deeper objects": (b'{"a":' * 1_000_000, "application/json"),
    "many numbers": (b"[" + b"1," * 4_000_000 + b"1]", "application/json"),
    "a body over the limit": (b'"' + b"a" * 10_485_760 + b'"', "application/json"),
    "many quotes": (b'"' * 4_000_000, "application/json"),
    "gzip": (ZIPPED, "application/json", {"content-encoding": "gzip"}),
    "deflate": (zlib.compress(b"0" * 50_000_000), "application/json", {"content-encoding": "deflate"}),
    "br": (brotli.compress(b"0" * 50_000_000, quality=3), "application/json", {"content-encoding": "br"}),
    "zstd": (zstandard.compress(b"0" * 50_000_000), "application/json", {"content-encoding": "zstd"}),
    "gzip in gzip": (gzip.compress(ZIPPED), "application/json", {"content-encoding": "gzip, gzip"}),
    "chunks of one byte": (b"1\r\na\r\n" * 30_000, "application/json", {"content-encoding": "aws-chunked"}),
    "fragments": (json.dumps({"query": fragments(60)}).encode(), "application/json"),
    "many tokens": (json.dumps({"query": "{" + "a " * 100_000 + "}"}).encode(), "application/json"),
    "many parts": ((PART + b"\r\n") * 50_000, FORM_DATA),
    "many pairs": (b"a=1&" * 20_000, FORM),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_unreadable_soon_and_in_little_memory(name: str) -> None:
    body, kind, *headers = BOMBS[name]
    tracemalloc.start()
    try:
        began = time.process_time()
        got = asked(
            "POST", "https://api.example.com/graphql", body, kind, headers=headers[0] if headers else {}
        )
        seconds, memory = time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got.unreadable
    assert seconds < SECONDS
    assert memory < MEMORY


DOCUMENTS = json.dumps([{"query": "{" + "a " * 9_000 + "}"}] * 100).encode()
SLOW: dict[str, tuple[Any, ...]] = {
    "brackets in texts": ("/x", b'["' + b"[" * 5_000_000 + b'"]', "application/json"),
    "many objects": ("/x", b"[" + b'{"a":1},' * 30_000 + b"1]", "application/json"),
    "escapes": ("/x", b"a=" + b"%41" * 1_000_000, FORM),
    "dashes": ("/x", PART + b"\r\n--" * 500_000 + b"\r\n--b--", FORM_DATA),
    "a bulk": ("/_bulk", b'{"delete":{"_index":"a"}}\n' * 200_000, "application/x-ndjson"),
    "batched documents": ("/graphql", DOCUMENTS, "application/json"),
    "a long path of batches": ("/batch/" + "batchx/" * 4_000 + "b", b"{}", "application/json"),
    "a long path of clusters": ("/api/v1/namespaces/" + "a/" * 20_000, b"{}", "application/json"),
    "open tags": ("/x", b"<a>" * 300_000, "application/xml"),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOW)
def test_odd_but_readable_input_takes_no_longer(name: str) -> None:
    path, body, kind = SLOW[name]
    began = time.process_time()
    got = asked("POST", f"https://api.example.com{path}", body, kind)
    for field in NAMES:
        read(got, field)
    assert time.process_time() - began < SECONDS
    assert got.unreadable is None or "slash" in got.unreadable or "segment" in got.unreadable


@pytest.mark.parametrize(
    "raw",
    [b'To: "' + b"\\" * 60_000, b"To: " + b"a@b.c," * 9_000, b"Subject: " + b"=?utf-8?q?a?= " * 4_000,
     b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(500))],
    ids=["quotes", "addresses", "words", "nested"],
)  # fmt: skip
def test_a_hostile_message_takes_no_longer(raw: bytes) -> None:
    url = "https://gmail.googleapis.com/upload/gmail/v1/users/me/messages/send"
    began = time.process_time()
    got = asked("POST", url, raw + b"\r\n\r\nx", "message/rfc822")
    for field in ("email.to", "email.subject", "email.text", "blast.recipients"):
        read(got, field)
    assert time.process_time() - began < SECONDS


@given(st.binary(max_size=60))
def test_escapes_are_undone_as_the_standard_says(raw: bytes) -> None:
    from urllib.parse import unquote_to_bytes

    good = all(
        len(part) >= 2 and all(c in b"0123456789abcdefABCDEF" for c in part[:2])
        for part in raw.split(b"%")[1:]
    )
    try:
        expected = unquote_to_bytes(raw.replace(b"+", b" ")).decode() if good else None
    except UnicodeDecodeError:
        expected = None
    if b"%" in raw or b"+" in raw:
        assert unescape(raw) == expected


# -- the same bytes, the same answer --------------------------------------------------------------

HOSTS = st.sampled_from(
    ["api.example.com", "graph.microsoft.com", "ec2.us-east-1.amazonaws.com", "b.s3.amazonaws.com",
     "gmail.googleapis.com", "graph.facebook.com", "mcp.example.com", "email.us-east-1.amazonaws.com",
     "kubernetes", "api.mailgun.net"]
)  # fmt: skip
PATHS = st.sampled_from(
    ["/", "/graphql", "/v1.0/$batch", "/batch", "/_bulk", "/mcp", "/v1/x", "/api/v1/pods/x",
     "/v3/x.org/messages", "/gmail/v1/users/me/messages/send", "/v2/email/outbound-emails", "/x?query={a}",
     "/x?Action=B&batch=[]", "/apis/a.b/v1/namespaces/n/things/t/exec", "/service/S/operation/O",
     "/v1.0/me/sendMail"]
)  # fmt: skip
KINDS = st.sampled_from(
    ["application/json", FORM, "multipart/form-data; boundary=b", "multipart/mixed; boundary=b", "text/xml",
     "application/graphql", "application/x-ndjson", "message/rfc822", "application/grpc", "application/cbor",
     "", "application/x-amz-json-1.1", 'a/b; c="'],
)  # fmt: skip
KEY_NAMES = (
    "query variables operationName jsonrpc method params name arguments requests url body headers raw to from"
    " amount currency value ids message Destination personalizations email data actions relative_url id"
)
KEYS = st.sampled_from(KEY_NAMES.split())
TEXTS = st.sampled_from(
    ["{ a }", "mutation { b }", "2.0", "tools/call", "tools/list", "GET", "DELETE", "/x", "/$batch", "a@b.c",
     "5", "https://x.y/", "VG86IGE", "\u202e", ""]
) | st.text(max_size=8)  # fmt: skip
TREES = st.recursive(
    TEXTS | st.none() | st.booleans() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=12,
)
BODIES = (
    TREES.map(lambda tree: json.dumps(tree).encode())
    | st.binary(max_size=80)
    | TEXTS.map(lambda text: f"--b\r\nContent-Type: application/http\r\n\r\n{text} /x\r\n\r\n--b--".encode())
    | st.just(None)
)


def summary(action: Action) -> list[Any]:
    readings = [action.read(tuple(name.split("."))) for name in NAMES]
    told = [reading.items if isinstance(reading, Values) else "unknown" for reading in readings]
    kept = [
        getattr(action, one.name)
        for one in fields(action)
        if one.name not in ("documents", "scalars", "members")
    ]
    return [kept, told, [summary(member) for member in action.members]]


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), HOSTS, PATHS, KINDS, BODIES)
def test_decoding_never_raises_and_always_answers_the_same(
    method: str, host: str, path: str, kind: str, body: bytes | None
) -> None:
    headers = ((b"content-type", kind.encode()), (b"x-amz-target", b"A.B"))
    target = path.replace("{", "%7B").replace("}", "%7D").encode()
    request = Request("uid:me", method.encode(), "https", host, 443, target, headers, body)
    first = decode(request)
    assert summary(first) == summary(decode(request))
    assert "could not be decoded" not in (first.unreadable or "")  # that would be a bug of ours
